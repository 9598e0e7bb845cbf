"""`flywheel config`: check, try and show the current settings, and describe all settings."""

from dataclasses import asdict

import click

from flywheel_cli.options import Settings, json_option, pass_settings, settings_options
from flywheel_cli.output import print_json, print_table
from flywheel_core.config_file import find_file, to_yaml
from flywheel_core.config_notes import notes
from flywheel_core.config_schema import json_schema, markdown


@click.group()
def config() -> None:
    """Check, try and show the configuration."""


@config.command(short_help="Say whether the configuration is valid, and what is not.")
@settings_options
@json_option
@pass_settings
def check(settings: Settings) -> None:
    """Read the configuration and say whether it is valid.

    It names every bad setting with its place, its value and what is allowed; the exit status is then 2. Of a valid one
    it names what probably is not meant.
    """
    file = find_file(settings.config_file)
    in_force = settings.config
    source = str(file) if file else "the defaults"
    if settings.as_json:
        print_json({"valid": True, "file": file, "models": len(in_force.models), "notes": notes(in_force)})
        return
    count = len(in_force.models)
    click.echo(f"{source}: valid, {count} model{'s' * (count > 1)}")
    for note in notes(in_force):
        click.echo(f"note: {note}")


@config.command(name="try", short_help="Ask every model, the scorer and the collector once.")
@settings_options
@json_option
@pass_settings
def try_(settings: Settings) -> None:
    """Ask every model that has an address one short question, have the answer scored, and send the collector an empty batch.

    Wrong addresses, names and keys show before a user meets them. The models' answers cost their usual price; nothing is stored.
    The exit status is 1 when a service that is needed does not work.
    """
    import asyncio

    from flywheel_core.collect.trial import try_services

    trials = asyncio.run(try_services(settings.config))
    if settings.as_json:
        print_json([asdict(trial) for trial in trials])
    else:
        words = {True: "ok", False: "failed", None: "not asked"}
        rows = [
            (
                trial.service,
                trial.name,
                words[trial.ok],
                None if trial.seconds is None else round(trial.seconds * 1000),
                trial.says,
            )
            for trial in trials
        ]
        print_table(("service", "name", "result", "ms", "what it says"), rows)
    if any(trial.ok is False for trial in trials):
        raise click.exceptions.Exit(1)


@config.command(short_help="Print every setting in force as YAML.")
@settings_options
@json_option
@pass_settings
def show(settings: Settings) -> None:
    """Print every setting in force, defaults included, as YAML that can be used as a configuration file."""
    if settings.as_json:
        print_json(settings.config.model_dump(mode="json"))
        return
    click.echo(to_yaml(settings.config), nl=False)


@config.command(short_help="Print what settings there are, as JSON Schema.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print tables for documents instead.")
def schema(as_markdown: bool) -> None:
    """Print all settings with type, unit, range, default and meaning, as JSON Schema."""
    if as_markdown:
        click.echo(markdown(), nl=False)
        return
    print_json(json_schema())
