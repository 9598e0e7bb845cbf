"""The split that a question belongs to: decided by its hash, the same in every dataset."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel_core.lake.columns import split_of
from flywheel_core.lake.dataset_files import SPLITS


@pytest.mark.parametrize(
    ("question", "side"),
    [
        ("What is 1 + 1?", "train"),
        ("what is 27+300 ?", "train"),
        ("求解方程 x^2 + 2x - 3 = 0", "test"),
        ("explain d", "validation"),
        ("b", "test"),
        ("bs", "train"),  # the hashes of these four lie next to the borders between splits
        ("ao", "validation"),
        ("ip", "validation"),
        ("cc", "test"),
    ],
)
def test_the_split_is_settled_for_ever(question: str, side: str) -> None:
    assert split_of(question) == side


@given(st.text(min_size=1, max_size=50))
def test_case_white_space_and_numbers_do_not_change_the_side(question: str) -> None:
    side = split_of(question)
    assert split_of(f"  {question}\n") == side
    assert split_of(question.replace(" ", "  ")) == side
    assert split_of(question + " 12") == split_of(question + " 9876")


def test_the_sides_have_their_shares() -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    sides = [split_of(a + b + c) for a in letters for b in letters for c in letters]
    shares = {split: sides.count(split) / len(sides) for split in SPLITS}
    assert shares == pytest.approx({"train": 0.7, "validation": 0.1, "test": 0.2}, abs=0.01)


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 99), st.sampled_from(["", " ", "\t"])),
        max_size=40,
    )
)
def test_no_question_is_on_two_sides(parts: list[tuple[str, int, str]]) -> None:
    sides: dict[str, set[str]] = {}
    for letter, number, gap in parts:
        sides.setdefault(letter, set()).add(split_of(f"{letter.upper()}{gap}{number}?"))
    assert all(len(found) == 1 for found in sides.values())
