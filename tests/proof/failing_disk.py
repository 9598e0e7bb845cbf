"""A real disk on which one chosen call fails."""

import os
from pathlib import Path

from collector_api.disk import BLOCK, Disk


class FailingDisk(Disk):
    """The real disk, whose `nth` call (from 0) fails with the errno `error`; a failing write writes half of its blocks.

    calls: names of the calls so far. failed: the name of the one that failed, None before.
    """

    def __init__(self, nth: int | None = None, error: int = 0) -> None:
        self.calls: list[str] = []
        self.failed: str | None = None
        self._nth = nth
        self._error = error

    def _step(self, call: str) -> None:
        self.calls.append(call)
        if len(self.calls) - 1 == self._nth:
            self.failed = call
            raise OSError(self._error, os.strerror(self._error))

    def names(self, folder: Path) -> list[str]:
        self._step("names")
        return super().names(folder)

    def open(self, path: Path, *, create: bool) -> int:
        self._step("open")
        return super().open(path, create=create)

    def write(self, file: int, data: memoryview, offset: int) -> None:
        try:
            self._step("write")
        except OSError:
            super().write(file, data[: len(data) // 2 // BLOCK * BLOCK], offset)
            raise
        super().write(file, data, offset)

    def sync(self, file: int) -> None:
        self._step("sync")
        super().sync(file)

    def is_at(self, file: int, path: Path) -> bool:
        self._step("is_at")
        return super().is_at(file, path)

    def size(self, file: int) -> int:
        self._step("size")
        return super().size(file)

    def truncate(self, file: int, size: int) -> None:
        self._step("truncate")
        super().truncate(file, size)

    def read_end(self, path: Path, size: int) -> bytes:
        self._step("read_end")
        return super().read_end(path, size)

    def remove(self, path: Path) -> None:
        self._step("remove")
        super().remove(path)

    def sync_folder(self, folder: Path) -> None:
        self._step("sync_folder")
        super().sync_folder(folder)

    def free_bytes(self, folder: Path) -> int:
        self._step("free_bytes")
        return super().free_bytes(folder)
