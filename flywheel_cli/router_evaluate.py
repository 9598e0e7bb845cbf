"""Evaluate a version on questions that no router was trained on: part of `flywheel router evaluate`."""

from collections.abc import Mapping
from textwrap import fill
from typing import Any

import click
import msgspec

from flywheel_cli.options import Settings
from flywheel_cli.output import PLAIN_WIDTH, print_table
from flywheel_core.errors import DatasetError, NoDataError, RouterError
from flywheel_core.learn.champion import MANIFEST, version_folder
from flywheel_core.learn.craft import figures_on_dataset, figures_on_days, questions_of
from flywheel_core.report.evaluation import summary_of, trades_of
from flywheel_core.report.verdict import PER, not_compared, sentence


def evaluation(settings: Settings, version: str, days: int | None) -> tuple[Mapping[str, Any], str]:
    """Return the figures, and the questions that they are about in words.

    days: number of last labelled days whose test questions count; None for the test split of the version's
    dataset. Raises NoDataError when no day is labelled, RouterError and DatasetError when the dataset is
    unknown or gone.
    """
    layout, config = settings.layout, settings.config
    if days is not None:
        last = layout.table_days("training_examples")[-days:]
        if not last:
            raise NoDataError("no day was labelled yet", hint="run flywheel ingest and flywheel label first")
        found = figures_on_days(layout, version, last, config)
        return found, f"the test questions of {last[0]} to {last[-1]}"
    dataset = _dataset_of(settings, version)
    try:
        return figures_on_dataset(layout, version, dataset, config), questions_of(dataset)
    except DatasetError as error:
        raise DatasetError(
            error.message, hint="--days takes the test questions of the last days", code=error.code
        ) from error


def _dataset_of(settings: Settings, version: str) -> str:
    """Return the dataset that a version was trained on. Raises RouterError when its manifest does not say."""
    manifest = version_folder(settings.layout, version) / MANIFEST
    try:
        return str(msgspec.json.decode(manifest.read_bytes())["dataset"])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise RouterError(
            f"{manifest} does not name a dataset", hint="--days takes the test questions of the last days"
        ) from error


def print_evaluation(figures: Mapping[str, Any], questions: str) -> None:
    """Print the figures as tables, 80 columns wide."""
    click.echo(f"router {figures['router']}\n{figures['questions']:,} questions: {questions}\n")
    for said in (not_compared(figures), sentence(figures)):
        if said:
            click.echo(f"{fill(said, PLAIN_WIDTH)}\n")
    rows = [(row.name, row.value, row.lower, row.upper) for row in summary_of(figures)]
    print_table(("figure", "value", "lower 95 %", "upper 95 %"), rows, title="Summary")
    shares = figures["overall"]["share"]
    models = sorted(shares, key=lambda model: (-shares[model][0], model))
    alone = figures["singles"]
    costs = {model: PER * one["cost"] for model, one in alone.items() if "cost" in one}
    print_table(
        ("model", "share", "score alone", f"cost of {PER:,} alone"),
        [(model, shares[model][0], alone[model]["score"], costs.get(model)) for model in models],
        title="Questions by chosen model",
    )
    trades = [(row.weight, row.score, row.gain, row.cost, row.saved) for row in trades_of(figures)]
    if trades:
        heads = ("lambda_cost", "score", "gain", f"cost of {PER:,}", "cost saved")
        print_table(heads, trades, title="Roughly what learning.lambda_cost would bring")
    categories = [
        (name, row["questions"], row["routed"][0], row["best_single"][0], f"{row['gain'][0]:+.3f}")
        for name, row in figures["categories"].items()
    ]
    print_table(("category", "questions", "routed", "best single", "gain"), categories, title="Categories")
    regrets = [(row["regret"], row["chosen"], row["best"], row["question"]) for row in figures["worst"][:5]]
    print_table(("regret", "chosen", "best", "question"), regrets, title="Largest regrets")
