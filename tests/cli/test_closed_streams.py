"""Commands whose standard input, output or error was closed before they started, as by `2>&-` in a shell."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flywheel_core.errors import UsageError
from flywheel_core.lake.layout import Layout


def _closing(*numbers: int) -> Callable[[], None]:
    def close() -> None:
        for number in numbers:
            os.close(number)

    return close


def _run_without(folder: Path, code: str, *numbers: int) -> int:
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, preexec_fn=_closing(*numbers), check=False
    ).returncode


@pytest.mark.parametrize("numbers", [(1,), (2,), (0, 1, 2)])
def test_a_command_does_its_work_without_a_stream(
    data: Path, tmp_path: Path, numbers: tuple[int, ...]
) -> None:
    code = "from flywheel_cli.main import main; main(['ingest', 'all'])"
    assert _run_without(tmp_path, code, *numbers) == 0
    assert len(Layout(data).table_days("responses")) == 2


def test_standard_input_that_is_closed_is_empty(tmp_path: Path) -> None:
    code = "from flywheel_cli.main import main; main(['sql', '-'])"
    assert _run_without(tmp_path, code, 0, 1, 2) == UsageError.exit_status


def test_no_file_takes_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """What a library writes to standard error would otherwise go into that file; child processes inherit the same."""
    code = """
import os, subprocess, sys
from flywheel_cli.output import prepare_streams
prepare_streams()
with open("opened", "w") as file:
    assert file.fileno() > 2
    sys.exit(subprocess.call([sys.executable, "-c", "import sys; sys.exit(sys.stderr is None)"]))
"""
    assert _run_without(tmp_path, code, 2) == 0
