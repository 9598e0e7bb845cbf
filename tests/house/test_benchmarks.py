"""The benchmarks measure what they were asked to measure."""

import subprocess
import sys
from pathlib import Path


def test_reference_programs_that_are_not_there_are_an_error(tmp_path: Path) -> None:
    """Without the reference the run would take minutes and end without the ratios that were asked for."""
    (tmp_path / "caller").mkdir()  # their sources, not built yet
    command = [sys.executable, "-m", "benchmarks.fanout", "--peers", str(tmp_path)]
    command += ["--seconds", "0.01", "--rounds", "1", "--in-flight", "1", "--callers"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert f"{tmp_path} holds no program caller" in ended.stderr
