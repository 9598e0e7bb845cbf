"""The report on several days: its figures, and the page made of them."""

import re
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from flywheel_core.config import Config
from flywheel_core.errors import NoDataError
from flywheel_core.lake.ingest import ingest_day
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import DAILY_TABLES, build_table, read_table
from flywheel_core.report import html
from flywheel_core.report.facts import MAX_MODELS, Summary
from flywheel_core.report.html import page
from flywheel_core.report.overview import DayFacts, overview
from flywheel_core.report.summary import summarise
from tests.cli.recorded import DAY_ONE, DAY_TWO, point, record, write_lines
from tests.core.report.reader import Reader
from tests.core.report.test_charts import texts, tips

MADE = datetime(2026, 1, 7, 1, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A data folder with two labelled days."""
    layout, config = Layout(tmp_path_factory.mktemp("lake")), Config()
    record(layout.root)
    for day in (DAY_ONE, DAY_TWO):
        ingest_day(layout, day, config)
        for name in DAILY_TABLES[2:]:
            build_table(layout, name, day, config)
    return layout


@pytest.fixture(scope="module")
def both(layout: Layout) -> Summary:
    return summarise(layout, [DAY_ONE, DAY_TWO])


def test_labels_of_several_days_are_added_up(both: Summary) -> None:
    assert both.days == (DAY_ONE, DAY_TWO)
    assert (both.points, both.labelled, both.responses) == (6, 5, 12)
    named = {row.label: row for row in both.labels}
    assert (named["math"].examples, named["math"].share) == (2, 0.4)
    assert named["math"].mean_score == pytest.approx(0.8)
    assert [named[label].examples for label in ("code", "general", "medicine", "writing")] == [1, 2, 0, 0]
    assert named["medicine"].mean_score is None
    assert both.labels_by_day["math"] == (2, 0)
    assert both.labels_by_day["general"] == (0, 2)
    assert both.labelled_share_by_day == (0.75, 1.0)


def test_rules_ties_and_best_scores_are_counted(both: Summary) -> None:
    assert both.rules["below_min_score"] == 1
    assert sum(both.rules.values()) == both.points
    assert both.ties == 1
    assert both.min_best_score == pytest.approx(0.7)
    assert both.max_best_score == 1.0
    assert both.mean_best_score == pytest.approx((0.9 + 0.7 + 0.8 + 1.0 + 0.8) / 5)
    assert sum(both.score_histogram) == both.scored == 12
    assert sum(both.margin_histogram) == both.labelled


def test_models_have_shares_of_all_days_and_latencies_by_rank(both: Summary) -> None:
    models = {row.model: row for row in both.models}
    big = models["qwen-max"]
    assert (big.responses, big.scored, big.contests, big.failed_share) == (6, 6, 6, 0)
    assert big.mean_score == pytest.approx((0.4 + 0.5 + 0.2 + 0.3 + 1.0 + 0.8) / 6)
    assert big.win_share == big.wins / 6
    assert (big.latency_p50, big.latency_p95) == (100, 100)
    assert models["qwen-math-7b"].latency_p95 == 200
    assert big.cost == pytest.approx(3.0)
    assert both.model_spend == pytest.approx(6.0)
    assert [row.mean_score for row in both.models] == sorted(
        (row.mean_score for row in both.models), key=lambda score: -(score or 0)
    )


@pytest.mark.parametrize(("answers", "p50", "p95"), [(1, 1, 1), (3, 2, 3), (4, 2, 4), (21, 11, 20)])
def test_latencies_are_the_least_that_so_many_answers_do_not_exceed(
    tmp_path: Path, answers: int, p50: int, p95: int
) -> None:
    layout, config = Layout(tmp_path), Config()
    points = [point(f"p{number}", f"q{number}", DAY_ONE, qwen_max=0.5) for number in range(answers)]
    for latency, one in enumerate(reversed(points), start=1):
        one["responses"]["qwen-max"]["latency_ms"] = latency
    write_lines(layout.raw_file(DAY_ONE), *points)
    ingest_day(layout, DAY_ONE, config)
    for name in DAILY_TABLES[2:]:
        build_table(layout, name, DAY_ONE, config)
    (model,) = summarise(layout, [DAY_ONE]).models
    assert (model.latency_p50, model.latency_p95) == (p50, p95)
    board = read_table(layout, "model_leaderboard", [DAY_ONE])
    assert board.select("latency_p50_ms", "latency_p95_ms").row(0) == (p50, p95)


def test_a_model_that_was_never_scored_is_below_one_whose_mean_is_zero(tmp_path: Path) -> None:
    layout, config = Layout(tmp_path), Config()
    scores = {"qwen_max": 0.9, "qwen_math_7b": 0.0, "qwen_code_7b": None}
    write_lines(
        layout.root / "raw" / f"training_data_{DAY_ONE:%Y%m%d}.jsonl",
        point("a1", "求解 x^2 = 4", DAY_ONE, **scores),
    )
    ingest_day(layout, DAY_ONE, config)
    for name in DAILY_TABLES[2:]:
        build_table(layout, name, DAY_ONE, config)
    found = [(row.model, row.mean_score) for row in summarise(layout, [DAY_ONE]).models]
    assert found == [("qwen-max", 0.9), ("qwen-math-7b", 0.0), ("qwen-code-7b", None)]


def test_means_weigh_each_answer_by_the_questions_it_stands_for(
    tmp_path: Path,
) -> None:
    """Over several days too, a day on which a model was rarely asked counts as much as any other."""
    layout, config = Layout(tmp_path), Config()
    for day, score, asked in ((DAY_ONE, 0.9, 1.0), (DAY_TWO, 0.5, 0.25)):
        told = point(f"{day}", "求解 x^2 = 4", day, qwen_max=score, qwen_math_7b=0.1) | {
            "asked": {"qwen-max": asked}
        }
        write_lines(layout.root / "raw" / f"training_data_{day:%Y%m%d}.jsonl", told)
        ingest_day(layout, day, config)
        for name in DAILY_TABLES[2:]:
            build_table(layout, name, day, config)
    found = {row.model: row.mean_score for row in summarise(layout, [DAY_ONE, DAY_TWO]).models}
    assert found == {"qwen-max": pytest.approx((0.9 + 4 * 0.5) / 5), "qwen-math-7b": pytest.approx(0.1)}


def test_a_margin_on_an_edge_is_in_the_range_that_begins_there(tmp_path: Path) -> None:
    """0.9 - 0.8 is a little less than 0.1 in binary, and scores are often whole tenths."""
    layout, config = Layout(tmp_path), Config()
    tops = {0.9: 0.8, 1.0: 0.9, 0.8: 0.6, 0.7: 0.4, 0.6: 0.5}
    lines = [point(str(top), str(top), DAY_ONE, qwen_max=top, qwen_math_7b=low) for top, low in tops.items()]
    write_lines(layout.raw_file(DAY_ONE), *lines)
    ingest_day(layout, DAY_ONE, config)
    for name in DAILY_TABLES[2:]:
        build_table(layout, name, DAY_ONE, config)
    assert summarise(layout, [DAY_ONE]).margin_histogram == (0, 3, 1, 1, 0, 0, 0, 0, 0, 0)


def test_every_line_is_a_data_point_a_duplicate_or_a_reject(both: Summary) -> None:
    assert (both.lines, both.points, both.duplicates, both.rejected) == (9, 6, 1, 2)


def test_rejects_are_counted_and_named_without_their_text(both: Summary) -> None:
    assert both.rejected == 2
    assert both.rejects_by_code == {"point_not_json": 1, "score_invalid": 1}
    assert {(row.day, row.code) for row in both.rejects} == {
        (DAY_ONE, "point_not_json"),
        (DAY_ONE, "score_invalid"),
    }
    assert all(row.file == "training_data_20260105.jsonl" for row in both.rejects)


def test_one_day_is_that_day_alone(layout: Layout) -> None:
    summary = summarise(layout, [DAY_TWO, date(2026, 3, 1)])
    assert (summary.days, summary.points, summary.rejected) == ((DAY_TWO,), 2, 0)


def test_days_without_tables_are_no_data(layout: Layout) -> None:
    with pytest.raises(NoDataError, match="none of these days was labelled"):
        summarise(layout, [date(2026, 3, 1)])


def test_the_overview_counts_files_rows_and_days(layout: Layout) -> None:
    facts = overview(layout)
    first = facts.days[0]
    assert first == DayFacts(DAY_ONE, 1, first.raw_bytes, first.rows)
    assert first.raw_bytes == layout.raw_files(DAY_ONE)[0].stat().st_size
    assert (first.rows["responses"], first.rows["rejects"], first.rows["training_examples"]) == (8, 2, 4)
    table = next(table for table in facts.tables if table.name == "responses")
    assert (table.days, table.rows, table.first_day, table.last_day) == (2, 12, DAY_ONE, DAY_TWO)
    assert facts.datasets == ()


def test_an_overview_of_nothing_is_empty(tmp_path: Path) -> None:
    facts = overview(Layout(tmp_path / "nowhere"))
    assert facts.days == ()
    assert [table.days for table in facts.tables] == [0] * len(DAILY_TABLES)


def test_a_raw_file_that_cannot_be_read_hides_nothing_else(layout: Layout, tmp_path: Path) -> None:
    """A link to nowhere and a folder named like raw files, and names that are almost right."""
    copied = Layout(Path(shutil.copytree(layout.root, tmp_path / "data")))
    before = overview(copied)
    (copied.raw / "training_data_20260105.gone.jsonl").symlink_to("/nowhere")
    (copied.raw / "training_data_20260106.folder.jsonl").mkdir()
    almost = ["training_data_2026-01-05.jsonl", "training_data_20261305.jsonl", "training_data_20260105.json"]
    for name in (*almost, ".collector.lock"):
        (copied.raw / name).touch()
    facts = overview(copied)
    assert [day.raw_bytes for day in facts.days] == [day.raw_bytes for day in before.days]
    assert (facts.tables, facts.datasets) == (before.tables, before.datasets)
    gone, folder = facts.unreadable
    assert "training_data_20260105.gone.jsonl: No such file" in gone
    assert "training_data_20260106.folder.jsonl: it is not a file" in folder
    assert facts.passed_over == tuple(sorted(almost))
    assert (before.unreadable, before.passed_over) == ((), ())


def test_a_damaged_table_is_named_and_hides_nothing_else(layout: Layout, tmp_path: Path) -> None:
    copied = Layout(Path(shutil.copytree(layout.root, tmp_path / "data")))
    before = overview(copied)
    copied.table("rejects", DAY_ONE).write_bytes(b"no parquet")
    copied.table("responses", DAY_TWO).unlink()
    copied.table("responses", DAY_TWO).symlink_to("/nowhere")
    facts = overview(copied)
    assert [(one.table, one.day, one.code) for one in facts.damaged] == [
        ("responses", DAY_TWO, "storage_failed"),
        ("rejects", DAY_ONE, "storage_failed"),
    ]
    assert str(copied.table("rejects", DAY_ONE)) in facts.damaged[1].message
    assert [day.day for day in facts.days] == [day.day for day in before.days]
    assert "rejects" not in facts.days[0].rows
    assert facts.days[0].rows["responses"] == before.days[0].rows["responses"]
    rows = {table.name: (table.days, table.rows) for table in facts.tables}
    assert rows["responses"] == (2, 8)
    assert before.damaged == ()


def test_the_page_needs_nothing_but_itself(both: Summary) -> None:
    text = page(both, made_at=MADE)
    reader = Reader(text)
    assert {"script", "link", "img", "iframe", "object"}.isdisjoint(reader.tags)
    assert reader.addresses == []
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_the_page_shows_distribution_leaderboard_quality_and_rejects(both: Summary) -> None:
    reader = Reader(page(both, made_at=MADE))
    words = " ".join(reader.words)
    for expected in ("Labels", "Models", "Quality", "Rejects", "83.3%", "qwen-math-7b", "point_not_json"):
        assert expected in words, expected
    assert "2026-01-05 to 2026-01-06, 2 days" in words
    assert "Made 2026-01-07 01:30 UTC" in words
    assert reader.tags.count("svg") == len(html._charts(both)), "every chart is on the page"


def test_the_page_says_how_many_answers_its_costs_leave_out(both: Summary) -> None:
    """Answers that were streamed without token counts may be most of what was paid."""
    assert (both.unpriced, "cost is not known" in page(both, made_at=MADE)) == (0, False)
    words = " ".join(Reader(page(replace(both, unpriced=1_200), made_at=MADE)).words)
    assert (
        "users' included, cost 6 and scoring them 0, without 1,200 answers whose cost is not known." in words
    )


def test_a_page_of_one_day_has_no_charts_over_days(layout: Layout) -> None:
    reader = Reader(page(summarise(layout, [DAY_TWO]), made_at=MADE))
    assert reader.tags.count("svg") == 6
    assert "Every line was an acceptable data point." in " ".join(reader.words)


@pytest.fixture
def hostile(both: Summary) -> Summary:
    evil = "<script>alert(1)</script>"
    return replace(
        both,
        models=tuple(replace(model, model=evil, category=evil) for model in both.models),
        rejects=tuple(replace(reject, message=evil, file=evil) for reject in both.rejects),
        labels=tuple(replace(label, label=evil) for label in both.labels),
        unknown_models=(evil,),
    )


def test_names_and_messages_cannot_become_markup(hostile: Summary) -> None:
    reader = Reader(page(hostile, made_at=MADE))
    assert "script" not in reader.tags
    assert "alert(1)" in " ".join(reader.words)


def test_without_a_label_the_page_speaks_of_no_best_scores(both: Summary) -> None:
    unlabelled = replace(both, min_best_score=None, max_best_score=None)
    told = [" ".join(Reader(page(one, made_at=MADE)).words) for one in (both, unlabelled)]
    assert ["Best scores run from" in text for text in told] == [True, False]


def test_sentences_on_the_page_are_apart(both: Summary) -> None:
    text = " ".join(" ".join(Reader(page(both, made_at=MADE)).words).split())
    assert f"to {both.max_best_score:.3f}. {both.scored / both.responses:.1%} of the responses" in text


def test_days_of_more_than_a_year_are_told_apart(both: Summary) -> None:
    days = tuple(DAY_ONE + timedelta(days=number) for number in range(400))
    long = replace(both, days=days, labels_by_day={"math": (1,) * 400}, labelled_share_by_day=(1.0,) * 400)
    charts = html._charts(long)
    for name, kind in (("labels_by_day", "rect"), ("labelled", "circle")):
        assert len(set(tips(charts[name], kind)) - {"math"}) == 400
    assert "01-05" in texts(html._charts(both)["labelled"]), "the year is shown only where it is needed"


def test_a_share_that_is_not_known_is_not_drawn_as_zero(both: Summary) -> None:
    models = tuple(replace(model, win_share=None) for model in both.models if model.mean_score is not None)
    told = tips(html._charts(replace(both, models=models))["models"])
    assert [tip for tip in told if "share won" in tip] == ["share won"], "the key alone"


def test_names_cannot_turn_the_page_around(both: Summary) -> None:
    """A mark that reverses the text after it would make one name look like another, and so would an invisible one."""
    evil = "\u202egpj\u2066\x1b[31m\x07"
    models = tuple(replace(model, model=evil) for model in both.models)
    text = page(replace(both, models=models, unknown_models=(evil,)), made_at=MADE)
    assert not set(text) & set("\u202e\u2066\x1b\x07")
    assert text.count("\ufffdgpj\ufffd\ufffd[31m\ufffd") > 2, "on the page and in its charts"


def test_charts_side_by_side_stay_as_large_below_each_other(both: Summary) -> None:
    """On a page that is too narrow for two, one chart would otherwise fill the width, with its text."""
    assert re.search(r"\.grid \.drawing > svg \{[^}]*max-width: \d+px", page(both, made_at=MADE))


def test_invented_models_cannot_flood_the_page(both: Summary) -> None:
    invented = [
        replace(both.models[0], model=f"invented-{n}", responses=1, mean_score=1.0) for n in range(3_000)
    ]
    names = tuple(model.model for model in invented)
    flooded = replace(both, models=(*invented, *both.models), unknown_models=names)
    shown = {model.model for model in flooded.shown_models}
    assert len(shown) == MAX_MODELS
    assert {model.model for model in both.models if model.responses > 1} <= shown
    text = page(flooded, made_at=MADE)
    assert len(set(re.findall(r"invented-\d+", text))) < MAX_MODELS + 10
    assert f"The {MAX_MODELS} with the most responses of {len(flooded.models):,}" in text
    assert "invented-9 and 2,990 more." in text


def test_a_name_of_64_kib_fills_no_page(both: Summary) -> None:
    long = "a" * 32_768 + "z" * 32_768
    models = tuple(replace(model, model=f"{model.model}{long}") for model in both.models)
    text = page(replace(both, models=models, unknown_models=(long,)), made_at=MADE)
    assert len(text) < 2 * len(page(both, made_at=MADE))
    assert "a" * 90 + "…" + "z" * 90 in text
