"""Text features are the same for one text and for many, on any number of threads, in any script."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel_core.errors import NoDataError, RouterError
from flywheel_core.learn.features import FEWEST_ANSWERED, SHORTEST, TextFeatures
from flywheel_core.learn.text import SURFACE_NAMES, count_grams, question_group, surface
from tests.core.learn.questions import frame

TEXTS = [*frame(300)["text"].to_list(), *["请问什么是导数？", "如何写一个循环？"] * 20]
FEATURES = TextFeatures.fit(TEXTS, dimensions=16, rows=1_000, seed=0)


@given(st.lists(st.text(max_size=200), min_size=1, max_size=5))
def test_a_text_counts_the_same_alone_and_among_others(texts: list[str]) -> None:
    for together, kind in zip(count_grams(texts), (0, 1), strict=True):
        for number, text in enumerate(texts):
            alone = count_grams([text])[kind]
            own = together.owners == number
            assert together.buckets[own].tolist() == alone.buckets.tolist()
            assert together.counts[own].tolist() == alone.counts.tolist()


@given(st.text(max_size=500))
def test_any_text_has_finite_features(text: str) -> None:
    features, known = FEATURES.transform([text])
    assert features.shape == (1, FEATURES.dimensions + len(SURFACE_NAMES))
    assert np.isfinite(features).all()
    assert 0 <= known[0] <= 1


def test_features_depend_neither_on_company_nor_on_threads() -> None:
    texts = [*TEXTS[:600], "", "\ud800 lone surrogate", "x" * 10_000]
    together, known = FEATURES.transform(texts)
    threads, _ = FEATURES.transform(texts, jobs=3)
    alone = np.concatenate([FEATURES.transform([text])[0] for text in texts])
    np.testing.assert_array_equal(together, threads)
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert known.shape == (len(texts),)


def test_case_and_white_space_do_not_matter_to_n_grams() -> None:
    first, second = FEATURES.transform(["What is  the Matrix", "what is the\nmatrix"])[0][:, :16]
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_a_script_that_training_never_saw_is_little_known() -> None:
    _, known = FEATURES.transform(["Что такое производная функции", TEXTS[0]])
    assert known[0] < 0.3 < known[1]


def test_latent_vectors_have_about_length_one_in_every_language() -> None:
    """What the directions hold of a Chinese text is less than of an English one, as more of its n-grams are rare."""
    random = np.random.default_rng(0)
    characters = np.array(list(map(chr, range(0x4E00, 0x5E00))))
    words = ["".join(random.choice(characters, 2)) for _ in range(60)]
    chinese = [
        "".join([*random.choice(words, 2), *random.choice(characters, 12), *random.choice(words, 2)])
        for _ in range(300)
    ]
    features = TextFeatures.fit([*TEXTS, *chinese], dimensions=64, rows=1_000, seed=0)
    as_they_come = TextFeatures.from_arrays(
        {name: array for name, array in features.arrays().items() if name != "lengths"}
    )
    own, scaled = (
        [np.median(np.linalg.norm(one.transform(texts)[0][:, :64], axis=1)) for texts in (TEXTS, chinese)]
        for one in (as_they_come, features)
    )
    assert own[0] > 2 * own[1]
    np.testing.assert_allclose(scaled, [1.0, 1.0], atol=0.1)


def test_of_a_text_that_the_directions_hardly_hold_no_more_is_made_than_of_others() -> None:
    """Divided by its length, however small, rounding alone would decide."""
    known = FEATURES.arrays()
    faint = {name: known[name] * np.float32(0.001) for name in ("directions", "lengths")}
    plain = TextFeatures.from_arrays({**known, "lengths": known["lengths"][:, :0]})
    own, scaled = (
        one.transform(TEXTS[:9])[0][:, :16] for one in (plain, TextFeatures.from_arrays({**known, **faint}))
    )
    np.testing.assert_allclose(scaled, 0.001 * own / SHORTEST, rtol=1e-4, atol=1e-7)


def test_arrays_bring_the_features_back() -> None:
    again = TextFeatures.from_arrays(FEATURES.arrays())
    np.testing.assert_array_equal(again.transform(TEXTS[:9])[0], FEATURES.transform(TEXTS[:9])[0])


def test_arrays_that_do_not_fit_together_are_refused() -> None:
    arrays = FEATURES.arrays() | {"rarity": FEATURES.rarity[:-1]}
    with pytest.raises(RouterError, match="do not fit together"):
        TextFeatures.from_arrays(arrays)


def test_compacted_features_are_sums_of_the_full_ones() -> None:
    mix = np.random.default_rng(0).normal(size=(FEATURES.dimensions, 2))
    full = FEATURES.transform(TEXTS[:20])[0]
    small = FEATURES.compact(4, mix).transform(TEXTS[:20])[0]
    np.testing.assert_allclose(small[:, :4], full[:, :4], atol=1e-5)
    np.testing.assert_allclose(small[:, 4:6], full[:, : FEATURES.dimensions] @ mix, atol=1e-4)
    np.testing.assert_array_equal(small[:, 6:], full[:, FEATURES.dimensions :])


def test_no_text_is_refused() -> None:
    with pytest.raises(NoDataError):
        TextFeatures.fit([], dimensions=4, rows=10, seed=0)


def test_questions_that_differ_in_case_space_and_digits_are_one_group() -> None:
    assert question_group("What is 12 + 3?") == question_group("what  is 99+4?\n")
    assert question_group("What is 12 + 3?") != question_group("What is 1 + 3?")


def test_the_form_of_a_multiple_choice_question_is_read() -> None:
    measures = dict(
        zip(SURFACE_NAMES, surface("What is 2 + 2?\nA. 3\nB. 4.5 kg\nC. a long answer"), strict=True)
    )
    assert measures["options"] == pytest.approx(np.log1p(3))
    assert measures["options_with_digits"] == pytest.approx(2 / 3)
    assert measures["ends_with_question"] == 1
    assert measures["lines"] == pytest.approx(np.log1p(3))


@pytest.mark.parametrize("size", [3_000, 20_000])
def test_both_ends_of_a_long_text_are_read(size: int) -> None:
    about = " ".join(f"matter{number}" for number in range(size))[:size]
    known = set(count_grams([about])[1].buckets.tolist())
    for asked in ("summarise", "translate"):
        word = count_grams([asked])[1].buckets.tolist()
        assert not set(word) <= known
        for text in (f"{asked} this: {about}", f"{about}\n\nNow please {asked}"):
            assert set(word) <= set(count_grams([text])[1].buckets.tolist())
    assert surface(f"{about}?")[SURFACE_NAMES.index("ends_with_question")] == 1.0


def test_the_whole_length_of_a_long_text_is_measured() -> None:
    lengths = [surface("word " * count)[SURFACE_NAMES.index("length")] for count in (2_000, 20_000)]
    np.testing.assert_allclose(lengths, np.log1p([10_000, 100_000]))


def test_answers_to_long_questions_teach_directions() -> None:
    subjects = ["matrix determinant vector", "fever cough dosage", "clause verdict appeal"]
    texts = [f"question {number} " + "of no other matter " * 250 for number in range(FEWEST_ANSWERED)]
    mixed = [subjects[number % 3] for number in range(len(texts))]
    same = [subjects[0]] * len(texts)
    first, second = (
        TextFeatures.fit(texts, dimensions=8, rows=1_000, seed=0, answers=answers).directions
        for answers in (mixed, same)
    )
    assert not np.allclose(first, second)


def test_directions_hold_what_the_best_ones_of_their_number_would() -> None:
    random = np.random.default_rng(0)
    words = ["".join(random.choice(list("abcdefghijklmnop"), 5)) for _ in range(400)]
    texts = [" ".join(random.choice(words, 12)) for _ in range(400)]
    found = TextFeatures.fit(texts, dimensions=60, rows=1_000, seed=0)
    apart = TextFeatures(
        found.index,
        found.rarity,
        np.eye(len(found.rarity), dtype=np.float32),
        np.zeros((len(found.rarity), 0), np.float32),
        found.centre,
        found.spread,
    )
    weighted = apart.transform(texts)[0][:, : apart.dimensions]
    strengths = np.linalg.svd(weighted, compute_uv=False) ** 2
    held = ((weighted @ found.directions) ** 2).sum()
    assert held > 0.97 * strengths[: found.dimensions].sum()
