"""The thirteen simulated models: what each is good at, how fast it is, and what it costs."""

import math
from dataclasses import dataclass

from simulation.question import DOMAINS, Question
from simulation.seeded import normal, sigmoid, total

_SIZES = ("32b", "7b", "3b")


@dataclass(frozen=True, slots=True)
class Model:
    """One simulated model.

    strength: ability by domain, about -1.5 to 2.5; slope: how fast ability falls with a question's
    difficulty; base_ms: fixed time per call; token_ms: time per token of the answer, both in milliseconds;
    prices: in US dollars per million tokens; verbosity: number of side remarks that it tends to make.
    """

    name: str
    strength: dict[str, float]
    slope: float
    base_ms: float
    token_ms: float
    prompt_price: float
    completion_price: float
    verbosity: int

    @property
    def category(self) -> str:
        """The domain that the model stands for."""
        return "general" if self.name == "qwen-max" else self.name.split("-")[1]

    def chance(self, question: Question) -> float:
        """Return the probability (0..1) that the model gets `question`, or one of its points, right."""
        strength = total(weight * self.strength[domain] for domain, weight in question.weights().items())
        return sigmoid(1.3 * (strength - self.slope * question.difficulty))

    def latency_ms(self, seed: int, key: str, completion_tokens: int) -> int:
        """Return the milliseconds from request to end of answer, with the variance of a real service."""
        spread = math.exp(0.22 * normal("latency", seed, self.name, key))
        return max(5, round((self.base_ms + self.token_ms * completion_tokens) * spread))

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the cost of one call in US dollars."""
        price = prompt_tokens * self.prompt_price + completion_tokens * self.completion_price
        return round(price / 1_000_000, 9)


def _specialist(domain: str, size: str) -> Model:
    at_home = {"32b": 2.4, "7b": 1.8, "3b": 1.0}[size]
    abroad = {"32b": 0.2, "7b": -0.4, "3b": -1.0}[size]
    strength = dict.fromkeys(DOMAINS, abroad)
    for neighbour, bonus in _NEIGHBOURS[domain].items():
        strength[neighbour] += bonus
    strength[domain] = at_home
    slope = {"32b": 0.8, "7b": 1.4, "3b": 1.5}[size]
    base, token = {"32b": (150.0, 1.1), "7b": (60.0, 0.5), "3b": (30.0, 0.3)}[size]
    prompt, completion = {"32b": (0.4, 1.2), "7b": (0.06, 0.18), "3b": (0.02, 0.06)}[size]
    return Model(
        f"qwen-{domain}-{size}",
        strength,
        slope,
        base,
        token,
        prompt,
        completion,
        {"32b": 5, "7b": 3, "3b": 2}[size],
    )


_NEIGHBOURS = {
    "math": {"code": 0.5},
    "code": {"math": 0.5},
    "medicine": {"general": 0.4},
    "writing": {"general": 0.7},
}
_MAX = Model("qwen-max", {**dict.fromkeys(DOMAINS, 0.5), "general": 1.7}, 0.55, 240.0, 1.5, 1.6, 6.4, 5)

MODELS: dict[str, Model] = {
    model.name: model
    for model in (_MAX, *(_specialist(domain, size) for domain in _NEIGHBOURS for size in _SIZES))
}
"""Name -> model, `qwen-max` first."""

DEFAULT_FIVE = ("qwen-max", "qwen-math-7b", "qwen-code-7b", "qwen-medicine-7b", "qwen-writing-7b")
"""The models that a gateway asks by default."""
