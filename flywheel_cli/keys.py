"""`flywheel keys`: which sources may send to the collector."""

import click

from flywheel_cli.options import Settings, json_option, pass_settings, settings_options
from flywheel_cli.output import print_json, print_table
from flywheel_core.serve.keys import KeyStore


@click.group()
def keys() -> None:
    """Create, list and revoke the keys of the collector. A running collector takes changes up by itself."""


@keys.command()
@click.argument("source")
@json_option
@settings_options
@pass_settings
def create(settings: Settings, source: str) -> None:
    """Make a key for SOURCE, a gateway's name. It is shown this once; only its hash is kept."""
    key = KeyStore(settings.layout.keys).create(source)
    if settings.as_json:
        print_json({"source": source, "key": key})
        return
    click.echo(key)
    click.echo("Keep it: it cannot be shown again. Send it as: Authorization: Bearer <key>", err=True)


@keys.command(name="list")
@json_option
@settings_options
@pass_settings
def list_(settings: Settings) -> None:
    """List all keys, the revoked ones included."""
    found = KeyStore(settings.layout.keys).all()
    if settings.as_json:
        names = ("key_id", "source", "created_at", "revoked_at")
        print_json([{name: getattr(key, name) for name in names} for key in found])
        return
    rows = [(key.key_id, key.source, key.created_at, key.revoked_at or "live") for key in found]
    print_table(["key id", "source", "created", "revoked"], rows)


@keys.command()
@click.argument("key_id")
@json_option
@settings_options
@pass_settings
def revoke(settings: Settings, key_id: str) -> None:
    """Revoke the key KEY_ID for good: its part before the dot."""
    key = KeyStore(settings.layout.keys).revoke(key_id)
    if settings.as_json:
        print_json({"key_id": key.key_id, "source": key.source, "revoked_at": key.revoked_at})
        return
    click.echo(f"revoked {key.key_id} of {key.source}")
