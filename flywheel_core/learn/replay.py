"""Plays recorded outcomes day by day through the real steps, to show what routing would have gained.

On each day, the router in service answers the day's questions. Then the day becomes a raw file, tables, a
dataset and a challenger, which is judged and perhaps promoted. So the router of day d serves day d+1, and
nothing ever sees a later day. Progress is saved after each step, so that an interrupted replay goes on where
it was.
"""

import hashlib
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from flywheel_core.config import Config
from flywheel_core.errors import NoDataError, RouterError
from flywheel_core.lake.atomic import sha256_of, write_atomically
from flywheel_core.lake.dataset import build_dataset
from flywheel_core.lake.ingest import ingest_day
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.lock import only_one
from flywheel_core.lake.reading import Progress
from flywheel_core.lake.tables import SOURCES, build_table, read_table
from flywheel_core.learn.champion import version_folder
from flywheel_core.learn.evidence import chosen_values
from flywheel_core.learn.example_rows import read_examples
from flywheel_core.learn.nightly import Craft, run_night
from flywheel_core.learn.registry import Registry
from flywheel_core.learn.replay_days import another_replay, config_of, hand_out, read_noted, stage
from flywheel_core.learn.replay_result import DayResult, Replay

BY = "replay"
STATE = "replay.json"


def replay(
    files: Sequence[Path],
    folder: Path,
    config: Config,
    craft: Craft,
    *,
    pool: Sequence[str] = (),
    on_stage: Progress | None = None,
    on_day: Callable[[DayResult, int, int], None] | None = None,
) -> Replay:
    """Play `files` in `folder`, a data folder of its own, or go on where an earlier call was interrupted.

    pool: the models to choose from, all unless given; on_stage: told how far reading the files is; on_day:
    called with each day, its number and how many there are. Raises UsageError when another replay lies in the
    folder or another process plays there, NoDataError when there is nothing to play, StorageError when what an
    earlier call saved is damaged or the folder cannot be written.
    """
    digests = _digests(files)
    lock = only_one(
        folder / ".lock",
        f"another process plays in {folder}",  # each would judge against what the other promoted
        "wait until it has ended, or name another folder with --folder",
    )
    with lock:
        source, target = Layout(folder / "source"), Layout(folder / "data")
        key = _key(digests, pool, config)
        state = _read_state(folder / STATE, key)
        models = stage(source, files, digests, pool, on_stage)
        if state is None:
            state = Replay(key=key, models=models)
            _write_state(folder / STATE, state)
        config = config_of(config, target.root, models)
        days = source.raw_days()
        for number, day in enumerate(days, start=1):
            if len(state.days) < number:
                hand_out(source, target, day, models)
                _tables(target, day, config)
                state.days.append(_serve(target, day, state.days, config, craft))
                _write_state(folder / STATE, state)
            result = state.days[number - 1]
            if result.verdict is None:
                result.verdict, result.reason = _learn(target, day, config, craft, result.router)
                _write_state(folder / STATE, state)
            if on_day is not None:
                on_day(result, number, len(days))
        return state


def _tables(layout: Layout, day: date, config: Config) -> None:
    ingest_day(layout, day, config)
    for name in SOURCES:
        build_table(layout, name, day, config)


def _serve(layout: Layout, day: date, before: Sequence[DayResult], config: Config, craft: Craft) -> DayResult:
    """Return how the router in service, the best single model so far, chance and an oracle do on the day."""
    champion = Registry(layout, craft.verify).champion()
    rows = read_table(layout, "training_examples", [day]).select("text", "outcomes")
    examples = read_examples(rows, config.learning)
    scores = examples.scores
    best = _best_so_far(before)
    asked = (~np.isnan(scores)).any(axis=1)
    routed = single = paid = paid_single = np.full(len(scores), np.nan)
    if champion is not None and best is not None:
        decisions = craft.load(version_folder(layout, champion.version)).decide_all(examples.texts)
        routed = chosen_values(scores, examples.models, decisions)
        paid = chosen_values(examples.costs, examples.models, decisions)
        if best in examples.models:
            at = examples.models.index(best)
            single, paid_single = scores[:, at], examples.costs[:, at]
        together = ~np.isnan(routed) & ~np.isnan(single)
    else:
        together = asked
    gains = (routed - single)[together]
    served = champion is not None and together.any()
    priced = together & ~np.isnan(paid) & ~np.isnan(paid_single)
    return DayResult(
        day=day,
        questions=int(together.sum()),
        router=champion.version if champion else None,
        routed=float(routed[together].mean()) if served else None,
        best_single=float(single[together].mean()) if served else None,
        best_model=best,
        random=float(np.nanmean(scores[together], axis=1).mean()) if together.any() else None,
        oracle=float(np.nanmax(scores[together], axis=1).mean()) if together.any() else None,
        gain_sum=float(gains.sum()) if served else 0.0,
        gain_squares=float((gains**2).sum()) if served else 0.0,
        priced=int(priced.sum()),
        paid=float(paid[priced].sum()),
        paid_single=float(paid_single[priced].sum()),
        seen=_sums(scores, examples.models),
    )


def _learn(layout: Layout, day: date, config: Config, craft: Craft, served: str | None) -> tuple[str, str]:
    """Train and judge as the nightly run does; return the verdict and its reason.

    A day that cannot be learned from leaves the champion as it is. served: the router that served the day. A
    challenger that already is the champion but did not serve the day was promoted in this very night, before
    the replay was interrupted.
    """
    try:
        dataset = build_dataset(layout, day, config).version
        challenger = craft.train(layout, dataset, config)
    except (NoDataError, RouterError) as error:
        return "no_challenger", error.message
    night = run_night(layout, challenger, dataset, day, config, craft, by=BY)
    if night.verdict == "same" and challenger != served:
        entry = Registry(layout, craft.verify).entry(night.champion)
        return "promoted", entry.reason if entry else night.reason
    return night.verdict, night.reason


def _sums(scores: NDArray[np.float64], models: Sequence[str]) -> dict[str, tuple[float, int]]:
    """Return model -> sum and number of its scores."""
    known = ~np.isnan(scores)
    totals = np.where(known, scores, 0.0).sum(axis=0)
    return {
        model: (float(total), int(count))
        for model, total, count in zip(models, totals, known.sum(axis=0), strict=True)
        if count
    }


def _best_so_far(before: Sequence[DayResult]) -> str | None:
    """Return the model with the highest mean score on the days before, None when there is none.

    Of equal models, the first by name is returned.
    """
    sums: dict[str, tuple[float, int]] = {}
    for day in before:
        for model, (total, count) in day.seen.items():
            sum_, number = sums.get(model, (0.0, 0))
            sums[model] = (sum_ + total, number + count)
    return min(sums, key=lambda model: (-sums[model][0] / sums[model][1], model), default=None)


def _digests(files: Sequence[Path]) -> list[str]:
    """Return the SHA-256 of each file. Raises NoDataError for one that is not there."""
    for path in files:
        if not path.is_file():
            raise NoDataError(f"there is no file {path}")
    return [sha256_of(path) for path in files]


def _key(digests: Sequence[str], pool: Sequence[str], config: Config) -> str:
    """Return a key that changes with whatever changes the result: the files, the models, the settings."""
    settings = config.model_dump(mode="json", exclude={"storage", "collector", "gateway", "operations"})
    parts = [list(digests), list(pool), settings]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def _read_state(path: Path, key: str) -> Replay | None:
    if not path.is_file():
        return None
    state = read_noted(path, Replay)
    if state.key != key:
        raise another_replay(path.parent, "other files, models or settings, or another version of Flywheel")
    return state


def _write_state(path: Path, state: Replay) -> None:
    write_atomically(path, msgspec.json.encode(state))
