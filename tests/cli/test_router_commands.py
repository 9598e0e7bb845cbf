"""Routers from the command line: train, list, show, promote, roll back, compare, explain, replay."""

import gzip
import hashlib
import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flywheel_core.lake.layout import Layout, day_of
from flywheel_core.learn.artefact import publish_router, verify_router
from flywheel_core.learn.registry import Registry
from flywheel_core.learn.settings import Learning
from flywheel_core.learn.why import words_that_spoke
from flywheel_core.records import DataPoint, Response, encode_point
from flywheel_gateway.decisions import DecisionRecord, decision_file, new_decision_id
from tests.cli.conftest import Run, parsed
from tests.cli.recorded import point
from tests.core.learn import toy
from tests.core.learn.questions import CATEGORIES, frame, train
from tests.core.learn.small import publish_single

MODELS = ("big", "math")
QUICK = """
models: {all-round: {category: general}, coder: {category: code}}
routing: {default_model: all-round}
data_collection: {training: {candidate_models: [all-round, coder]}}
learning: {trees: 10, dimensions: 8, min_examples: 100}
"""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """The data folder of `run`, with two router versions that each always ask one model."""
    found = Layout(tmp_path / "data")
    publish_single(found, "to-big", "big", MODELS)
    publish_single(found, "to-math", "math", MODELS)
    return found


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
    assert "rollback to-big: in service" in shown
    assert "a try" in shown


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


def publish_learned(layout: Layout) -> str:
    """Train a router on synthetic questions, publish it and return its version."""
    quick = Learning(trees=10, dimensions=16, folds=2, jobs=1)
    router = train(frame(400), quick, version="learned", categories=CATEGORIES).router
    publish_router(layout, router, {"dataset": "made up"}, ["What is 1 + 1?"])
    return router.version


def decided(layout: Layout, prompt: str, **changes: Any) -> str:
    """Log a decision as a gateway does, and return its id."""
    decision_id = new_decision_id()
    record = DecisionRecord(
        decision_id,
        time.time(),
        hashlib.sha256(prompt.encode()).hexdigest()[:32],
        "math",
        "general",
        0.8,
        "router",
        router_version="to-math",
        scores={"math": 0.9, "big": 0.3},
        served="math",
    )
    record = msgspec.structs.replace(record, **changes)
    layout.decisions.mkdir(parents=True, exist_ok=True)
    with decision_file(layout.decisions, day_of(record.at)).open("ab") as file:
        file.write(msgspec.json.encode(record) + b"\n")
    return decision_id


def test_why_explains_a_collected_decision_to_its_raw_line(run: Run, layout: Layout) -> None:
    question = "Which prime is the sum of a matrix?"
    version, scores = publish_learned(layout), {"m-math": 0.9, "m-code": 0.3}
    decision_id = decided(layout, question, router_version=version, model="m-math", scores=scores)
    point = DataPoint(
        "p1",
        question,
        {"math": Response("math", answer="25")},
        {"math": 1.0},
        int(time.time()),
        decision_id=decision_id,
        source="tests",
    )
    raw = layout.raw_file(day_of(time.time()))
    raw.parent.mkdir(parents=True)
    other = encode_point(msgspec.structs.replace(point, id="p0", decision_id="another")) + b"\n"
    raw.write_bytes(other + encode_point(point) + b"\n")
    found = parsed(run("why", decision_id, "--json"))
    assert found["decision"]["scores"] == scores
    assert (found["router"]["version"], found["dataset"]) == (version, "made up")
    assert found["raw_line"]["question"] == question
    assert found["raw_line"]["offset"] == len(other)
    assert {word["word"] for word in found["words"]} == set(question.rstrip("?").split())
    text = run("why", decision_id).output
    assert re.match(rf"decision {decision_id}, \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC\n", text)
    assert "reason router: the router chose the model" in text
    assert "Words that spoke for it" in text
    assert question in text
    assert '"decision_id"' in run("why", decision_id, "--raw").output


def test_why_of_a_decision_that_was_not_collected(run: Run, layout: Layout) -> None:
    decision_id = decided(layout, "a secret question", router_version=publish_learned(layout), model="m-math")
    found = parsed(run("why", decision_id, "--json"))
    assert (found["raw_line"], found["words"]) == (None, [])
    assert "--prompt" in found["note"]
    assert parsed(run("why", decision_id, "--prompt", "a secret question", "--json"))["words"]
    assert "no raw line: the request was not collected" in run("why", decision_id).output
    wrong = run("why", decision_id, "--prompt", "another question")
    assert wrong.exit_code == 2
    assert "not the prompt of that decision" in wrong.stderr


def test_why_of_a_decision_that_another_gateway_asked_for(run: Run, layout: Layout) -> None:
    """That gateway answered the user; only what it reported to /v1/observe is known."""
    asked: dict[str, Any] = {"reason": "no_router", "router_version": None, "scores": {}, "served": None}
    decision_id = decided(layout, "hello you", **asked)
    assert "confidence 0.80; who answered is not on record\n" in run("why", decision_id).output
    point = DataPoint(
        "p1", "hello you", {}, {}, int(time.time()), decision_id=decision_id, served_model="big"
    )
    raw = layout.raw_file(day_of(time.time()))
    raw.parent.mkdir(parents=True)
    raw.write_bytes(encode_point(point) + b"\n")
    assert "confidence 0.80; answered by big, as reported to /v1/observe\n" in run("why", decision_id).output
    failed = decided(layout, "hello you", **asked, failed={"math": "timeout"})
    assert "confidence 0.80; answered by nobody\n" in run("why", failed).output


def test_texts_that_why_quotes_do_not_control_the_terminal(run: Run, layout: Layout) -> None:
    """The question and the name of an observed model come from a client, a failure's words from a model's server."""
    evil = "\x1b[2J\x1b]0;gone\x07"
    decision_id = decided(
        layout, f"hello {evil}", reason="no_router", served=None, failed={"math": f"http_500 {evil}"}
    )
    point = DataPoint(
        "p1", f"hello {evil}", {}, {}, int(time.time()), decision_id=decision_id, served_model=f"big{evil}"
    )
    raw = layout.raw_file(day_of(time.time()))
    raw.parent.mkdir(parents=True)
    raw.write_bytes(encode_point(point) + b"\n")
    printed = run("why", decision_id).output
    assert "answered by big\\x1b[2J" in printed
    assert "question: hello \\x1b[2J" in printed
    assert [char for char in printed if not char.isprintable() and char != "\n"] == []


def test_why_of_an_answer_observed_without_a_decision(run: Run, layout: Layout) -> None:
    result = run("why", new_decision_id())
    assert result.exit_code == 1
    assert "an answer observed without a decision_id belongs to no decision" in result.stderr


def test_why_names_a_packed_raw_file_that_is_damaged(run: Run, layout: Layout) -> None:
    """The raw line may be in that file, so this is an error with a code, and not a traceback from zlib."""
    decision_id = decided(layout, "hello you", router_version=None, reason="no_router")
    raw = layout.raw_file(day_of(time.time()))
    packed = bytearray(gzip.compress(b'{"question": "one"}\n' * 500 + os.urandom(1_000)))
    packed[30:60] = bytes(30)
    raw.parent.mkdir(parents=True)
    raw.with_name(raw.name + ".gz").write_bytes(packed)
    result = run("why", decision_id)
    assert result.exit_code == 1
    assert f"error[storage_failed]: cannot read data/raw/{raw.name}.gz" in result.stderr


def test_why_of_a_decision_whose_point_is_on_its_way(run: Run, layout: Layout) -> None:
    decision_id = decided(layout, "hello", router_version=publish_learned(layout), collected=True)
    text = run("why", decision_id).output
    assert "not collected" not in text
    assert "no raw line: collected, but its data point is not here yet" in text


def test_why_shows_no_words_where_none_spoke(run: Run, layout: Layout) -> None:
    alone = decided(layout, "hello you", reason="best_single")
    text = run("why", alone, "--prompt", "hello you").output
    assert "this router asks one model whatever the prompt: no words spoke" in text
    assert "reason best_single: no router beats the best single model" in text
    late = decided(layout, "hello you", router_version=publish_learned(layout), reason="fallback", scores={})
    assert "the router gave no scores" in run("why", late, "--prompt", "hello you").output
    assert parsed(run("why", late, "--prompt", "hello you", "--json"))["words"] == []


def test_why_without_router_or_decision(run: Run, layout: Layout) -> None:
    decision_id = decided(layout, "hello you", router_version=None, reason="no_router")
    assert parsed(run("why", decision_id, "--json"))["note"] == "no router decided"
    gone = decided(layout, "hello you", router_version="gone")
    assert "there is no router 'gone'" in parsed(run("why", gone, "--prompt", "hello you", "--json"))["note"]
    unknown = run("why", new_decision_id())
    assert unknown.exit_code == 1
    assert "error[no_data]: there is no decision" in unknown.stderr


def test_the_words_that_spoke_are_those_whose_absence_changes_the_lead() -> None:
    import numpy as np

    def utilities(texts: Any) -> Any:
        return np.array([[0.5 + 0.3 * ("prime" in text) - 0.1 * ("poem" in text), 0.5] for text in texts])

    found = words_that_spoke(utilities, ["math", "big"], "a poem about the prime number 7", "math")
    assert [(one.word, round(one.lead, 6)) for one in found[:2]] == [("prime", 0.3), ("poem", -0.1)]
    assert words_that_spoke(utilities, ["math", "big"], "prime", "math") == []
    assert words_that_spoke(utilities, ["math", "big"], "two words", "gone") == []


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
    labels = parsed(run("train", "--labels", dataset, "--json"))["version"]
    single = Registry(layout, verify_router).history()[0].entry.version
    compared = parsed(run("router", "diff", single, found["version"], "--json"))
    assert compared["mean_gain"] > 0.1
    fields = {name: both for name, *both in compared["fields"]}
    assert fields["policy.always_single"] == [True, False]
    assert fields["figures.blend_weights"][0] is None and fields["figures.blend_weights"][1]
    assert "settings.trees" not in fields, "it is the same in both"
    assert compared["different"] > 50
    assert "test questions" in run("router", "diff", single, labels).output


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
    assert "What learning.lambda_cost would bring" in shown
    assert f"Compared with {trained['best_single']} for every question: the answers are better" in shown
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
    assert found["summary"]["days"] == 1
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 2
    assert "<script" not in page


def test_a_replay_that_no_router_served_says_why(run: Run, tmp_path: Path) -> None:
    lines = [json.dumps(point(f"p{day.day}", "why?", day, coder=None, all_round=None)) for day in toy.days(2)]
    (tmp_path / "unscored.jsonl").write_text("".join(line + "\n" for line in lines))
    (tmp_path / "one-day.jsonl").write_text(lines[0] + "\n")
    assert "nothing to train on" in run("replay", "unscored.jsonl", "--folder", "unscored").stdout
    assert "two days or more" in run("replay", "one-day.jsonl", "--folder", "one-day").stdout
