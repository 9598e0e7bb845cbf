"""Serve the gateway alone, without the `flywheel` command line: `python -m flywheel_gateway`."""

import argparse
import sys
from pathlib import Path

from flywheel_core.errors import FlywheelError
from flywheel_gateway.service import run


def main() -> int:
    """Serve until SIGTERM, SIGINT or SIGHUP; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m flywheel_gateway", description="Serve the gateway.")
    parser.add_argument("--host", help="address to listen on; overrides gateway.host")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for a free one; above gateway.port")
    parser.add_argument("--config", type=Path, help="the configuration file")
    parser.add_argument("--data-dir", type=Path, help="the data folder; overrides storage.data_dir")
    given = parser.parse_args()
    try:
        run(given.config, host=given.host, port=given.port, data_dir=given.data_dir)
    except FlywheelError as error:
        print(f"error[{error.code}]: {error}", file=sys.stderr)  # noqa: T201 - the program's own output
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
