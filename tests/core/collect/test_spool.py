"""The spool on real files: order, bounds, crashes, two owners, and disks that refuse to write."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flywheel_core.collect import spool as module
from flywheel_core.collect.spool import Spool
from flywheel_core.errors import StorageError


def opened(folder: Path, max_bytes: int = 1_000_000) -> Spool:
    spool = Spool(folder, max_bytes)
    spool.open()
    return spool


def everything(spool: Spool) -> list[bytes]:
    lines: list[bytes] = []
    while found := spool.peek(3, 1_000):
        spool.take(found)
        lines += found
    return lines


def test_lines_come_out_in_order(tmp_path: Path) -> None:
    """First in, first out; what was taken is gone, and so are its files."""
    spool = opened(tmp_path)
    assert spool.append([b"a", b"b"]) == 2
    assert spool.append([b"c"]) == 1
    assert spool.points == 3
    assert spool.peek(2, 1_000) == [b"a", b"b"]
    assert everything(spool) == [b"a", b"b", b"c"]
    assert (spool.points, spool.size) == (0, 0)
    assert list(tmp_path.glob("segment-*")) == []


def test_lines_and_the_names_of_their_files_are_durable_when_append_returns(
    tmp_path: Path, steps: list[tuple[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 10)
    spool = opened(tmp_path)
    first, second = tmp_path / "segment-0000000001.jsonl", tmp_path / "segment-0000000002.jsonl"
    for synced in ([tmp_path, first], [first], [tmp_path, second]):
        steps.clear()
        spool.append([b"12345"])
        assert steps == [("sync", path) for path in synced]


def test_a_batch_ends_at_its_size_but_has_one_line_at_least(tmp_path: Path) -> None:
    """A line larger than the limit still comes out."""
    spool = opened(tmp_path)
    spool.append([b"a" * 500, b"b" * 500, b"c" * 500])
    assert [len(spool.peek(9, size)) for size in (10, 600, 1_002, 9_000)] == [1, 1, 2, 3]


def test_a_restart_finds_what_is_left(tmp_path: Path) -> None:
    """Lines that were taken do not come back; the others do."""
    spool = opened(tmp_path)
    spool.append([b"a", b"b", b"c"])
    spool.take(spool.peek(1, 1_000))
    spool.close()
    again = opened(tmp_path)
    assert again.points == 2
    again.append([b"d"])
    assert everything(again) == [b"b", b"c", b"d"]


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    """It was never acknowledged, and what follows is not joined to it."""
    spool = opened(tmp_path)
    spool.append([b"a", b"b"])
    spool.close()
    segment = next(tmp_path.glob("segment-*"))
    segment.write_bytes(segment.read_bytes() + b'{"torn')
    again = opened(tmp_path)
    again.append([b"c"])
    assert everything(again) == [b"a", b"b", b"c"]


def test_files_of_other_names_are_left_alone(tmp_path: Path) -> None:
    """A gateway could not start because of a copy whose name is as long as that of a segment."""
    spool = opened(tmp_path)
    spool.append([b"a"])
    spool.close()
    copy = tmp_path / "segment-old_backup.jsonl"
    copy.write_bytes(b"b\n")
    assert everything(opened(tmp_path)) == [b"a"]
    assert copy.read_bytes() == b"b\n"


def test_segments_are_finished_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full segment is followed by the next one; an emptied one is deleted at once."""
    monkeypatch.setattr(module, "SEGMENT_BYTES", 10)
    spool = opened(tmp_path)
    for number in range(5):
        spool.append([b"%08d" % number, b"x"])
    assert len(list(tmp_path.glob("segment-*"))) == 5
    spool.take(spool.peek(9, 1_000))
    assert len(list(tmp_path.glob("segment-*"))) == 4
    spool.close()
    assert everything(opened(tmp_path))[0] == b"00000001"


def test_the_bound_is_kept(tmp_path: Path) -> None:
    """What does not fit is refused, and append says so; space comes back when a segment is done."""
    spool = opened(tmp_path, 20)
    assert spool.append([b"a" * 9, b"b" * 9, b"c" * 9]) == 2
    assert spool.append([b"d"]) == 0
    assert sum(path.stat().st_size for path in tmp_path.glob("segment-*")) <= 20
    assert len(everything(spool)) == 2
    assert spool.append([b"d"]) == 1
    newline_too_many = opened(tmp_path / "other", 20)
    assert newline_too_many.append([b"a" * 9, b"b" * 10]) == 1


def test_one_spool_has_one_owner(tmp_path: Path) -> None:
    """A second owner is refused until the first one lets go."""
    first = opened(tmp_path)
    with pytest.raises(StorageError, match="another running process"):
        opened(tmp_path)
    first.close()
    opened(tmp_path).close()


@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize("written_before", [0, 2])
def test_a_disk_that_refuses_leaves_the_spool_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, written_before: int
) -> None:
    """No part of a failed append remains, and what is appended after it is whole."""
    spool = opened(tmp_path)
    spool.append([b"old"] * written_before)
    real = os.write

    def half(handle: int, content: bytes) -> int:
        real(handle, content[:2])
        raise OSError(errno.ENOSPC, "No space left on device")

    def refuse(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, half if call == "write" else refuse)
        with pytest.raises(StorageError, match="cannot write the spool"):
            spool.append([b"lost", b"too"])
    assert spool.points == written_before
    assert spool.append([b"new"]) == 1
    spool.close()
    assert everything(opened(tmp_path)) == [b"old"] * written_before + [b"new"]


def test_what_a_failed_write_left_is_not_sent_by_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it cannot even be cut off again, a later process may send it twice, but nothing is lost or mixed up."""
    spool = opened(tmp_path)
    spool.append([b"old"])

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        patch.setattr(os, "ftruncate", refuse)
        with pytest.raises(StorageError, match="cannot write the spool"):
            spool.append([b"unsure"])
    spool.append([b"new"])
    spool.close()
    again = opened(tmp_path)
    assert everything(again) == [b"old", b"unsure", b"new"]
    again.append([b"old"])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        patch.setattr(os, "ftruncate", refuse)
        with pytest.raises(StorageError, match="cannot write the spool"):
            again.append([b"unsure"])
    again.append([b"new"])
    assert everything(again) == [b"old", b"new"]


def test_segments_delivered_before_a_crash_or_never_filled_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut may bring back the name of a delivered segment, or leave one without lines."""
    monkeypatch.setattr(module, "SEGMENT_BYTES", 10)
    spool = opened(tmp_path)
    spool.append([b"delivered", b"too"])
    spool.append([b"delivered", b"left"])
    first = next(tmp_path.glob("segment-*1.jsonl"))
    content = first.read_bytes()
    spool.take(spool.peek(9, 1_000))
    spool.take(spool.peek(1, 1_000))
    spool.close()
    first.write_bytes(content)
    (tmp_path / "segment-0000000003.jsonl").write_bytes(b"")
    again = opened(tmp_path)
    assert [path.name for path in tmp_path.glob("segment-*")] == ["segment-0000000002.jsonl"]
    assert everything(again) == [b"left"]


def test_a_full_disk_is_not_littered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An uploader tries five times a second, and one file per attempt would use up the inodes too."""
    spool = opened(tmp_path)
    spool.append([b"old"])

    def full(_handle: int, _content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        for _ in range(5):
            with pytest.raises(StorageError):
                spool.append([b"new"])
    assert [path.name for path in tmp_path.glob("segment-*")] == ["segment-0000000001.jsonl"]
    spool.append([b"new"])
    assert everything(spool) == [b"old", b"new"]
    assert list(tmp_path.glob("segment-*")) == []


def test_a_folder_that_replaced_the_spool_is_not_written_to(tmp_path: Path) -> None:
    """An unmounted disk leaves an empty mount point, and what lies there is hidden when the disk is back."""
    folder = tmp_path / "spool"
    spool = opened(folder)
    folder.rename(tmp_path / "unmounted")
    folder.mkdir()
    with pytest.raises(StorageError, match="unmounted, moved or replaced"):
        spool.append([b"lost"])
    assert list(folder.iterdir()) == []
    folder.rmdir()
    (tmp_path / "unmounted").rename(folder)
    assert spool.append([b"kept"]) == 1
    assert everything(spool) == [b"kept"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """The error names the folder."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/spool"):
        opened(tmp_path / "file" / "spool")


def test_a_damaged_cursor_is_named(tmp_path: Path) -> None:
    """What was delivered is not guessed. Once the cursor is removed, the same process can open the spool."""
    spool = opened(tmp_path)
    spool.append([b"a", b"b"])
    spool.take(spool.peek(1, 9))
    spool.close()
    (tmp_path / "cursor.json").write_text("[]")
    with pytest.raises(StorageError, match=r"cursor\.json is damaged"):
        opened(tmp_path)
    (tmp_path / "cursor.json").unlink()
    assert everything(opened(tmp_path)) == [b"a", b"b"]


class SpoolMachine(RuleBasedStateMachine):
    """A spool beside a list: both hold the same lines after any sequence of operations, restarts included."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        self.place = self.folder / str(len(list(self.folder.iterdir())))
        self.spool = opened(self.place, 2_000)
        self.model: list[bytes] = []

    @rule(lines=st.lists(st.binary(max_size=30).map(lambda raw: raw.hex().encode()), max_size=5))
    def append(self, lines: list[bytes]) -> None:
        stored = self.spool.append(lines)
        assert stored == len(lines) or self.spool.size + len(lines[stored]) + 1 > 2_000
        self.model += lines[:stored]

    @precondition(lambda self: self.model)
    @rule(count=st.integers(1, 6))
    def take(self, count: int) -> None:
        lines = self.spool.peek(count, 90)
        assert lines
        assert lines == self.model[: len(lines)]
        self.spool.take(lines)
        del self.model[: len(lines)]

    @rule()
    def restart(self) -> None:
        self.spool.close()
        self.spool = opened(self.place, 2_000)

    @invariant()
    def counts_agree(self) -> None:
        assert self.spool.points == len(self.model)

    def teardown(self) -> None:
        assert everything(self.spool) == self.model
        self.spool.close()


def test_a_spool_that_could_not_be_opened_counts_nothing_twice_later(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append([b"a"])
    spool.close()
    broken = tmp_path / "segment-0000000009.jsonl"
    broken.mkdir()
    with pytest.raises(StorageError, match="cannot open the spool"):
        spool.open()
    broken.rmdir()
    spool.open()
    assert (spool.points, everything(spool)) == (1, [b"a"])


def test_a_spool_is_a_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hypothesis runs any sequence of appending, taking and restarting."""
    monkeypatch.setattr(module, "SEGMENT_BYTES", 100)
    machine: Any = type("Machine", (SpoolMachine,), {"folder": tmp_path})
    runner = machine.TestCase
    runner.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
    runner().runTest()


def test_lines_count_once_after_an_open_that_ended_half_way(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append([b"a", b"b"])
    spool.close()
    unreadable = tmp_path / "segment-0000000002.jsonl"
    unreadable.mkdir()
    spool = Spool(tmp_path, 1_000_000)
    with pytest.raises(StorageError):
        spool.open()
    unreadable.rmdir()
    spool.open()
    assert spool.points == 2
    assert everything(spool) == [b"a", b"b"]
    spool.close()
