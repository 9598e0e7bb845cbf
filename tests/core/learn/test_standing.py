"""The router in service beside the single models, on the newest test questions."""

from datetime import timedelta
from pathlib import Path

import pytest

from flywheel_core.config import Config
from flywheel_core.lake.layout import Layout
from flywheel_core.learn.registry import Registry
from flywheel_core.learn.standing import DAYS, standing
from tests.core.learn import toy
from tests.core.learn.toy import FIRST, SKILL

THE_WRONG_WAY_ROUND = {"story": "coder", "code": "all-round"}
BY_KIND = {"story": "all-round", "code": "coder"}
ENOUGH, FEW = 600, 110


def serve(root: Path, rules: dict[str, str], default: str = "coder") -> tuple[Layout, Config]:
    """Put a router in service whose data folder has a day of questions."""
    config = toy.config(root)
    layout = Layout(root)
    toy.make_day(layout, config, FIRST, ENOUGH)
    toy.publish(layout, "serving", default, rules)
    Registry(layout, toy.verify).promote("serving", kind="promoted", by="tests", reason="", since=None)
    return layout, config


def test_a_model_that_is_better_than_the_router_is_named_with_its_gain(tmp_path: Path) -> None:
    found = standing(*serve(tmp_path, THE_WRONG_WAY_ROUND), toy.CRAFT)
    assert found is not None
    better = found.better[0]
    assert better.model == "all-round"
    assert 0 < better.lower < better.gain
    assert better.gain == pytest.approx((SKILL["all-round", "story"] - SKILL["coder", "story"]) / 2, abs=0.15)
    assert all(one.gain <= better.gain for one in found.better)
    assert (found.version, found.last) == ("serving", FIRST)


def test_no_model_is_named_where_the_router_is_better_or_the_same(tmp_path: Path) -> None:
    """A router that always asks one model is compared with that model too."""
    by_kind = standing(*serve(tmp_path / "a", BY_KIND), toy.CRAFT)
    always = standing(*serve(tmp_path / "b", {}, "all-round"), toy.CRAFT)
    for found in (by_kind, always):
        assert found is not None and found.questions > 100
        assert found.better == []


def test_a_change_shows_although_the_days_before_were_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the last days count; days that were left out count as days."""
    layout, config = serve(tmp_path, BY_KIND)
    monkeypatch.setitem(SKILL, ("coder", "code"), 0.05)
    later = FIRST + timedelta(days=DAYS)
    toy.make_day(layout, config, later, ENOUGH // 2)
    found = standing(layout, config, toy.CRAFT)
    assert found is not None
    assert (found.first, found.last) == (FIRST + timedelta(days=1), later)
    assert [one.model for one in found.better] == ["all-round"]
    assert found.questions < ENOUGH // 4, "the first day's questions are not among them"


def test_the_default_model_stands_in_for_a_model_that_is_gone(tmp_path: Path) -> None:
    """As in gateways; otherwise no question for which the router chooses it could be compared."""
    gone = standing(*serve(tmp_path / "a", {"code": "gone", "story": "all-round"}), toy.CRAFT)
    whole = standing(*serve(tmp_path / "b", BY_KIND), toy.CRAFT)
    assert gone is not None and whole is not None
    assert gone.questions == whole.questions


def test_few_questions_say_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where one model is always right and the router always wrong."""
    for kind in toy.KINDS:
        monkeypatch.setitem(SKILL, ("all-round", kind), 1.0)
        monkeypatch.setitem(SKILL, ("coder", kind), 0.0)
    layout, config = serve(tmp_path, {})
    toy.make_day(layout, config, FIRST + timedelta(days=DAYS), FEW)
    found = standing(layout, config, toy.CRAFT)
    assert found is not None
    assert 1 < found.questions < 30
    assert found.better == []


def test_without_a_router_or_without_examples_there_is_nothing_to_compare(tmp_path: Path) -> None:
    assert standing(Layout(tmp_path), toy.config(tmp_path), toy.CRAFT) is None
