"""The derived daily tables."""

import re
from collections.abc import Callable
from datetime import date
from importlib.resources import files
from pathlib import Path

import duckdb
import polars as pl
import pytest

from flywheel_core.errors import NoDataError, StorageError, UsageError
from flywheel_core.lake.dataset import build_dataset
from flywheel_core.lake.ingest import ingest_day
from flywheel_core.lake.labels import create_labels
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.schemas import TABLES
from flywheel_core.lake.tables import build_table, query_table, read_table
from tests.core.lake.lakes import (
    CONFIG,
    DAY,
    LATER,
    build_day,
    contents,
    point,
    write_mixed_day,
    write_raw,
)

NEXT = date(2026, 1, 6)


def test_every_point_is_an_example_with_rule_score_margin_and_outcomes(layout: Layout) -> None:
    write_mixed_day(layout)
    build_day(layout)
    rows = {row["data_point_id"]: row for row in read_table(layout, "training_examples").to_dicts()}
    assert {name: (row["rule"], row["label"]) for name, row in rows.items()} == {
        "clear": ("single_best", "math"),
        "tied": ("tie_declared", "general"),
        "failing": ("single_best", "general"),
        "low": ("below_min_score", None),
        "odd": ("unknown_model", None),
        "silent": ("too_few_scores", None),
    }
    assert (rows["clear"]["score"], rows["clear"]["margin"], rows["clear"]["text"]) == (
        1.0,
        0.75,
        "What is clear?",
    )
    assert (rows["low"]["best_model"], rows["low"]["score"], rows["low"]["margin"]) == ("big", 0.125, 0.125)
    counts = ("n_models", "n_scored", "n_failed", "n_tied")
    assert [rows["silent"][name] for name in counts] == [0, 0, 0, 0] and rows["silent"]["outcomes"] == []
    assert rows["failing"]["outcomes"] == [
        {"model": "algebra", "score": 0.5, "failed": False, "cost": 0.25, "latency_ms": 100.0, "asked": None},
        {"model": "big", "score": 0.625, "failed": False, "cost": 0.25, "latency_ms": 100.0, "asked": None},
        {"model": "coder", "score": None, "failed": True, "cost": None, "latency_ms": None, "asked": None},
    ]
    assert (rows["failing"]["n_models"], rows["failing"]["n_scored"], rows["failing"]["n_failed"]) == (
        3,
        2,
        1,
    )


def test_an_example_leads_to_its_raw_line(layout: Layout) -> None:
    write_mixed_day(layout)
    build_day(layout)
    for row in read_table(layout, "training_examples").to_dicts():
        raw = (layout.raw / row["raw_file"]).read_bytes()[row["byte_offset"] :]
        assert f'"id": "{row["data_point_id"]}"'.encode() in raw.split(b"\n")[0]


def test_the_label_distribution_has_every_category(layout: Layout) -> None:
    write_mixed_day(layout)
    build_day(layout)
    rows = {row["label"]: row for row in read_table(layout, "label_distribution").to_dicts()}
    assert {label: (row["examples"], row["share"]) for label, row in rows.items()} == {
        "code": (0, 0.0),
        "general": (2, 2 / 3),
        "math": (1, 1 / 3),
    }
    assert rows["general"]["mean_score"] == (0.75 + 0.625) / 2
    assert rows["code"]["mean_score"] is None
    assert [rows["code"][side] for side in ("train", "validation", "test")] == [0, 0, 0]
    assert sum(rows["general"][side] for side in ("train", "validation", "test")) == 2


def test_a_day_without_a_label_has_no_shares(layout: Layout) -> None:
    """0 would pull down a mean over days."""
    write_raw(layout, [point("poor", {"big": 0.2, "algebra": 0.1})])
    build_day(layout)
    rows = read_table(layout, "label_distribution").select("label", "examples", "share").rows()
    assert rows == [("code", 0, None), ("general", 0, None), ("math", 0, None)]


def test_the_label_distribution_counts_each_part_of_the_split(layout: Layout) -> None:
    write_raw(layout, [point("x" * number, {"big": 0.9, "algebra": 0.1}) for number in range(1, 61)])
    build_day(layout)
    split = read_table(layout, "training_examples")["split"].to_list()
    found = read_table(layout, "label_distribution").row(
        by_predicate=pl.col("label") == "general", named=True
    )
    counts = [split.count(side) for side in ("train", "validation", "test")]
    assert counts[0] > counts[2] > counts[1] > 0
    assert [found[side] for side in ("train", "validation", "test")] == counts


def test_building_again_leaves_the_same_bytes_and_nothing_else(layout: Layout) -> None:
    write_mixed_day(layout)
    build_day(layout)
    first = contents(layout.root)
    build_day(layout)
    assert contents(layout.root) == first


def test_a_table_whose_source_is_made_again_meanwhile_is_made_of_the_new_one(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Points have other numbers then, and would get each other's labels."""
    write_mixed_day(layout)
    build_day(layout)
    made_again: list[object] = []

    def label_late(connection: duckdb.DuckDBPyConnection) -> None:
        create_labels(connection)
        if not made_again:
            made_again.append(write_raw(layout, [point("late", {"big": 0.9, "coder": 0.1})], writer="-first"))
            ingest_day(layout, DAY, CONFIG, today=LATER)

    with monkeypatch.context() as patch:
        patch.setattr("flywheel_core.lake.tables.create_labels", label_late)
        built = build_table(layout, "training_examples", DAY, CONFIG)
    assert build_table(layout, "training_examples", DAY, CONFIG) == built


def test_a_table_whose_source_is_made_again_all_the_time_is_an_error(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mixed_day(layout)
    build_day(layout)

    def label_late(connection: duckdb.DuckDBPyConnection) -> None:
        create_labels(connection)
        ingest_day(layout, DAY, CONFIG, today=LATER)

    monkeypatch.setattr("flywheel_core.lake.unchanged.WAIT_SECONDS", 0.001)
    monkeypatch.setattr("flywheel_core.lake.tables.create_labels", label_late)
    with pytest.raises(StorageError, match="made again each time"):
        build_table(layout, "training_examples", DAY, CONFIG)


def test_what_is_written_is_what_is_returned(layout: Layout) -> None:
    write_mixed_day(layout)
    ingest_day(layout, DAY, CONFIG, today=LATER)
    built = build_table(layout, "training_examples", DAY, CONFIG)
    assert (built.name, built.day, built.rows) == ("training_examples", DAY, 6)
    assert built.path == layout.table("training_examples", DAY)
    assert len(built.sha256) == 64


def test_days_are_read_in_order_and_absent_ones_left_out(layout: Layout) -> None:
    for day in (NEXT, DAY):
        write_raw(layout, [point(f"{day}", {"big": 0.5, "coder": 0.25})], day)
        build_day(layout, day)
    assert read_table(layout, "training_examples")["day"].to_list() == [DAY, NEXT]
    assert read_table(layout, "training_examples", [NEXT, LATER])["day"].to_list() == [NEXT]
    assert len(read_table(layout, "training_examples", [LATER])) == 0


def test_a_damaged_file_is_named_with_what_to_do(layout: Layout) -> None:
    for day in (NEXT, DAY):
        write_raw(layout, [point(f"{day}", {"big": 0.5, "coder": 0.25})], day)
        build_day(layout, day)
    damaged = layout.table("label_distribution", NEXT)
    whole = damaged.read_bytes()
    uses: list[Callable[[], object]] = [
        lambda: read_table(layout, "label_distribution", [DAY, NEXT]),
        lambda: query_table(layout, "label_distribution", [DAY, NEXT], lambda rows: rows),
    ]
    for at in (
        4,
        len(whole) - 8,
    ):  # the first rows, which only reading them can find damaged, and the end of the footer
        damaged.write_bytes(whole[:at] + b"\xff" * 8 + whole[at + 8 :])
        for use in uses:
            with pytest.raises(StorageError, match=re.escape(str(damaged))) as told:
                use()
            assert (
                told.value.hint == f"build the day again: flywheel ingest {NEXT}, then flywheel label {NEXT}"
            )


def test_a_damaged_table_that_another_is_made_from_is_named_with_what_to_do(layout: Layout) -> None:
    write_raw(layout, [point("a", {"big": 0.5, "coder": 0.25})])
    build_day(layout, DAY)
    for name in ("training_examples", "responses"):
        damaged = layout.table(name, DAY)
        damaged.write_bytes(damaged.read_bytes()[:-8])
        with pytest.raises(StorageError, match=re.escape(str(damaged))) as told:
            if name == "responses":
                build_table(layout, "training_examples", DAY, CONFIG)
            else:
                build_dataset(layout, DAY, CONFIG)
        assert told.value.hint == f"build the day again: flywheel ingest {DAY}, then flywheel label {DAY}"


def test_a_table_of_another_version_is_named_with_what_it_lacks(layout: Layout) -> None:
    write_raw(layout, [point("a", {"big": 0.5, "coder": 0.25})])
    build_day(layout, DAY)
    path = layout.table("training_examples", DAY)
    rows = read_table(layout, "training_examples")
    earlier = pl.col("outcomes").list.eval(
        pl.struct(pl.element().struct.field("model", "score", "failed", "cost", "latency_ms"))
    )
    rows.with_columns(earlier).drop("tenant").write_parquet(path)
    uses: list[Callable[[], object]] = [
        lambda: build_dataset(layout, DAY, CONFIG),
        lambda: build_table(layout, "label_distribution", DAY, CONFIG),
        lambda: read_table(layout, "training_examples"),
        lambda: query_table(layout, "training_examples", [DAY], lambda rows: rows),
    ]
    for use in uses:
        with pytest.raises(StorageError, match=r"has no tenant, outcomes\.asked: another version") as told:
            use()
        assert str(path) in told.value.message
        assert told.value.hint == "build all days again: flywheel ingest all, then flywheel label all"


def test_a_table_of_a_later_version_is_read_without_its_further_columns(layout: Layout) -> None:
    for day in (DAY, NEXT):
        write_raw(layout, [point(f"{day}", {"big": 0.5, "coder": 0.25})], day)
        build_day(layout, day)
    for name in ("model_leaderboard", "responses"):
        rows = read_table(layout, name)
        later = read_table(layout, name, [NEXT])
        later.select(pl.lit(1).alias("further"), pl.all()).write_parquet(layout.table(name, NEXT))
        assert read_table(layout, name).equals(rows)
        assert query_table(layout, name, [DAY, NEXT], lambda rows: rows).equals(rows)


def test_a_table_whose_columns_another_version_wrote_in_another_type_is_named(layout: Layout) -> None:
    for day in (DAY, NEXT):
        write_raw(layout, [point(f"{day}", {"big": 0.5, "coder": 0.25})], day)
        build_day(layout, day)
    path = layout.table("model_leaderboard", NEXT)
    later = read_table(layout, "model_leaderboard", [NEXT])
    later.with_columns(pl.col("wins", "contests").cast(pl.Float64)).write_parquet(path)
    uses: list[Callable[[], object]] = [
        lambda: read_table(layout, "model_leaderboard"),
        lambda: query_table(layout, "model_leaderboard", [DAY, NEXT], lambda rows: rows),
    ]
    for use in uses:
        with pytest.raises(StorageError, match="contests, wins in another type: another version") as told:
            use()
        assert str(path) in told.value.message
        assert told.value.hint == "build all days again: flywheel ingest all, then flywheel label all"


def test_a_table_that_is_missing_is_named(layout: Layout) -> None:
    with pytest.raises(NoDataError, match="responses for 2026-01-05"):
        build_table(layout, "training_examples", DAY, CONFIG)


def test_other_names_are_refused(layout: Layout) -> None:
    with pytest.raises(UsageError, match="derived"):
        build_table(layout, "responses", DAY, CONFIG)
    with pytest.raises(UsageError, match="daily table"):
        read_table(layout, "nothing")


@pytest.mark.parametrize(
    "word",
    [
        "arg_max",
        "arg_min",
        "hash(",
        "quantile",
        "percentile",
        "median(",
        "random(",
        "sample",
        "avg(",
        "first(",
        "json",
    ],
)
def test_the_sql_keeps_to_what_gives_the_same_rows_on_every_engine(word: str) -> None:
    texts = {
        entry.name: entry.read_text(encoding="utf-8").lower()
        for entry in files("flywheel_core.lake").joinpath("sql").iterdir()
    }
    assert len(texts) >= 10
    used = [
        name
        for name, text in texts.items()
        if word in "\n".join(line.partition("--")[0] for line in text.splitlines())
    ]
    assert not used


def test_the_data_folder_may_have_any_name(tmp_path: Path) -> None:
    """Brackets, stars and quotes in it must not act as patterns or as SQL."""
    layout = Layout(tmp_path / """it's "data" [1] * {a,b} ?""")
    write_raw(layout, [point("a", {"big": 0.9, "coder": 0.5}), point("b", {"big": 0.25, "coder": 0.5})])
    build_day(layout)
    assert all(read_table(layout, name).height > 0 for name in TABLES if name != "rejects")
    assert query_table(layout, "training_examples", [DAY], lambda rows: rows).height == 2
