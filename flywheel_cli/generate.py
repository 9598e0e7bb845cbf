"""`flywheel generate`: one raw file to one training file, without the lake's slow imports."""

from pathlib import Path

import click

from flywheel_cli.options import Settings, json_option, pass_settings, settings_options
from flywheel_cli.output import plain, print_json, print_table, progress, say_rejects
from flywheel_core.lake.generate import Analysis
from flywheel_core.lake.generate import generate as generate_file

MAX_UNKNOWN = 20
"""Most models without a category that are listed: a source may invent a name for each answer."""


@click.command()
@click.option(
    "--input",
    "input_",
    required=True,
    type=click.Path(path_type=Path),
    help="A raw file, .jsonl or .jsonl.gz.",
)
@click.option(
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The training file to write, replaced as a whole.",
)
@click.option(
    "--min-score",
    type=click.FloatRange(0.0, 1.0),
    help="A best score below this gives no label; default: labelling.min_score.",
)
@settings_options
@json_option
@pass_settings
def generate(settings: Settings, input_: Path, output: Path, min_score: float | None) -> None:
    """Write a training file of {"text", "label"} lines from one raw file, and print what is in it."""
    least = settings.config.labelling.min_score if min_score is None else min_score
    with progress("generate") as tell:
        analysis = generate_file(input_, output, least, settings.config, tell)
    if settings.as_json:
        print_json(analysis)
        return
    _print_analysis(analysis)


def _print_analysis(analysis: Analysis) -> None:
    click.echo(
        f"{analysis.input}: {analysis.lines:,} lines, {analysis.points:,} data points, "
        f"{analysis.duplicates:,} duplicates, {analysis.rejected:,} rejected"
    )
    say_rejects(analysis.rejected_by_code)
    click.echo()
    rows = [
        (name, count, count / analysis.examples, analysis.mean_score_by_label[name])
        for name, count in analysis.label_counts.items()
    ]
    print_table(("label", "examples", "share", "mean score"), rows, title="Label distribution")
    scores = (analysis.score_mean, analysis.score_min, analysis.score_max)
    print_table(("mean", "min", "max"), [scores], title="Scores of the best models")
    if analysis.unlabelled_by_rule:
        print_table(
            ("reason", "data points"), list(analysis.unlabelled_by_rule.items()), title="Without a label"
        )
    if analysis.unknown_models:
        unknown = sorted(analysis.unknown_models.items(), key=lambda found: (-found[1], found[0]))
        print_table(
            ("model", "data points"),
            [(plain(model), count) for model, count in unknown[:MAX_UNKNOWN]],
            title="Models without a category in the configuration",
        )
        if len(unknown) > MAX_UNKNOWN:
            click.echo(f"the {MAX_UNKNOWN} with the most data points of {len(unknown):,}; --json shows all\n")
    click.echo(
        f"{analysis.examples:,} training examples of score {analysis.min_score:g} and above: {analysis.output}"
    )
