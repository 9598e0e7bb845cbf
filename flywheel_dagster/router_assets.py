"""The router assets, and how each is made: trained, judged, promoted, taken up.

The rules are in `flywheel_core/learn`. The challenger and its evaluation belong to a day, like the dataset.
The champion and the deployed router have no partitions: there is one of each, the one in service at present.
"""

import json
from collections.abc import Mapping
from datetime import date
from typing import Any

import dagster as dg

from flywheel_core.errors import DatasetError, NoDataError, RouterError
from flywheel_core.lake.atomic import sha256_of
from flywheel_core.lake.dataset import build_dataset
from flywheel_core.lake.views import write_views_file
from flywheel_core.learn.champion import MANIFEST, version_folder
from flywheel_core.learn.nightly import Craft, best_single_champion, judge_challenger, promote_passed
from flywheel_core.learn.registry import Registry
from flywheel_core.learn.route import RouterWatch
from flywheel_core.report.evaluation import evaluation_charts, summary_of
from flywheel_core.report.training import training_sentence
from flywheel_core.report.verdict import not_compared, sentence
from flywheel_dagster import metadata
from flywheel_dagster.assets import LEARNING, TRAINING_DATASET
from flywheel_dagster.failures import said_first
from flywheel_dagster.resources import Lake

CHALLENGER, EVALUATION = "challenger_router", "router_evaluation"
CHAMPION, DEPLOYED = "champion_router", "deployed_router"
ROUTER_ASSETS = (CHALLENGER, EVALUATION, CHAMPION, DEPLOYED)
GROUP = "router"


def router_assets(partitions: dg.PartitionsDefinition[str]) -> list[dg.AssetsDefinition]:
    """Return the four assets, in the order in which a night makes them."""

    @dg.asset(
        name=CHALLENGER,
        deps=[TRAINING_DATASET],
        partitions_def=partitions,
        group_name=GROUP,
        kinds={"scikitlearn", "numpy"},
        owners=LEARNING,
        description="A router trained on the training split of the day's dataset. The same dataset, settings and seed "
        "give the same bytes, in `data/routers/<version>/`.",
    )
    @said_first(CHALLENGER)
    def _challenger(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], craft: dg.ResourceParam[Craft]
    ) -> dg.MaterializeResult[Any]:
        dataset = _dataset(lake, _day(context))
        version = craft.train(lake.layout, dataset, lake.config)
        return dg.MaterializeResult(
            metadata=_training(lake, version) | _artefact(lake, version) | {"dataset": dataset},
            data_version=_data_version(lake, version),
        )

    @dg.asset(
        name=EVALUATION,
        deps=[CHALLENGER],
        partitions_def=partitions,
        group_name=GROUP,
        kinds={"numpy"},
        owners=LEARNING,
        description="The challenger against the champion on test questions that came after the champion's promotion. A "
        "rejection and `not yet` are normal. A judgement is made only once: repeating it gives the same result and spends no error level.",
    )
    @said_first(EVALUATION)
    def _evaluation(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], craft: dg.ResourceParam[Craft]
    ) -> dg.MaterializeResult[Any]:
        day = _day(context)
        dataset = _dataset(lake, day)
        challenger = craft.train(lake.layout, dataset, lake.config)
        by = f"dagster run {context.run.run_id}"
        best_single_champion(lake.layout, dataset, day, lake.config, craft, by=by)
        night = judge_challenger(lake.layout, challenger, day, lake.config, craft, by=by)
        figures = dict(night.figures)
        slices, newest = figures.pop("slices", []), figures.pop("newest", None)
        context.log.info(f"{night.verdict}: {night.reason}")
        shown: dict[str, Any] = {
            "verdict": night.verdict,
            "reason": night.reason,
            "challenger": challenger,
            "champion": night.champion.version,
            **{name: _number(value) for name, value in figures.items() if isinstance(value, int | float)},
        }
        if newest is not None:
            shown["newest"] = dg.MetadataValue.timestamp(newest)
        shown |= _figures(lake, challenger, craft.evaluate(lake.layout, challenger, dataset, lake.config))
        if slices:
            columns = ("category", "questions", "mean", "lower", "counts")
            shown["slices"] = metadata.rows_of(columns, [[one[name] for name in columns] for one in slices])
        return dg.MaterializeResult(metadata=shown)

    @dg.asset(
        name=CHAMPION,
        deps=[EVALUATION],
        group_name=GROUP,
        kinds={"json"},
        owners=LEARNING,
        description="The router in service. The challenger judged last is promoted if it passed and promotion is automatic "
        "(`promotion.automatic`). `data/routers/champion.json` names it, `flywheel router rollback` goes back.",
    )
    @said_first(CHAMPION)
    def _champion(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], craft: dg.ResourceParam[Craft]
    ) -> dg.MaterializeResult[Any]:
        promoted = promote_passed(lake.layout, lake.config, craft, by=f"dagster run {context.run.run_id}")
        champion = promoted or Registry(lake.layout, craft.verify).champion()
        if champion is None:
            raise RouterError("there is no champion yet", hint="materialise router_evaluation first")
        return dg.MaterializeResult(
            metadata=_artefact(lake, champion.version)
            | {"promoted_now": promoted is not None, "promotion": champion.sequence},
            data_version=dg.DataVersion(champion.digest),
        )

    @dg.asset(
        name=DEPLOYED,
        deps=[CHAMPION],
        group_name=GROUP,
        kinds={"python"},
        owners=LEARNING,
        description="The champion, loaded as a gateway loads it: verified, loaded, and its recorded questions answered.",
    )
    @said_first(DEPLOYED)
    def _deployed(lake: dg.ResourceParam[Lake], craft: dg.ResourceParam[Craft]) -> dg.MaterializeResult[Any]:
        watch = RouterWatch(lake.layout, craft.load)
        watch.poll()
        if watch.in_force is None:
            refused = watch.refusal
            raise RouterError(
                f"a gateway would refuse the champion: {refused.message}"
                if refused
                else "there is no champion",
                code=refused.code if refused else None,
            )
        champion = watch.in_force.champion
        return dg.MaterializeResult(
            metadata={"version": champion.version, "promotion": champion.sequence},
            data_version=dg.DataVersion(champion.digest),
        )

    return [_challenger, _evaluation, _champion, _deployed]


def _figures(lake: Lake, challenger: str, evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Return the challenger's figures on the dataset's test split, as metadata.

    These are numbers that plot over days, a table with their intervals, the charts, and the path of the page
    that has everything. Empty when there is no evaluation.
    """
    if not evaluation:
        return {}
    overall = evaluation["overall"]  # value, lower and upper 95 % bound
    rows = [(row.name, row.value, row.lower, row.upper) for row in summary_of(evaluation)]
    charts = evaluation_charts(evaluation)
    return {
        "in_short": " ".join(filter(None, (sentence(evaluation), not_compared(evaluation)))),
        **{
            f"test_{name}": metadata.short(value[0])
            for name, value in overall.items()
            if isinstance(value, list)
        },
        **{f"share_{model}": metadata.short(value[0]) for model, value in overall["share"].items()},
        "test_questions": evaluation["questions"],
        "test_questions_not_compared": evaluation["left_out"],
        "test_figures": metadata.rows_of(("figure", "value", "lower", "upper"), rows),
        "test_scores": metadata.picture(charts["scores"], title="Mean score on the test split"),
        "test_gains": metadata.picture(charts["gains"], title="Gain by category on the test split"),
        "test_curve": metadata.picture(charts["curve"], title="Cost and quality on the test split"),
        "page": dg.MetadataValue.path(str(lake.layout.evaluation(challenger, "html").absolute())),
    }


def _training(lake: Lake, version: str) -> dict[str, Any]:
    """Return what a router was trained on and what its candidates gain, as metadata; empty when unknown."""
    manifest = json.loads((version_folder(lake.layout, version) / MANIFEST).read_bytes())
    figures = manifest.get("figures", {})
    said = training_sentence(figures)
    return {"in_short": said, "examples": figures["examples"]} if said else {}


def _number(value: float) -> float:
    return metadata.short(value) if isinstance(value, float) else value


def _day(context: dg.AssetExecutionContext) -> date:
    return date.fromisoformat(context.partition_key)


def _dataset(lake: Lake, day: date) -> str:
    """Return the dataset version of a day, which exists already unless tables or settings changed since its training set.

    Raises DatasetError when there is nothing to make it from.
    """
    try:
        version = build_dataset(lake.layout, day, lake.config).version
    except NoDataError as error:
        raise DatasetError(
            f"there is no dataset of {day} to train on: {error.message}", hint=error.hint
        ) from error
    write_views_file(lake.layout)
    return version


def _data_version(lake: Lake, version: str) -> dg.DataVersion:
    return dg.DataVersion(sha256_of(version_folder(lake.layout, version) / MANIFEST))


def _artefact(lake: Lake, version: str) -> dict[str, Any]:
    folder = version_folder(lake.layout, version)
    return {
        "version": version,
        "folder": dg.MetadataValue.path(str(folder.absolute())),
        "bytes": sum(path.stat().st_size for path in folder.iterdir()),
    }
