"""Routers from the command line: train, list, show, promote, roll back, compare, explain, replay."""

import json
import re
import shutil
from pathlib import Path

import numpy as np

from flywheel_core.lake.layout import Layout
from flywheel_core.learn.artefact import publish_router, verify_router
from flywheel_core.learn.charges import Lengths
from flywheel_core.learn.policy import Policy
from flywheel_core.learn.registry import Registry
from flywheel_core.learn.router import Router
from tests.cli.conftest import Run, parsed
from tests.cli.recorded import point, write_lines
from tests.core.learn import toy

QUICK = """
models: {all-round: {category: general}, coder: {category: code}}
routing: {default_model: all-round}
data_collection: {training: {candidate_models: [all-round, coder]}}
learning: {trees: 10, dimensions: 8, min_examples: 100}
"""


def test_promote_list_and_roll_back(run: Run, layout: Layout) -> None:
    assert parsed(run("router", "list", "--json")) == {
        "champion": None,
        "versions": ["to-big", "to-math"],
        "history": [],
    }
    assert run("router", "promote", "to-big").output == "router to-big is in service, promotion 1\n"
    run("router", "promote", "to-math", "--reason", "a try")
    found = parsed(run("router", "list", "--json"))
    assert found["champion"]["version"] == "to-math"
    assert [(one["kind"], one["reason"]) for one in found["history"]] == [
        ("manual", "by hand"),
        ("manual", "a try"),
    ]
    assert all(one["by"] for one in found["history"])
    assert parsed(run("router", "rollback", "--json"))["version"] == "to-big"
    shown = run("router", "list").output
    assert "manual to-big: was in service" in shown
    assert "rollback to-big: in service" in shown
    assert "a try" in shown
    assert [line.split() for line in shown.splitlines() if line.startswith("to-")] == [
        ["to-big", "yes"],
        ["to-math", "no"],
    ]
    last = run("router", "list", "--last", "1").output
    assert "rollback to-big: in service" in last
    assert "a try" not in last


def test_a_change_names_the_router_that_it_replaces(run: Run, layout: Layout) -> None:
    """Who rolls back after somebody else did sees that it is not the router that was meant."""
    run("router", "promote", "to-big")
    run("router", "promote", "to-math")
    back = "router to-big is in service instead of to-math, promotion 3\n"
    assert run("router", "rollback").output == back
    again = run("router", "promote", "to-big").output
    assert again == "router to-big is in service, promotion 4\n", "it replaced itself"


def test_what_cannot_be_promoted_or_rolled_back_says_why(run: Run, layout: Layout) -> None:
    missing = run("router", "promote", "nothing")
    assert missing.exit_code == 1
    assert "error[router_invalid]: there is no router 'nothing'" in missing.stderr
    (layout.router("to-big") / "parameters.npz").write_bytes(b"")
    damaged = run("router", "promote", "to-big")
    assert damaged.exit_code == 1
    assert "error[router_damaged]" in damaged.stderr
    assert "no_earlier_champion" in run("router", "rollback").stderr


def test_list_without_any_router_says_how_to_get_one(run: Run, tmp_path: Path) -> None:
    result = run("--data-dir", str(tmp_path / "empty"), "router", "list")
    assert result.exit_code == 0
    assert "flywheel train" in result.stderr


def test_list_shows_what_can_be_promoted_when_the_pointer_is_damaged(run: Run, layout: Layout) -> None:
    run("router", "promote", "to-big")
    (layout.routers / "champion.json").write_bytes(b"{torn")
    found = run("router", "list")
    assert found.exit_code == 1
    assert "to-math" in found.output
    assert "error[pointer_damaged]" in found.stderr
    assert "router promote VERSION" in found.stderr
    assert run("router", "promote", "to-math").exit_code == 0
    assert "in service" in run("router", "list").output


def test_list_tells_when_the_folder_of_the_one_in_service_is_gone(run: Run, layout: Layout) -> None:
    run("router", "promote", "to-big")
    assert "gone" not in run("router", "list").stderr
    shutil.rmtree(layout.router("to-big"))
    found = run("router", "list")
    assert found.exit_code == 0
    assert "to-big is in service, and its folder is gone" in found.stderr
    assert "router promote VERSION" in found.stderr


def test_show_says_what_a_version_is_and_whether_it_is_whole(run: Run, layout: Layout) -> None:
    assert run("router", "show").exit_code == 1
    run("router", "promote", "to-math")
    found = parsed(run("router", "show", "--json"))
    assert (found["version"], found["whole"], found["manifest"]["dataset"]) == ("to-math", True, "made up")
    (layout.router("to-big") / "canary.json").write_bytes(b"{}")
    found = parsed(run("router", "show", "to-big", "--json"))
    assert not found["whole"]
    assert "canary.json is damaged" in found["problem"]


def test_a_manifest_that_is_no_utf8_is_named(run: Run, layout: Layout) -> None:
    manifest = layout.router("to-big") / "router.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"made up", b"made \xff"))
    found = parsed(run("router", "show", "to-big", "--json"))
    assert not found["whole"]
    evaluated = run("router", "evaluate", "to-big")
    assert evaluated.exit_code == 1
    assert "router.json does not name a dataset" in evaluated.stderr


def test_train_judges_and_promotes_and_diff_compares(run: Run, tmp_path: Path) -> None:
    (tmp_path / "flywheel.yaml").write_text(QUICK)
    layout = Layout(tmp_path / "data")
    assert "error[no_data]: there is no dataset" in run("train").stderr
    settings = toy.config(layout.root)
    for day in toy.days(2):
        dataset = toy.make_day(layout, settings, day, 600)
    found = parsed(run("train", "--json"))
    assert (found["dataset"], found["verdict"]) == (dataset, "promoted")
    assert found["in_service"] == found["version"]
    again = parsed(run("train", "--json"))
    assert (again["version"], again["verdict"]) == (found["version"], "same")
    assert f"\n{again['verdict']}: {again['reason']}\nin service: {found['version']}\n" in run("train").output
    assert found["training"]["candidate"] == "blend"
    said = f"Trained on {found['training']['examples']} examples: the blend of estimators decides."
    assert said in run("train", "--no-judge").output
    shown = run("router", "show").output
    assert said in shown.replace("\n", " ")
    assert "figures.candidates" in shown and "…" not in shown, "no figure is cut off"
    trained = parsed(run("train", "--labels", dataset, "--json"))
    assert "verdict" not in trained, "a classifier for comparison never takes the champion's place"
    labels = trained["version"]
    single = Registry(layout, verify_router).history()[0].entry.version
    compared = parsed(run("router", "diff", single, found["version"], "--json"))
    assert compared["mean_gain"] > 0.1
    fields = {name: both for name, *both in compared["fields"]}
    assert fields["policy.always_single"] == [True, False]
    assert fields["figures.blend_weights"][0] is None and fields["figures.blend_weights"][1]
    assert "settings.trees" not in fields, "it is the same in both"
    assert compared["different"] > 50
    assert "test questions" in run("router", "diff", single, labels).output


def test_diff_decides_long_prompts_by_their_whole_length(run: Run, layout: Layout) -> None:
    """Only excerpts of them are held, of about 4,000 bytes; this router asks the small model from 5,000 on."""
    policy = Policy(
        best=0,
        prices=(0.0, 0.0),
        costs=(1.0, 0.5),
        advantage=0.0,
        tie_tolerance=0.0,
        min_evidence=0.0,
        known_share=0.0,
        always_single=False,
        price_slopes=(1e-3, 0.0),
        lengths=Lengths(0.0, 4_500.0, 100_000.0),
    )
    means, spreads, counts = np.array([0.9, 0.4]), np.zeros(2), np.full(2, 9.0)
    router = Router("by-length", ("big", "math"), ("general", "math"), policy, means, spreads, counts)
    publish_router(layout, router, {"dataset": "made up"}, ["a", "x" * 6_000])
    day = toy.FIRST
    questions = [letter * 10_000 for letter in "abcdefghijklmnopqrstuvwxyz"]
    points = [point(question[0], question, day, big=0.5, math=0.5) for question in questions]
    write_lines(layout.raw_file(day), *points)
    for command in ("ingest", "label"):
        assert run(command, str(day)).exit_code == 0
    compared = parsed(run("router", "diff", "to-big", "by-length", "--json"))
    assert compared["questions"] > 0
    assert compared["different"] == compared["questions"]


def test_evaluate_prints_the_figures_and_writes_a_page(run: Run, tmp_path: Path) -> None:
    (tmp_path / "flywheel.yaml").write_text(QUICK)
    layout = Layout(tmp_path / "data")
    assert "error[no_data]: no router is in service" in run("router", "evaluate").stderr
    first, second = toy.days(2)
    settings = toy.config(layout.root)
    dataset = toy.make_day(layout, settings, first, 600)
    version = parsed(run("train", "--json"))["version"]
    serving = parsed(run("router", "evaluate", "--json"))
    assert serving["router"] == Registry(layout, verify_router).champion().version  # type: ignore[union-attr]  # training made one
    trained = parsed(run("router", "evaluate", version, "--json"))
    assert trained["router"] == version
    assert trained["overall"]["gain"][0] > serving["overall"]["gain"][0] == 0
    assert trained["overall"]["apgr"][0] > 0.5
    assert 60 < trained["questions"] < 200, "a fifth of 600: the test split alone"
    before = parsed(run("router", "evaluate", version, "--days", "1", "--json"))
    toy.make_day(layout, settings, second, 600)
    later = parsed(run("router", "evaluate", version, "--days", "1", "--json"))
    both = parsed(run("router", "evaluate", version, "--days", "2", "--json"))
    assert both["questions"] == later["questions"] + before["questions"]
    shown = run("router", "evaluate", version).output
    assert f"the test split of dataset {dataset}" in shown
    assert "APGR" in shown
    assert "Roughly what learning.lambda_cost would bring" in shown
    assert f"Compared with {trained['best_single']} for every question: the answers are better" in shown
    for model, alone in trained["singles"].items():
        figures = [trained["overall"]["share"][model][0], alone["score"], 1_000 * alone["cost"]]
        assert [model, *(f"{figure:,.3f}" for figure in figures)] in map(str.split, shown.splitlines())
    assert max(map(len, shown.splitlines())) <= 80
    assert "wrote page.html" in run("router", "evaluate", version, "--html", "page.html").output
    page = (tmp_path / "page.html").read_text()
    assert version in page
    assert "<script" not in page


def test_evaluate_without_the_dataset_names_the_way_out(run: Run, layout: Layout) -> None:
    gone = run("router", "evaluate", "to-math")
    assert gone.exit_code == 1
    assert "made up" in gone.stderr
    assert "--days" in gone.stderr
    assert "no day was labelled" in run("router", "evaluate", "to-math", "--days", "3").stderr


def test_replay_prints_compares_and_writes_a_page(run: Run, tmp_path: Path) -> None:
    (tmp_path / "flywheel.yaml").write_text(QUICK)
    lines = [line for day in toy.days(2) for line in toy.points(day, 150)]
    (tmp_path / "outcomes.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    arguments = ("replay", "outcomes.jsonl", "--pool", "coder, all-round", "--folder", "scratch")
    shown = run(*arguments, "--html", "page.html")
    assert shown.exit_code == 0, shown.output
    assert "best single" in shown.output
    assert max(map(len, shown.output.splitlines())) <= 80
    found = parsed(run(*arguments, "--json"))
    assert found["models"] == ["coder", "all-round"]
    assert [day["day"] for day in found["days"]] == [str(day) for day in toy.days(2)]
    summary = found["summary"]
    assert summary["days"] == 1
    gain, low, high = (summary[name] for name in ("gain", "gain_low", "gain_high"))
    assert f"gain over best single {gain:+.4f} (95 %: {low:+.4f} to {high:+.4f})" in shown.output
    assert f"{summary['questions']} questions on 1 day, mean scores" in shown.output
    each = [f"{1_000 * summary[name]:.3f}" for name in ("cost", "cost_single")]
    assert f"cost of 1,000 questions: flywheel {each[0]}, best single {each[1]}" in shown.output
    assert "left out" not in shown.output
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 2
    assert "<script" not in page


def test_a_replay_says_of_how_many_questions_the_costs_are_known(run: Run, tmp_path: Path) -> None:
    (tmp_path / "flywheel.yaml").write_text(QUICK)
    points = [json.loads(line) for day in toy.days(2) for line in toy.points(day, 150)]
    for recorded in points[-20:]:
        for answer in recorded["responses"].values():
            answer["cost"] = None
    (tmp_path / "outcomes.jsonl").write_text("".join(json.dumps(one) + "\n" for one in points))
    shown = run("replay", "outcomes.jsonl", "--folder", "scratch", "--html", "page.html").output
    questions = int(re.findall(r"(\d+) questions on 1 day", shown)[0])
    assert f"(both costs are known of {questions - 20} questions; the others are left out)" in shown
    assert f"(known of {questions - 20})" in (tmp_path / "page.html").read_text()


def test_a_replay_without_a_promotion_says_what_the_last_night_found(run: Run, tmp_path: Path) -> None:
    lines = [line for day in toy.days(2) for line in toy.points(day, 150)]
    (tmp_path / "outcomes.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    shown = run("replay", "outcomes.jsonl", "--folder", "scratch").output
    last = parsed(run("replay", "outcomes.jsonl", "--folder", "scratch", "--json"))["days"][-1]
    assert "0 promotions" in shown
    assert "test questions" in last["reason"]
    assert f"best single model; after {last['day']}: {last['reason']}" in " ".join(shown.split())


def test_a_replay_that_no_router_served_says_why(run: Run, tmp_path: Path) -> None:
    lines = [json.dumps(point(f"p{day.day}", "why?", day, coder=None, all_round=None)) for day in toy.days(2)]
    (tmp_path / "unscored.jsonl").write_text("".join(line + "\n" for line in lines))
    (tmp_path / "one-day.jsonl").write_text(lines[0] + "\n")
    assert "nothing to train on" in run("replay", "unscored.jsonl", "--folder", "unscored").stdout
    assert "two days or more" in run("replay", "one-day.jsonl", "--folder", "one-day").stdout
