"""LineFile: what an append leaves on disk, and how opening a file repairs whatever a crash left at its end."""

import resource
from pathlib import Path

import pytest

from collector_api.disk import BLOCK, Disk
from collector_api.linefile import LineFile, write_buffer


def opened(path: Path, *, create: bool, buffer: int = 4 * BLOCK) -> LineFile:
    return LineFile(Disk(), path, write_buffer(buffer), create=create)


@pytest.mark.parametrize(
    "size", [1, 10, BLOCK - 1, BLOCK, BLOCK + 1, 4 * BLOCK - 1, 4 * BLOCK, 11 * BLOCK + 7]
)
def test_lines_of_any_size_are_read_back(tmp_path: Path, size: int) -> None:
    path = tmp_path / "lines"
    lines = [b"%d" % number + b"x" * size + b"\n" for number in range(7)]
    file = opened(path, create=True)
    for line in lines[:3]:
        file.append([line])
    file.append(lines[3:])
    assert path.read_bytes().rstrip(b"\n") + b"\n" == b"".join(lines)
    assert path.stat().st_size % BLOCK == 0
    file.trim()
    assert path.read_bytes() == b"".join(lines)
    file.append([b"last\n"])
    file.close()
    assert path.read_bytes() == b"".join([*lines, b"last\n"])


def test_a_file_is_continued_after_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    opened(path, create=True).append([b"one\n"])  # never closed, as after SIGKILL
    assert path.stat().st_size == BLOCK
    again = opened(path, create=False)
    assert again.size == 4
    again.append([b"two\n"])
    again.close()
    assert path.read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("length", [30, BLOCK + 30])
@pytest.mark.parametrize("padding", [0, 1, 5_000, 100_000])
def test_a_file_cut_anywhere_is_sealed_and_never_merges_lines(
    tmp_path: Path, length: int, padding: int
) -> None:
    first, second = b"a" * length + b"\n", b"b" * 40 + b"\n"
    whole = first + second
    path = tmp_path / "lines"
    for cut in [*range(len(first) - 2, len(whole) + 1), 0, 1]:
        path.write_bytes(whole[:cut] + b"\n" * padding)
        file = opened(path, create=False)
        file.append([b"next\n"])
        file.close()
        kept = whole[:cut] if whole[:cut].endswith(b"\n") or not cut else whole[:cut] + b"\n"
        assert path.read_bytes() == kept + b"next\n", cut


def test_a_file_of_newlines_alone_becomes_empty(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"\n" * 200_000)
    opened(path, create=False).close()
    assert path.read_bytes() == b""


def test_a_file_that_exists_is_not_created_again(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.touch()
    with pytest.raises(FileExistsError):
        opened(path, create=True)


def test_a_partial_write_is_an_error_and_none_of_it_is_kept(tmp_path: Path) -> None:
    """The system writes only a part when a size limit or the end of the disk falls inside the write."""
    path = tmp_path / "lines"
    file = opened(path, create=True)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (BLOCK, limits[1]))
    try:
        with pytest.raises(OSError, match=f"only {BLOCK} of {2 * BLOCK} bytes"):
            file.append([b"x" * BLOCK + b"\n"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    file.close(cut=True)
    assert path.read_bytes() == b""


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs another file system")
def test_file_systems_in_memory_work_the_same(tmp_path: Path) -> None:
    path = Path("/dev/shm") / f"flywheel-{tmp_path.name}"
    try:
        file = opened(path, create=True)
        file.append([b"one\n"])
        file.close()
        assert path.read_bytes() == b"one\n"
    finally:
        path.unlink(missing_ok=True)
