"""The commands `python -m simulation serve` and `python -m simulation sample`."""

import sys
from pathlib import Path

import click

from flywheel_core.errors import FlywheelError
from simulation.command import simulate
from simulation.sample import write_sample


@click.group()
def main() -> None:
    """Simulated model and scoring services, and the sample data made with them."""


@main.command()
@click.option(
    "--out", default=Path("data/sample"), show_default=True, type=click.Path(path_type=Path, file_okay=False)
)
def sample(out: Path) -> None:
    """Write the sample: six earlier days and one newest part. The same bytes every time."""
    for path in write_sample(out):
        click.echo(f"{path}  {path.stat().st_size:,} bytes")


main.add_command(simulate, "serve")

if __name__ == "__main__":
    try:
        main(prog_name="python -m simulation")
    except FlywheelError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_status)
