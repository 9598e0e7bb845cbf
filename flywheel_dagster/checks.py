"""The checks of each day and their verdicts. The figures that they judge come from `steps.py`.

A blocking check fails its day with severity ERROR and holds up whatever would be made from wrong data; the
others show up in the UI and stop nothing. The check that looks at the clock, not at a day, is in `freshness.py`.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from flywheel_dagster.metadata import MAX_NAMED, named, shares, short

MIN_LINES_FOR_SHARE = 100
"""With fewer lines, one torn line is a large share but no evidence of a fault, so the check only warns."""

MIN_UNTOLD = 20
"""From how many questions on equal scores on all of them are no chance."""

DESCRIPTIONS: Mapping[str, Mapping[str, str]] = {
    "responses": {
        "points_reconciled": "Every line of the raw files is accounted for, and the tables hold what was counted. Blocks the day.",
        "rejected_share": "The share of rejected lines is at most operations.max_rejected_share. Blocks the day; "
        f"with fewer than {MIN_LINES_FOR_SHARE} lines it only warns.",
        "day_has_points": "Warns when a day has no data point at all.",
        "models_mapped": "Warns about models that the configuration does not know or gives no category: they cannot win a label.",
    },
    "label_distribution": {
        "label_drift": "Warns when the labels' shares are further from those of the week before than operations.max_label_drift "
        "(total variation distance), when all models have the same score on every question, or when a table of that week cannot be read.",
    },
    "training_dataset": {
        "enough_examples": "There are at least dataset.min_examples labelled examples with dataset.min_labels different labels.",
        "groups_within_share": "Warns when a source or tenant gave more than dataset.max_group_share of a label and was capped.",
        "split_disjoint": "No question, with case, white space and digits folded, is in two parts of the split. Blocks training on it.",
        "files_verify": "Every file of the version has the SHA-256 that dataset.json says. Blocks training on it.",
    },
}
"""Asset -> check -> the description shown in the UI."""

BLOCKING = frozenset({"points_reconciled", "rejected_share", "split_disjoint", "files_verify"})


@dataclass(frozen=True)
class Verdict:
    """The result of one check on one day.

    says: one sentence; figures: numbers that the UI plots over days.
    """

    check: str
    passed: bool
    says: str
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stops(self) -> bool:
        """Whether this verdict fails the day and holds up the assets that depend on the one checked."""
        return not self.passed and self.severity is dg.AssetCheckSeverity.ERROR and self.check in BLOCKING


def day_check_specs(partitions: dg.PartitionsDefinition[str]) -> list[dg.AssetCheckSpec]:
    """Return the specs of the checks that belong to a day; each result is stored with its day."""
    with warnings.catch_warnings():
        # Partitioned checks are a preview feature of the pinned version; without them a result has no day.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(
                name,
                asset=asset,
                description=description,
                blocking=name in BLOCKING,
                partitions_def=partitions,
            )
            for asset, checks in DESCRIPTIONS.items()
            for name, description in checks.items()
        ]


def points_reconciled(
    *, lines: int, accepted: int, duplicates: int, rejected: int, stored_points: int, stored_rejects: int
) -> Verdict:
    """Check that lines = data points + duplicates + rejects, and that both tables hold these numbers."""
    missing = lines - accepted - duplicates - rejected
    passed = missing == 0 and stored_points == accepted and stored_rejects == rejected
    return Verdict(
        "points_reconciled",
        passed,
        f"{lines:,} lines: {accepted:,} accepted, {duplicates:,} duplicates, {rejected:,} rejected; "
        f"the tables hold {stored_points:,} data points and {stored_rejects:,} rejects",
        figures={"lines": lines, "unaccounted": missing},
    )


def rejected_share(*, lines: int, rejected: int, limit: float) -> Verdict:
    """Check that at most `limit` (0..1) of the lines were rejected."""
    share = rejected / lines if lines else 0.0
    enough = lines >= MIN_LINES_FOR_SHARE
    says = f"{rejected:,} of {lines:,} lines rejected ({share:.2%}); at most {limit:.2%} is allowed"
    if share > limit:
        says += "; see the day's rejects, then mend its raw files or raise operations.max_rejected_share"
    return Verdict(
        "rejected_share",
        share <= limit,
        says,
        dg.AssetCheckSeverity.ERROR if enough else dg.AssetCheckSeverity.WARN,
        {"share": short(share), "limit": limit},
    )


def day_has_points(*, accepted: int) -> Verdict:
    """Check that the day has at least one data point."""
    says = f"{accepted:,} data points" if accepted else "no data point arrived: the day's tables are empty"
    return Verdict("day_has_points", accepted > 0, says, dg.AssetCheckSeverity.WARN, {"points": accepted})


def models_mapped(*, seen: Mapping[str, str | None]) -> Verdict:
    """Check that every model asked that day has a category.

    seen: model -> category, None where it has none.
    """
    missing = sorted(model for model, category in seen.items() if category is None)
    says = (
        f"no category in the configuration: {named(missing)}"
        if missing
        else f"{len(seen)} models, all mapped"
    )
    return Verdict(
        "models_mapped",
        not missing,
        says,
        dg.AssetCheckSeverity.WARN,
        {"models": len(seen), "unmapped": len(missing)},
    )


def label_drift(
    *,
    today: dict[str, int],
    week: dict[str, int],
    limit: float,
    unread: str | None = None,
    untold: int = 0,
) -> Verdict:
    """Check that the labels' shares are close to those of the week before.

    today, week: label -> examples; the check passes when one of them is empty. unread: the days of that week
    whose table is damaged, in words; they are left out, and the check names them and warns. untold: number of
    questions if every one has the same score for all its models, else 0.
    """
    if untold >= MIN_UNTOLD:
        says = f"on each of {untold:,} questions all models have the same score: the scorer does not tell answers apart"
        return Verdict("label_drift", False, says, dg.AssetCheckSeverity.WARN)
    left_out = f"; the table of {unread} cannot be read: make it again" if unread else ""
    if not sum(today.values()) or not sum(week.values()):
        return Verdict(
            "label_drift", not unread, f"nothing to compare with yet{left_out}", dg.AssetCheckSeverity.WARN
        )
    distance = total_variation(today, week)
    now, then = (shares(dict.fromkeys(today | week, 0) | counts) for counts in (today, week))
    most = max(sorted(now), key=lambda name: abs(now[name] - then[name]))
    moved = f"; {named([most])} moved most, from {then[most]:.3f} to {now[most]:.3f}" if distance else ""
    return Verdict(
        "label_drift",
        distance <= limit and not unread,
        f"total variation distance to the week before is {distance:.3f}; the limit is {limit:.3f}{moved}{left_out}",
        dg.AssetCheckSeverity.WARN,
        {"distance": short(distance), "limit": limit},
    )


def total_variation(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    """Return the total variation distance of two distributions, given as counts: 0 same, 1 disjoint.

    This is half the sum of the differences between their shares. Each needs at least one count above 0.
    """
    totals = sum(one.values()), sum(other.values())
    names = one.keys() | other.keys()
    return 0.5 * sum(abs(one.get(name, 0) / totals[0] - other.get(name, 0) / totals[1]) for name in names)


def enough_examples(*, labels: Mapping[str, int], min_examples: int, min_labels: int) -> Verdict:
    """Check that there are enough examples to train on. labels: label -> labelled examples."""
    examples, kinds = sum(labels.values()), sum(1 for count in labels.values() if count)
    return Verdict(
        "enough_examples",
        examples >= min_examples and kinds >= min_labels,
        f"{examples:,} labelled examples with {kinds} labels; at least {min_examples:,} with {min_labels} are needed",
        figures={"examples": examples, "labels": kinds},
    )


def groups_within_share(*, caps: Sequence[Mapping[str, Any]], limit: float) -> Verdict:
    """Check that no source or tenant was capped.

    caps: group, name, label (None: all examples, for the scores), examples and kept of each that was.
    """
    says = "; ".join(
        f"{cap['group']} {named([cap['name']])} gave {cap['examples']:,} examples {'in all' if cap['label'] is None else 'of ' + cap['label']}, {cap['kept']:,} were kept"
        for cap in caps[:MAX_NAMED]
    )
    left_out = sum(cap["examples"] - cap["kept"] for cap in caps if cap["label"] is not None)
    return Verdict(
        "groups_within_share",
        not caps,
        says or f"no source or tenant gave more than {limit:.0%} of a label or of all examples",
        dg.AssetCheckSeverity.WARN,
        {"capped": len(caps), "left_out": left_out, "limit": limit},
    )


def split_disjoint(*, questions: int, shared: int) -> Verdict:
    """Check that no question is on two sides of the split.

    questions: number of distinct questions; shared: those found on more than one side.
    """
    return Verdict(
        "split_disjoint",
        shared == 0,
        f"{shared:,} of {questions:,} different questions are on more than one side of the split",
        figures={"questions": questions, "shared": shared},
    )
