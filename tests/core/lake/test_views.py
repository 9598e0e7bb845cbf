"""SQL over the tables and datasets in place."""

from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from flywheel_core.lake.dataset import build_dataset
from flywheel_core.lake.dataset_files import EXAMPLES_FILE
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.schemas import EXAMPLES, TABLES
from flywheel_core.lake.tables import read_table
from flywheel_core.lake.views import connect, damage_in, write_views_file
from tests.core.lake.lakes import CONFIG, DAY, build_day, point, write_raw


@pytest.fixture
def filled(layout: Layout) -> Iterator[Layout]:
    """A data folder with one day of two points, all its tables and a dataset."""
    write_raw(layout, [point("a", {"big": 0.9, "coder": 0.5}), point("b", {"big": 0.25, "coder": 0.5})])
    build_day(layout)
    build_dataset(layout, DAY, CONFIG)
    yield layout


def test_every_table_and_dataset_is_a_view(filled: Layout) -> None:
    with connect(filled, CONFIG) as connection:
        counts = {
            name: connection.execute(f"select count(*) from {name}").fetchall()[0][0]
            for name in (*TABLES, "training_dataset", "dataset_examples", "models")
        }
        assert counts["responses"] == 4
        assert counts["training_examples"] == counts["training_dataset"] == counts["dataset_examples"] == 2
        assert counts["models"] == 4
        version = connection.execute("select distinct version from training_dataset").fetchall()
        assert version == [(build_dataset(filled, DAY, CONFIG).version,)]


@pytest.mark.parametrize("older", ["20250101-0123456789ab", "20270101-0123456789ab"])
def test_datasets_of_an_earlier_format_are_read_beside_others(filled: Layout, older: str) -> None:
    """A version is never changed, so after an upgrade some lack a column, which is null for them."""
    made = build_dataset(filled, DAY, CONFIG)
    path = filled.dataset(older) / EXAMPLES_FILE
    path.parent.mkdir()
    pl.read_parquet(made.path / EXAMPLES_FILE).drop("for_scores").write_parquet(path)
    with connect(filled, CONFIG) as connection:
        rows = connection.execute("select version, for_scores from dataset_examples order by all").fetchall()
        latest = connection.execute("select for_scores from training_dataset").fetchall()
    assert sorted(rows) == sorted([(made.version, True)] * 2 + [(older, None)] * 2)
    assert latest == [(True,)] * 2


def test_the_latest_dataset_may_be_of_an_earlier_format(filled: Layout) -> None:
    path = build_dataset(filled, DAY, CONFIG).path / EXAMPLES_FILE
    pl.read_parquet(path).drop("for_scores").write_parquet(path)
    with connect(filled, CONFIG) as connection:
        found = connection.execute("select id is null, for_scores from training_dataset").fetchall()
    assert found == [(False, None)] * 2


@pytest.mark.parametrize("older", [DAY - timedelta(days=1), DAY + timedelta(days=1)])
def test_tables_of_an_earlier_version_are_read_beside_others(layout: Layout, older: date) -> None:
    """Days that are not made again lack a new column, which is null for them, whichever day comes first."""
    write_raw(layout, [point("a", {"big": 0.5}, tenant="shop", asked={"big": 0.25})])
    build_day(layout)
    rows = read_table(layout, "training_examples")
    earlier = pl.col("outcomes").list.eval(pl.struct(pl.element().struct.field("model", "score")))
    path = layout.table("training_examples", older)
    rows.with_columns(pl.lit(older).alias("day"), earlier).drop("tenant").write_parquet(path)
    query = "select day, tenant, outcomes[1].score, outcomes[1].asked from training_examples"
    with connect(layout, CONFIG) as connection:
        found = connection.execute(query).fetchall()
        columns = [row[0] for row in connection.execute("describe training_examples").fetchall()]
    assert set(found) == {(DAY, "shop", 0.5, 0.25), (older, None, 0.5, None)}
    assert columns == TABLES["training_examples"].names


@pytest.mark.parametrize(
    ("where", "hidden"),
    [
        ("tables/responses/2026-01-01.parquet", ["responses"]),
        ("datasets/20250101-0/examples.parquet", ["dataset_examples"]),
        ("datasets/20990101-0/examples.parquet", ["dataset_examples", "training_dataset"]),
    ],
)
def test_a_file_that_cannot_be_read_stops_only_queries_of_its_view(
    filled: Layout, where: str, hidden: list[str]
) -> None:
    """An old dataset that nobody asks for must not keep anybody from today's tables."""
    path = filled.root / where
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"no table")
    (path.parent / "dataset.json").write_bytes(b"{")
    with connect(filled, CONFIG) as connection:
        for name in (*TABLES, "training_dataset", "dataset_examples"):
            columns = [row[0] for row in connection.execute(f"describe {name}").fetchall()]
            assert [column for column in columns if column != "version"] == (
                TABLES.get(name) or EXAMPLES
            ).names
            if name not in hidden:
                connection.execute(f"select count(*) from {name}").fetchall()
                continue
            with pytest.raises(duckdb.Error) as caught:
                connection.execute(f"select count(*) from {name}").fetchall()
            found = damage_in(filled, caught.value)
            assert found is not None
            assert found.code == "storage_failed"
            assert str(path) in found.message


def test_a_later_day_that_cannot_be_read_is_damage_and_a_wrong_query_is_not(filled: Layout) -> None:
    """The first file alone gives a view its columns, so a later one is met by the query."""
    path = filled.table("responses", DAY + timedelta(days=1))
    path.write_bytes(b"no table")
    with connect(filled, CONFIG) as connection:
        with pytest.raises(duckdb.Error) as caught:
            connection.execute("select max(model) from responses").fetchall()
        found = damage_in(filled, caught.value)
        assert found is not None
        assert str(path) in found.message
        for wrong in ("select nothing from rejects", "selec 1", f"select int '{path}'"):
            with pytest.raises(duckdb.Error) as caught:
                connection.execute(wrong).fetchall()
            assert damage_in(filled, caught.value) is None, wrong


def test_without_any_file_the_views_are_empty_with_the_same_columns(layout: Layout, filled: Layout) -> None:
    empty = Layout(layout.root / "elsewhere")
    with connect(empty, CONFIG) as bare, connect(filled, CONFIG) as full:
        for name in (*TABLES, "training_dataset"):
            assert bare.execute(f"select * from {name}").fetchall() == []
            assert (
                bare.execute(f"describe {name}").fetchall() == full.execute(f"describe {name}").fetchall()
            ), name
    assert not empty.root.exists()


def test_columns_are_those_of_the_schemas(filled: Layout) -> None:
    with connect(filled, CONFIG) as connection:
        for name, schema in {**TABLES, "training_dataset": EXAMPLES}.items():
            columns = [row[0] for row in connection.execute(f"describe {name}").fetchall()]
            assert [column for column in columns if column != "version"] == schema.names


@pytest.mark.parametrize(
    "statement",
    [
        "copy (select 1) to '{outside}/x.csv'",
        "select * from read_text('/etc/hostname')",
        "set memory_limit = '64GB'",
        "set enable_external_access = true",
        "attach '{outside}/x.duckdb'",
    ],
)
def test_nothing_beyond_the_data_can_be_reached(filled: Layout, tmp_path: Path, statement: str) -> None:
    with connect(filled, CONFIG) as connection, pytest.raises(duckdb.Error):
        connection.execute(statement.format(outside=tmp_path))


def test_a_connection_leaves_no_scratch(filled: Layout) -> None:
    with connect(filled, CONFIG) as connection:
        connection.execute("select count(*) from responses").fetchall()
    assert not list(filled.root.glob(".scratch/*"))


def test_the_views_file_works_in_any_client(filled: Layout) -> None:
    path = write_views_file(filled)
    with closing(duckdb.connect()) as connection:
        connection.execute(path.read_text(encoding="utf-8"))
        rows = connection.execute("select model, score from responses where data_point_id = 'a'").fetchall()
        assert rows == [("big", 0.9), ("coder", 0.5)]
        assert connection.execute("select count(*) from training_dataset").fetchall() == [(2,)]


@pytest.mark.parametrize("name", ["it's [1]*", "back\\slash", "a\\*[1] {b,c}\\"])
def test_a_data_folder_with_odd_characters_works(tmp_path: Path, name: str) -> None:
    layout = Layout(tmp_path / name)
    write_raw(layout, [point("a", {"big": 0.9, "coder": 0.5})])
    build_day(layout)
    build_dataset(layout, DAY, CONFIG)
    with connect(layout, CONFIG) as connection:
        assert connection.execute("select count(*) from training_dataset").fetchall() == [(1,)]


@pytest.mark.parametrize(("name", "neighbour"), [("fly*", "flywheel"), ("fly[1]", "fly1"), ("fly?", "fly2")])
def test_a_data_folder_whose_name_is_a_pattern_holds_nothing_of_its_neighbour(
    tmp_path: Path, name: str, neighbour: str
) -> None:
    for folder, points in ((neighbour, "abc"), (name, "xy")):
        layout = Layout(tmp_path / folder)
        write_raw(layout, [point(one, {"big": 0.9, "coder": 0.5}) for one in points])
        build_day(layout)
        dataset = build_dataset(layout, DAY, CONFIG)
    assert read_table(layout, "training_examples", [DAY])["data_point_id"].to_list() == ["x", "y"]
    assert dataset.manifest["counts"]["points"] == 2
    with connect(layout, CONFIG) as connection:
        assert connection.execute("select id from training_dataset order by id").fetchall() == [
            ("x",),
            ("y",),
        ]
