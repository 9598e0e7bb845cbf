"""docs/data.md documents every column in its order, every label rule and every figure."""

import re
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pytest

from flywheel_core.config_data import TieRule
from flywheel_core.lake.chunks import REJECT_CODES
from flywheel_core.lake.engine import sql
from flywheel_core.lake.labels import RULES
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.meanings import MEANINGS
from flywheel_core.lake.schemas import EXAMPLES, TABLES
from flywheel_core.lake.tables import read_table
from flywheel_core.records import DataPoint, Response
from tests.core.lake.lakes import build_day, point, write_raw

TEXT = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
SHARED = "as in `responses`"
KINDS = "text|date|integer|number|boolean|list"


def section(heading: str) -> str:
    """Return the text below a heading, up to the next heading of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, f"docs/data.md has no section {heading}"
    return found[1]


def test_every_field_of_a_raw_line_is_documented() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", section("Fields of a data point"), re.MULTILINE)
    assert rows == [*DataPoint.__struct_fields__, *Response.__struct_fields__]


@pytest.mark.parametrize(("name", "schema"), [*TABLES.items(), ("examples.parquet", EXAMPLES)])
def test_a_table_is_documented_column_by_column(name: str, schema: pa.Schema) -> None:
    rows = re.findall(rf"^\| `(\w+)` \| (?:{KINDS}) \|", section(f"`{name}`"), re.MULTILINE)
    assert rows == schema.names


@pytest.mark.parametrize(("name", "schema"), [*TABLES.items(), ("examples.parquet", EXAMPLES)])
def test_every_column_has_a_meaning_and_it_is_the_documented_one(name: str, schema: pa.Schema) -> None:
    meanings = MEANINGS["training_dataset" if schema is EXAMPLES else name]
    documented = dict(
        re.findall(rf"^\| `(\w+)` \| (?:{KINDS}) \| (.+) \|$", section(f"`{name}`"), re.MULTILINE)
    )
    shared = {column: MEANINGS["responses"][column] for column, said in documented.items() if said == SHARED}
    assert {**documented, **shared} == meanings
    assert set(meanings) == set(schema.names)
    assert all(len(meaning) > 5 for meaning in meanings.values())


@pytest.mark.parametrize("table", MEANINGS)
def test_numbers_have_a_unit_or_a_range(table: str) -> None:
    """A figure without either cannot be interpreted; a count says what it counts."""
    known = re.compile(
        r"0\.\.1|from [01]|bytes|unix seconds|\bms\b|currency|UTC|how (many|often)|examples with it|models within|"
        r"answers without|data points in which|contests in which"
    )
    schema = EXAMPLES if table == "training_dataset" else TABLES[table]
    for column in schema:
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            assert known.search(MEANINGS[table][column.name]), (table, column.name)


def test_label_rules_are_documented_in_their_order() -> None:
    assert tuple(re.findall(r"^\| `(\w+)` \|", section("Label rules"), re.MULTILINE)) == RULES


def test_the_rules_in_the_sql_are_those_that_are_named() -> None:
    text = sql("labels")
    given = set(re.findall(r"\b(?:then|else) '(\w+)'(?! \|\|)", text))
    assert given | {f"tie_{preference}" for preference in get_args(TieRule)} == set(RULES)
    unlabelled = re.search(r"rule not in \((.*)\)", text)
    assert unlabelled
    assert tuple(re.findall(r"\w+", unlabelled[1])) == RULES[:3]
    header = text.partition("\nwith ")[0]
    assert [name for name in RULES if not re.search(rf"\b{name}\b", header)] == []


def test_codes_of_ingest_are_documented() -> None:
    assert all(f"`{code}`" in section("`rejects`") for code in REJECT_CODES)


def test_figures_of_the_quality_report_are_documented(layout: Layout) -> None:
    write_raw(layout, [point("a", {"big": 0.9, "stranger": 0.5}), b"null\n"])
    build_day(layout)
    report = read_table(layout, "quality_report").to_dicts()
    documented = dict(re.findall(r"^\| `(\w+)` \| (`.*) \|$", section("`quality_report`"), re.MULTILINE))
    for row in report:
        assert f"`{row['metric']}`" in documented[row["section"]]
    assert set(documented) == {row["section"] for row in report}
