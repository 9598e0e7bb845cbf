"""The source of answers and scores: simulated models here, recorded ones in `simulation/recorded.py`."""

from functools import lru_cache
from typing import Literal, Protocol

from simulation.answers import Answer, answer
from simulation.bank import DEFAULT_SEED, build
from simulation.models import MODELS
from simulation.question import Question
from simulation.scoring import score
from simulation.seeded import lookup_key
from simulation.unknown import understand

QuestionSet = Literal["training", "validation"]
NO_SCORE = -1.0
_REMEMBERED = 8_192
_LONGEST = 20_000
"""Characters of a question that are read; bounds the memory of the caches."""


class Backend(Protocol):
    """What the service needs of a backend; every result depends on the arguments alone."""

    def models(self) -> list[dict[str, object]]:
        """Return one entry per model for `/v1/models`, with at least `id`."""

    def questions(self, which: QuestionSet) -> list[str]:
        """Return the texts of a question set, in a fixed order."""

    def answer(self, model: str, question: str, max_tokens: int | None) -> Answer | str | None:
        """Return a known model's answer, a recorded failure as a string, or None if nothing is known."""

    def evaluate(self, question: str, answer: str) -> float:
        """Return a score from 0 to 1, or -1 if question or answer is empty or nothing is known about them."""


class Simulated:
    """The thirteen simulated models over the question bank of `seed`; they answer other questions too."""

    def __init__(self, seed: int = DEFAULT_SEED) -> None:
        self._seed = seed
        self._bank = build(seed)
        self._known = {question.key: question for question in reversed(self._bank.all())}
        self._find = lru_cache(maxsize=_REMEMBERED)(self._look_up)
        self._answer = lru_cache(maxsize=_REMEMBERED)(self._make_answer)

    def models(self) -> list[dict[str, object]]:
        """Return the thirteen models with category and prices (US dollars per million tokens)."""
        return [
            {
                "id": model.name,
                "category": model.category,
                "pricing": {"prompt": model.prompt_price, "completion": model.completion_price},
            }
            for model in MODELS.values()
        ]

    def questions(self, which: QuestionSet) -> list[str]:
        """Return the texts of one of the bank's question sets."""
        return [question.text for question in getattr(self._bank, which)]

    def answer(self, model: str, question: str, max_tokens: int | None) -> Answer:
        """Return a generated answer, always the same for the same question and model."""
        return self._answer(model, question.strip()[:_LONGEST] or "?", max_tokens)

    def evaluate(self, question: str, answer: str) -> float:
        """Return a score by the rules of `simulation/scoring.py`, -1 if question or answer is empty."""
        if not question.strip() or not answer.strip():
            return NO_SCORE
        return score(self._seed, self._find(question.strip()[:_LONGEST]), answer)

    def _make_answer(self, model: str, question: str, max_tokens: int | None) -> Answer:
        return answer(self._seed, MODELS[model], self._find(question), max_tokens=max_tokens)

    def _look_up(self, text: str) -> Question:
        """Return the bank's question, or one derived from `text`.

        Of a rendered conversation, the last user turn is the question.
        """
        last = text.rsplit("\n\nuser: ", 1)[-1]
        return self._known.get(lookup_key(last)) or understand(self._seed, last or "?")
