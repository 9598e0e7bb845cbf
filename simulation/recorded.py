"""Recorded outcomes of real models: answers and scores come from a file of data points.

For a score without an answer, a stand-in text that names question and model is served, so that evaluating it
finds the recorded score. If two models gave the same text but got different scores, each text gets its
model's name appended, for the same reason. Latency is simulated where the file has none.
"""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from flywheel_core.errors import NoDataError, StorageError
from flywheel_core.lake.points import BYTE_ORDER_MARK
from simulation.answers import Answer, count_tokens
from simulation.backend import NO_SCORE, QuestionSet
from simulation.seeded import fold, lookup_key, normal, uniform

_VALIDATION_SHARE = 0.2
_TYPICAL_MS = 300.0


class _Response(msgspec.Struct):
    answer: str | None = None
    latency_ms: float | None = None
    error: Any = None
    finish_reason: str | None = None
    cost: float | None = None


class _Point(msgspec.Struct):
    question: str
    responses: dict[str, _Response]
    scores: dict[str, float | None] | None = None


class Recorded:
    """The models, questions, answers and scores of a data-point file (`.jsonl` or `.jsonl.gz`).

    Of several points with the same question the first counts. Raises `StorageError`, naming the line, for a
    file that cannot be read, `NoDataError` for one without points.
    """

    def __init__(self, path: Path) -> None:
        self._points: dict[str, dict[str, _Response]] = {}
        self._texts: dict[QuestionSet, list[str]] = {"training": [], "validation": []}
        self._scores: dict[tuple[str, str], float] = {}
        models: set[str] = set()
        for point in _read(path):
            key = lookup_key(point.question)
            if key in self._points:
                continue
            models |= point.responses.keys()
            validation = uniform("recorded", fold(point.question)) < _VALIDATION_SHARE
            self._texts["validation" if validation else "training"].append(point.question)
            self._points[key] = self._with_texts(key, point)
        if not self._points:
            raise NoDataError(
                f"{path} holds no data points",
                hint="--recorded takes one data point a line, see data/README.md",
            )
        self._models = sorted(models)

    def models(self) -> list[dict[str, object]]:
        """Return every model that has a response anywhere in the file."""
        return [{"id": name} for name in self._models]

    def questions(self, which: QuestionSet) -> list[str]:
        """Return the recorded questions; the validation set is a fifth of them, by a hash of the text."""
        return list(self._texts[which])

    def answer(self, model: str, question: str, max_tokens: int | None) -> Answer | str | None:
        """Return the recorded answer, a recorded failure as a string, or None if the file has neither."""
        response = self._points.get(lookup_key(question), {}).get(model)
        if response is None:
            return None
        if response.error is not None or response.answer is None:
            return str(response.error or "no answer was recorded")
        text, finish = response.answer, response.finish_reason or "stop"
        tokens = count_tokens(text)
        if max_tokens is not None and tokens > max_tokens:
            text, finish, tokens = text[: max(1, len(text) * max_tokens // tokens)], "length", max_tokens
        latency = response.latency_ms
        if latency is None:
            latency = _TYPICAL_MS * 2 ** (0.3 * normal("recorded", model, lookup_key(question)))
        return Answer(text, finish, count_tokens(question), tokens, round(latency), response.cost or 0.0)

    def evaluate(self, question: str, answer: str) -> float:
        """Return the recorded score of exactly this answer, or -1 if there is none."""
        return self._scores.get((lookup_key(question), answer.strip()), NO_SCORE)

    def _with_texts(self, key: str, point: _Point) -> dict[str, _Response]:
        """Return the point's responses, each with a text that leads to its score, and remember the scores."""
        scores = point.scores or {}
        score_of_text: dict[str, set[float | None]] = {}
        for model, response in point.responses.items():
            if response.answer is not None:
                score_of_text.setdefault(response.answer.strip(), set()).add(scores.get(model))
        responses = {}
        for model, response in point.responses.items():
            value, text = scores.get(model), response.answer
            if text is None and value is not None and response.error is None:
                text = f"[recorded outcome of {model}; the answer's text was not kept] {point.question[:80]}"
            elif text is not None and len(score_of_text[text.strip()]) > 1:
                text = f"{text.rstrip()}\n[{model}]"
            if text is not None and value is not None and 0.0 <= value <= 1.0:
                self._scores[key, text.strip()] = value
            responses[model] = msgspec.structs.replace(response, answer=text)
        return responses


def _read(path: Path) -> Iterator[_Point]:
    decoder = msgspec.json.Decoder(_Point)
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                text = line.removeprefix(BYTE_ORDER_MARK)
                if text.strip():
                    yield _decode(decoder, text, f"{path} line {number}")
    except (OSError, EOFError, zlib.error) as error:
        raise StorageError(
            f"{path} cannot be read: {error}", hint="--recorded takes a .jsonl or .jsonl.gz file"
        ) from error


def _decode(decoder: msgspec.json.Decoder[_Point], line: bytes, where: str) -> _Point:
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StorageError(
            f"{where} is not a data point: {error}", hint="one data point a line, see data/README.md"
        ) from error
