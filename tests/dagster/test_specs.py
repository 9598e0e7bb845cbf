"""What the assets declare without a run: names, owners, descriptions and dependencies, as docs/dagster.md has them."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from flywheel_core.config import Config
from flywheel_core.lake.tables import DAILY_TABLES, SOURCES
from flywheel_dagster.assets import TRAINING_DATASET, daily_specs
from flywheel_dagster.checks import BLOCKING, day_check_specs
from flywheel_dagster.definitions import build_defs
from flywheel_dagster.partitions import daily_partitions
from flywheel_dagster.router_checks import router_checks
from flywheel_dagster.steps import DAILY_STEPS


def test_every_asset_is_described() -> None:
    """Every asset has a description, an owner, a kind and a group; the daily ones have partitions."""
    specs = {spec.key.to_user_string(): spec for spec in build_defs(Config()).resolve_all_asset_specs()}
    daily = {"raw_points", *DAILY_TABLES, TRAINING_DATASET}
    assert daily <= specs.keys()
    for name, spec in specs.items():
        assert spec.description and len(spec.description) > 40, name
        assert spec.owners and spec.kinds, name
        assert spec.group_name and spec.group_name != "default", name
        assert spec.partitions_def is not None or name not in daily, name


def test_descriptions_begin_with_plain_text() -> None:
    """The list of assets shows the beginning as it is written, with its marks."""
    for spec in build_defs(Config()).resolve_all_asset_specs():
        assert "`" not in (spec.description or "")[:80], spec.key


def test_the_documentation_names_everything() -> None:
    """Assets, checks, jobs, schedules and sensors are in docs/dagster.md, the routers' checks in docs/promotion.md."""
    definitions = build_defs(Config())
    repository = definitions.get_repository_def()
    of_routers = {key.name for check in router_checks() for key in check.check_keys}
    names = {spec.key.to_user_string() for spec in definitions.resolve_all_asset_specs()}
    names |= {key.name for key in definitions.resolve_asset_graph().asset_check_keys} - of_routers
    names |= {job.name for job in repository.get_all_jobs() if not job.name.startswith("__")}
    names |= {schedule.name for schedule in repository.schedule_defs}
    names |= {sensor.name for sensor in repository.sensor_defs}
    docs = Path(__file__).parents[2] / "docs"
    for page, named in (("dagster.md", names), ("promotion.md", of_routers)):
        text = (docs / page).read_text(encoding="utf-8")
        assert [name for name in sorted(named) if f"`{name}`" not in text] == [], page


def test_the_checks_that_stop_a_day_are_declared_as_blocking() -> None:
    """Dagster shows it at the check, and stops what depends on it in the same run."""
    declared = {spec.name for spec in day_check_specs(daily_partitions("2026-01-01")) if spec.blocking}
    assert declared == BLOCKING


def test_tables_are_made_in_the_lakes_order() -> None:
    """The assets are exactly the tables of the lake."""
    assert [spec.key.to_user_string() for spec in daily_specs()] == [*DAILY_TABLES, TRAINING_DATASET]


@pytest.mark.parametrize("name", SOURCES)
def test_a_table_depends_on_all_that_it_is_made_from(name: str) -> None:
    (spec,) = [one for one in daily_specs() if one.key == dg.AssetKey(name)]
    said = [dep.asset_key.to_user_string() for dep in spec.deps]
    assert said == list(SOURCES[name])
    documented = (Path(__file__).parents[2] / "docs" / "dagster.md").read_text(encoding="utf-8")
    assert f"| `{name}` | {', '.join(f'`{one}`' for one in said)} |" in documented
    (step,) = [one for one in DAILY_STEPS if name in one.assets]
    held_up_by = set(step.needs)
    for earlier in reversed(DAILY_STEPS):
        if held_up_by.intersection(earlier.assets):
            held_up_by.update(earlier.assets, earlier.needs)
    assert set(SOURCES[name]) <= held_up_by, "it would be made from what an earlier run left"


def test_the_definitions_load_without_the_libraries_of_training() -> None:
    """The daemon loads them every minute, and each run once: with scikit-learn it takes half as long again."""
    code = (
        "import sys, flywheel_dagster.definitions\n"
        "sys.exit(', '.join({'sklearn', 'scipy'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
