"""Whether gateways decide with the routers that are in service: what the data points of a day say of it."""

from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from flywheel_core.lake.layout import Layout, first_second
from flywheel_core.lake.table_files import check_table
from flywheel_core.learn.promotion_history import versions_that_served
from flywheel_core.learn.promotion_log import read_entries
from flywheel_core.learn.registry import Registry

NO_ROUTER = "no_router"
"""Reason of a gateway's decision without any router."""


@dataclass(frozen=True)
class Follower:
    """How a source decided on one day.

    decisions: data points on which a router decided, or should have; following: those decided by a router that was in
    service; others: version, or `no_router` -> how many of the rest.
    """

    source: str
    decisions: int
    following: int
    others: dict[str, int]


def followers(layout: Layout, registry: Registry, day: date) -> list[Follower]:
    """Return every source with decisions on a day whose table `responses` exists, in order of name.

    Empty when no router was in service as the day began. Raises RouterError when log or pointer is damaged, StorageError
    when the table is.
    """
    begin, end = first_second(day), first_second(day + timedelta(days=1))
    served = versions_that_served(read_entries(registry.log), registry.champion(), begin, end)
    if not served:
        return []
    table = layout.table("responses", day)
    check_table(table, "responses", day)
    by = pl.coalesce(
        "router_version", pl.when(pl.col("decision_reason") == NO_ROUTER).then(pl.lit(NO_ROUTER))
    )
    counted = (
        pl.scan_parquet(table, glob=False)
        .filter(pl.col("position") == 0)
        .select(pl.col("source").fill_null(""), by=by)
        .drop_nulls("by")
        .group_by("source", "by")
        .len()
        .sort("source", "by")
        .collect()
    )
    found: dict[str, dict[str, int]] = {}
    for source, decider, count in counted.iter_rows():
        found.setdefault(source, {})[decider] = count
    return [
        Follower(
            source,
            sum(counts.values()),
            sum(count for decider, count in counts.items() if decider in served),
            {decider: count for decider, count in counts.items() if decider not in served},
        )
        for source, counts in found.items()
    ]
