"""Which script a text is in, and that a router does not judge texts in a script that it never saw."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from flywheel_core.learn.decision import ROUTER, UNFAMILIAR
from flywheel_core.learn.scripts import script_of, scripts_of
from flywheel_core.learn.settings import Learning
from flywheel_core.learn.why import grounds_of
from tests.core.learn.questions import CATEGORIES, frame, train

QUICK = Learning(trees=10, dimensions=16, folds=2, jobs=1)
SIGNS = {letter: chr(0x4E00 + 7 * number) for number, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}


def in_chinese(texts: list[str]) -> list[str]:
    """Write each letter as a Chinese character, without blanks: the same subjects, in another script."""
    return ["".join(SIGNS.get(letter, "") for letter in text) for text in texts]


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("What is the derivative of x²?", "Latin"),
        ("Qu\u2019est-ce que la dérivée d\u2019une fonction ?", "Latin"),
        ("求函数 f(x) 的导数", "Han and Kana"),
        ("微分とは何ですか", "Han and Kana"),
        ("미분이란 무엇입니까", "Hangul"),
        ("Что такое производная?", "Cyrillic"),
        ("ما هو المشتق", "Arabic"),
        ("อนุพันธ์คืออะไร", "Thai"),
        ("Solve sin θ + cos φ = ½ for θ ∈ [0, π]", "Latin"),
        ("Who wrote 红楼梦, and when did the author live?", "Latin"),
        ("用 Python 写一个 quicksort 函数", "Han and Kana"),
        ("2 + 2 = ? 🧮 ……", ""),
        ("", ""),
        ("\ud800", ""),
    ],
)
def test_the_script_of_a_text_is_that_of_its_letters(text: str, script: str) -> None:
    assert script_of(text) == script


def test_of_a_long_text_both_ends_are_read() -> None:
    assert script_of("导数是什么" * 500 + "derivative " * 50_000 + "导数是什么" * 500) == "Han and Kana"


def test_a_script_of_too_few_texts_does_not_count() -> None:
    texts = ["English"] * 12 + ["中文"] * 10 + ["русский"] * 9 + ["12"] * 50
    assert scripts_of(texts, 10.0) == ("Han and Kana", "Latin")
    assert scripts_of(texts + ["中文"] * 1_200, 10.0) == ("Han and Kana",)


def test_what_was_learned_in_one_script_is_not_used_in_another() -> None:
    """However few known n-grams make a text familiar: to Chinese routers, a quarter of an English text's seem known."""
    rows, asked = frame(600), frame(100, seed=9)["text"].to_list()
    chinese = rows.with_columns(pl.Series("text", in_chinese(rows["text"].to_list())))
    for learned, own, foreign, script in (
        (chinese, in_chinese(asked), asked, "Han and Kana"),
        (rows, asked, in_chinese(asked), "Latin"),
    ):
        router = train(learned, QUICK, version="v", categories=CATEGORIES).router
        assert router.policy.scripts == (script,)
        router = replace(router, policy=replace(router.policy, known_share=1e-6))
        assert np.mean([found.reason == ROUTER for found in router.decide_all(own)]) > 0.9
        strange = router.decide_all(foreign)
        assert {(found.model, found.reason) for found in strange} == {(router.best_single, UNFAMILIAR)}
        undecided = grounds_of(router, foreign[0]).undecided
        assert undecided == f"the text is in another script than the training questions: {script}"


def test_each_script_of_mixed_traffic_is_familiar() -> None:
    rows = frame(600)
    texts = rows["text"].to_list()
    mixed = rows.with_columns(pl.Series("text", [*texts[:300], *in_chinese(texts[300:])]))
    router = train(mixed, QUICK, version="v", categories=CATEGORIES).router
    assert router.policy.scripts == ("Han and Kana", "Latin")
    asked = frame(50, seed=9)["text"].to_list()
    assert UNFAMILIAR not in {found.reason for found in router.decide_all([*asked, *in_chinese(asked)])}
