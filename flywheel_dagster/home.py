"""Makes the folder that DAGSTER_HOME points at. What is set in it is in `dagster.yaml` beside this file."""

from importlib.resources import files
from pathlib import Path

from flywheel_core.lake.layout import write_atomically

SETTINGS_FILE = "dagster.yaml"


def prepare_home(folder: Path) -> Path:
    """Make `folder` ready as DAGSTER_HOME and give its absolute path.

    Settings that differ from Flywheel's are replaced; runs and events in the folder stay. Raises StorageError.
    """
    home = folder.absolute()
    settings = files("flywheel_dagster").joinpath(SETTINGS_FILE).read_bytes()
    target = home / SETTINGS_FILE
    if not target.is_file() or target.read_bytes() != settings:
        write_atomically(target, settings)
    return home
