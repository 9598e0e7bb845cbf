"""A running server takes up changes of the file of keys, whatever happens to the file meanwhile."""

import os
import time
from pathlib import Path

import pytest

from flywheel_core.errors import RequestError
from flywheel_core.serve.keys import Key, KeyStore


def test_an_unreadable_file_is_read_once_it_is_readable_again(tmp_path: Path) -> None:
    """A file may become readable again, for example by chown, with its size and modification time unchanged."""
    store, running = KeyStore(tmp_path / "keys.json"), KeyStore(tmp_path / "keys.json")
    old = store.create("east")
    assert running.source_of(f"Bearer {old}".encode()) == "east"
    store.revoke(old.partition(".")[0])
    whole, times = store.path.read_bytes(), store.path.stat()
    store.path.write_bytes(b"?" * len(whole))
    os.utime(store.path, ns=(times.st_atime_ns, times.st_mtime_ns))
    running._next_check = 0.0
    assert running.source_of(f"Bearer {old}".encode()) == "east", "what was known before stays in force"
    store.path.write_bytes(whole)
    os.utime(store.path, ns=(times.st_atime_ns, times.st_mtime_ns))
    running._next_check = 0.0
    with pytest.raises(RequestError) as caught:
        running.source_of(f"Bearer {old}".encode())
    assert caught.value.code == "key_revoked"


def test_an_unreadable_file_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged again when it was readable in between."""
    caplog.set_level("INFO")
    store = KeyStore(tmp_path / "keys.json")
    store.create("east")
    whole = store.path.read_bytes()
    for content in (b"{", b"{", b"{", whole, b"{", b"{"):
        store.path.write_bytes(content)
        store._next_check = 0.0
        bool(store)
    assert caplog.messages == ["keys_unreadable", "keys_taken", "keys_unreadable"]


def test_each_change_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Who rotates a key sees in the log that the server has it, and that it has the old one no more."""
    running = KeyStore(tmp_path / "keys.json")
    running.all()
    by_hand = KeyStore(tmp_path / "keys.json")
    with caplog.at_level("INFO"):
        old, new = by_hand.create("east"), by_hand.create("east")
        for look in (lambda: None, lambda: by_hand.revoke(old.partition(".")[0]), lambda: None):
            look()
            running._next_check = 0.0
            assert running.source_of(f"Bearer {new}".encode()) == "east"
    assert [(record.message, record.__dict__["live"]) for record in caplog.records] == [
        ("keys_taken", 2),
        ("keys_taken", 1),
    ]
    assert new.partition(".")[2] not in str([record.__dict__ for record in caplog.records])


def test_the_file_is_looked_at_twice_a_second_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    store, running = KeyStore(tmp_path / "keys.json"), KeyStore(tmp_path / "keys.json")
    assert not running
    store.create("east")
    assert not running
    now += 0.5
    assert running


def test_a_change_while_the_file_is_read_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key revoked at that moment would be accepted until the next change."""
    store, running = KeyStore(tmp_path / "keys.json"), KeyStore(tmp_path / "keys.json")
    key = store.create("east")
    read = running._read

    def read_before_the_change() -> list[Key]:
        found = read()
        store.revoke(key.partition(".")[0])
        return found

    with monkeypatch.context() as patched:
        patched.setattr(running, "_read", read_before_the_change)
        assert running.source_of(f"Bearer {key}".encode()) == "east"
    running._next_check = 0.0
    with pytest.raises(RequestError) as caught:
        running.source_of(f"Bearer {key}".encode())
    assert caught.value.code == "key_revoked"
