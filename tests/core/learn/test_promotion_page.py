"""docs/promotion.md explains every figure of a judgement that Dagster and the log show."""

import re
from dataclasses import fields
from pathlib import Path

from flywheel_core.learn.promote import Judgement, Slice

PAGE = (Path(__file__).parents[3] / "docs" / "promotion.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("## In Dagster")[2].partition("| figure | meaning |")[2].partition("\n\n")[0]


def test_every_figure_of_a_judgement_is_explained() -> None:
    shown = {field.name for field in fields(Judgement)} - {"outcome", "reason"}
    explained = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", TABLE, re.MULTILINE))))
    assert explained == shown | {"newest", "champion_age_days"}
    (of_slices,) = re.findall(r"^\| `slices` \| (.*) \|$", TABLE, re.MULTILINE)
    assert re.findall(r"`(\w+)`", of_slices) == [field.name for field in fields(Slice)]
