"""Answers and scores: repeatable, sensible for any text, and with something for a router to learn."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation.answers import answer
from simulation.backend import NO_SCORE, Simulated
from simulation.bank import build
from simulation.models import DEFAULT_FIVE, MODELS
from simulation.question import Question
from simulation.scoring import is_right, score
from simulation.unknown import understand

BANK = build()
SERVICE = Simulated()
EQUATION = "求解方程 x^2 + 2x - 3 = 0"


def _score(model: str, question: Question) -> float:
    return score(1, question, answer(1, MODELS[model], question).text)


def _mean(model: str, questions: list[Question]) -> float:
    return sum(_score(model, question) for question in questions) / len(questions)


def test_there_are_the_thirteen_models() -> None:
    """One general model, and specialists of four domains in three sizes."""
    assert len(MODELS) == 13
    assert set(DEFAULT_FIVE) <= set(MODELS)
    assert {model.category for model in MODELS.values()} == {"general", "math", "code", "medicine", "writing"}


def test_same_question_and_model_give_the_same_answer() -> None:
    """Two services with the same seed agree; with another seed some questions are answered differently."""
    other, reseeded = Simulated(), Simulated(7)
    differ = 0
    for question in BANK.validation[:50]:
        for model in MODELS:
            first = SERVICE.answer(model, question.text, None)
            assert first == other.answer(model, question.text, None)
            assert SERVICE.evaluate(question.text, first.text) == other.evaluate(question.text, first.text)
            differ += first.text != reseeded.answer(model, question.text, None).text
    assert differ > 100


@pytest.mark.parametrize("final", ["1/0", "-3 and 7/00", "9" * 900])
def test_a_final_answer_that_is_no_number_is_a_wrong_answer(final: str) -> None:
    question = next(one for one in BANK.all() if one.kind == "numbers")
    right = f"Answer: {' and '.join(question.accepted)}"
    assert score(1, question, f"Answer: {final}") < 0.2 < 0.8 < score(1, question, right)


@pytest.mark.parametrize(
    ("final", "right"),
    [
        ("1/2 and -1500", True),
        ("0.5 and \N{MINUS SIGN}1,500", True),
        ("x1 = 2/4, x2 = -3000/2", True),
        ("1/3 and -1500", False),
        ("1/2 and 1500", False),
        ("1/2", False),
    ],
)
def test_numbers_are_compared_by_their_value(final: str, right: bool) -> None:
    question = next(one for one in BANK.all() if one.kind == "numbers")
    assert is_right(replace(question, accepted=("1/2", "-1500")), f"Answer: {final}") == right


def test_only_the_line_of_the_final_answer_counts() -> None:
    question = next(one for one in BANK.all() if one.kind == "numbers")
    right = f"Answer: {' and '.join(question.accepted)}"
    assert score(1, question, f"{right}\nI needed 17 steps.") > 0.8


@pytest.mark.parametrize("domain", ["math", "code", "medicine", "writing"])
def test_specialists_win_at_home_and_lose_elsewhere(domain: str) -> None:
    """In its domain a 32b specialist beats qwen-max by over 0.1, and a 7b one gains more on easy than on hard questions.

    In other domains qwen-max is better than specialists of any size.
    """
    home = [q for q in BANK.all() if q.domain == domain]
    easy, hard = [q for q in home if q.difficulty < 0], [q for q in home if q.difficulty >= 0.8]
    abroad = [q for q in BANK.validation if q.domain != domain]
    assert _mean(f"qwen-{domain}-32b", home) > _mean("qwen-max", home) + 0.1
    gain_easy = _mean(f"qwen-{domain}-7b", easy) - _mean("qwen-max", easy)
    gain_hard = _mean(f"qwen-{domain}-7b", hard) - _mean("qwen-max", hard)
    assert gain_easy > 0.08
    assert gain_easy > gain_hard
    for size in ("32b", "7b", "3b"):
        assert _mean(f"qwen-{domain}-{size}", abroad) < _mean("qwen-max", abroad) - 0.05


def test_routing_by_domain_gains_but_stays_below_the_oracle() -> None:
    """Best single model < routed by domain < oracle, with room on both sides: learning is possible and not trivial."""
    questions = BANK.validation
    scores = {model: [_score(model, q) for q in questions] for model in DEFAULT_FIVE}
    best = max(sum(column) for column in scores.values()) / len(questions)
    routed = [
        scores["qwen-max" if q.domain == "general" else f"qwen-{q.domain}-7b"][i]
        for i, q in enumerate(questions)
    ]
    oracle = sum(max(column[i] for column in scores.values()) for i in range(len(questions))) / len(questions)
    assert best + 0.05 < sum(routed) / len(questions) < oracle - 0.03


def test_latency_and_cost_follow_size() -> None:
    """qwen-max answers in about 500 ms and costs most; smaller models are faster and cheaper."""
    answers = {
        name: [answer(1, model, question) for question in BANK.validation[:200]]
        for name, model in MODELS.items()
    }
    latency = {name: sorted(given.latency_ms for given in listed)[100] for name, listed in answers.items()}
    cost = {name: sum(given.cost for given in listed) for name, listed in answers.items()}
    assert 400 <= latency["qwen-max"] <= 600
    for domain in ("math", "code", "medicine", "writing"):
        names = ["qwen-max", *(f"qwen-{domain}-{size}" for size in ("32b", "7b", "3b"))]
        assert sorted(names, key=lambda name: -latency[name]) == names
        assert sorted(names, key=lambda name: -cost[name]) == names


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("x=1 或 x=-3", True),
        ("因式分解得 (x-1)(x+3)=0\n答案:x1 = 1, x2 = -3", True),
        ("The answer is: 1, -3", True),
        (r"\boxed{-3, 1}", True),
        ("x = 1", False),
        ("答案: x = 3, x = -1", False),
        ("不知道", False),
    ],
)
def test_an_equation_outside_the_bank_is_checked(text: str, right: bool) -> None:
    """An equation that is not in the bank is solved, and any answer to it is scored by its final part."""
    value = SERVICE.evaluate(EQUATION, text)
    assert (value > 0.7) if right else (0 <= value < 0.3)


def test_models_answer_the_equation() -> None:
    """The simulated answers to it can be scored, and the 32b mathematics specialist gets it right."""
    given = SERVICE.answer("qwen-math-32b", EQUATION, None)
    assert SERVICE.evaluate(EQUATION, given.text) > 0.8
    assert "-3" in given.text


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("Solve 2x + 3 = 11 for x", ("4",)),
        ("x²-5x+6=0", ("2", "3")),
        ("3*(4+5)=?", ("27",)),
        ("计算 12×7-3", ("81",)),
        ("2t = 1, t 是多少?", ("1/2",)),
    ],
)
def test_equations_and_sums_are_solved(text: str, accepted: tuple[str, ...]) -> None:
    """What can be computed is checked against the computed numbers."""
    assert understand(1, text).accepted == accepted


@pytest.mark.parametrize(
    "text", ["x^3 = 8", "3x = 9y", "x^2 = 2", "12/0 = ?", "y' = 3y", "python 里 x = 5 是什么意思", "= = ="]
)
def test_what_cannot_be_solved_is_an_open_question(text: str) -> None:
    """No answer is guessed: such a text is scored by the points that an answer makes."""
    assert understand(1, text).kind == "points"


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("我最近头疼发烧,要不要去医院", "medicine"),
        ("write a poem about autumn", "writing"),
        ("PHP 如何关闭 MySQL 连接", "code"),
        ("今天吃什么", "general"),
    ],
)
def test_domain_of_unknown_questions(text: str, domain: str) -> None:
    """The words of a question decide its domain, and so which models are good at it."""
    assert understand(1, text).domain == domain


def test_an_open_answer_scores_by_what_it_says() -> None:
    """The more points an answer makes, the higher its score; one that makes none scores below 0.2."""
    question = next(q for q in BANK.validation if q.kind == "points" and len(q.points) == 4)
    said = [point.sentence for point in question.points]
    values = [SERVICE.evaluate(question.text, "。".join(said[:count]) or "...") for count in range(5)]
    assert values == sorted(values)
    assert values[0] < 0.2
    assert values[4] > 0.8


@pytest.mark.parametrize(("question", "given"), [("", "x"), ("  ", "x"), ("1+1=?", ""), ("1+1=?", " \n")])
def test_empty_question_or_answer_has_no_score(question: str, given: str) -> None:
    """The scorer answers -1, which stands for no score."""
    assert SERVICE.evaluate(question, given) == NO_SCORE


def test_case_and_spacing_do_not_make_another_question() -> None:
    """The same question in other case and spacing gets the same answer."""
    question = BANK.training[0].text
    assert (
        SERVICE.answer("qwen-max", f"  {question.upper()} \n", None).text
        == SERVICE.answer("qwen-max", question, None).text
    )


@pytest.mark.parametrize("question", [BANK.training[0].text, EQUATION])
def test_a_rendered_conversation_is_scored_by_its_last_question(question: str) -> None:
    """An answer to the prompt of a whole conversation is scored as an answer to its last user turn."""
    given = SERVICE.answer("qwen-math-32b", question, None).text
    rendered = f"user: hello\n\nassistant: hi\n\nuser: {question}"
    assert SERVICE.evaluate(rendered, given) == SERVICE.evaluate(question, given)


def test_max_tokens_cuts_the_answer() -> None:
    """The cut answer has finish_reason `length` and that many tokens, and begins like the whole one."""
    question = BANK.training[0].text
    whole, cut = SERVICE.answer("qwen-max", question, None), SERVICE.answer("qwen-max", question, 10)
    assert (whole.finish_reason, cut.finish_reason) == ("stop", "length")
    assert cut.completion_tokens == 10
    assert whole.text.startswith(cut.text)
    assert len(cut.text) < len(whole.text)


@settings(max_examples=150, deadline=None)
@given(
    question=st.text(max_size=300), given_answer=st.text(max_size=300), model=st.sampled_from(sorted(MODELS))
)
def test_anything_is_answered_and_scored(question: str, given_answer: str, model: str) -> None:
    """Any text gets an answer with a score in 0..1; any answer gets a score in 0..1, or -1 if there is none."""
    given = SERVICE.answer(model, question, None)
    assert given.text.strip()
    assert 0 <= SERVICE.evaluate(question if question.strip() else "?", given.text) <= 1
    value = SERVICE.evaluate(question, given_answer)
    assert value == NO_SCORE if not question.strip() or not given_answer.strip() else 0 <= value <= 1


@settings(max_examples=100, deadline=None)
@given(text=st.text(alphabet="0123456789x+-*/^=(). ²?y", max_size=120))
def test_anything_like_an_equation_is_understood(text: str) -> None:
    """Half an equation, an unfinished sum, a division by zero: never an exception."""
    question = understand(1, text or "?")
    assert question.kind == "points" or not any(wrong in question.accepted for wrong in question.wrong)


@pytest.mark.parametrize("filler", [" ", "\n", "1", "x1", "答案", "answer ", "-", "1,", "x+", "=", "("])
def test_long_texts_are_scored_quickly(filler: str) -> None:
    """A megabyte of anything, as question or answer, is scored in one pass; a quadratic pattern would hang on it."""
    long = filler * (1_000_000 // len(filler))
    assert 0 <= SERVICE.evaluate(EQUATION, f"answer{long}.") <= 1
    assert 0 <= SERVICE.evaluate(BANK.training[0].text, f"1{long}.") <= 1
    assert 0 <= SERVICE.evaluate(f"a{long}.", "something") <= 1
