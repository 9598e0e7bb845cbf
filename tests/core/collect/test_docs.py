"""docs/collect.md agrees with the code: its example runs, and its tables of codes are complete."""

import asyncio
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from flywheel_core.collect.answer import ANSWER_ERRORS
from flywheel_core.collect.scoring import SCORE_REASONS
from flywheel_core.config_file import to_yaml
from flywheel_core.errors import SKIP_CODES
from flywheel_core.prompt import PROMPT_RULE
from flywheel_core.records import DataPoint
from tests.core.collect.outside import CANDIDATES, Outside

TEXT = (Path(__file__).parents[3] / "docs" / "collect.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("codes", [SKIP_CODES, ANSWER_ERRORS, SCORE_REASONS], ids=["skip", "answer", "score"])
def test_every_code_is_documented_with_its_meaning(codes: dict[str, str]) -> None:
    """Each code and its meaning are in one row."""
    rows = set(re.findall(r"^\| `(\w+)` \| (.+) \|$", TEXT, re.MULTILINE))
    assert set(codes.items()) <= rows


def test_the_page_names_the_prompt_rule_in_use() -> None:
    assert f"The prompt by rule `{PROMPT_RULE}`" in TEXT


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lines, five at most, run as they stand and give a data point."""
    found = re.search(r"```python\n(.+?)```", TEXT, re.DOTALL)
    assert found is not None
    lines = found[1].strip().splitlines()
    assert len([line for line in lines if line.strip()]) <= 5
    imports = "\n".join(line for line in lines if line.startswith("from"))
    rest = "\n".join(line for line in lines if not line.startswith("from"))
    source = f"{imports}\nasync def example():\n{textwrap.indent(rest, '    ')}\n    return point\n"

    async def main() -> DataPoint:
        async with Outside() as world:
            file = tmp_path / "flywheel.yaml"
            await asyncio.to_thread(file.write_text, to_yaml(world.config()), "utf-8")
            monkeypatch.setenv("FLYWHEEL_CONFIG", str(file))
            names: dict[str, Any] = {}
            exec(source, names)
            point: DataPoint = await names["example"]()
            return point

    assert asyncio.run(main()).scores == dict.fromkeys(CANDIDATES, 0.5)
