"""The table with which the demo ends: what each way to choose a model achieves, computed by hand beside it."""

from dataclasses import astuple, replace
from pathlib import Path

import pytest

from flywheel_cli.demo_learning import Policy, compare
from flywheel_cli.demo_setup import Stage, prepare
from flywheel_core.config import Config
from flywheel_core.records import DataPoint, Response


def stage(folder: Path, default: str) -> Stage:
    made = prepare(folder / "demo", usual_ports=False)
    config = Config.model_validate(
        {
            "models": {"big": {"category": "general"}, "math": {"category": "math"}},
            "routing": {"default_model": default, "fallback_models": []},
            "data_collection": {"training": {"candidate_models": ["big", "math"]}},
        }
    )
    return replace(made, config=config)


def point(big: float | None, math: float | None) -> DataPoint:
    """Return a data point in which a model without a score failed, after 50 ms and for nothing."""
    scores = {"big": big, "math": math}
    prices = {"big": (0.004, 300), "math": (0.001, 100)}
    responses = {
        model: Response(model, error="timeout", latency_ms=50)
        if score is None
        else Response(model, answer="42", cost=prices[model][0], latency_ms=prices[model][1])
        for model, score in scores.items()
    }
    return DataPoint(
        id="p", question="q", responses=responses, scores=scores, timestamp=0, source="tests", received_at=0.0
    )


POINTS = [point(0.8, 0.4), point(0.6, 1.0), point(0.7, None), point(0.5, 0.9)]


@pytest.mark.parametrize("default", ["big", "math"])
def test_each_way_to_choose_has_its_means(tmp_path: Path, default: str) -> None:
    """A failed answer counts as 0. The default model has a row of its own where it is not the best single one."""
    rows = compare(stage(tmp_path, default), POINTS, {"routed": ["big", "math", "math", "math"]})
    expected = [
        Policy("routed", (0.8 + 1.0 + 0.0 + 0.9) / 4, 1_000 * 0.006 / 4, 550 / 4),
        Policy("always math", 2.3 / 4, 1_000 * 0.003 / 4, 350 / 4),
        Policy("best single (big)", 2.6 / 4, 4.0, 300.0),
        Policy("random", 4.9 / 8, (4.0 + 0.75) / 2, (300 + 87.5) / 2),
        Policy("oracle", (0.8 + 1.0 + 0.7 + 0.9) / 4, 1_000 * 0.010 / 4, 800 / 4),
    ]
    if default == "big":
        del expected[1]
    assert [row.name for row in rows] == [row.name for row in expected]
    for row, wanted in zip(rows, expected, strict=True):
        assert astuple(row)[1:] == pytest.approx(astuple(wanted)[1:]), row.name
