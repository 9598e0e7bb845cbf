"""A model file system: it tracks what is synced, and a power cut loses what is not, in any combination.

Files are in a real folder, which is what processes see while the power is on. The model knows what would survive: for
every folder the names that were synced, for every file the synced content and the changes since then.
"""

import errno
import itertools
import random
from dataclasses import dataclass, field
from pathlib import Path

from collector_api.disk import BLOCK, Disk

_SECTOR = 512


@dataclass(eq=False)
class _File:
    """One file. content: as last synced. pending: later changes in order, (offset, bytes) of a write or a new size."""

    content: bytes = b""
    pending: list[tuple[int, bytes] | int] = field(default_factory=list)

    def sync(self) -> None:
        """Make every change durable."""
        self.content = self.versions()[-1]
        self.pending.clear()

    def versions(self) -> list[bytes]:
        """Return the synced content, and the content after each change since."""
        found = [self.content]
        for change in self.pending:
            now = bytearray(found[-1])
            if isinstance(change, int):
                now[change:] = bytes(max(0, change - len(now)))
            else:
                offset, data = change
                now += bytes(max(0, offset - len(now)))
                now[offset : offset + len(data)] = data
            found.append(bytes(now))
        return found

    def survivor(self, choose: random.Random) -> bytes:
        """Return what a power cut leaves: the size of any version, and each block from any version or torn between two."""
        versions = self.versions()
        size = len(choose.choice(versions))
        return b"".join(self._block(versions, at, choose) for at in range(0, size, BLOCK))[:size]

    def _block(self, versions: list[bytes], at: int, choose: random.Random) -> bytes:
        found = [version[at : at + BLOCK].ljust(BLOCK, b"\0") for version in versions]
        one, other = choose.choice(found), choose.choice(found)
        if one == other:
            return one
        torn = choose.choice(["whole", "cut", "sectors"])
        if torn == "cut":
            cut = choose.randint(0, BLOCK)
            return one[:cut] + other[cut:]
        if torn == "sectors":
            return b"".join(
                choose.choice([one, other])[sector : sector + _SECTOR] for sector in range(0, BLOCK, _SECTOR)
            )
        return one


class Machine:
    """A computer whose power can fail. root: the folder that its processes see, another one after each power cut."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._boots = itertools.count()
        self._boot({}, {})

    def _boot(self, files: dict[str, bytes], folders: dict[str, None]) -> None:
        self.root = self._folder / f"boot-{next(self._boots)}"
        self.root.mkdir()
        self.files: dict[str, _File] = {}
        self.names: dict[str, dict[str, _File | None]] = {"": {}}
        for path in folders:
            (self.root / path).mkdir(parents=True)
            self.names[path] = {}
        for path, content in files.items():
            (self.root / path).write_bytes(content)
            self.files[path] = _File(content)
        for folder in self.names:
            self.names[folder] = self.seen(folder)

    def key(self, path: Path) -> str:
        """Return the name of a path below the root, which stays the same across power cuts; "" for the root itself."""
        name = path.relative_to(self.root).as_posix()
        return "" if name == "." else name

    def seen(self, folder: str) -> dict[str, _File | None]:
        """Return the names in a folder as processes see them, each with its file; None stands for a folder."""
        found: dict[str, _File | None] = {}
        for path in (self.root / folder).iterdir():
            found[path.name] = None if path.is_dir() else self.files[self.key(path)]
        return found

    def cut_power(self, choose: random.Random) -> None:
        """Keep or lose everything that is not synced, as `choose` decides; `root` then holds what is left."""
        files: dict[str, bytes] = {}
        folders: dict[str, None] = {}
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            for name, file in self._surviving_names(folder, choose).items():
                path = f"{folder}/{name}".lstrip("/")
                if file is None:
                    folders[path] = None
                    waiting.append(path)
                else:
                    files[path] = file.survivor(choose)
        self._boot(files, folders)

    def _surviving_names(self, folder: str, choose: random.Random) -> dict[str, _File | None]:
        durable, seen = self.names.get(folder, {}), self.seen(folder)
        kept: dict[str, _File | None] = {}
        for name in sorted(durable.keys() | seen.keys()):
            state = choose.choice([durable, seen])
            if name in state:
                kept[name] = state[name]
        return kept


class ModelDisk(Disk):
    """One process's disk. After `die_after` more changes the process is dead: nothing that it does has an effect.

    fail: call -> how many more times it is refused; a refused write or sync may have taken effect in part. died: whether
    the process is dead.
    """

    def __init__(self, machine: Machine, choose: random.Random, die_after: int | None = None) -> None:
        self._machine = machine
        self._choose = choose
        self._open: dict[int, _File] = {}
        self.die_after = die_after
        self.died = False
        self.fail: dict[str, int] = {}

    def _step(self, call: str) -> None:
        """Count one change. Raises OSError when the process is dead, or when the call is to be refused."""
        if self.die_after is not None:
            self.died = self.died or self.die_after <= 0
            self.die_after -= 1
        if self.died:
            raise OSError(errno.EIO, "the process is gone")
        if self.fail.get(call):
            self.fail[call] -= 1
            raise OSError(errno.EIO, "refused")

    def open(self, path: Path, *, create: bool) -> int:
        self._step("open")
        handle = super().open(path, create=create)
        if create:
            self._machine.files[self._machine.key(path)] = _File()
        self._open[handle] = self._machine.files[self._machine.key(path)]
        return handle

    def write(self, file: int, data: memoryview, offset: int) -> None:
        state = self._open[file]
        before = self.died
        try:
            self._step("write")
        except OSError:
            if not before:  # some of its blocks may have been written nevertheless
                blocks = self._choose.randint(0, len(data) // BLOCK)
                self._write(file, state, data[: blocks * BLOCK], offset)
            raise
        self._write(file, state, data, offset)

    def _write(self, file: int, state: _File, data: memoryview, offset: int) -> None:
        for at in range(0, len(data), BLOCK):  # blocks survive independently
            state.pending.append((offset + at, bytes(data[at : at + BLOCK])))
        super().write(file, data, offset)

    def sync(self, file: int) -> None:
        state = self._open[file]
        before = self.died
        try:
            self._step("sync")
        except OSError:
            if not before and not self.died:  # a failed sync marks everything as written, although it is not
                state.content = state.survivor(self._choose)
                state.pending.clear()
            raise
        state.sync()

    def truncate(self, file: int, size: int) -> None:
        self._step("truncate")
        self._open[file].pending.append(size)
        super().truncate(file, size)

    def close(self, file: int) -> None:
        del self._open[file]
        super().close(file)

    def remove(self, path: Path) -> None:
        self._step("remove")
        super().remove(path)

    def sync_folder(self, folder: Path) -> None:
        if not folder.is_relative_to(self._machine.root):
            return  # outside the machine
        self._step("sync_folder")
        self._machine.names[self._machine.key(folder)] = self._machine.seen(self._machine.key(folder))

    def free_bytes(self, folder: Path) -> int:
        return 10**12


class DiskWithoutSync(ModelDisk):
    """A disk whose sync of files does nothing, though it reports success."""

    def sync(self, file: int) -> None:
        self._step("sync")


class DiskWithoutFolderSync(ModelDisk):
    """A disk whose sync of folders does nothing, though it reports success."""

    def sync_folder(self, folder: Path) -> None:
        self._step("sync_folder")
