"""`flywheel gateway`: serve the gateway."""

import click

from flywheel_cli.options import Settings, pass_settings, settings_options


@click.command()
@click.option("--host", help="Address to listen on; overrides gateway.host.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    help="Port to listen on, 0 for a free one; overrides gateway.port.",
)
@settings_options
@pass_settings
def gateway(settings: Settings, host: str | None, port: int | None) -> None:
    """Serve the gateway: the OpenAI API in front of all models, routed and collected.

    The first line on standard output says where it listens. A changed configuration file is taken up within two
    seconds; SIGTERM lets the requests under way finish, and keeps what is not uploaded yet on disk.
    """
    from flywheel_gateway.service import run

    run(settings.config_file, host=host, port=port, data_dir=settings.data_dir)
