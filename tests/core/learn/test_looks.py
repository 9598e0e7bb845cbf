"""Judgements in the promotion log: each is made once, and looks are counted since the last promotion."""

from pathlib import Path

import pytest

from flywheel_core.errors import RouterError
from flywheel_core.learn.promotion_log import Looks
from tests.core.learn.folders import promote, registry

DAY = "2026-01-06"


def test_a_judgement_is_made_once_for_a_champion_a_challenger_and_a_day(tmp_path: Path) -> None:
    found = registry(tmp_path, "a", "b")
    champion = promote(found, "a")
    seen = []

    def judge(version: str, day: str, questions: int) -> None:
        found.record_judgement(
            champion,
            version,
            day,
            lambda looks: (seen.append(looks) or "no", {"look": looks.taken + 1, "questions": questions}),  # type: ignore[func-returns-value]  # append is called for its side effect
            by="tests",
        )

    judge("b", "2026-01-06", 300)
    judge("b", "2026-01-06", 300)
    judge("b", "2026-01-07", 400)
    assert [looks.taken for looks in seen] == [0, 1]
    assert (found.looks(champion).taken, found.looks(champion).last_questions) == (2, 400)
    assert not any(record.took_effect for record in found.history() if record.entry.kind == "judged")


def test_looks_begin_anew_with_each_promotion(tmp_path: Path) -> None:
    found = registry(tmp_path, "a", "b")
    first = promote(found, "a")
    found.record_judgement(first, "b", DAY, lambda _: ("", {"look": 1, "questions": 300}), by="tests")
    second = promote(found, "b")
    assert found.looks(second).taken == 0
    with pytest.raises(RouterError, match="somebody else promoted"):
        found.record_judgement(first, "a", DAY, lambda _: ("", {}), by="tests")


def test_a_renewed_best_single_model_goes_on_with_the_looks(tmp_path: Path) -> None:
    found = registry(tmp_path, "a", "b", "c", "d")
    first = found.promote("a", kind="first", by="tests", reason="best", since=None, last_day=DAY)
    found.record_judgement(first, "c", DAY, lambda _: ("no", {"look": 1, "questions": 250}), by="tests")
    renewed = found.promote("b", kind="renewed", by="tests", reason="best", since=None, last_day="2026-01-07")
    assert found.judgements(renewed) == []
    assert found.looks(renewed) == Looks(1, 250)
    found.record_judgement(renewed, "c", DAY, lambda _: ("no", {"look": 2, "questions": 300}), by="tests")
    again = found.promote("a", kind="renewed", by="tests", reason="best", since=None, last_day="2026-01-08")
    assert found.looks(again) == Looks(2, 300)
    assert found.looks(promote(found, "d")) == Looks()


def test_not_yet_spends_no_look(tmp_path: Path) -> None:
    found = registry(tmp_path, "a", "b")
    champion = promote(found, "a")
    found.record_judgement(champion, "b", DAY, lambda _: ("few", {"look": None, "questions": 10}), by="tests")
    assert found.looks(champion).taken == 0


def test_a_challenger_that_had_no_look_is_judged_again_and_written_down_if_that_changed(
    tmp_path: Path,
) -> None:
    found = registry(tmp_path, "a", "b")
    champion = promote(found, "a")
    for reason in ("few", "few", "more", "more", "few"):
        figures = {"look": None, "questions": 10}
        found.record_judgement(champion, "b", DAY, lambda _, said=(reason, figures): said, by="tests")  # type: ignore[misc]  # the default binds the turn's own values
    assert [entry.reason for entry in found.judgements(champion)] == ["few", "more", "few"]
