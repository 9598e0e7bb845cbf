"""Half-made files of killed runs are removed after a day, and nothing else is."""

import os
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest

from flywheel_core.lake.atomic import publish_folder, replacing
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.leftovers import remove_leftovers

DAY = date(2026, 1, 5)
HEX = "0123456789abcdef" * 2
OLD = 25 * 3_600.0

KILLED = """
import os, signal, sys
from pathlib import Path
from flywheel_core.config import Config
from flywheel_core.lake.engine import engine
from flywheel_core.lake.atomic import publish_folder, replacing
from flywheel_core.lake.layout import Layout

def killed(folder):
    (folder / "train.jsonl").write_bytes(b"half")
    with replacing(layout.tables / "responses" / "2026-01-05.parquet") as temporary, engine(layout, Config()) as connection:
        temporary.write_bytes(b"half")
        spilled = Path(connection.execute("select current_setting('temp_directory')").fetchone()[0])
        spilled.mkdir()
        (spilled / "block").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

layout = Layout(Path(sys.argv[1]))
publish_folder(layout.routers / "20260105-v1", killed)
"""
"""A script that kills itself while a router, a table and a spilled block are half-written."""


def test_a_killed_process_leaves_nothing_for_ever(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False, timeout=60)
    layout = Layout(tmp_path)
    left = [
        *layout.routers.iterdir(),
        *(layout.tables / "responses").iterdir(),
        *(tmp_path / ".scratch").iterdir(),
    ]
    assert len(left) == 3
    assert remove_leftovers(layout) == 0
    assert all(path.exists() for path in left)
    _age(tmp_path)
    assert remove_leftovers(layout) == 3
    assert not any(path.exists() for path in left)


def test_a_run_under_way_keeps_its_own(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    table = layout.table("responses", DAY)

    def fill(folder: Path) -> None:
        (folder / "deeper").mkdir()
        (folder / "train.jsonl").write_bytes(b"first")
        (folder / "deeper" / "still-written").write_bytes(b"first")
        with replacing(table) as temporary:
            temporary.write_bytes(b"whole")
            _age(layout.root)
            os.utime(temporary)
            os.utime(folder / "deeper" / "still-written")
            assert remove_leftovers(layout) == 0

    publish_folder(layout.dataset("20260105-v1"), fill)
    assert table.read_bytes() == b"whole"
    assert (layout.dataset("20260105-v1") / "train.jsonl").read_bytes() == b"first"


@pytest.mark.parametrize(
    "name",
    [
        "raw/training_data_20260105.jsonl",
        f"raw/training_data_20260105.jsonl.{HEX}.tmp",
        "raw/.hidden",
        "tables/responses/2026-01-05.parquet",
        "tables/responses/.2026-01-05.parquet.tmp",
        "datasets/20260105-3f1c9a0be77d/train.jsonl",
        f"datasets/20260105-3f1c9a0be77d/.train.jsonl.{HEX}.tmp",
        "routers/champion.json",
        "spool/gateway-1/segment",
        ".scratch/notes/mine",
        "keys.json",
    ],
)
def test_everything_else_stays(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    _age(tmp_path)
    assert remove_leftovers(Layout(tmp_path)) == 0
    assert path.read_bytes() == b"x"


def test_a_folder_in_which_a_file_vanishes_meanwhile_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spilled = tmp_path / ".scratch" / HEX / "block"
    spilled.parent.mkdir(parents=True)
    spilled.write_bytes(b"x")
    _age(tmp_path)
    lstat = Path.lstat

    def vanishing(path: Path) -> os.stat_result:
        if path == spilled:
            path.unlink()
        return lstat(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "lstat", vanishing)
        assert remove_leftovers(Layout(tmp_path)) == 0
    assert spilled.parent.is_dir()


def test_a_link_goes_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    layout.datasets.mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kept").write_bytes(b"x")
    link = layout.datasets / f".v1.{HEX}.tmp"
    link.symlink_to(tmp_path / "mine")
    _age(tmp_path)
    assert remove_leftovers(layout) == 1
    assert not link.is_symlink()
    assert (tmp_path / "mine" / "kept").read_bytes() == b"x"


def test_leftovers_of_every_folder_go(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    places = [getattr(layout, name) for name, one in vars(Layout).items() if isinstance(one, property)]
    folders = [
        place / "responses" if place == layout.tables else place for place in places if not place.suffix
    ]
    assert len(folders) > 5
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / f".half.{HEX}.tmp").write_bytes(b"x")
    _age(tmp_path)
    assert remove_leftovers(layout) == len(folders)


def test_there_need_be_no_data_folder(tmp_path: Path) -> None:
    assert remove_leftovers(Layout(tmp_path / "nowhere")) == 0


def _age(folder: Path) -> None:
    """Set the times of everything under `folder` to more than a day ago."""
    then = time.time() - OLD
    for path in folder.rglob("*"):
        os.utime(path, (then, then), follow_symlinks=False)
