"""Reads all chunks of raw files in order, and each data point id once; ingest and `generate` build on it."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from flywheel_core.errors import StorageError
from flywheel_core.lake.chunks import Batch, Wanted, read_chunk
from flywheel_core.lake.columns import ANSWERS
from flywheel_core.lake.raw_lines import file_size, plain_chunks, unpacked_chunks
from flywheel_core.lake.workers import read_in_parallel

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in total."""

PARALLEL_BYTES = 64 * 1024 * 1024
"""Bytes of plain raw text from which starting worker processes pays off."""


@dataclass
class Tally:
    """Counts of what was read so far. lines = accepted + duplicates + rejected; blank lines are counted separately."""

    bytes_read: int = 0
    lines: int = 0
    accepted: int = 0
    duplicates: int = 0
    blank: int = 0
    rejected_by_code: dict[str, int] = field(default_factory=dict)

    @property
    def rejected(self) -> int:
        """Rejected lines of all codes."""
        return sum(self.rejected_by_code.values())


def read_files(
    files: Sequence[Path], wanted: Wanted, tally: Tally, progress: Progress | None = None
) -> Iterator[Batch]:
    """Yield the batches of `files`, in order, without points whose id occurred before; count them in `tally`.

    Raises StorageError when a file cannot be read, or when the numbers of lines and rows do not add up.
    """
    sizes = {path: file_size(path) for path in files}
    plain = sum(size for path, size in sizes.items() if path.suffix != ".gz")
    total, done = sum(sizes.values()), 0
    seen: set[bytes] = set()
    for path in files:
        if path.suffix == ".gz":
            batches: Iterator[Batch] = (read_chunk(text, wanted) for text in unpacked_chunks(path))
        elif plain >= PARALLEL_BYTES:
            batches = read_in_parallel(plain_chunks(path, sizes[path]), wanted)
        else:
            batches = (read_chunk(chunk, wanted) for chunk in plain_chunks(path, sizes[path]))
        within = 0
        for batch in batches:
            yield _counted(_without_repeats(batch, seen), batch, tally)
            within = min(within + batch.bytes_read, sizes[path])
            if progress:
                progress(done + within, total)
        done += sizes[path]
        if progress:
            progress(done, total)


def _counted(kept: Batch, batch: Batch, tally: Tally) -> Batch:
    accepted = kept.points.num_rows
    duplicates = batch.points.num_rows - accepted
    if batch.lines != accepted + duplicates + batch.rejects.num_rows:
        raise StorageError(
            f"{batch.path}: {batch.lines} lines gave {accepted} points, {duplicates} duplicates"
            f" and {batch.rejects.num_rows} rejects",
            hint="this is a fault of the program; please report it",
        )
    tally.bytes_read += batch.bytes_read
    tally.lines += batch.lines
    tally.blank += batch.blank
    tally.accepted += accepted
    tally.duplicates += duplicates
    for found in batch.rejects.column("code").value_counts().to_pylist():
        code, count = found["values"], found["counts"]
        tally.rejected_by_code[code] = tally.rejected_by_code.get(code, 0) + count
    return kept


def _without_repeats(batch: Batch, seen: set[bytes]) -> Batch:
    """Return the batch without points whose id is in `seen`, and add its other ids there, as 16-byte digests."""
    fresh = []
    for identity in batch.points.column("data_point_id").to_pylist():
        digest = hashlib.blake2b(identity.encode(), digest_size=16).digest()
        fresh.append(digest not in seen)
        seen.add(digest)
    if all(fresh):
        return batch
    keep = np.array(fresh)
    owners = batch.answers.column("owner").to_numpy()
    places = np.cumsum(keep) - 1  # the new row number of each kept point
    answers = batch.answers.set_column(0, ANSWERS.field("owner"), pa.array(places[owners]))
    return replace(
        batch, points=batch.points.filter(pa.array(keep)), answers=answers.filter(pa.array(keep[owners]))
    )
