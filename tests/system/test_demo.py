"""`flywheel demo --exit`: the whole loop with real processes, which leaves none running."""

import os
import re
import subprocess
import sys
from pathlib import Path

import dagster as dg
import psutil
import pytest

from flywheel_core.config_file import load_config
from flywheel_core.lake.layout import Layout

ROOT = Path(__file__).parents[2]


@pytest.mark.system
@pytest.mark.timeout(1200)
def test_the_demo_closes_the_loop_and_ends_what_it_started(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    command = [
        str(Path(sys.executable).parent / "flywheel"),
        "demo",
        "--exit",
        "--free-ports",
        "--folder",
        str(folder),
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1100, check=False)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    scores = {
        name: float(score)
        for name, score in re.findall(
            r"^(routed by the gateway|best single|random|oracle).*? +([01]\.\d{3}) ", ended.stdout, re.M
        )
    }
    assert scores["random"] < scores["best single"] < scores["routed by the gateway"] <= scores["oracle"]
    layout = Layout(load_config(folder / "flywheel.yaml", {}).storage.data_dir)
    assert len(layout.raw_days()) == 7
    assert (layout.routers / "champion.json").is_file()
    with dg.DagsterInstance.from_config(str(folder / "dagster")) as instance:
        assert instance.get_latest_materialization_event(dg.AssetKey("deployed_router")) is not None
        assert not [run.job_name for run in instance.get_runs() if not run.is_success]
    pages = re.findall(r"file://(\S+\.html)", ended.stdout)
    assert len(pages) == 2
    assert all(Path(page).is_file() for page in pages)
    assert "127.0.0.1" not in ended.stdout.rpartition("Open:")[2], "nothing is up any more"
    left = [
        process.info["pid"]
        for process in psutil.process_iter(["pid", "cmdline"])
        if str(folder) in " ".join(process.info["cmdline"] or ()) and process.info["pid"] != os.getpid()
    ]
    assert left == []


@pytest.mark.system
def test_a_demo_that_was_stopped_before_its_end_is_not_a_success(tmp_path: Path) -> None:
    """`make demo ARGS=--exit && ...` in a script would go on as if the loop had been closed."""
    folder = str(tmp_path / "demo")
    command = [str(Path(sys.executable).parent / "flywheel"), "demo", "--exit", "--free-ports"]
    process = subprocess.Popen(
        [*command, "--folder", folder], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("-> start ")
    process.terminate()
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (130, "")
    assert output.endswith("ended before everything was shown\n")


def test_the_demo_does_not_touch_a_folder_that_it_did_not_create(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    command = [str(Path(sys.executable).parent / "flywheel"), "demo", "--exit", "--folder", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "no demo wrote" in ended.stderr
    assert (tmp_path / "thesis.txt").read_text() == "mine"
