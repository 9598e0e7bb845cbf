"""Which examples a dataset trains on, and how often the labelled ones stand in its files: caps on groups, balance between labels.

Only the training part is touched; validation and test stay as they came. Which examples go is drawn by a hash of seed
and question, so it is the same in every build.
"""

from dataclasses import asdict, dataclass
from typing import Any

import duckdb

from flywheel_core.config import Dataset
from flywheel_core.lake.engine import sql
from flywheel_core.lake.importing import SOURCE

GROUPS = ("source", "tenant")


@dataclass(frozen=True)
class Cap:
    """One group whose share of a label's training examples was too large: had `examples`, kept `kept`. label: null for those
    without one, of which scores are learned."""

    group: str
    name: str
    label: str | None
    examples: int
    kept: int


def select_examples(connection: duckdb.DuckDBPyConnection, settings: Dataset) -> list[dict[str, Any]]:
    """Make the table `selection` (example, copies, left_out); gives the caps that took effect, as mappings.

    copies: how often an example stands in its file; left_out: unlabelled, group_cap, balance or null. Scores are learned of
    the unlabelled too.
    """
    connection.execute(f"create temp table selection as {sql('dataset_candidates')}", {"seed": settings.seed})
    caps = [cap for group in GROUPS for cap in _cap(connection, group, settings)]
    if settings.balance != "none":
        _balance(connection, upwards=settings.balance == "upsample")
    return [asdict(cap) for cap in caps]


def largest_even_limit(counts: list[int], ungrouped: int, share: float) -> int:
    """The most examples that each group may keep so that none has more than `share` (0..1) of what is kept.

    counts: examples per group; `ungrouped` examples belong to none and all stay. Where so few groups cannot keep
    below the share, an equal part each is what they may have; a group by itself keeps all.
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
    found = connection.execute(
        """
        select label, group_name, count(*) from selection
        where split = 'train' and (copies > 0 or left_out = 'unlabelled')
        group by all
        """
    ).fetchall()
    caps = []
    for label in sorted({row[0] for row in found}, key=lambda label: (label is None, label)):
        counts = {name: count for found_label, name, count in found if found_label == label}
        ungrouped = counts.pop(None, 0)
        # what the operator imported came through no key: it is not a source that could flood
        imported = counts.pop(SOURCE, 0) if group == "source" else 0
        if len(counts) + (ungrouped > 0) < 2:
            continue
        even = largest_even_limit(list(counts.values()), ungrouped + imported, settings.max_group_share)
        limit = max(even, settings.group_floor)
        caps += [
            Cap(group, name, label, count, limit) for name, count in sorted(counts.items()) if count > limit
        ]
    for cap in caps:
        connection.execute(
            """
            update selection set copies = 0, left_out = 'group_cap'
            where example in (
                select example from selection
                where split = 'train' and (copies > 0 or left_out = 'unlabelled') and label is not distinct from ? and group_name = ?
                order by lot, example
                offset ?
            )
            """,
            [cap.label, cap.name, cap.kept],
        )
    connection.execute(f"alter table selection rename column group_name to {group}")
    return caps


def _balance(connection: duckdb.DuckDBPyConnection, upwards: bool) -> None:
    """Bring every label to the size of the smallest one, or of the largest by repeating examples."""
    connection.execute(f"create temp table balanced as {sql('dataset_balance')}", {"upwards": upwards})
    connection.execute(
        """
        update selection set copies = b.copies, left_out = case when b.copies = 0 then 'balance' end
        from balanced as b
        where selection.example = b.example
        """
    )
