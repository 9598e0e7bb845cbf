"""Questions made from one template are found, and questions that merely have a subject in common are not."""

import numpy as np

from flywheel_core.learn.alike import FEWEST_BUNCHES, alike, parts
from tests.core.learn.questions import frame

NAMES = ("a bicycle", "a kettle", "an umbrella", "a violin", "a rucksack")


def filled(template: str) -> list[str]:
    return [template.format(name) for name in NAMES]


def test_one_template_filled_with_other_words_is_one_bunch() -> None:
    orders = filled("Write a short and friendly product description of {} for our shop.")
    others = ["Write a letter of complaint to the town hall.", "How do I sharpen a kitchen knife?"]
    assert alike([others[0], *orders, others[1]]).tolist() == [0, 1, 1, 1, 1, 1, 6]


def test_texts_without_blanks_between_words_are_compared_too() -> None:
    orders = [
        f"请为我们的网上商店写一段关于{name}的简短而友好的产品介绍" for name in ("自行车", "水壶", "雨伞")
    ]
    assert alike([*orders, "怎样才能把厨房里的刀磨快", ""]).tolist() == [0, 0, 0, 3, 4]


def test_case_white_space_and_digits_make_no_difference() -> None:
    assert alike(["Solve x + 12 = 40 for x", "another one", "SOLVE  x + 70 = 99\nfor x"]).tolist() == [
        0,
        1,
        0,
    ]


def test_bunches_are_found_however_far_apart_their_questions_are() -> None:
    orders = filled("Write a short and friendly product description of {} for our shop.")
    words = np.random.default_rng(0).integers(97, 123, (2_000, 80)).astype(np.uint8)
    texts = [bytes(line).decode() for line in words]
    at = [5, 300, 900, 1_500, 1_999]
    for row, order in zip(at, orders, strict=True):
        texts[row] = order
    found = alike(texts)
    assert found[at].tolist() == [5] * 5
    assert len(np.unique(found)) == 1_996


def test_equal_texts_are_one_bunch_whatever_stands_after_them() -> None:
    """The texts of a chunk are hashed as one string, and no run may reach into the next text."""
    assert alike(["", "a bicycle", "", "x kettles", ""]).tolist() == [0, 1, 0, 3, 0]


def test_no_questions_are_no_bunches() -> None:
    assert alike([]).tolist() == parts(alike([])).tolist() == []


def test_fewer_questions_than_parts_are_each_a_part() -> None:
    assert parts(np.array([0, 0, 2, 0])).tolist() == [0, 1, 0, 2]


def test_what_is_much_of_the_traffic_is_split_so_that_many_parts_remain() -> None:
    bunches = np.where(np.arange(1_000) % 2, np.arange(1_000), 0)
    found = parts(bunches)
    assert set(found[1::2]) == {0}
    sizes = np.bincount(found[::2])
    assert sizes.max() == 1_000 // FEWEST_BUNCHES
    assert sizes.sum() == 500
    assert (np.diff(found[::2]) >= 0).all()


def test_ordinary_questions_stay_apart() -> None:
    texts = frame(300)["text"].to_list()
    assert len(np.unique(alike(texts))) > 0.95 * len(set(texts))
