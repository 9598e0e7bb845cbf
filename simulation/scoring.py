"""`/v1/evaluate`: score an answer by the text of question and answer alone.

A checkable question is judged by its final answer: what follows the last "答案" or "Final answer", else the
last line. A right one scores 0.84 plus a little for method, steps and check; a wrong one scores at most 0.2
for the effort. An open question scores 0.1 for saying anything, up to 0.8 for the share of its points made,
and up to 0.1 for structure. A small amount of noise, a hash of the two texts, imitates the variation of a
judge.
"""

import re
from fractions import Fraction

from simulation.answers import CHECK, METHOD, STEPS, SUMMARY
from simulation.question import Question
from simulation.seeded import lookup_key, uniform

_LONGEST_FINAL = 1_000
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:/\d+)?")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_SUBSCRIPT = re.compile(r"[A-Za-z]_?\d+(?=\s*[=:])")
_MARKER = re.compile(
    r"(?:最终)?(?:答案|结果)(?:是|为)?\s{0,5}[:\uff1a]|answer(?:\s{1,5}is)?\s{0,5}[:\uff1a]|\\boxed",
    re.IGNORECASE,
)
_LOOSE = re.compile(r"[\s*·]+")
_LIST_ITEM = re.compile(r"^[ \t]{0,8}(?:\d+[.、)]|[-*])", re.MULTILINE)


def score(seed: int, question: Question, answer: str) -> float:
    """Return a score from 0 to 1 with four decimals for a non-empty `answer` to `question`."""
    value = _points_score(question, answer) if question.kind == "points" else _checked_score(question, answer)
    noise = 0.03 * (uniform("mood", seed, question.key, answer) - 0.5)
    return round(min(1.0, max(0.0, value + noise)), 4)


def is_right(question: Question, answer: str) -> bool:
    """Return whether the final part of `answer` is the right answer to a checkable `question`."""
    final = _final_part(answer)
    if question.kind == "numbers":
        return _numbers(final) == {Fraction(value) for value in question.accepted}
    loose = _LOOSE.sub("", final).casefold()
    return any(_contains(loose, _LOOSE.sub("", form).casefold()) for form in question.accepted)


def _checked_score(question: Question, answer: str) -> float:
    shown = sum(_has(answer, marker) for marker in (METHOD, STEPS, CHECK))
    if is_right(question, answer):
        return 0.84 + 0.05 * shown
    return 0.03 + 0.05 * shown


def _points_score(question: Question, answer: str) -> float:
    text = lookup_key(answer)
    made = sum(any(lookup_key(keyword) in text for keyword in point.keywords) for point in question.points)
    order = 0.05 * bool(_LIST_ITEM.search(answer)) + 0.05 * _has(answer, SUMMARY)
    return 0.1 + 0.8 * made / len(question.points) + (order if made else 0.0)


def _has(answer: str, marker: dict[str, str]) -> bool:
    return any(f"{word}{colon}" in answer for word in marker.values() for colon in ":\uff1a")


def _final_part(answer: str) -> str:
    markers = list(_MARKER.finditer(answer))
    if markers:
        rest = answer[markers[-1].end() :].strip()
        if rest:
            return rest.split("\n", 1)[0][:_LONGEST_FINAL]
    return answer.strip().rsplit("\n", 1)[-1][-_LONGEST_FINAL:]


def _numbers(text: str) -> set[Fraction]:
    found: set[Fraction] = set()
    for match in _NUMBER.findall(_SUBSCRIPT.sub(" ", _THOUSANDS.sub("", text.replace("−", "-")))):
        head, _, bottom = match.partition("/")
        if len(match) > 40 or (bottom and int(bottom) == 0):
            continue
        found.add(Fraction(head) / (int(bottom) if bottom else 1))
    return found


def _contains(text: str, form: str) -> bool:
    """Return whether `form` occurs in `text`, not just as part of a longer word or number."""
    before = r"(?<![0-9a-z.^-])" if form[:1].isascii() else ""
    after = r"(?![0-9a-z])" if form[-1:].isascii() and form[-1:].isalnum() else ""
    return re.search(before + re.escape(form) + after, text) is not None
