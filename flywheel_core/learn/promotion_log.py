"""The append-only log of promotions: who judged and promoted which router, when, why, on which figures.

One JSON object per line, synced before anything acts on it. A crash may tear the last line: it is not read,
and the next append removes it. Only `Registry` writes here, under its lock.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from flywheel_core.errors import RouterError, StorageError
from flywheel_core.lake.atomic import own_folder, sync_folder

Kind = Literal["judged", "first", "renewed", "promoted", "manual", "rollback"]
"""What an entry records.

judged: a challenger was looked at. The others put a version into service: first, the first champion; renewed,
the model that is best on later data, while nothing learned has been promoted; promoted, by the nightly rule;
manual, by a person's command; rollback, by going back to an earlier version.
"""

BEST_SINGLE_KINDS = ("first", "renewed")
"""Kinds that put a best single model into service, which is not earned on any test question."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One line of the log. Times are unix seconds, days are YYYY-MM-DD.

    version: the router judged or put into service
    by, reason: who or what did it, and why
    last_day: of the data of a judgement, or of the data on which a first or renewed model is best
    against: sequence of the champion that a challenger was judged against

    Only an entry that puts a version into service has these:

    sequence: its own, from 1 on
    previous: sequence of the champion before it
    digest: SHA-256 of the version's router.json
    since: when the newest question that it rests on was received
    restores: sequence of the entry that a rollback restores
    """

    kind: Kind
    version: str
    at: float
    by: str
    reason: str
    last_day: str | None = None
    sequence: int | None = None
    previous: int | None = None
    digest: str | None = None
    since: float | None = None
    restores: int | None = None
    against: int | None = None
    figures: dict[str, Any] = {}


@dataclass(frozen=True)
class Looks:
    """The looks taken in a champion's life.

    taken: how many; last_questions: how many newest questions the last look had; newest: when the newest of
    those was received, unix seconds.
    """

    taken: int = 0
    last_questions: int = 0
    newest: float | None = None


_DECODER = msgspec.json.Decoder(Entry)
_ENCODER = msgspec.json.Encoder(enc_hook=lambda value: value.tolist())  # figures may hold numpy's numbers


def read_entries(path: Path) -> list[Entry]:
    """Return all entries in order, none when there is no file.

    Each links only to earlier ones, so that whoever walks back along them comes to an end. Raises RouterError,
    naming the line, when one is damaged, StorageError when the file cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or error}") from error
    entries = []
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            entries.append(_linked_back(_DECODER.decode(line)))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise RouterError(
                f"line {number} of {path} is damaged: {error}",
                hint="the router in service is not affected; restore the file or move it away",
                code="promotion_log_damaged",
            ) from None
    return entries


def _linked_back(entry: Entry) -> Entry:
    if entry.sequence is not None and max(entry.previous or 0, entry.restores or 0) >= entry.sequence:
        raise msgspec.ValidationError(f"promotion {entry.sequence} names a later one, or itself, as earlier")
    return entry


def append_entry(path: Path, entry: Entry) -> None:
    """Append an entry durably, after removing a torn last line.

    Raises StorageError when the system refuses.
    """
    try:
        own_folder(path.parent)
        created = not path.exists()
        with path.open("a+b") as file:
            _cut_torn_line(file.fileno())
            file.write(_ENCODER.encode(entry) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if created:
            sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error


def _cut_torn_line(handle: int) -> None:
    size = os.fstat(handle).st_size
    end = size
    while end:
        start = max(0, end - 4096)
        found = os.pread(handle, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        os.ftruncate(handle, end)
