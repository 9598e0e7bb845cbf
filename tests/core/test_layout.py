"""Where everything lies in the data folder, and that a reader never sees half a file."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from flywheel_core.errors import StorageError, UsageError
from flywheel_core.lake.atomic import (
    make_folder,
    own_folder,
    publish_folder,
    replacing,
    sha256_of,
    write_atomically,
)
from flywheel_core.lake.layout import Layout, day_of, parse_day

DAY = date(2026, 1, 5)


@pytest.mark.parametrize("text", ["2026-01-05", "20260105"])
def test_a_day_is_read_from_both_spellings(text: str) -> None:
    assert parse_day(text) == DAY


def test_yesterday_is_the_day_before_today() -> None:
    assert parse_day("today") - parse_day("yesterday") == timedelta(days=1)


@pytest.mark.parametrize("text", ["", "5 January", "2026-13-01", "202601"])
def test_what_is_not_a_day_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_day(text)
    assert caught.value.hint


def test_days_are_utc() -> None:
    assert day_of(datetime(2026, 1, 5, 23, 59, tzinfo=UTC).timestamp()) == DAY


def test_raw_files_of_a_day_are_found_whoever_wrote_them(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.raw.mkdir()
    written = [
        layout.raw_file(DAY),
        layout.raw_file(DAY, "east"),
        layout.raw_file(DAY, part=2),
        layout.raw_file(DAY, "east", 3),
        layout.raw / "training_data_20260105.west.jsonl.gz",
    ]
    others = [
        "training_data_20260106.jsonl",
        "training_data_20261399.jsonl",
        "notes.txt",
        ".training_data_20260105.jsonl.x.tmp",
    ]
    for path in [*written, *(layout.raw / name for name in others)]:
        path.touch()
    assert layout.raw_files(DAY) == sorted(written)
    assert layout.raw_days() == [DAY, date(2026, 1, 6)]


def test_files_not_named_after_a_day_are_not_days_of_a_table(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    (layout.tables / "responses").mkdir(parents=True)
    for name in ("2026-01-05.parquet", "2026-13-45.parquet", "copy-of-it.parquet", "2026-01-06.parquet.bak"):
        (layout.tables / "responses" / name).touch()
    assert layout.table_days("responses") == [DAY]


def test_an_empty_lake_has_no_days(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "nowhere")
    assert layout.raw_days() == []
    assert layout.raw_files(DAY) == []
    assert layout.table_days("responses") == []


def test_folders_are_closed_to_other_users(tmp_path: Path) -> None:
    """They hold questions and answers, and not every program that writes there can restrict its own files."""
    before = os.umask(0)
    try:
        own_folder(tmp_path / "one" / "two")
        write_atomically(tmp_path / "three" / "file", b"")
        publish_folder(tmp_path / "four" / "five", lambda folder: None)
    finally:
        os.umask(before)
    folders = [path for path in tmp_path.rglob("*") if path.is_dir()]
    assert len(folders) == 5
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o750}


def test_a_failed_write_leaves_the_old_content_and_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    write_atomically(path, b"old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_and_the_file_that_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "there" / "file")
    for content in (b"first", b"second"):
        write_atomically(link, content)
    assert link.is_symlink()
    assert (tmp_path / "there" / "file").read_bytes() == b"second"


def test_an_existing_path_that_is_not_a_file_is_never_replaced(tmp_path: Path) -> None:
    """Otherwise a user who may write to /dev would replace /dev/null."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    linked = tmp_path / "linked"
    linked.symlink_to(pipe)
    for path in (pipe, linked, tmp_path):
        with pytest.raises(StorageError, match=f"cannot write {path}: it exists and is not a file"):
            write_atomically(path, b"content")
    assert pipe.is_fifo()


def test_a_version_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "versions").write_text("no folder")
    with pytest.raises(StorageError, match=r"cannot write .*versions/v1: "):
        publish_folder(tmp_path / "versions" / "v1", lambda folder: None)


def test_a_version_whose_name_a_file_has_is_a_storage_error(tmp_path: Path) -> None:
    _write(tmp_path / "v1", "a file")
    with pytest.raises(StorageError, match=r"cannot write .*/v1: "):
        publish_folder(tmp_path / "v1", lambda folder: _write(folder / "a", "x"))
    assert [path.name for path in tmp_path.iterdir()] == ["v1"]


def test_a_folder_that_may_not_be_read_is_not_taken_for_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(tmp_path)
    (layout.tables / "responses").mkdir(parents=True)

    def refuse(_path: object) -> None:
        raise PermissionError(13, "Permission denied", "responses")

    for name in ("listdir", "scandir"):
        monkeypatch.setattr(os, name, refuse)
    with pytest.raises(PermissionError):
        layout.table_days("responses")


def test_a_write_that_the_system_refuses_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "table.parquet").mkdir()
    with pytest.raises(StorageError, match=r"table\.parquet"):
        write_atomically(tmp_path / "table.parquet", b"x")


READ_ONLY = """
import sys
from pathlib import Path
from flywheel_core.errors import StorageError
from flywheel_core.lake.atomic import publish_folder, write_atomically

for write in (write_atomically, publish_folder):
    try:
        write(Path(sys.argv[1]) / "new", b"" if write is write_atomically else lambda place: None)
    except StorageError as error:
        print(error.message)
"""
MOUNTED = 'mount -t tmpfs none "$1" && mount -o remount,ro "$1" && exec "$2" -c "$3" "$1"'


def test_a_file_system_that_became_read_only_is_a_storage_error(tmp_path: Path) -> None:
    """As Linux makes it after a fault of the disk. There, even removing what does not exist fails."""
    shell = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*shell, "mount -t tmpfs none /tmp"]).returncode:
        pytest.skip("the system lets nobody mount a file system of their own")
    program = [*shell, MOUNTED, "sh", str(tmp_path), sys.executable, READ_ONLY]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"cannot write {tmp_path / 'new'}: Read-only file system"] * 2, (
        done.stderr
    )


def test_a_published_folder_is_never_changed(tmp_path: Path) -> None:
    target = tmp_path / "versions" / "v1"
    publish_folder(target, lambda folder: _write(folder / "a", "first"))
    publish_folder(target, lambda folder: _write(folder / "a", "second"))
    assert (target / "a").read_text() == "first"
    assert [path.name for path in target.parent.iterdir()] == ["v1"]


def test_a_folder_that_fails_to_fill_does_not_appear(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        _write(folder / "a", "x")
        (folder / "deeper").mkdir()
        _write(folder / "deeper" / "b", "y")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        publish_folder(tmp_path / "versions" / "v1", fill)
    assert list((tmp_path / "versions").iterdir()) == []


def test_a_file_is_durable_before_it_takes_its_place_and_its_name_after(
    tmp_path: Path, steps: list[tuple[str, Path]]
) -> None:
    path = tmp_path / "table.parquet"
    write_atomically(path, b"new")
    (content, temporary), *others = steps
    assert (content, temporary.parent, temporary == path) == ("sync", tmp_path, False)
    assert others == [("rename", path), ("sync", tmp_path)]


def test_a_folder_is_durable_with_its_files_before_it_appears_and_its_name_after(
    tmp_path: Path, steps: list[tuple[str, Path]]
) -> None:
    target = tmp_path / "v1"

    def fill(folder: Path) -> None:
        _write(folder / "a", "first")
        _write(folder / "b", "second")

    publish_folder(target, fill)
    *first, last, name = steps
    assert [(step, path.name) for step, path in first[:2]] == [("sync", "a"), ("sync", "b")]
    assert first[2:] == [("sync", first[0][1].parent)]
    assert (last, name) == (("rename", target), ("sync", tmp_path))


def test_a_digest_is_that_of_the_content(tmp_path: Path) -> None:
    _write(tmp_path / "a", "abc")
    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("path", ["/proc/self/mem", "/nowhere"], ids=["a disk that fails", "missing"])
def test_a_digest_of_what_cannot_be_read_names_it(path: str) -> None:
    with pytest.raises(StorageError, match=f"cannot read {path}: "):
        sha256_of(Path(path))


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def test_a_folder_and_all_above_it_are_made_durable_even_if_they_exist(tmp_path: Path) -> None:
    """An earlier process may have created it and died before it synced the folder's name."""
    folder = tmp_path / "data" / "raw"
    for _ in range(2):
        synced: list[Path] = []
        make_folder(folder, synced.append)
        assert folder.is_dir()
        assert synced == list(folder.parents)[: len(synced)]
        assert synced[-1].is_mount()


def test_what_is_not_ours_above_a_folder_need_not_be_synced(tmp_path: Path) -> None:
    """Syncing stops at a parent folder that may not be read; any other failure to sync is raised."""
    synced: list[Path] = []

    def refusing(error: OSError) -> Callable[[Path], None]:
        def sync(path: Path) -> None:
            if path == tmp_path:
                raise error
            synced.append(path)

        return sync

    make_folder(tmp_path / "data" / "raw", refusing(PermissionError("not ours")))
    assert synced == [tmp_path / "data"]
    with pytest.raises(OSError, match="torn"):
        make_folder(tmp_path / "data" / "raw", refusing(OSError("torn")))


def test_the_error_of_a_write_is_told_when_removing_what_it_left_fails_too(tmp_path: Path) -> None:
    """As on a disk that has become read-only. Here the name is valid, but no longer so with what a half-made one has."""
    path = tmp_path / ("x" * 240)
    with pytest.raises(StorageError, match=f"cannot write {path}: File name too long"):
        write_atomically(path, b"new")
    with pytest.raises(StorageError, match=f"cannot write {path}: File name too long"):
        publish_folder(path, lambda folder: None)
