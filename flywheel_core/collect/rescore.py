"""Score stored answers: those that lack a score after an outage of the scorer, or all of them with a new scorer.

Points that get scores later go into an additional raw file of their day. Its name sorts before the day's
other files, and of several lines with one id the first counts. So the next ingest of the day takes the
rescored points and drops the original lines as duplicates. The raw files as received are never changed.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TypeVar

import msgspec

from flywheel_core.collect.scoring import Scored, Scorer, code_of
from flywheel_core.config import Config
from flywheel_core.errors import NoDataError, PointError
from flywheel_core.lake.atomic import replacing
from flywheel_core.lake.layout import IMPORTED_NAME, Layout, first_second
from flywheel_core.lake.lock import only_one
from flywheel_core.lake.points import BYTE_ORDER_MARK, NO_TIME, check_imported
from flywheel_core.lake.raw_lines import file_size, whole_lines
from flywheel_core.lake.reading import Progress
from flywheel_core.lake.recorded import Meter
from flywheel_core.records import DataPoint, encode_point
from flywheel_core.wire import MAX_LINE_BYTES, decode_point

RESCORED_WRITER = "-rescored"
"""Writer name of the raw file with rescored points; `-` sorts before every other writer's name."""

_Value = TypeVar("_Value")

WINDOW = 32
"""Number of data points whose answers are scored at once."""

_SETTLED = frozenset({"no_answer", "invalid"})  # asking again would give the same result


@dataclass(slots=True)
class RescoreResult:
    """The result of rescoring a day.

    file: where the rescored points are, from this run and earlier ones; points: data points with an answer to
    score; improved: those that got at least one score; scores: scores obtained; missing: scores that are still
    missing; reasons: why, as numbers of them by code. stopped: the day was not finished; the figures are of what was
    asked until then.
    """

    file: Path
    points: int = 0
    improved: int = 0
    scores: int = 0
    missing: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    stopped: bool = False


def missing_scores(point: DataPoint) -> list[str]:
    """Return the models whose answer has no score yet but may still get one."""
    reasons = point.score_reasons or {}
    return [
        model
        for model, response in point.responses.items()
        if not response.failed
        and point.scores.get(model) is None
        and code_of(reasons.get(model)) not in _SETTLED
    ]


async def rescore_points(points: Sequence[DataPoint], scorer: Scorer) -> list[DataPoint]:
    """Return the same data points in order, with every missing score that could be obtained."""

    async def again(point: DataPoint) -> DataPoint:
        answers = {model: point.responses[model].answer or "" for model in missing_scores(point)}
        return _with_scores(point, await scorer.score_many(point.question, answers))

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(again(point)) for point in points]
    return [task.result() for task in tasks]


def rescore_day(
    layout: Layout,
    day: date,
    config: Config,
    *,
    every: bool = False,
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> RescoreResult:
    """Score a day's stored answers that have no score, and write the points that got a final result.

    A final result is a score, or the verdict that there will be none. With `every`, all stored answers are scored,
    for use with a new scorer; an answer without a final result keeps its old score. Runs its own event loop. A
    repeated run asks only for what is still missing, or for everything again with `every`. If the scorer gives no
    result at all, the file is not touched. Once `stop` returns True, and it must not return False after that, no more
    scores are asked for, and those that came are kept. `progress` is told the bytes of raw files read, and their sum.

    Raises NoDataError when the day has no raw file, UsageError when another process rescores in the same folder,
    StorageError when the file cannot be written, ConfigIncompleteError when no scorer is configured.
    """
    if not layout.raw_files(day):
        raise NoDataError(
            f"there are no raw files of {day} in {layout.raw.absolute()}",
            hint="flywheel status shows which days have raw files",
        )
    target = layout.raw_file(day, RESCORED_WRITER)
    result = RescoreResult(target)
    answered = 0
    lock = only_one(
        layout.raw / ".rescore.lock",
        f"flywheel forget or another flywheel rescore runs in {layout.raw}",  # two would pay, and one's scores be lost
        "wait until it has ended",
    )
    with lock, asyncio.Runner() as runner:
        scorer = Scorer(config)
        try:
            with replacing(target) as temporary:
                with temporary.open("wb") as file:
                    for window in _windows(layout, day, target, every, progress):
                        result.stopped = stop()
                        if result.stopped:
                            file.write(b"".join(encode_point(s.before) + b"\n" for s in window if s.kept))
                            continue
                        lacking = [stored.point for stored in window if missing_scores(stored.point)]
                        scored = runner.run(rescore_points(lacking, scorer))
                        content, new = _kept(window, {point.id: point for point in scored}, result)
                        file.write(content)
                        answered += new
                        result.points += len(lacking)
                if not answered:
                    raise _NothingNewError
        except _NothingNewError:
            return result
        finally:
            runner.run(scorer.close())
    return result


class _NothingNewError(Exception):
    """Raised inside `replacing` to leave the file as it was."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """A stored data point.

    before: the point as stored; point: the same without the scores that are requested again; kept: whether it is
    already in the file of rescored points.
    """

    before: DataPoint
    point: DataPoint
    kept: bool


def _windows(
    layout: Layout, day: date, target: Path, every: bool, progress: Progress | None
) -> Iterator[list[_Stored]]:
    """Yield the day's points that are in the rescored file or have answers to score; only the first of each id."""
    window: list[_Stored] = []
    seen: set[str] = set()
    midnight = int(first_second(day))
    files = {path: file_size(path) for path in layout.raw_files(day)}
    meter = Meter(progress, sum(files.values()))
    for path, size in files.items():
        imported = IMPORTED_NAME.fullmatch(path.name) is not None
        now = NO_TIME if imported else midnight  # ingest does the same for a point without any time
        for offset, line in whole_lines(path):
            meter.advance(min(offset, size))  # of a packed file, `offset` counts unpacked bytes
            try:
                text = line.removeprefix(BYTE_ORDER_MARK)
                point = decode_point(text, now=now, max_bytes=MAX_LINE_BYTES)
                if imported:
                    check_imported(point.timestamp, midnight)
            except PointError:
                continue  # ingest reports it
            stored = _Stored(point, _unscored(point) if every else point, path == target)
            if point.id not in seen and (stored.kept or missing_scores(stored.point)):
                window.append(stored)
            seen.add(point.id)
            if len(window) == WINDOW:
                yield window
                window = []
        meter.finish(size)
    if window:
        yield window


def _kept(
    window: Sequence[_Stored], scored: dict[str, DataPoint], result: RescoreResult
) -> tuple[bytes, int]:
    """Return a window's lines for the rescored file, and how many answers got a final result.

    That is a score, or the verdict that there is none.
    """
    lines = []
    answers = 0
    for stored in window:
        point = scored.get(stored.point.id, stored.point)
        asked, missing = missing_scores(stored.point), missing_scores(point)
        came = sum(point.scores.get(model) is not None for model in asked)
        result.scores += came
        result.missing += len(missing)
        for model in missing:
            code = code_of((point.score_reasons or {}).get(model))
            result.reasons[code] = result.reasons.get(code, 0) + 1
        result.improved += came > 0
        answers += len(asked) - len(missing)
        if stored.kept or len(missing) < len(asked):
            lines.append(encode_point(_restored(point, stored.before, missing)) + b"\n")
    return b"".join(lines), answers


def _unscored(point: DataPoint) -> DataPoint:
    """Return the point as if none of its answers had been scored yet."""
    answered = {model for model, response in point.responses.items() if not response.failed}
    return msgspec.structs.replace(
        point,
        scores={model: None if model in answered else score for model, score in point.scores.items()},
        score_reasons=_only({*point.responses} - answered, point.score_reasons),
        score_spreads=_only({*point.responses} - answered, point.score_spreads),
    )


def _restored(point: DataPoint, before: DataPoint, missing: Sequence[str]) -> DataPoint:
    """Return the point with the old scores of the models that got no final result."""
    known = {
        model: Scored(before.scores[model], None, (before.score_spreads or {}).get(model))
        for model in missing
        if before.scores.get(model) is not None
    }
    return _with_scores(point, known) if known else point


def _only(models: set[str], named: dict[str, _Value] | None) -> dict[str, _Value] | None:
    return {model: value for model, value in (named or {}).items() if model in models} or None


def _with_scores(point: DataPoint, found: dict[str, Scored]) -> DataPoint:
    scores = dict(point.scores)
    reasons = dict(point.score_reasons or {})
    spreads = dict(point.score_spreads or {})
    for model, scored in found.items():
        scores[model] = scored.value
        reasons.pop(model, None)
        if scored.reason is not None:
            reasons[model] = scored.reason
        if scored.spread is not None:
            spreads[model] = scored.spread
    return msgspec.structs.replace(
        point, scores=scores, score_reasons=reasons or None, score_spreads=spreads or None
    )
