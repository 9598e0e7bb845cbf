"""Configuration files written for tests, and the problems reported for invalid ones."""

from pathlib import Path

import pytest

from flywheel_core.config_file import load_config
from flywheel_core.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    file = folder / "flywheel.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def refusal(folder: Path, text: str, **variables: str) -> list[str]:
    """Return the problems reported for an invalid file, one per line, without the folder's name."""
    with pytest.raises(ConfigError) as caught:
        load_config(write(folder, text), variables)
    heading, *problems = str(caught.value).replace(f"{folder}/", "").splitlines()
    assert heading.startswith("the configuration has ")
    return [problem.strip() for problem in problems]
