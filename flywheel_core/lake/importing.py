"""Imports recorded data points into raw days.

Each input file becomes raw files of its own, one per day that it covers, named after a hash of its content. So an import
that is repeated, even after an interruption, leaves the same files and duplicates nothing.
"""

import hashlib
import shutil
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import SpooledTemporaryFile

from flywheel_core.errors import POINT_CODES, NoDataError, PointError, StorageError
from flywheel_core.lake.atomic import own_folder, replacing, sha256_of
from flywheel_core.lake.chunks import REJECT_CODES
from flywheel_core.lake.layout import Layout, day_of
from flywheel_core.lake.reading import Progress
from flywheel_core.lake.recorded import SOURCE, Meter, dated_point, lines_of, points_of
from flywheel_core.records import encode_point

_MEANINGS = POINT_CODES | REJECT_CODES
_SCRATCH = ".scratch"
_BUFFER_BYTES = 32 * 1024 * 1024
_EARLY_BYTES = 8 * 1024 * 1024
"""Bytes of rejected lines before a file's first data point that are held in memory; more go to a temporary file."""


@dataclass(frozen=True)
class ImportResult:
    """What an import read and wrote; lines = imported + duplicates + rejected.

    Rejected lines are copied to the day of the point before them (those before the first point to its day), where ingest
    records them with their reason; of a line longer than a chunk only the beginning is copied. Those of a file without
    any point are only counted. A compressed file that cannot be unpacked further counts as one more rejected line,
    `file_damaged`: what is left of the line before the damage. days: day -> points. shifted_days: whole days by which
    all timestamps were moved.
    """

    files: tuple[Path, ...]
    lines: int
    imported: int
    duplicates: int
    rejected: int
    rejected_by_code: dict[str, int]
    days: dict[date, int]
    shifted_days: int
    written: tuple[Path, ...]


def import_files(
    layout: Layout,
    files: Sequence[Path],
    last_day: date | None = None,
    progress: Progress | None = None,
) -> ImportResult:
    """Put recorded data points (`.jsonl` or `.jsonl.gz`) into raw days by their timestamps.

    The time of receipt becomes the event time. `last_day` moves all timestamps by whole days so that the latest point
    falls on it. Of points with the same id, in one file or in several, the first is taken. Raises NoDataError when a
    file is missing or no file has a point with a timestamp, StorageError when a file cannot be read or written.
    """
    for path in files:
        if not path.is_file():
            folder = path.is_dir()
            raise NoDataError(
                f"{path} is a folder" if folder else f"there is no file {path}",
                hint=f"name its files: {path / '*'}"
                if folder
                else "name files of recorded data points, plain or .gz",
            )
    passes = 1 if last_day is None else 2
    meter = Meter(progress, passes * sum(path.stat().st_size for path in files))
    shift = 0
    if last_day is not None:
        latest = max((point.timestamp for path in files for point in points_of(path, meter)), default=None)
        shift = 0 if latest is None else (last_day - day_of(latest)).days
    importer = _Importer(layout, shift)
    for path in files:
        importer.take(path, meter)
    if not importer.days:
        reasons = "; ".join(
            f"{code} {count:,} ({_MEANINGS[code]})" for code, count in sorted(importer.rejected.items())
        )
        raise NoDataError(
            f"no line of {', '.join(map(str, files))} is a data point with a timestamp",
            hint=f"rejected: {reasons}" if reasons else None,
        )
    return ImportResult(
        files=tuple(files),
        lines=importer.lines,
        imported=sum(importer.days.values()),
        duplicates=importer.duplicates,
        rejected=sum(importer.rejected.values()),
        rejected_by_code=dict(sorted(importer.rejected.items())),
        days=dict(sorted(importer.days.items())),
        shifted_days=shift,
        written=tuple(importer.written),
    )


class _Importer:
    """Imports one file after the other, and counts lines and points."""

    def __init__(self, layout: Layout, shift: int) -> None:
        self._layout, self._shift = layout, shift
        self._seen: set[bytes] = set()
        self.lines = self.duplicates = 0
        self.rejected: Counter[str] = Counter()
        self.days: Counter[date] = Counter()
        self.written: list[Path] = []

    def take(self, path: Path, meter: Meter) -> None:
        """Write the raw files of one input file."""
        writer = f"{SOURCE}-{sha256_of(path)[:12]}"
        day: date | None = None
        with (
            _day_files(self._layout, writer, self.written) as put,
            # The rejected lines before the first point.
            SpooledTemporaryFile(max_size=_EARLY_BYTES, dir=str(self._layout.root / _SCRATCH)) as early,
        ):
            for line, broken in lines_of(path, meter):
                self.lines += 1
                try:
                    if broken:
                        raise PointError(broken, _MEANINGS[broken])
                    point = dated_point(line, self._shift)
                except PointError as error:
                    self.rejected[error.code] += 1
                    if line and day is None:
                        early.write(line + b"\n")
                    elif line and day is not None:
                        put(day, line)
                    continue
                digest = hashlib.blake2b(point.id.encode(), digest_size=16).digest()
                if digest in self._seen:
                    self.duplicates += 1
                    continue
                self._seen.add(digest)
                first, day = day is None, day_of(point.timestamp)
                if first:
                    early.seek(0)
                    for rejected in early:
                        put(day, rejected.removesuffix(b"\n"))
                put(day, encode_point(point))
                self.days[day] += 1


@contextmanager
def _day_files(layout: Layout, writer: str, written: list[Path]) -> Iterator[Callable[[date, bytes], None]]:
    """Yield a function that adds a line to a day; the days' raw files appear when the block ends without error.

    Raises StorageError when a file cannot be written.
    """
    scratch = layout.root / _SCRATCH / uuid.uuid4().hex
    pending: defaultdict[date, list[bytes]] = defaultdict(list)
    pending_bytes = 0

    def flush() -> None:
        for day, lines in pending.items():
            with (scratch / f"{day:%Y%m%d}").open("ab") as file:
                file.writelines(line + b"\n" for line in lines)
        pending.clear()

    def put(day: date, line: bytes) -> None:
        nonlocal pending_bytes
        pending[day].append(line)
        pending_bytes += len(line)
        if pending_bytes >= _BUFFER_BYTES:
            flush()
            pending_bytes = 0

    try:
        own_folder(scratch)
        yield put
        flush()
        for part in sorted(scratch.iterdir()):
            target = layout.raw_file(date.fromisoformat(part.name), writer)
            part.touch()  # otherwise `leftovers.py` might remove a file that was last written long ago
            with replacing(target) as temporary:
                part.rename(temporary)
            written.append(target)
    except OSError as error:
        raise StorageError(f"cannot write under {layout.root}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
