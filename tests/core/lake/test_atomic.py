"""A file that is replaced as a whole stays as open or closed to others as it was."""

import os
import stat
from pathlib import Path

import pytest

from flywheel_core.lake.atomic import write_atomically


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_a_replaced_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    """As a page or a training file, both with questions, that somebody closed to others."""
    file, link = tmp_path / "page.html", tmp_path / "link.html"
    write_atomically(file, b"one")
    file.chmod(mode)
    link.symlink_to(file)
    for path in (file, link):
        write_atomically(path, path.name.encode())
        assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (path.name.encode(), mode)


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_a_file_that_root_replaces_stays_its_owners(tmp_path: Path) -> None:
    """As a raw file after `sudo flywheel forget --yes`, which the services could otherwise not read."""
    file = tmp_path / "training_data_20260105.jsonl"
    write_atomically(file, b"{}")
    os.chown(file, 65_534, 65_534)
    file.chmod(0o600)
    write_atomically(file, b"[]")
    found = file.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (65_534, 65_534, 0o600)


def test_a_new_file_is_as_the_system_makes_it(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    write_atomically(tmp_path / "written", b"")
    assert (tmp_path / "written").stat().st_mode == (tmp_path / "plain").stat().st_mode
