"""The question bank: size, training and validation sides without overlap, variety, and answers that can be checked."""

import subprocess
import sys
from collections import Counter

import pytest

from simulation.bank import TRAINING_SIZE, VALIDATION_SIZE, build
from simulation.question import DOMAINS, Question
from simulation.scoring import is_right
from simulation.seeded import fold

BANK = build()


def test_both_sets_have_their_size() -> None:
    """At least 2,000 training and 500 validation questions, no text twice."""
    assert len(BANK.training) == TRAINING_SIZE >= 2000
    assert len(BANK.validation) == VALIDATION_SIZE >= 500
    texts = [question.text for question in BANK.all()]
    assert len(set(texts)) == len(texts)


def test_sides_are_disjoint_after_folding() -> None:
    """Neither a text nor its core is on both sides, even with case, white space and numbers folded."""
    assert not {fold(q.text) for q in BANK.training} & {fold(q.text) for q in BANK.validation}
    assert not {fold(q.core) for q in BANK.training} & {fold(q.core) for q in BANK.validation}


def test_most_questions_differ_in_more_than_numbers() -> None:
    """Folding leaves at least 2,000 training and 500 validation questions."""
    assert len({fold(q.text) for q in BANK.training}) >= 2000
    assert len({fold(q.text) for q in BANK.validation}) >= 500


@pytest.mark.parametrize("side", ["training", "validation"])
def test_each_side_has_every_domain_language_and_kind(side: str) -> None:
    """Both sets have all domains, languages and kinds, near-duplicates, and hard and mixed questions."""
    questions: tuple[Question, ...] = getattr(BANK, side)
    domains = Counter(q.domain for q in questions)
    assert set(domains) == set(DOMAINS)
    assert min(domains.values()) > 0.1 * len(questions)
    assert Counter(q.language for q in questions)["en"] > 0.2 * len(questions)
    assert {q.kind for q in questions} == {"numbers", "text", "points"}
    assert {"near_duplicate", "hard", "mixed"} <= {tag for q in questions for tag in q.tags}


def test_hard_questions_are_harder() -> None:
    """Questions marked hard have the higher mean difficulty, and difficulties lie on both sides of zero."""
    hard = [q.difficulty for q in BANK.all() if "hard" in q.tags]
    other = [q.difficulty for q in BANK.all() if "hard" not in q.tags]
    assert sum(hard) / len(hard) > sum(other) / len(other) + 0.5
    assert min(other) < -0.5 < 0.5 < max(other)


def test_every_checkable_answer_is_judged_correctly() -> None:
    """For every question of the bank the accepted answer counts as right, and none of the wrong ones does."""
    for question in BANK.all():
        if question.kind == "points":
            assert len(question.points) >= 2
            continue
        right = " 或 ".join(question.accepted) if question.kind == "numbers" else question.accepted[0]
        assert is_right(question, f"答案: {right}"), question
        assert question.wrong, question
        assert not any(is_right(question, f"Final answer: {wrong}") for wrong in question.wrong), question


def test_every_point_is_made_by_its_own_sentence() -> None:
    """The sentence with which the models make a point contains one of the point's keywords."""
    for question in BANK.all():
        for point in question.points:
            assert any(word.casefold() in point.sentence.casefold() for word in point.keywords), point


def test_bank_is_the_same_in_another_process() -> None:
    """No question depends on hash randomisation or on anything else of the process."""
    code = "from simulation.bank import build; import hashlib; b = build(); print(hashlib.sha256(repr(b).encode()).hexdigest())"
    code = code.replace("repr(b)", "'|'.join(q.text + str(q.difficulty) for q in b.all())")
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1


def test_another_seed_gives_other_questions() -> None:
    """More than half of the training questions of two seeds differ."""
    other = {q.text for q in build(2).training}
    assert len(other & {q.text for q in BANK.training}) < TRAINING_SIZE / 2
