"""A file is watched: each change is told once, and one that is refused, or fails, does not end the watching."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flywheel_core.errors import ConfigError
from flywheel_core.lake.atomic import mark_of
from flywheel_gateway.watch import watch_file


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look every hundredth of a second."""
    monkeypatch.setattr("flywheel_gateway.watch.LOOK_SECONDS", 0.01)


def watched(path: Path, outcomes: Iterator[Exception | None], edits: list[str]) -> list[str]:
    """Make one edit after another, each once the one before was told; return the file as it was told each time."""
    told: list[str] = []
    read, write = path.read_text, path.write_text

    async def changed() -> None:
        told.append(read())
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome

    async def main() -> None:
        watching = asyncio.create_task(watch_file(path, changed, mark_of(path)))
        for number, edit in enumerate(edits, start=1):
            write(edit)
            async with asyncio.timeout(30):
                while len(told) < number and not watching.done():  # noqa: ASYNC110 - it tells by a list
                    await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    asyncio.run(main())
    return told


def test_a_change_that_is_refused_or_fails_is_logged_and_the_next_one_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "flywheel.yaml"
    path.write_text("begin")
    outcomes = iter((ConfigError("not so"), ZeroDivisionError("a fault"), None))
    assert watched(path, outcomes, ["one", "second", "the third"]) == ["one", "second", "the third"]
    logged = [(record.message, record.exc_info is not None) for record in caplog.records]
    assert logged == [("change_refused", False), ("change_not_taken", True)]


def test_a_file_that_is_being_written_is_told_once_two_looks_find_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [1, 2, 3, 3, 3, 3]
    looks: list[int] = []
    told: list[int] = []

    def growing(_: Path) -> tuple[int, int, int]:
        looks.append(sizes[min(len(looks), len(sizes) - 1)])
        return 0, looks[-1], 0

    async def changed() -> None:
        told.append(len(looks))

    async def main() -> None:
        watching = asyncio.create_task(watch_file(tmp_path, changed, (0, 0, 0)))
        while len(looks) < len(sizes):  # noqa: ASYNC110 - it tells by a list
            await asyncio.sleep(0.01)
        watching.cancel()

    monkeypatch.setattr("flywheel_gateway.watch.mark_of", growing)
    asyncio.run(main())
    assert told == [4]


def test_a_file_replaced_by_one_of_the_same_size_and_time_is_a_change(tmp_path: Path) -> None:
    path, other = tmp_path / "one", tmp_path / "other"
    path.write_text("one")
    other.write_text("two")
    stat = path.stat()
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    before = mark_of(path)
    other.replace(path)
    assert mark_of(path) != before
    path.unlink()
    assert mark_of(path) is None
