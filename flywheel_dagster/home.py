"""Prepares the folder that DAGSTER_HOME points to. Its settings are in `dagster.yaml` beside this file."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from string import Template

import dagster as dg
from sqlalchemy.exc import DatabaseError

from flywheel_core.errors import StorageError
from flywheel_core.lake.atomic import own_folder, write_atomically
from flywheel_core.lake.lock import locked

SETTINGS_FILE = "dagster.yaml"
LAST_DATABASE = Path("schedules", "schedules.db")
"""The database that Dagster creates last in a new home: where it exists, so do the others."""

_ADDRESS = re.compile(r"\?|%[0-9A-Fa-f]{2}")
"""What Dagster cannot have in the path of its home: it names its databases by address, where this has a meaning."""


def prepare_home(folder: Path) -> Path:
    """Prepare `folder` as DAGSTER_HOME and return its absolute path.

    Settings that differ from Flywheel's are replaced; runs and events in the folder stay. Several processes
    may do this at once. Raises StorageError when the folder cannot be written or Dagster cannot use its
    databases.
    """
    home = folder.absolute()
    if found := _ADDRESS.search(str(home)):
        raise StorageError(
            f"Dagster cannot use the folder {home}: {found[0]} in a path means something else to its databases",
            hint="name another folder with --home or DAGSTER_HOME",
        )
    template = Template(files("flywheel_dagster").joinpath(SETTINGS_FILE).read_text(encoding="utf-8"))
    # A JSON string is a valid YAML string, whatever characters the path contains.
    events = json.dumps(str(home / "history" / "runs"))
    settings = template.substitute(events=events).encode()
    with _alone(home):
        own_folder(home / "history")  # closed, as it will hold questions, also where the home is not
        target = home / SETTINGS_FILE
        if not target.is_file() or target.read_bytes() != settings:
            write_atomically(target, settings)
        if not (home / LAST_DATABASE).is_file():
            # Dagster creates its databases on first use, and fails when two processes do so at once.
            with readable(home), dg.DagsterInstance.from_config(str(home)):
                pass
    return home


@contextmanager
def readable(home: Path) -> Iterator[None]:
    """Turn an error of Dagster's databases in `home` into a StorageError that names the folder.

    The usual causes are a full disk and a damaged file.
    """
    try:
        yield
    except DatabaseError as error:
        raise StorageError(
            f"Dagster cannot use its databases in {home.absolute()}: {error.orig}",
            hint="see whether the disk is full, or give Dagster another folder with --home",
        ) from error


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Let in one process at a time, until the block or the process ends.

    Raises StorageError when the folder cannot be written or locked.
    """
    try:
        own_folder(home)
        with (home / ".lock").open("w") as file:
            locked(file.fileno(), home / ".lock", wait=True)
            yield
    except OSError as error:
        raise StorageError(
            f"cannot make the Dagster home {home}: {error.strerror or error}",
            hint="name a folder that can be written to with --home or DAGSTER_HOME",
        ) from error
