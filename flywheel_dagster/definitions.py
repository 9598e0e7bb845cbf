"""All of Flywheel's Dagster definitions, assembled explicitly.

`defs` is what `workspace.yaml` loads. The configuration is read when Dagster calls it, once per process, not
when this module is imported. It is needed that early because the first partition and the sensors' intervals
come from it. Each run is a process of its own and therefore always sees the current file; schedules and
sensors see a change only after the code location is reloaded.
"""

from collections.abc import Mapping

import dagster as dg

from flywheel_core.config import Config
from flywheel_core.config_file import load_config
from flywheel_core.learn.craft import trained_craft
from flywheel_dagster.assets import daily_assets, raw_points
from flywheel_dagster.freshness import dataset_recent
from flywheel_dagster.jobs import JOBS
from flywheel_dagster.partitions import daily_partitions
from flywheel_dagster.resources import Lake
from flywheel_dagster.router_assets import router_assets
from flywheel_dagster.router_checks import router_checks
from flywheel_dagster.router_runs import NIGHTLY_RETRAIN, after_training_set
from flywheel_dagster.schedules import hourly_dataset_check, nightly_training_set
from flywheel_dagster.sensors import late_days, run_failed


def build_defs(config: Config, resource_overrides: Mapping[str, object] | None = None) -> dg.Definitions:
    """Return the definitions for a configuration.

    `resource_overrides` replaces resources by name, for tests.
    """
    partitions = daily_partitions(config.storage.first_day)
    return dg.Definitions(
        assets=[raw_points(partitions), daily_assets(partitions), *router_assets(partitions)],
        asset_checks=[dataset_recent, *router_checks()],
        jobs=[*JOBS, NIGHTLY_RETRAIN],
        schedules=[nightly_training_set(config.storage.first_day), hourly_dataset_check()],
        sensors=[late_days(config.operations.rewrite_check_interval), run_failed(), after_training_set()],
        resources={"lake": Lake(config), "craft": trained_craft(), **(resource_overrides or {})},
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions for the configuration in force."""
    return build_defs(load_config())
