"""`flywheel collector`: serve POST /collect."""

import click

from collector_api.run import run
from flywheel_cli.options import Settings, pass_settings, settings_options


@click.command()
@click.option("--host", help="Address to listen on.  [collector.host]")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port; 0 takes a free one.  [collector.port]")
@click.option("--writer", metavar="NAME", help="Name of this collector when several share one data folder.")
@settings_options
@pass_settings
def collector(settings: Settings, host: str | None, port: int | None, writer: str | None) -> None:
    """Serve the collector: POST /collect.

    The first line printed is one JSON object with the address. SIGTERM ends it once the requests under way are answered.
    """
    run(settings.config, host=host, port=port, writer=writer)
