"""The checks of routers: their dataset, their files, and that they still answer as they did at training."""

from collections.abc import Iterator, Sequence

import dagster as dg

from flywheel_core.errors import RouterError, StorageError
from flywheel_core.lake.atomic import sha256_of
from flywheel_core.lake.dataset import latest_dataset
from flywheel_core.learn.champion import MANIFEST, version_folder
from flywheel_core.learn.following import Follower, followers
from flywheel_core.learn.nightly import Craft
from flywheel_core.learn.registry import Registry
from flywheel_core.learn.route import RouterWatch
from flywheel_core.learn.standing import DAYS, Standing, standing
from flywheel_dagster.freshness import is_retraining_left_out, tell
from flywheel_dagster.partitions import utc_now
from flywheel_dagster.resources import Lake
from flywheel_dagster.router_assets import CHALLENGER, CHAMPION, DEPLOYED

MIN_DECISIONS = 20
"""From how many decisions of a source on their share tells something."""
LEAST_FOLLOWING = 0.9
"""Least share of a source's decisions by routers in service: a gateway takes up another one within two seconds."""


def router_checks() -> Sequence[dg.AssetChecksDefinition]:
    """Return the checks of routers.

    None blocks: a router that is not whole is never promoted or taken up anyway.
    """

    @dg.asset_check(  # type: ignore[arg-type]  # a generator, as dataset_recent is
        asset=CHALLENGER,
        description="The newest challenger was trained on the dataset whose window ends last.",
    )
    def trained_on_current_dataset(
        context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]
    ) -> Iterator[dg.AssetCheckResult]:
        newest = context.instance.get_latest_materialization_event(dg.AssetKey(CHALLENGER))
        found = newest.asset_materialization if newest else None
        trained = found.metadata["dataset"].value if found and "dataset" in found.metadata else None
        current = latest_dataset(lake.layout)
        passed = trained == current  # before the first dataset, neither is there
        yield dg.AssetCheckResult(
            passed=passed,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"trained on {trained}, the current dataset is {current}",
        )
        if not passed and is_retraining_left_out(context.instance):
            tell(context, "nightly_retrain was not started after the last training dataset: no router learns")

    @dg.asset_check(
        asset=CHAMPION,
        description="Every file of the champion has the SHA-256 of its manifest, and the manifest that of its promotion.",
    )
    def artefact_verifies(
        lake: dg.ResourceParam[Lake], craft: dg.ResourceParam[Craft]
    ) -> dg.AssetCheckResult:
        try:
            champion = Registry(lake.layout, craft.verify).champion()
            if champion is None:
                return dg.AssetCheckResult(passed=False, description="there is no champion")
            folder = version_folder(lake.layout, champion.version)
            craft.verify(folder)
            if sha256_of(folder / MANIFEST) != champion.digest:
                return dg.AssetCheckResult(
                    passed=False, description=f"{folder / MANIFEST} is not the one that was promoted"
                )
        except RouterError as error:
            return dg.AssetCheckResult(passed=False, description=str(error))
        return dg.AssetCheckResult(passed=True, description=f"router {champion.version} is whole")

    @dg.asset_check(
        asset=CHAMPION,
        description=f"On the test questions of the last {DAYS} days no single model is better beyond doubt than the router in service.",
    )
    def no_single_model_is_better(
        lake: dg.ResourceParam[Lake], craft: dg.ResourceParam[Craft]
    ) -> dg.AssetCheckResult:
        warn = dg.AssetCheckSeverity.WARN
        try:
            found = standing(lake.layout, lake.config, craft)
        except (RouterError, StorageError) as error:
            return dg.AssetCheckResult(passed=False, severity=warn, description=str(error))
        if found is None:
            return dg.AssetCheckResult(passed=True, severity=warn, description="there is nothing to compare")
        return dg.AssetCheckResult(passed=not found.better, severity=warn, description=_compared(found))

    @dg.asset_check(
        asset=DEPLOYED,
        description="Loaded as a gateway loads it, the champion answers its recorded questions as it did at its training.",
    )
    def deployed_answers_agree(
        lake: dg.ResourceParam[Lake], craft: dg.ResourceParam[Craft]
    ) -> dg.AssetCheckResult:
        watch = RouterWatch(lake.layout, craft.load)
        watch.poll()
        if watch.in_force is not None:
            return dg.AssetCheckResult(
                passed=True,
                description=f"router {watch.in_force.champion.version} answers as at its training",
            )
        says = watch.refusal.message if watch.refusal else "there is no champion"
        return dg.AssetCheckResult(passed=False, description=says)

    @dg.asset_check(
        asset=DEPLOYED,
        description="On the last day that is over, gateways decided with the routers that were in service then.",
    )
    def gateways_follow(lake: dg.ResourceParam[Lake], craft: dg.ResourceParam[Craft]) -> dg.AssetCheckResult:
        days = [day for day in lake.layout.table_days("responses") if day < utc_now().date()]
        try:
            found = followers(lake.layout, Registry(lake.layout, craft.verify), days[-1]) if days else []
        except (RouterError, StorageError) as error:
            return dg.AssetCheckResult(
                passed=False, severity=dg.AssetCheckSeverity.WARN, description=str(error)
            )
        behind = [
            one
            for one in found
            if one.decisions >= MIN_DECISIONS and one.following < LEAST_FOLLOWING * one.decisions
        ]
        says = (
            "; ".join(map(_says, behind)) + ": is that gateway's data/routers the one of this data folder?"
            if behind
            else f"sources with decisions, all by routers in service: {len(found)}"
        )
        return dg.AssetCheckResult(passed=not behind, severity=dg.AssetCheckSeverity.WARN, description=says)

    return [
        trained_on_current_dataset,
        artefact_verifies,
        no_single_model_is_better,
        deployed_answers_agree,
        gateways_follow,
    ]


def _compared(found: Standing) -> str:
    on = f"on {found.questions:,} test questions from {found.first} to {found.last}"
    if found.better:
        said = ", ".join(f"{one.model} by {one.gain:.3f} (at least {one.lower:.3f})" for one in found.better)
        return f"{on} always asking one model has more utility than router {found.version}: {said}"
    return f"{on} no single model is better beyond doubt than router {found.version}"


def _says(one: Follower) -> str:
    others = ", ".join(f"{decider} {count:,}" for decider, count in one.others.items())
    return f"{one.source}: of {one.decisions:,} decisions {one.following:,} were by a router in service ({others})"
