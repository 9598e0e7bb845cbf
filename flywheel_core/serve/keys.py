"""Keys `<key_id>.<secret>`, by which a server identifies its sources.

Only the SHA-256 of a secret is stored: the secret has 256 random bits, so a slower hash would add nothing. A
running server picks up changes to the file without a restart.
"""

import hashlib
import hmac
import logging
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec

from flywheel_core.errors import RequestError, StorageError, UsageError
from flywheel_core.lake.atomic import own_folder, replacing
from flywheel_core.lake.lock import locked

log = logging.getLogger("flywheel.serve")

MAX_LIVE_KEYS = 2
"""Most live keys that a source may have: the old and the new one during a rotation."""

SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
RESERVED_SOURCES = frozenset({"anonymous", "local", "import"})

_CHECK_SECONDS = 0.5


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key as stored. Times are RFC 3339; `revoked_at` is None while the key is live."""

    key_id: str
    source: str
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    created_at: str
    revoked_at: str | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    keys: list[Key]


class KeyStore:
    """The keys in one file; a missing file holds none, but if it goes missing, the keys read before stay.

    option: the option of `flywheel keys` for this file, for hints.
    """

    def __init__(self, path: Path, *, option: str = "") -> None:
        self.path = path
        self._option = f" {option}" if option else ""
        self._keys: dict[str, Key] = {}
        self._stamp: tuple[int, int, int] | None = None
        self._next_check = 0.0
        self._told: str | None = None

    def all(self) -> list[Key]:
        """Return every key, revoked ones included, in order of creation.

        Raises StorageError when the file is unreadable.
        """
        stamp = self._stamp_now()
        self._keys = {key.key_id: key for key in self._read()}
        self._stamp = stamp  # only after a successful read: an unreadable file is tried again
        return list(self._keys.values())

    def create(self, source: str) -> str:
        """Create a key for `source` and return it as `<key_id>.<secret>`. It cannot be shown again.

        Raises UsageError when the name is invalid or the source already has two live keys; StorageError when
        the file cannot be read or written.
        """
        if not SOURCE.fullmatch(source) or source in RESERVED_SOURCES:
            raise UsageError(
                f"{source!r} cannot name a source",
                hint="use 1 to 64 letters, digits, '_', '-' or '.', but not 'anonymous', 'local' or 'import'",
            )
        with self._exclusively() as keys:
            live = [key.key_id for key in keys if key.source == source and key.revoked_at is None]
            if len(live) >= MAX_LIVE_KEYS:
                raise UsageError(
                    f"{source} has {MAX_LIVE_KEYS} live keys already: {', '.join(live)}",
                    hint=f"revoke the older one first: flywheel keys revoke{self._option} KEY_ID",
                )
            key_id = secrets.token_hex(6)
            secret = secrets.token_urlsafe(32)
            keys.append(Key(key_id, source, _hash(secret), _now()))
        return f"{key_id}.{secret}"

    def revoke(self, key_id: str) -> Key:
        """Revoke a key for good.

        Raises UsageError when it is unknown or already revoked, StorageError as `create`.
        """
        with self._exclusively() as keys:
            for at, key in enumerate(keys):
                if key.key_id == key_id:
                    if key.revoked_at is not None:
                        raise UsageError(f"the key {key_id} was revoked already, at {key.revoked_at}")
                    keys[at] = msgspec.structs.replace(key, revoked_at=_now())
                    return keys[at]
        raise UsageError(f"there is no key {key_id}", hint=f"see flywheel keys list{self._option}")

    def __bool__(self) -> bool:
        """Return whether there are any keys, even revoked ones. Checks the file at most twice a second."""
        self._take_up_changes()
        return bool(self._keys)

    def source_of(self, authorization: bytes) -> str:
        """Return the source of the key in an Authorization header.

        Raises RequestError `key_invalid` or `key_revoked`.
        """
        self._take_up_changes()
        scheme, _, credentials = authorization.decode("latin-1").partition(" ")
        key_id, _, secret = credentials.strip().partition(".")
        if scheme.lower() != "bearer" or not secret:
            raise RequestError("key_invalid", "the Authorization header is not: Bearer <key_id>.<secret>")
        key = self._keys.get(key_id)
        if not hmac.compare_digest(_hash(secret), key.sha256 if key else _hash("")) or key is None:
            raise RequestError("key_invalid")
        if key.revoked_at is not None:
            raise RequestError("key_revoked")
        return key.source

    def _take_up_changes(self) -> None:
        now = time.monotonic()
        if now < self._next_check:
            return
        self._next_check = now + _CHECK_SECONDS
        try:
            if self._stamp_now() != self._stamp:
                live = sum(key.revoked_at is None for key in self.all())
                log.info("keys_taken", extra={"file": str(self.path), "live": live})
            self._told = None
        except StorageError as error:  # the last keys that could be read stay in force
            if error.message != self._told:
                log.error("keys_unreadable", extra={"error": error.message, "hint": error.hint})
            self._told = error.message

    def _stamp_now(self) -> tuple[int, int, int] | None:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unreadable(error) from error
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _read(self) -> list[Key]:
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=_File).keys
        except FileNotFoundError as error:
            if self._keys:  # to a running server no file is no reason to let everybody in
                raise self._unreadable(error) from error
            return []
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> StorageError:
        why = (error.strerror if isinstance(error, OSError) else None) or error
        if isinstance(error, PermissionError):
            hint = "give the file to the user that the server runs as"
        elif isinstance(error, FileNotFoundError) and self._keys:
            hint = "bring it back; to do without keys, restart the server"
        elif isinstance(error, OSError):
            hint = "name the data folder that they lie in with --data-dir or storage.data_dir"
        else:
            hint = "it is damaged, or a later version of Flywheel wrote it: bring it back from a backup, or remove it and make new keys"
        return StorageError(f"cannot read the keys in {self.path}: {why}", hint=hint)

    @contextmanager
    def _exclusively(self) -> Iterator[list[Key]]:
        """Yield the keys for changes and write them back if the block succeeds; one process at a time."""
        try:
            folder = self.path.parent
            if not folder.exists():
                own_folder(folder)
                _give(folder, folder.parent.stat())
            target = self.path.resolve()  # whoever writes through a link or beside it waits for the same lock
            guard = target.with_name(f".{target.name}.lock")
            lock = os.open(guard, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StorageError(
                f"cannot write the keys in {self.path}: {error.strerror or error}",
                hint="name a folder that this user may write to with --data-dir or storage.data_dir",
            ) from error
        try:
            locked(lock, guard, wait=True)
            owner = (self.path if self.path.exists() else folder).stat()
            _give(guard, owner)
            keys = self._read()
            yield keys
            with replacing(self.path) as temporary:
                temporary.touch(mode=0o600)
                temporary.write_bytes(msgspec.json.format(msgspec.json.encode(_File(keys)), indent=2) + b"\n")
                _give(temporary, owner)
        finally:
            os.close(lock)


def _give(file: Path, owner: os.stat_result) -> None:
    """Hand a file made by root over to `owner`.

    A server that runs as another user could not read it, and would keep using the keys that it read before.
    """
    if os.geteuid() == 0:
        with suppress(PermissionError):  # root in a container may lack the right
            os.chown(file, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
