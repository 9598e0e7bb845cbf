"""`flywheel router`: list routers, show which one is in service, and change that."""

import os
import pwd
import time
from datetime import UTC, datetime
from pathlib import Path
from textwrap import fill
from typing import Any

import click
import msgspec

from flywheel_cli.options import Settings, html_option, json_option, pass_settings, settings_options
from flywheel_cli.output import PLAIN_WIDTH, print_json, print_table
from flywheel_core.errors import NoDataError, RouterError
from flywheel_core.lake.atomic import write_atomically
from flywheel_core.learn.champion import MANIFEST, Champion, router_versions, version_folder
from flywheel_core.learn.promotion_history import Record
from flywheel_core.learn.registry import Registry
from flywheel_core.report.training import training_sentence

SHOWN_ENTRIES = 20


@click.group()
def router() -> None:
    """Routers: list, show, evaluate, promote, roll back, compare."""


def who() -> str:
    """Return the name of the user at the command line, for the log."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


def registry_of(settings: Settings) -> Registry:
    """Return the current data folder's registry; heavy libraries are loaded only to verify a version."""

    def verify(folder: Any) -> None:
        from flywheel_core.learn.craft import trained_craft

        trained_craft().verify(folder)

    return Registry(settings.layout, verify)


@router.command(name="list", short_help="List the versions and the log.")
@click.option(
    "--last", default=SHOWN_ENTRIES, show_default=True, type=click.IntRange(1), help="Log entries shown."
)
@settings_options
@json_option
@pass_settings
def list_(settings: Settings, last: int) -> None:
    """List the versions on disk and the log of judgements and promotions, the newest last."""
    registry = registry_of(settings)
    versions = router_versions(settings.layout)
    try:
        champion, history = registry.champion(), registry.history()
    except RouterError:
        if not settings.as_json:  # the way out is to promote one of these
            print_table(("version", "in service"), [(name, None) for name in versions], title="Routers")
        raise
    if settings.as_json:
        history_rows = [_plain(record) for record in history]
        print_json({"champion": _as_dict(champion), "versions": versions, "history": history_rows})
        return
    now = champion.version if champion else None
    if not versions:
        click.echo("no router yet; train one: flywheel train", err=True)
    elif now is not None and now not in versions:
        click.echo(
            f"{now} is in service, and its folder is gone: put another one into service:"
            " flywheel router promote VERSION",
            err=True,
        )
    print_table(("version", "in service"), [(name, name == now) for name in versions], title="Routers")
    for one in history[-last:]:
        entry = one.entry
        click.echo(f"{_time(entry.at)} {entry.kind} {entry.version}: {_effect(one)}, by {entry.by}")
        click.echo(f"    {entry.reason}")


@router.command(short_help="What a version was trained on, and its figures.")
@click.argument("version", required=False)
@settings_options
@json_option
@pass_settings
def show(settings: Settings, version: str | None) -> None:
    """Show a version, the one in service unless named: what it was trained on, and its figures."""
    from flywheel_cli.router_diff import flattened

    registry = registry_of(settings)
    version = version or _in_service(registry)
    folder = version_folder(settings.layout, version)
    found: dict[str, Any] = {"version": version, "folder": folder, "whole": True, "problem": None}
    try:
        found["manifest"] = msgspec.json.decode((folder / MANIFEST).read_bytes())
        registry.verify(folder)
    except (RouterError, msgspec.MsgspecError, UnicodeDecodeError, OSError) as error:
        found["whole"], found["problem"] = False, str(error)
    found["history"] = [_plain(record) for record in registry.history() if record.entry.version == version]
    if settings.as_json:
        print_json(found)
        return
    click.echo(f"router {version}, {folder}\n{'whole' if found['whole'] else found['problem']}\n")
    manifest = found.get("manifest") or {}
    said = training_sentence(manifest.get("figures") or {})
    if said:
        click.echo(f"{fill(said, PLAIN_WIDTH)}\n")
    rows = [(name, _short(value)) for name, value in flattened(manifest).items()]
    print_table(("field", "value"), rows, title="Manifest")
    for one in found["history"]:
        click.echo(f"{one['when']} {one['kind']} by {one['by']}: {one['reason']}")


@router.command(short_help="Put a version into service, whatever the figures say.")
@click.argument("version")
@click.option("--reason", default="by hand", show_default=True, help="Why, for the log.")
@settings_options
@json_option
@pass_settings
def promote(settings: Settings, version: str, reason: str) -> None:
    """Put VERSION into service, whatever the figures say. Gateways load it within two seconds."""
    registry = registry_of(settings)
    champion = registry.promote(version, kind="manual", by=who(), reason=reason, since=time.time())
    _say(settings, registry, champion)


@router.command(short_help="Put the one before back into service.")
@click.option("--reason", default="by hand", show_default=True, help="Why, for the log.")
@settings_options
@json_option
@pass_settings
def rollback(settings: Settings, reason: str) -> None:
    """Put back into service the version that the present one replaced. A second rollback goes one further back."""
    registry = registry_of(settings)
    champion = registry.rollback(by=who(), reason=reason, since=time.time())
    _say(settings, registry, champion)


@router.command(short_help="Compare what two versions choose.")
@click.argument("old")
@click.argument("new")
@settings_options
@json_option
@pass_settings
def diff(settings: Settings, old: str, new: str) -> None:
    """Compare two versions: their manifests, and what they choose on the newest test questions.

    The gain is NEW's utility minus OLD's on the same questions. It is for information, not a judgement: see `router list`.
    """
    from flywheel_cli.router_diff import compare

    found = compare(settings, old, new)
    if settings.as_json:
        print_json(found)
        return
    fields = [
        (name, *(None if value is None else _short(value) for value in both))
        for name, *both in found["fields"]
    ]
    print_table(("field", old, new), fields, title="Manifests")
    print_table(("model", old, new), found["models"], title="Test questions by chosen model")
    questions, different = found["questions"], found["different"]
    click.echo(f"{questions:,} test questions, {different:,} with another model")
    if found["mean_gain"] is not None:
        click.echo(f"mean gain of {new}: {found['mean_gain']:+.4f} on {found['judged']:,} of them")


@router.command(short_help="How good a version is on questions nobody trained on.")
@click.argument("version", required=False)
@click.option(
    "--days",
    type=click.IntRange(1, 3_660),
    help="Take the test questions of the last so many labelled days instead of the dataset's.",
)
@html_option
@settings_options
@json_option
@pass_settings
def evaluate(settings: Settings, version: str | None, days: int | None, file: Path | None) -> None:
    """Evaluate a version, the one in service unless named, on the test split of its dataset.

    Compared are the best single model, chance, and an oracle that knows every score, all on the same questions.
    """
    from flywheel_cli.router_evaluate import evaluation, print_evaluation

    figures, questions = evaluation(settings, version or _in_service(registry_of(settings)), days)
    if file is not None:
        from flywheel_core.report.evaluation import evaluation_page

        write_atomically(file, evaluation_page(figures, questions=questions).encode())
    if settings.as_json:
        print_json(figures)
    elif file is not None:
        click.echo(f"wrote {file}")
    else:
        print_evaluation(figures, questions)


def _in_service(registry: Registry) -> str:
    """Return the version in service. Raises NoDataError when there is none."""
    champion = registry.champion()
    if champion is None:
        raise NoDataError("no router is in service", hint="train one: flywheel train")
    return champion.version


def _say(settings: Settings, registry: Registry, champion: Champion) -> None:
    if settings.as_json:
        print_json(_as_dict(champion))
        return
    promoted = (record.entry for record in registry.history() if record.entry.sequence is not None)
    before = next((entry.version for entry in promoted if entry.sequence == champion.previous), None)
    replaced = "" if before in (None, champion.version) else f" instead of {before}"
    click.echo(f"router {champion.version} is in service{replaced}, promotion {champion.sequence}")


def _as_dict(champion: Champion | None) -> dict[str, Any] | None:
    return None if champion is None else msgspec.to_builtins(champion)


def _plain(record: Record) -> dict[str, Any]:
    entry: dict[str, Any] = msgspec.to_builtins(record.entry)
    return {
        **entry,
        "when": _time(record.entry.at),
        "took_effect": record.took_effect,
        "in_service": record.in_service,
    }


def _effect(record: Record) -> str:
    if record.entry.kind == "judged":
        return str(record.entry.figures.get("outcome", "-"))
    if record.in_service:
        return "in service"
    return "was in service" if record.took_effect else "never took effect"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 200 else text[:199] + "…"
