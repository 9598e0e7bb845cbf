"""Builds one immutable, versioned training dataset from a window of days."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from flywheel_core.config import Config
from flywheel_core.errors import DatasetError, NoDataError, StorageError
from flywheel_core.lake.atomic import mark_of, publish_folder, set_aside, sha256_of
from flywheel_core.lake.dataset_files import write_files
from flywheel_core.lake.engine import engine, one_file, sql
from flywheel_core.lake.labels import create_labels
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.order import in_order, note_version
from flywheel_core.lake.schemas import EXAMPLES
from flywheel_core.lake.selection import select_examples
from flywheel_core.lake.table_files import check_rows, check_table
from flywheel_core.lake.texts import texts_of, with_texts
from flywheel_core.lake.unchanged import ChangedError, tries, unchanged

FORMAT = 5
"""Part of the hash in a version; increase it whenever the same inputs and settings would give different files."""

MANIFEST = "dataset.json"

_BATCH_ROWS = 16_384
_PART = 32_768
"""Examples assembled at once: the lists gathered for them must fit into memory, however large the window is."""


@dataclass(frozen=True)
class DatasetResult:
    """A dataset version on disk; `manifest` is the content of its dataset.json."""

    version: str
    path: Path
    last_day: date
    manifest: dict[str, Any]


def build_dataset(layout: Layout, last_day: date, config: Config) -> DatasetResult:
    """Build the dataset of the window of days that ends with `last_day`, unless that version exists already.

    The version is `YYYYMMDD-` followed by a hash of settings and inputs, so the same settings and inputs give the same
    version and bytes; what is left of a folder that was removed in part is replaced. Reading begins again, up
    to nine times in half a minute, when a table is made again meanwhile. The cost depends on the window's `training_examples`, never on raw files
    or earlier days.
    Raises NoDataError when no day of the window has `training_examples`, StorageError when a table cannot be read
    (the error names its day) or a file cannot be written, DatasetError when the dataset.json of an existing version
    cannot be read.
    """
    for _ in tries():
        with suppress(ChangedError):
            return _build(layout, last_day, config)
    raise StorageError(
        f"the tables of the dataset of {last_day} were made again each time that they were read",
        hint="try it again once no day of its window is being made",
    )


def _build(layout: Layout, last_day: date, config: Config) -> DatasetResult:
    last = last_day.toordinal()
    first = max(date.min.toordinal(), last - config.dataset.window_days + 1)
    window = [date.fromordinal(number) for number in range(first, last + 1)]
    present = set(layout.table_days("training_examples"))
    days = [day for day in window if day in present]
    if not days:
        raise NoDataError(
            f"no day from {window[0]} to {last_day} has training examples",
            hint=f"build them first: flywheel ingest {last_day}, then flywheel label {last_day}",
        )
    files = {day: layout.table("training_examples", day) for day in days}
    marks = {path: mark_of(path) for path in files.values()}
    inputs = [{"day": day.isoformat(), "sha256": sha256_of(path)} for day, path in files.items()]
    plan = {
        "format": FORMAT,
        "last_day": last_day.isoformat(),
        "settings": _settings(config),
        "inputs": inputs,
    }
    digest = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
    version = f"{last_day:%Y%m%d}-{digest[:12]}"
    path = layout.dataset(version)
    if (path / MANIFEST).is_file():
        note_version(layout.datasets, version)
    else:
        for day, table in files.items():
            check_table(table, "training_examples", day)
        missing = [day.isoformat() for day in window if day not in present]
        head = {"version": version, **plan, "days_missing": missing}
        if path.is_dir():  # `rm -r` did not come to its end
            set_aside(path)
        with engine(layout, config) as connection:

            def fill(folder: Path) -> None:
                with unchanged(marks):
                    _fill(folder, connection, files, config, head)
                note_version(layout.datasets, version)

            publish_folder(path, fill)
    return DatasetResult(version, path, last_day, load_manifest(layout, version))


def dataset_versions(layout: Layout) -> list[str]:
    """Return all versions, the latest last: by the last day of the window, then by when `build_dataset` was last asked for it.

    Raises StorageError when that order cannot be read.
    """
    if not layout.datasets.is_dir():
        return []
    found = [
        path.name for path in layout.datasets.iterdir() if (path / MANIFEST).is_file() and path.name[0] != "."
    ]
    return sorted(in_order(layout.datasets, found), key=lambda version: version[:8])


def latest_dataset(layout: Layout) -> str | None:
    """Return the last of `dataset_versions`, or None when there is none."""
    return next(reversed(dataset_versions(layout)), None)


def load_manifest(layout: Layout, version: str) -> dict[str, Any]:
    """Return the dataset.json of a version. Raises DatasetError when there is none, it cannot be read, or its format is a later one."""
    path = layout.dataset(version) / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DatasetError(
            f"there is no dataset {version!r}", hint=f"versions are the folders in {layout.datasets}"
        ) from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    if manifest.get("format", FORMAT) > FORMAT:
        raise DatasetError(
            f"dataset {version} has format {manifest['format']}, this version of Flywheel reads at most {FORMAT}",
            hint=f"build one of this version: flywheel dataset {manifest['last_day']}",
        )
    return manifest


def verify_dataset(layout: Layout, version: str) -> None:
    """Raise DatasetError unless every file of the version has the SHA-256 that its dataset.json records."""
    folder = layout.dataset(version)
    for name, said in load_manifest(layout, version)["files"].items():
        try:
            found = sha256_of(folder / name)
        except StorageError as error:
            raise DatasetError(error.message) from error
        if found != said["sha256"]:
            raise DatasetError(
                f"{folder / name} is damaged: its SHA-256 is {found}, dataset.json says {said['sha256']}",
                hint="remove the folder and build the dataset again",
            )


def _settings(config: Config) -> dict[str, Any]:
    """Return all settings that change the content of a dataset."""
    return {
        "labelling": config.labelling.model_dump(mode="json"),
        "dataset": config.dataset.model_dump(
            mode="json",
            include={"window_days", "balance", "seed", "max_group_share", "group_floor", "max_weight"},
        ),
        "categories": config.categories(),
        "declared_order": config.declared_order(),
    }


def _fill(
    folder: Path,
    connection: duckdb.DuckDBPyConnection,
    inputs: Mapping[date, Path],
    config: Config,
    head: Mapping[str, Any],
) -> None:
    """Write all files of a dataset into `folder`. Raises StorageError when DuckDB fails."""
    try:
        connection.read_parquet([one_file(path) for path in inputs.values()]).create_view("window_examples")
        connection.execute(f"create temp table members as {sql('dataset_members')}")
        connection.execute(f"create temp table outcomes as {sql('dataset_outcomes')}")
        create_labels(connection)
        caps = select_examples(connection, config.dataset)
        points = _count(connection, "window_examples")
        members = _count(connection, "members")
        weight_capped = _asked_too_often(connection, config.dataset.max_weight)
        written = write_files(folder, _examples(connection, inputs))
    except duckdb.Error as error:
        for day, path in inputs.items():
            check_rows(path, day)
        raise StorageError(f"cannot build dataset {head['version']}: {error}") from error
    repeats = members - written["counts"]["examples"]
    counts = {
        "points": points,
        "duplicates": points - members,
        "repeats": repeats,
        "weight_capped": weight_capped,
        **written.pop("counts"),
    }
    manifest = {**head, "counts": counts, "group_caps": caps, **written}
    text = json.dumps(manifest, ensure_ascii=False, indent=2)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def _examples(connection: duckdb.DuckDBPyConnection, inputs: Mapping[date, Path]) -> Iterator[pa.RecordBatch]:
    """Yield all examples in order, their texts beside what DuckDB put together."""
    query = "select point from members where repeat = 1 and day = ?"
    firsts = {day: connection.execute(query, [day]).fetchnumpy()["point"] for day in inputs}
    return with_texts(_parts(connection), _texts(inputs, firsts), EXAMPLES)


def _parts(connection: duckdb.DuckDBPyConnection) -> Iterator[pa.RecordBatch]:
    """Yield all examples but their texts, one part at a time; the input tables are sorted by example, so a part reads only its own rows."""
    query = sql("dataset_examples")
    total = connection.table("members").aggregate("coalesce(max(example) + 1, 0)").fetchall()[0][0]
    for first in range(0, total, _PART):
        part = connection.sql(query, params={"first": first, "last": first + _PART - 1})
        yield from part.to_arrow_reader(_BATCH_ROWS) or ()


def _texts(inputs: Mapping[date, Path], firsts: Mapping[date, NDArray[np.int64]]) -> Iterator[pa.Array]:
    """Yield the text of each example: examples are in order of their first data points, as the days and their rows are."""
    for day, path in inputs.items():
        points = pq.read_table(path, columns=["point"]).column(0).to_numpy()
        yield from texts_of(path, "text", np.isin(points, firsts[day]))


def _asked_too_often(connection: duckdb.DuckDBPyConnection, most: int) -> int:
    """Return how many questions have more data points than `most`, the number that an example's weight may count."""
    query = "select count(*) from (select example from members group by example having count(*) > ?) as often"
    return int(connection.execute(query, [most]).fetchall()[0][0])


def _count(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    return int(connection.table(relation).aggregate("count(*)").fetchall()[0][0])
