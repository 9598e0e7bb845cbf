"""`flywheel config`: check and show the settings in force, and what settings there are."""

import click

from flywheel_cli.options import Settings, json_option, pass_settings, settings_options
from flywheel_cli.output import print_json
from flywheel_core.config_file import find_file, to_yaml
from flywheel_core.config_schema import json_schema, markdown


@click.group()
def config() -> None:
    """Check and show the configuration."""


@config.command(short_help="Say whether the configuration is valid, and what is not.")
@settings_options
@json_option
@pass_settings
def check(settings: Settings) -> None:
    """Read the configuration and say whether it is valid.

    Every bad setting is named with its place, its value and what it may be; the exit status is then 2.
    """
    file = find_file(settings.config_file)
    in_force = settings.config
    source = str(file) if file else "the defaults"
    if settings.as_json:
        print_json({"valid": True, "file": file, "models": len(in_force.models)})
        return
    click.echo(f"{source}: valid, {len(in_force.models)} models")


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
    """Print what settings there are: type, unit, range, default and meaning, as JSON Schema."""
    if as_markdown:
        click.echo(markdown(), nl=False)
        return
    print_json(json_schema())
