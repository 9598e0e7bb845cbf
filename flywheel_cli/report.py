"""`flywheel report`: the figures of some days, as tables or as a page."""

from datetime import UTC, datetime
from pathlib import Path

import click

from flywheel_cli.options import (
    Settings,
    expand_days,
    html_option,
    json_option,
    pass_settings,
    settings_options,
)
from flywheel_cli.output import print_json, print_table, short_cell, shown, some
from flywheel_core.lake.atomic import write_atomically
from flywheel_core.report.facts import Summary
from flywheel_core.report.summary import summarise

REPORT_DAYS = 30
"""Days in a report without DAY: the last ones that were labelled."""


@click.command()
@click.argument("days", metavar="[DAY]...", nargs=-1)
@html_option
@settings_options
@json_option
@pass_settings
def report(settings: Settings, days: tuple[str, ...], file: Path | None) -> None:
    """Show labels, models, quality and rejects of days; without DAY, of the last 30 that were labelled.

    DAY is 2026-01-05, today, yesterday, a range 2026-01-01..2026-01-30, or all.
    """
    layout = settings.layout
    labelled = layout.table_days("quality_report")
    named = expand_days(
        days,
        labelled,
        where=layout.tables / "quality_report",
        before="run flywheel ingest all, then flywheel label all,",
    )
    summary = summarise(layout, named if days else labelled[-REPORT_DAYS:])
    if file is not None:
        from flywheel_core.report.html import page

        write_atomically(file, page(summary, made_at=datetime.now(UTC)).encode())
    if settings.as_json:
        print_json(summary)
    elif file is not None:
        click.echo(f"wrote {file}")
    else:
        print_summary(summary)


def print_summary(summary: Summary) -> None:
    """Print the figures of some days as tables, 80 columns wide."""
    first, last = summary.days[0], summary.days[-1]
    click.echo(f"{first}{f' to {last}, {len(summary.days)} days' if last != first else ''}\n")
    labels = [(row.label, row.examples, row.share, row.mean_score) for row in summary.labels]
    print_table(("label", "examples", "share", "mean score"), labels, title="Labels")
    print_table(("rule", "data points"), list(summary.rules.items()), title="Labelling rules")
    models = [
        (
            short_cell(row.model),
            row.responses,
            row.mean_score,
            row.win_share,
            row.failed_share,
            row.latency_p50,
            row.latency_p95,
        )
        for row in summary.shown_models
    ]
    print_table(("model", "responses", "score", "won", "failed", "p50 ms", "p95 ms"), models, title="Models")
    if len(models) < len(summary.models):
        click.echo(
            f"the {len(models)} with the most responses of {len(summary.models):,}; --json shows all\n"
        )
    quality = [
        ("lines", summary.lines),
        ("data points", summary.points),
        ("duplicates", summary.duplicates),
        ("rejected lines", summary.rejected),
        ("with a label", summary.labelled),
        ("ties", summary.ties),
        ("responses", summary.responses),
        ("failed responses", summary.failed),
        ("responses with a score", summary.scored),
        ("mean best score", summary.mean_best_score),
        (
            "least and largest best score",
            f"{shown(summary.min_best_score)} and {shown(summary.max_best_score)}",
        ),
        ("spend on models, users' answers too", summary.model_spend),
        ("spend on the scorer", summary.scorer_spend),
        ("answers of unknown cost", summary.unpriced),
        ("models without a category", some(summary.unknown_models) or None),
    ]
    print_table(("figure", "value"), [(name, shown(value)) for name, value in quality], title="Quality")
    bins = len(summary.score_histogram)
    spans = [f"{at / bins:.1f} to {(at + 1) / bins:.1f}" for at in range(bins)]
    print_table(
        ("score", "responses"), list(zip(spans, summary.score_histogram, strict=True)), title="Scores"
    )
    print_table(("code", "lines"), list(summary.rejects_by_code.items()), title="Rejects")
