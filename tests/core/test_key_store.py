"""The file of keys: made and revoked one at a time, never in plain text, and read again after a change."""

import os
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flywheel_core.errors import RequestError, StorageError, UsageError
from flywheel_core.serve.keys import Key, KeyStore


def test_only_hashes_are_stored_and_only_the_owner_reads_them(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.json")
    key = store.create("east")
    secret = key.partition(".")[2]
    assert len(secret) >= 43
    assert secret not in store.path.read_text()
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def test_a_source_has_at_most_two_live_keys(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.json")
    first, second = store.create("east"), store.create("east")
    assert (
        store.source_of(b"Bearer " + first.encode())
        == store.source_of(b"bearer " + second.encode())
        == "east"
    )
    with pytest.raises(UsageError, match="2 live keys"):
        store.create("east")
    store.create("west")
    store.revoke(first.partition(".")[0])
    store.create("east")


@pytest.mark.parametrize("source", ["", "anonymous", "local", "import", "a b", "-x", "ü", "x" * 65, "../etc"])
def test_an_invalid_source_name_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(UsageError):
        KeyStore(tmp_path / "keys.json").create(source)


def test_revoking_a_revoked_or_unknown_key_says_so(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.json")
    key_id = store.create("east").partition(".")[0]
    store.revoke(key_id)
    with pytest.raises(UsageError, match="already"):
        store.revoke(key_id)
    with pytest.raises(UsageError, match="no key"):
        store.revoke("0")


@pytest.mark.parametrize(
    "shape", ["", "Bearer", "Bearer x", "Basic {key}", "{key}", "Bearer {id}.wrong", "Bearer x.{secret}"]
)
def test_a_malformed_or_wrong_key_is_invalid(tmp_path: Path, shape: str) -> None:
    store = KeyStore(tmp_path / "keys.json")
    key = store.create("east")
    key_id, _, secret = key.partition(".")
    with pytest.raises(RequestError) as caught:
        store.source_of(shape.format(key=key, id=key_id, secret=secret).encode())
    assert caught.value.code == "key_invalid"
    assert secret not in caught.value.message


HASH_OF_OTHER_LETTERS = (
    '{"keys": [{"key_id": "a", "source": "east", "sha256": "é", "created_at": "2026-01-01T00:00:00Z"}]}'
)


@pytest.mark.parametrize(
    "damage",
    [b"{", b'{"keys": [{"key_id": "\xff"}]}', HASH_OF_OTHER_LETTERS.encode()],
    ids=["torn", "no UTF-8", "no hash"],
)
def test_a_damaged_file_is_an_error_at_start_but_not_while_running(tmp_path: Path, damage: bytes) -> None:
    store = KeyStore(tmp_path / "keys.json")
    key = store.create("east")
    assert store.source_of(f"Bearer {key}".encode()) == "east"
    store.path.write_bytes(damage)
    store._next_check = 0.0
    assert store.source_of(f"Bearer {key}".encode()) == "east"
    with pytest.raises(StorageError) as caught:
        KeyStore(store.path).all()
    assert caught.value.hint and "damaged" in caught.value.hint, "another data folder does not help"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_keys_created_and_revoked_by_root_stay_readable_for_the_servers_user(tmp_path: Path) -> None:
    """A server that cannot read its keys would keep accepting the one just revoked, and could not be restarted."""
    server = 65534
    os.chown(tmp_path, server, server)
    store = KeyStore(tmp_path / "data" / "keys.json")
    key = store.create("east")
    store.revoke(key.partition(".")[0])
    owners = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in tmp_path.rglob("*")}
    assert owners == dict.fromkeys(["data", "keys.json", ".keys.json.lock"], (server, server))
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_root_does_not_chown_the_target_of_a_link_in_the_data_folder(tmp_path: Path) -> None:
    """Otherwise anyone who can write to the data folder could become the owner of any file on the system."""
    theirs, data = tmp_path / "shadow", tmp_path / "data"
    theirs.write_text("")
    data.mkdir()
    os.chown(data, 65534, 65534)
    (data / ".keys.json.lock").symlink_to(theirs)
    KeyStore(data / "keys.json").create("east")
    assert theirs.stat().st_uid == 0


def test_a_running_server_survives_the_loss_of_its_data_folder(tmp_path: Path) -> None:
    """A mount that disappears must not turn every request into a 500."""
    folder = tmp_path / "data"
    store = KeyStore(folder / "keys.json")
    key = store.create("east")
    assert store.source_of(f"Bearer {key}".encode()) == "east"
    shutil.rmtree(folder)
    folder.write_text("no folder")
    store._next_check = 0.0
    assert store.source_of(f"Bearer {key}".encode()) == "east"
    with pytest.raises(StorageError, match=r"cannot read the keys in .*: Not a directory"):
        KeyStore(store.path).all()


def test_keys_created_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    names = [f"source-{number}" for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda name: KeyStore(path).create(name), names))
    store = KeyStore(path)
    assert [store.source_of(f"Bearer {key}".encode()) for key in created] == names


def test_keys_created_at_the_same_time_through_a_link_are_all_kept(tmp_path: Path) -> None:
    """A second gateway's data folder has a link to the file of the first, and people use either."""
    path, link = tmp_path / "one" / "keys.json", tmp_path / "two" / "keys.json"
    for folder in (path.parent, link.parent):
        folder.mkdir()
    link.symlink_to(path)
    names = [f"source-{number}" for number in range(32)]
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda at, name: KeyStore(at).create(name), [path, link] * 16, names))
    assert link.is_symlink()
    assert [KeyStore(path).source_of(f"Bearer {key}".encode()) for key in created] == names


def test_a_file_that_takes_the_place_of_the_keys_is_noticed_whatever_its_time(tmp_path: Path) -> None:
    """On some file systems two changes within a second have the same time."""
    store, other = KeyStore(tmp_path / "keys.json"), KeyStore(tmp_path / "other.json")
    key, replacement = store.create("east"), other.create("east")
    assert store.source_of(f"Bearer {key}".encode()) == "east"
    status = store.path.stat()
    assert other.path.stat().st_size == status.st_size
    os.utime(other.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.path.replace(store.path)
    store._next_check = 0.0
    assert store.source_of(f"Bearer {replacement}".encode()) == "east"
    with pytest.raises(RequestError):
        store.source_of(f"Bearer {key}".encode())


def test_a_change_right_after_the_file_was_read_is_noticed(tmp_path: Path) -> None:
    """Otherwise a key that was revoked at that moment would stay valid until the next change."""
    path = tmp_path / "keys.json"
    key = KeyStore(path).create("east")

    class Overtaken(KeyStore):
        """A store whose file is changed by another process each time after it was read."""

        revoked = False

        def _read(self) -> list[Key]:
            found = super()._read()
            if not self.revoked:
                self.revoked = True
                KeyStore(path).revoke(key.partition(".")[0])
            return found

    store = Overtaken(path)
    assert store.all()[0].revoked_at is None
    with pytest.raises(RequestError) as caught:
        store.source_of(b"Bearer " + key.encode())
    assert caught.value.code == "key_revoked"
