"""`flywheel train` and `flywheel why`: train a router, and explain one decision."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import msgspec

from flywheel_cli.options import Settings, json_option, pass_settings, settings_options, utf8
from flywheel_cli.output import plain, print_json, print_table, visible, visible_json
from flywheel_cli.router import who
from flywheel_core.errors import NoDataError, RouterError, UsageError
from flywheel_core.lake.dataset import latest_dataset, load_manifest
from flywheel_core.lake.layout import Layout
from flywheel_core.learn.artefact import load_router
from flywheel_core.learn.champion import MANIFEST, version_folder
from flywheel_core.learn.craft import train_labels_version, trained_craft
from flywheel_core.learn.nightly import run_night
from flywheel_core.learn.why import (
    Grounds,
    RawLine,
    Spoke,
    find_raw_line,
    grounds_of,
    receipt_days,
    words_that_spoke,
)
from flywheel_core.prompt import PROMPT_RULE
from flywheel_core.report.training import training_sentence
from flywheel_gateway.decisions import DecisionRecord, find_decision, prompt_hash
from flywheel_gateway.routing import REASONS

REMOVED = "flywheel prune removed it, or it is in another data folder (--data-dir)"


@click.command()
@click.argument("dataset", required=False)
@click.option(
    "--labels",
    is_flag=True,
    help='Train only the classifier of {"text", "label"}, for comparison; it is not judged.',
)
@click.option("--judge/--no-judge", default=True, help="Whether the router may take the champion's place.")
@settings_options
@json_option
@pass_settings
def train(settings: Settings, dataset: str | None, labels: bool, judge: bool) -> None:
    """Train a router on DATASET (the newest unless named), judge it, and promote it if it passes.

    It is judged as by night: on test questions that came after the champion's promotion. The first champion is the best
    single model. The same dataset and settings give the same router.
    """
    layout, config = settings.layout, settings.config
    dataset = dataset or latest_dataset(layout)
    if dataset is None:
        raise NoDataError("there is no dataset to train on", hint="build one: flywheel dataset DAY")
    last_day = date.fromisoformat(load_manifest(layout, dataset)["last_day"])
    craft = trained_craft()
    version = (train_labels_version if labels else craft.train)(layout, dataset, config)
    folder = layout.router(version)
    training = msgspec.json.decode((folder / MANIFEST).read_bytes())["figures"]
    found: dict[str, Any] = {"version": version, "dataset": dataset, "folder": folder, "training": training}
    if judge and not labels:
        night = run_night(layout, version, dataset, last_day, config, craft, by=who())
        found |= {
            "verdict": night.verdict,
            "reason": night.reason,
            "in_service": night.champion.version,
            "figures": night.figures,
        }
    if settings.as_json:
        print_json(found)
        return
    click.echo(f"router {version} of dataset {dataset}: {folder}\n{training_sentence(training)}")
    if "verdict" in found:
        click.echo(f"{found['verdict']}: {found['reason']}\nin service: {found['in_service']}")


@click.command()
@click.argument("decision_id")
@click.option("--prompt", help="The prompt, if its data point is not here: decisions hold only its hash.")
@click.option("--raw", is_flag=True, help="Print the whole raw line.")
@settings_options
@json_option
@pass_settings
def why(settings: Settings, decision_id: str, prompt: str | None, raw: bool) -> None:
    """Explain one decision: its scores, the words that spoke for it, the router, its dataset, and the raw line.

    DECISION_ID is the response header x-flywheel-decision, and `decision_id` of a data point.
    """
    layout = settings.layout
    record = find_decision(layout.decisions, utf8(decision_id, "DECISION_ID"))
    if record is None:
        raise NoDataError(
            f"there is no decision {decision_id!r} in {layout.decisions}",
            hint="decisions are kept for gateway.decision_log_days days; --data-dir selects the gateway's data folder; an answer"
            " observed without a decision_id belongs to no decision",
        )
    line = find_raw_line(layout, decision_id, datetime.fromtimestamp(record.at, UTC).date())
    if prompt is None and line is not None:
        prompt = line.question
    if prompt is not None and prompt_hash(prompt) != record.prompt:
        raise UsageError(
            "this is not the prompt of that decision: its hash is different",
            hint=f"it is the text that prompt rule {PROMPT_RULE} takes from the request",
        )
    facts = _router_facts(settings, record, prompt)
    if settings.as_json:
        print_json({"decision": msgspec.to_builtins(record), **facts, "raw_line": line})
        return
    _print_decision(layout, record, facts, line, whole=raw)


def _router_facts(settings: Settings, record: DecisionRecord, prompt: str | None) -> dict[str, Any]:
    """Return the router's manifest, its dataset, what its scores rest on, and the words that counted.

    `note` says why the last two are unavailable.
    """
    facts: dict[str, Any] = {"router": None, "dataset": None, "grounds": None, "words": [], "note": None}
    if record.router_version is None:
        return facts | {"note": "no router decided"}
    if not settings.layout.router(record.router_version).is_dir():
        return facts | {"note": f"router {record.router_version} is not here: {REMOVED}"}
    try:
        folder: Path = version_folder(settings.layout, record.router_version)
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes())
        facts["router"] = manifest
        facts["dataset"] = manifest.get("dataset")
        if not record.scores:
            facts["note"] = "the router gave no scores: no words spoke"
        elif manifest.get("policy", {}).get("always_single"):
            facts["note"] = "this router asks one model whatever the prompt: no words spoke"
        elif prompt is None:
            facts["note"] = (
                "no data point of the request is here, so its words are not known: give them with --prompt"
            )
        else:
            router = load_router(folder)
            facts["grounds"] = grounds_of(router, prompt)
            facts["words"] = words_that_spoke(router.utilities, router.models, prompt, record.model)
    except (RouterError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        facts["note"] = f"router {record.router_version} cannot be asked: {error}"
    return facts


def _answered(record: DecisionRecord, line: RawLine | None) -> str:
    """Return who answered the user, as far as is known.

    After a decision of /v1/route, another gateway answers, and may report the answer to /v1/observe.
    """
    if record.served is not None:
        return f"answered by {record.served}"
    if line is not None and line.served is not None:
        return f"answered by {plain(line.served)}, as reported to /v1/observe"
    return "answered by nobody" if record.failed else "who answered is not on record"


def _why_no_line(layout: Layout, record: DecisionRecord) -> str:
    """Return why a decision has no raw line, as far as is known."""
    if not record.collected:
        # A decision of /v1/route may have been observed later, which its record does not say.
        return "the request was not collected, or its data point is not here"
    day, today = datetime.fromtimestamp(record.at, UTC).date(), datetime.now(UTC).date()
    if today > day + timedelta(days=1) and not any(
        layout.raw_files(at) for at in (day, day + timedelta(days=1))
    ):
        return f"there is no raw file of {day} in {layout.raw.name}/: {REMOVED}"
    if not layout.raw.is_dir():
        return f"there is no folder {layout.raw}: link that of the collector to it"
    days = receipt_days(day)
    if today > max(days):
        return f"collected, but its data point is not here: no raw file of {min(days)} to {max(days)} has it"
    return "collected, but its data point is not here yet"


def _print_decision(
    layout: Layout, record: DecisionRecord, facts: dict[str, Any], line: RawLine | None, *, whole: bool
) -> None:
    moment = datetime.fromtimestamp(record.at, UTC)
    click.echo(f"decision {record.decision_id}, {moment:%Y-%m-%d %H:%M:%S} UTC")
    click.echo(
        f"{record.model} (category {record.category}), confidence {record.confidence:.2f}; {_answered(record, line)}"
    )
    click.echo(f"reason {record.reason}: {REASONS.get(record.reason, 'of an unknown kind')}")
    for model, trouble in record.failed.items():
        click.echo(f"  {model} failed: {visible(trouble)}")
    click.echo(f"router {record.router_version or '-'}, dataset {facts['dataset'] or '-'}\n")
    grounds: Grounds | None = facts["grounds"]
    _print_scores(record, grounds)
    words: list[Spoke] = facts["words"]
    if words:
        behind = f"Words behind the lead of {record.model} (+) and against it (-)"
        decided = grounds is None or grounds.undecided is None
        print_table(
            ("word", f"lead of {record.model}"),
            [(one.word, f"{one.lead:+.4f}") for one in words],
            title="Words that spoke for it (+) and against it (-)" if decided else behind,
        )
    if facts["note"]:
        click.echo(facts["note"])
    if line is None:
        click.echo(f"no raw line: {_why_no_line(layout, record)}")
        return
    click.echo(f"raw line: {line.file}, byte {line.offset:,}")
    click.echo(visible_json(line.line) if whole else f"question: {visible(line.question[:500])}")


def _print_scores(record: DecisionRecord, grounds: Grounds | None) -> None:
    """Print the expected scores, with what they rest on where that is known."""
    scores = sorted(record.scores.items(), key=lambda item: -item[1])
    if not scores:
        return
    if grounds is None:
        rows = [(model, score, model == record.model) for model, score in scores]
        print_table(("model", "expected score", "chosen"), rows, title="Scores")
        return
    print_table(
        ("model", "expected score", "±", "similar questions", "chosen"),
        [
            (model, score, grounds.errors[model], round(grounds.evidence[model]), model == record.model)
            for model, score in scores
            if model in grounds.errors
        ],
        title="Scores, ± their standard error, and similar training questions",
    )
    if grounds.undecided:
        click.echo(f"the scores did not decide: {grounds.undecided}\n")
