"""One night of a champion's life: a challenger is judged against it and takes its place, or does not.

Every step can run again: the same night gives the same judgement, spends no further look, and finishes what a
killed process began.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec

from flywheel_core.config import Config
from flywheel_core.errors import RouterError
from flywheel_core.lake.layout import Layout, first_second
from flywheel_core.learn.champion import Champion, version_folder
from flywheel_core.learn.evidence import AsServed, Chooser, fresh_questions, gains_of
from flywheel_core.learn.promote import judge
from flywheel_core.learn.promotion_log import BEST_SINGLE_KINDS, Entry, Looks
from flywheel_core.learn.registry import Registry

Verdict = Literal["promoted", "would_promote", "rejected", "not_yet", "same"]
"""would_promote: it passed, but promotion.automatic is off; same: the challenger already is the champion."""


@dataclass(frozen=True)
class Craft:
    """How routers are made and read.

    train: publishes a router of a dataset version, unless it exists, and returns its version
    best_single: does the same for the router that always asks the model that is best outside the test split
    verify: raises RouterError unless a folder is whole
    load: verifies and returns the router in a folder
    evaluate: figures of a router on the test split of a dataset, see `flywheel_core/learn/evaluate.py`, empty
        when there is no question to judge by
    """

    train: Callable[[Layout, str, Config], str]
    best_single: Callable[[Layout, str, Config], str]
    verify: Callable[[Path], object]
    load: Callable[[Path], Chooser]
    evaluate: Callable[[Layout, str, str, Config], Mapping[str, Any]]


@dataclass(frozen=True)
class Night:
    """What became of a challenger.

    champion: the one it was judged against, or after `run_night` the one in service; figures: see
    `Judgement`.
    """

    verdict: Verdict
    reason: str
    challenger: str
    champion: Champion
    figures: Mapping[str, Any]


def best_single_champion(
    layout: Layout, dataset: str, last_day: date, config: Config, craft: Craft, *, by: str
) -> Champion | None:
    """Keep the best single model in service until something learned is promoted.

    Returns the new champion, None when nothing changes. Without a champion, the best single model becomes the
    first. While it serves, and promotion is automatic, the model that is best on data up to a later
    `last_day` takes its place. Neither rests on a test question, so all test questions, past ones too, may
    judge its challengers.

    Raises RouterError when a router is missing or damaged, or another process promoted meanwhile;
    StorageError when the system refuses.
    """
    registry = Registry(layout, craft.verify)
    champion = registry.champion()
    day = last_day.isoformat()
    if champion is not None:
        entry = registry.entry(champion)
        if entry is None or entry.kind not in BEST_SINGLE_KINDS or not config.promotion.automatic:
            return None
        if entry.last_day is not None and entry.last_day >= day:
            return None
    version = craft.best_single(layout, dataset, config)
    model = _only_model(layout, craft, version)
    if champion is not None and model == _only_model(layout, craft, champion.version):
        return None
    return registry.promote(
        version,
        kind="first" if champion is None else "renewed",
        by=by,
        reason=f"{model} is the best single model so far, test questions left out, and nothing learned was promoted yet",
        since=None,
        expected=0 if champion is None else champion.sequence,
        last_day=day,
    )


def _only_model(layout: Layout, craft: Craft, version: str) -> str:
    """Return the model that a best single router asks."""
    return craft.load(version_folder(layout, version)).decide_all(["any"])[0].model


def judge_challenger(
    layout: Layout, challenger: str, last_day: date, config: Config, craft: Craft, *, by: str
) -> Night:
    """Judge a challenger on the test questions up to `last_day`, once and for all, without promoting it.

    Raises RouterError when there is no champion, a router is missing or damaged, or another process promoted
    meanwhile; StorageError when the system refuses.
    """
    registry = Registry(layout, craft.verify)
    champion = registry.champion()
    if champion is None:
        raise RouterError(
            "there is no champion to judge against", hint="train a router first: flywheel train"
        )
    if champion.version == challenger:
        return Night("same", f"router {challenger} is the champion already", challenger, champion, {})
    entry = registry.record_judgement(
        champion,
        challenger,
        last_day.isoformat(),
        partial(_judged, layout, champion, registry.entry(champion), challenger, last_day, config, craft),
        by=by,
    )
    verdict: Verdict = entry.figures["outcome"]
    if verdict == "promoted" and not config.promotion.automatic:
        verdict = "would_promote"
    return Night(verdict, entry.reason, challenger, champion, entry.figures)


def promote_passed(layout: Layout, config: Config, craft: Craft, *, by: str) -> Champion | None:
    """Promote the challenger that was judged last, if it passed and promotion is automatic.

    Returns the new champion, None when nothing is promoted. Judgements of `not_yet` are skipped.
    """
    registry = Registry(layout, craft.verify)
    champion = registry.champion()
    if champion is None or not config.promotion.automatic:
        return None
    judged = [entry for entry in registry.judgements(champion) if entry.figures["outcome"] != "not_yet"]
    if not judged or judged[-1].figures["outcome"] != "promoted":
        return None
    return registry.promote(
        judged[-1].version,
        kind="promoted",
        by=by,
        reason=judged[-1].reason,
        since=judged[-1].figures["newest"],
        figures=judged[-1].figures,
        expected=champion.sequence,
    )


def run_night(
    layout: Layout, challenger: str, dataset: str, last_day: date, config: Config, craft: Craft, *, by: str
) -> Night:
    """Run the whole night: keep the best single model in service, judge, and promote what passed.

    `champion` of the result is the one in service afterwards.
    """
    best_single_champion(layout, dataset, last_day, config, craft, by=by)
    night = judge_challenger(layout, challenger, last_day, config, craft, by=by)
    champion = promote_passed(layout, config, craft, by=by) if night.verdict == "promoted" else None
    return replace(night, champion=champion or night.champion)


def _born(champion: Champion, entry: Entry | None) -> float:
    """Return from when on a champion ages, unix seconds: the newest test question that it rests on, or the end of its data.

    Not from its promotion: a replay promotes today what rests on data of long ago.
    """
    if champion.since is not None:
        return champion.since
    if entry is None or entry.last_day is None:
        return champion.at
    return first_second(date.fromisoformat(entry.last_day) + timedelta(days=1))


def _judged(
    layout: Layout,
    champion: Champion,
    entry: Entry | None,
    challenger: str,
    last_day: date,
    config: Config,
    craft: Craft,
    looks: Looks,
) -> tuple[str, dict[str, Any]]:
    """Return the reason and the figures of a judgement.

    `newest` among the figures: when the newest question of the judgement was received, unix seconds.
    """
    questions = fresh_questions(layout, champion.since, last_day, config.promotion)
    old, new = (
        AsServed(
            craft.load(version_folder(layout, version)), list(config.models), config.routing.default_model
        )
        for version in (champion.version, challenger)
    )
    gains = gains_of(questions, old, new, config.learning, config.models)
    newest: float | None = questions["received_at"].max()  # type: ignore[assignment]  # a column of floats
    age = 0.0 if newest is None else max(0.0, newest - _born(champion, entry)) / 86_400
    judgement = judge(gains, looks, config.promotion, champion_age_days=age)
    # Encoded and decoded, so that they equal what the log gives back.
    figures: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(judgement))
    reason = str(figures.pop("reason"))
    if old.gone:
        reason += (
            f"; the champion chooses {', '.join(sorted(old.gone))}, not in models any more:"
            f" the default model {config.routing.default_model} answers in its place"
        )
    return reason, {**figures, "newest": newest, "champion_age_days": age}
