"""Which routers decided on a day's data points, against those that were in service on that day."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from flywheel_core.config import Config
from flywheel_core.lake.atomic import write_atomically
from flywheel_core.lake.ingest import ingest_day
from flywheel_core.lake.layout import Layout, first_second
from flywheel_core.learn.champion import Champion
from flywheel_core.learn.following import Follower, followers
from flywheel_core.learn.promotion_history import versions_that_served
from flywheel_core.learn.promotion_log import Entry, append_entry
from flywheel_core.learn.registry import Registry

DAY = date(2026, 3, 1)
NOON = first_second(DAY) + 43_200.0
HOUR = 3_600.0


def promotions(*served: tuple[str, float]) -> tuple[list[Entry], Champion | None]:
    """Return the log and pointer of versions that were put into service at these times, one after the other."""
    entries = [
        Entry(
            kind="promoted",
            version=version,
            at=at,
            by="test",
            reason="",
            sequence=number,
            previous=number - 1,
        )
        for number, (version, at) in enumerate(served, start=1)
    ]
    if not entries:
        return [], None
    last = entries[-1]
    champion = Champion(
        sequence=len(entries), version=last.version, digest="", at=last.at, previous=last.previous
    )
    return entries, champion


def served_on_day(*served: tuple[str, float]) -> set[str]:
    return versions_that_served(*promotions(*served), first_second(DAY), first_second(DAY) + 24 * HOUR)


def test_versions_in_service_at_the_days_beginning_and_later_on_count() -> None:
    old, new, next_day = ("old", NOON - 48 * HOUR), ("new", NOON), ("later", NOON + 24 * HOUR)
    older = ("older", NOON - 72 * HOUR)
    assert served_on_day(older, old, new, next_day) == {"old", "new"}
    assert served_on_day(older, old) == {"old"}
    assert served_on_day(new, next_day) == set(), "nothing was in service in the morning"
    assert served_on_day() == set()


def test_a_promotion_that_never_took_effect_does_not_count() -> None:
    """A process was killed between the log and the pointer."""
    entries, champion = promotions(("old", NOON - 48 * HOUR))
    lost = Entry(kind="promoted", version="lost", at=NOON, by="test", reason="", sequence=2, previous=1)
    begin = first_second(DAY)
    assert versions_that_served([*entries, lost], champion, begin, begin + 24 * HOUR) == {"old"}


def point(number: int, source: str | None, **classification: Any) -> bytes:
    made: dict[str, Any] = {
        "id": f"point-{number}",
        "question": f"question {number}",
        "timestamp": int(NOON),
        "responses": {name: {"model": name, "answer": "x"} for name in ("big", "math")},
        "scores": {"big": 0.5, "math": 0.5},
        "classification": classification or None,
    }
    return json.dumps(made | ({"source": source} if source else {})).encode() + b"\n"


def test_the_data_points_of_each_source_are_counted_by_who_decided(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    decided = [
        *[("east", {"router_version": "old", "reason": "router"})] * 3,
        *[("east", {"router_version": "new", "reason": "fallback"})] * 2,
        *[("west", {"router_version": "ancient", "reason": "cache"})] * 4,
        *[("west", {"reason": "no_router"})] * 5,
        ("west", {"reason": "requested", "model": "big"}),
        ("south", {"reason": "no_prompt"}),
        ("import", {}),
        (None, {"router_version": "old"}),
    ]
    lines = [point(number, source, **reasons) for number, (source, reasons) in enumerate(decided)]
    write_atomically(layout.raw_file(DAY), b"".join(lines))
    ingest_day(layout, DAY, Config())
    entries, champion = promotions(("old", NOON - 48 * HOUR), ("new", NOON))
    registry = Registry(layout, lambda folder: None)
    assert followers(layout, registry, DAY) == [], "nothing was ever in service"
    for entry in entries:
        append_entry(registry.log, entry)
    write_atomically(registry.pointer, msgspec.json.encode(champion))
    assert followers(layout, registry, DAY) == [
        Follower("", 1, 1, {}),
        Follower("east", 5, 5, {}),
        Follower("west", 9, 0, {"ancient": 4, "no_router": 5}),
    ]
