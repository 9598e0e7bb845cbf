"""The question bank: 3,200 training and 800 validation questions, always the same for the same seed.

Questions come from the templates of the domain modules; some get an opening or closing phrase, as people
write them. The bank contains near-duplicates on purpose: the same question with other numbers, spacing, case
or phrases. All near-duplicates of a question are in the same set, so training and validation stay disjoint
even after folding case, white space and digits.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random

from simulation.bank import code, general, math, medicine, word_problems, writing
from simulation.question import DOMAINS, Question, wide_marks
from simulation.scoring import is_right
from simulation.seeded import fold, generator, lookup_key, normal, uniform

DEFAULT_SEED = 1
TRAINING_SIZE = 3200
VALIDATION_SIZE = 800

_TEMPLATES = {
    "general": general.TEMPLATES,
    "math": math.TEMPLATES + word_problems.TEMPLATES,
    "code": code.TEMPLATES,
    "medicine": medicine.TEMPLATES,
    "writing": writing.TEMPLATES,
}
_SHARE = {"general": 0.24, "math": 0.2, "code": 0.2, "medicine": 0.18, "writing": 0.18}
_CHINESE = 0.65
_DRESSED = 0.3
_DUPLICATE = 0.05
_WIDE_MARKS = 0.75
_OPENERS_ZH = ("请问,", "帮我看看:", "想了解一下,", "急!", "麻烦解答:", "老师好,", "有个问题:", "谢谢先。")
_OPENERS_EN = (
    "Hi, ",
    "Please help: ",
    "Quick question. ",
    "Urgent! ",
    "I was wondering: ",
    "Hello there. ",
    "One more: ",
)
_CLOSERS_ZH = ("谢谢!", "请详细说明。", "越简单越好。", "在线等。")
_CLOSERS_EN = (" Thanks!", " Please be thorough.", " Keep it simple.", " I am in a hurry.")
_HARDER = {"请详细说明。": 0.3, " Please be thorough.": 0.3, "越简单越好。": -0.2, " Keep it simple.": -0.2}
_HIDDEN_DIFFICULTY = 0.45
"""Standard deviation of the part of the difficulty that the text does not reveal."""


@dataclass(frozen=True, slots=True)
class Bank:
    """Training and validation questions, each set in a shuffled but fixed order."""

    training: tuple[Question, ...]
    validation: tuple[Question, ...]

    def all(self) -> tuple[Question, ...]:
        """Return both sets."""
        return self.training + self.validation


@lru_cache(maxsize=4)
def build(seed: int = DEFAULT_SEED) -> Bank:
    """Build the bank for `seed`: `TRAINING_SIZE` and `VALIDATION_SIZE` questions."""
    rng = generator("bank", seed)
    sides: dict[str, list[Question]] = {"training": [], "validation": []}
    wanted = {"training": TRAINING_SIZE, "validation": VALIDATION_SIZE}
    seen: set[str] = set()
    group_of_fold: dict[str, str] = {}
    while any(len(sides[side]) < wanted[side] for side in sides):
        question = _draw(rng, seed)
        group = fold(question.core)
        siblings = [question] if rng.random() >= _DUPLICATE else [question, _near_duplicate(rng, question)]
        side = (
            "validation"
            if uniform("side", seed, group) < VALIDATION_SIZE / (TRAINING_SIZE + VALIDATION_SIZE)
            else "training"
        )
        for sibling in siblings:
            folded = fold(sibling.text)
            repeated = sibling.text in seen or group_of_fold.get(folded, group) != group
            crowded = folded in group_of_fold and "near_duplicate" not in sibling.tags and rng.random() > 0.05
            if repeated or crowded or len(sides[side]) >= wanted[side]:
                continue
            seen.add(sibling.text)
            group_of_fold[folded] = group
            sides[side].append(sibling)
    for questions in sides.values():
        rng.shuffle(questions)
    return Bank(training=tuple(sides["training"]), validation=tuple(sides["validation"]))


def _draw(rng: Random, seed: int) -> Question:
    domain = rng.choices(DOMAINS, [_SHARE[name] for name in DOMAINS])[0]
    weights = [weight for weight, _ in _TEMPLATES[domain]]
    template = rng.choices(_TEMPLATES[domain], weights)[0][1]
    zh = rng.random() < _CHINESE
    plain = template(rng, zh)
    text, harder = _dress(rng, plain.text, zh)
    hidden = _HIDDEN_DIFFICULTY * normal("difficulty", seed, lookup_key(plain.text))
    return replace(
        plain,
        text=text,
        core=plain.text,
        difficulty=round(plain.difficulty + harder + hidden, 3),
        wrong=tuple(final for final in plain.wrong if not is_right(plain, final)),
    )


def _dress(rng: Random, text: str, zh: bool) -> tuple[str, float]:
    """Return `text` as a person might send it, and how much harder that makes the question."""
    opener, closer = "", ""
    if rng.random() < _DRESSED:
        opener = rng.choice(_OPENERS_ZH if zh else _OPENERS_EN)
    if rng.random() < _DRESSED and "\n" not in text:
        closer = rng.choice(_CLOSERS_ZH if zh else _CLOSERS_EN)
    if closer and text[-1] not in "?.。":
        text += "。" if zh else "."
    text = f"{opener}{text}{closer}"
    return (wide_marks(text) if rng.random() < _WIDE_MARKS else text), _HARDER.get(closer, 0.0)


def _near_duplicate(rng: Random, question: Question) -> Question:
    """Return the same question written slightly differently, with the same answers and difficulty."""
    zh = question.language == "zh"
    opener = rng.choice(_OPENERS_ZH if zh else _OPENERS_EN)
    last = question.core[-1]
    variants = [
        f"{opener}{question.core}",
        f"  {question.text}",
        question.core.rstrip("?.") + ("??" if last == "?" else "!!"),
        question.text.replace(",", " , ") if "," in question.text else question.text + " ",
    ]
    return replace(question, text=rng.choice(variants), tags=question.tags | {"near_duplicate"})
