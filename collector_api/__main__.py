"""Run the collector as its own process: `python -m collector_api`."""

import argparse
import sys
from pathlib import Path

from collector_api.run import run
from flywheel_core.config_file import load_config
from flywheel_core.errors import FlywheelError


def main() -> int:
    """Read the command line, serve, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m collector_api", description="Serve POST /collect.")
    parser.add_argument("--host", help="address to listen on (collector.host)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for a free one (collector.port)")
    parser.add_argument("--data-dir", type=Path, help="the data folder (storage.data_dir)")
    parser.add_argument("--writer", help="name of this collector among several on one data folder")
    parser.add_argument("--config", type=Path, help="the configuration file")
    options = parser.parse_args()
    try:
        config = load_config(options.config)
        if options.data_dir is not None:
            storage = config.storage.model_copy(update={"data_dir": options.data_dir})
            config = config.model_copy(update={"storage": storage})
        run(config, host=options.host, port=options.port, writer=options.writer)
    except FlywheelError as error:
        print(f"error[{error.code}]: {error}", file=sys.stderr)  # noqa: T201 - this is a command
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
