"""docs/data.md names every table and column as they are."""

import re
from pathlib import Path

import pyarrow as pa
import pytest

from flywheel_core.lake.schemas import EXAMPLES, TABLES

TEXT = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "schema"), [*TABLES.items(), ("examples.parquet", EXAMPLES)])
def test_a_table_is_documented_column_by_column(name: str, schema: pa.Schema) -> None:
    section = TEXT.split(f"### `{name}`\n")[1].split("\n## ")[0].split("\n### ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.M) == schema.names


def test_every_label_rule_is_documented() -> None:
    sql = (Path(__file__).parents[3] / "flywheel_core" / "lake" / "sql" / "labels.sql").read_text(
        encoding="utf-8"
    )
    named = set(re.findall(r"'((?:too_few|below|unknown|single|tie)_\w+)'", sql))
    assert named
    assert all(f"| `{rule}` |" in TEXT for rule in named)
