"""`flywheel keys`: which sources may send to the collector, and which clients may use the gateway."""

import click

from flywheel_cli.options import Settings, json_option, pass_settings, settings_options
from flywheel_cli.output import print_json, print_table
from flywheel_core.serve.keys import KeyStore

for_gateway = click.option(
    "--gateway",
    "for_gateway",
    is_flag=True,
    help="The keys of the gateway's clients instead of the collector's.",
)


def _store(settings: Settings, for_gateway: bool) -> KeyStore:
    if for_gateway:
        return KeyStore(settings.layout.client_keys, option="--gateway")
    return KeyStore(settings.layout.keys)


@click.group()
def keys() -> None:
    """Create, list and revoke keys: the collector's, or with --gateway the gateway's.

    A running server notices changes by itself.
    """


@keys.command(short_help="Make a key and show it this once.")
@click.argument("source")
@for_gateway
@json_option
@settings_options
@pass_settings
def create(settings: Settings, source: str, for_gateway: bool) -> None:
    """Make a key for SOURCE, a gateway's name, or with --gateway a tenant's. It is shown only this once.

    Only its hash is kept.
    """
    store = _store(settings, for_gateway)
    key = store.create(source)
    if settings.as_json:
        print_json({"source": source, "key": key})
        return
    click.echo(key)
    click.echo("Keep it: it cannot be shown again. Send it as: Authorization: Bearer <key>", err=True)
    click.echo(f"Its hash is in {store.path.absolute()}; servers of that data folder know it now.", err=True)


@keys.command(name="list", short_help="List all keys, the revoked ones included.")
@for_gateway
@json_option
@settings_options
@pass_settings
def list_(settings: Settings, for_gateway: bool) -> None:
    """List all keys, the revoked ones included."""
    found = _store(settings, for_gateway).all()
    if settings.as_json:
        names = ("key_id", "source", "created_at", "revoked_at")
        print_json([{name: getattr(key, name) for name in names} for key in found])
        return
    rows = [(key.key_id, key.source, key.created_at, key.revoked_at or "live") for key in found]
    print_table(["key id", "source", "created", "revoked"], rows)


@keys.command(short_help="Revoke a key for good.")
@click.argument("key_id")
@for_gateway
@json_option
@settings_options
@pass_settings
def revoke(settings: Settings, key_id: str, for_gateway: bool) -> None:
    """Revoke the key KEY_ID for good: its part before the dot."""
    key = _store(settings, for_gateway).revoke(key_id)
    if settings.as_json:
        print_json({"key_id": key.key_id, "source": key.source, "revoked_at": key.revoked_at})
        return
    click.echo(f"revoked {key.key_id} of {key.source}")
