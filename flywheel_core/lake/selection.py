"""Selects the examples that a dataset trains on: caps the share of a source or tenant, and balances labels.

Only the training split is changed; validation and test keep every example. Which examples are left out is drawn by a hash
of seed and question, so it is the same in every build.
"""

from dataclasses import asdict, dataclass
from typing import Any

import duckdb

from flywheel_core.config import Dataset
from flywheel_core.lake.engine import sql
from flywheel_core.lake.recorded import SOURCE

GROUPS = ("source", "tenant")

_OUT_OF_FILES = """
update selection set copies = 0, left_out = 'group_cap'
where example in (
    select example from selection
    where split = 'train' and copies > 0 and label = ? and group_name = ?
    order by lot, example
    offset ?
)
"""
_OUT_OF_SCORES = """
update selection set for_scores = false
where example in (
    select example from selection
    where split = 'train' and for_scores and group_name = ?
    order by lot, example
    offset ?
)
"""


@dataclass(frozen=True)
class Cap:
    """One source or tenant whose share of the training examples was too large: it had `examples` and keeps `kept`.

    group: `source` or `tenant`; name: which one; label: of which label, None for all examples, from which scores are
    learned.
    """

    group: str
    name: str
    label: str | None
    examples: int
    kept: int


def select_examples(connection: duckdb.DuckDBPyConnection, settings: Dataset) -> list[dict[str, Any]]:
    """Create the table `selection` (example, copies, left_out, for_scores); return the caps that took effect, as mappings.

    copies: how often an example is written to the file of its split; left_out: why it is in none, `unlabelled`,
    `group_cap` or `balance`, or null. for_scores: whether scores are learned from it. This does not depend on labels:
    a label depends on the scores, so among examples chosen by it the models' mean scores would be wrong.
    """
    connection.execute(f"create temp table selection as {sql('dataset_candidates')}", {"seed": settings.seed})
    caps = [cap for group in GROUPS for cap in _cap(connection, group, settings)]
    if settings.balance != "none":
        _balance(connection, upwards=settings.balance == "upsample")
    return [asdict(cap) for cap in caps]


def largest_even_limit(counts: list[int], ungrouped: int, share: float) -> int:
    """The most examples that each group may keep so that none has more than `share` (0..1) of what is kept.

    counts: examples per group, not empty; `ungrouped` examples belong to no group and all stay. When there are so few
    groups that one must exceed the share, each may have an equal part (the ungrouped counting as a group); a single
    group keeps all.
    """
    share = max(share, 1 / (len(counts) + (ungrouped > 0)))
    low, high = 0, max(counts)
    while low < high:
        limit = (low + high + 1) // 2
        kept = ungrouped + sum(min(count, limit) for count in counts)
        if limit <= share * kept + 1e-9:
            low = limit
        else:
            high = limit - 1
    return low


def _cap(connection: duckdb.DuckDBPyConnection, group: str, settings: Dataset) -> list[Cap]:
    if settings.max_group_share >= 1:
        return []
    connection.execute(f"alter table selection rename column {group} to group_name")
    of_label = connection.execute(
        "select label, group_name, count(*) from selection where split = 'train' and copies > 0 group by all"
    ).fetchall()
    in_all = connection.execute(
        "select null, group_name, count(*) from selection where split = 'train' and for_scores group by all"
    ).fetchall()
    labels = sorted({row[0] for row in of_label})
    caps = [cap for label in labels for cap in _over_share(group, label, of_label, settings, 1)]
    for cap in caps:
        connection.execute(_OUT_OF_FILES, [cap.label, cap.name, cap.kept])
    caps_of_scores = _over_share(group, None, in_all, settings, max(1, len(labels)))
    for cap in caps_of_scores:
        connection.execute(_OUT_OF_SCORES, [cap.name, cap.kept])
    connection.execute(f"alter table selection rename column group_name to {group}")
    return caps + caps_of_scores


def _over_share(
    group: str, label: str | None, found: list[tuple[Any, ...]], settings: Dataset, floors: int
) -> list[Cap]:
    """Return the caps of the groups that have more examples of a label than their share.

    found: label, group and number of examples; floors: how often `group_floor` is free to a group.
    """
    counts = {name: count for found_label, name, count in found if found_label == label}
    ungrouped = counts.pop(None, 0)
    # imported points come from the operator, not through a collector key: they are no source that could flood
    imported = counts.pop(SOURCE, 0) if group == "source" else 0
    if len(counts) + (ungrouped > 0) < 2:
        return []
    even = largest_even_limit(list(counts.values()), ungrouped + imported, settings.max_group_share)
    limit = max(even, settings.group_floor * floors)
    return [Cap(group, name, label, count, limit) for name, count in sorted(counts.items()) if count > limit]


def _balance(connection: duckdb.DuckDBPyConnection, upwards: bool) -> None:
    """Bring every label to the size of the smallest one or, with `upwards`, of the largest by repeating examples."""
    connection.execute(f"create temp table balanced as {sql('dataset_balance')}", {"upwards": upwards})
    connection.execute(
        """
        update selection set copies = b.copies, left_out = case when b.copies = 0 then 'balance' end
        from balanced as b
        where selection.example = b.example
        """
    )
