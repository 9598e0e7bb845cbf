"""Lays out recorded outcomes for a replay: staged once, then handed out day by day.

That way, nothing done on a day can see the data of a later one.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TypeVar

import msgspec

from flywheel_core.config import Config, Model
from flywheel_core.errors import PointError, StorageError, UsageError
from flywheel_core.lake.atomic import replacing, write_atomically
from flywheel_core.lake.importing import import_files
from flywheel_core.lake.layout import Layout, day_of
from flywheel_core.lake.points import BYTE_ORDER_MARK, NO_TIME
from flywheel_core.lake.raw_lines import whole_lines
from flywheel_core.lake.reading import Progress
from flywheel_core.records import DataPoint, encode_point
from flywheel_core.wire import MAX_LINE_BYTES, decode_point

FILES, MODELS = "files.json", "models.json"

_Noted = TypeVar("_Noted")


def stage(
    source: Layout,
    files: Sequence[Path],
    digests: Sequence[str],
    pool: Sequence[str],
    progress: Progress | None = None,
) -> list[str]:
    """Import the files into the raw days of `source`, once; return the models of the replay.

    These are `pool`, or all that were recorded. digests: the files' SHA-256, saved before the first line is
    imported, so that what an interrupted call left is never mixed with other files. Raises NoDataError
    without a data point, UsageError when other files were staged here, when there are fewer than two models
    to choose from, or when no data point knows a model of the pool, StorageError when what was saved is
    damaged.
    """
    taken, noted = source.root / FILES, source.root / MODELS
    if not taken.is_file():
        write_atomically(taken, msgspec.json.encode(digests))
    elif read_noted(taken, list[str]) != list(digests):
        raise another_replay(source.root.parent, "other files")
    if noted.is_file():
        found = read_noted(noted, list[str])
    else:
        import_files(source, files, progress=progress)
        found = sorted({model for day in source.raw_days() for model in _models_of(source, day)})
        write_atomically(noted, msgspec.json.encode(found))
    unknown = [model for model in pool if model not in found]
    if unknown:
        raise UsageError(
            f"there is no recorded outcome of {', '.join(unknown)}", hint=f"recorded are {', '.join(found)}"
        )
    models = list(dict.fromkeys(pool)) or found
    if len(models) < 2:
        raise UsageError(
            f"a replay needs two or more models to choose from, not {', '.join(models) or 'none'}"
        )
    return models


def read_noted(path: Path, kind: type[_Noted]) -> _Noted:
    """Return what a replay saved in a file. Raises StorageError when it is damaged or cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StorageError(f"{path} is damaged: {error}", hint="use another folder: --folder") from None


def another_replay(folder: Path, differs: str) -> UsageError:
    """Return the error for a folder that another replay works in."""
    return UsageError(
        f"another replay lies in {folder}: {differs}",
        hint="name another folder with --folder, or remove this one",
    )


def hand_out(source: Layout, target: Layout, day: date, models: Sequence[str]) -> None:
    """Write the raw file of one day: its data points with the outcomes of `models` only.

    Rejected lines are written unchanged. Left out are data points that the import rejected for their time:
    only the name of the imported file says that they are rejects.
    """
    kept = frozenset(models)
    with replacing(target.raw_file(day)) as temporary, temporary.open("wb") as file:
        file.writelines(line + b"\n" for line in _played(source, day, kept))


def _played(source: Layout, day: date, kept: frozenset[str]) -> Iterator[bytes]:
    """Yield the lines of a day that `hand_out` writes, with the outcomes of the `kept` models only."""
    for line in _lines(source, day):
        try:
            text = line.removeprefix(BYTE_ORDER_MARK)  # as ingest reads it
            point = decode_point(text, now=NO_TIME, max_bytes=MAX_LINE_BYTES)
        except PointError:
            yield line
            continue
        if point.timestamp == NO_TIME or day_of(point.timestamp) != day:
            continue
        point.responses = {name: found for name, found in point.responses.items() if name in kept}
        point.scores = {name: score for name, score in point.scores.items() if name in kept}
        if point.responses or point.scores:
            _drop_notes(point, kept)
            yield encode_point(point)


def config_of(config: Config, root: Path, models: Sequence[str]) -> Config:
    """Return the configuration of a replay in the data folder `root`, with `models` as the only candidates.

    A model that the configuration does not know, or knows without a category, gets a category of its own
    name.
    """
    known = {name: config.models.get(name) or Model() for name in models}
    complete = {
        name: model.model_copy(update={"category": model.category or name}) for name, model in known.items()
    }
    training = config.data_collection.training.model_copy(update={"candidate_models": list(models)})
    default = config.routing.default_model
    routing = config.routing.model_copy(
        update={"default_model": default if default in complete else models[0], "fallback_models": []}
    )
    return config.model_copy(
        update={
            "models": complete,
            "routing": routing,
            "storage": config.storage.model_copy(update={"data_dir": root}),
            "data_collection": config.data_collection.model_copy(update={"training": training}),
        }
    )


def _drop_notes(point: DataPoint, kept: frozenset[str]) -> None:
    """Remove what a point says about models that are not in the replay."""
    for field in ("asked", "score_reasons", "score_spreads"):
        said = getattr(point, field) or {}
        setattr(point, field, {model: value for model, value in said.items() if model in kept} or None)


def _models_of(source: Layout, day: date) -> set[str]:
    names: set[str] = set()
    for line in _lines(source, day):
        try:
            point = decode_point(line, max_bytes=MAX_LINE_BYTES)
        except PointError:
            continue  # ingest keeps it with its reason
        names.update(point.responses, point.scores)
    return names


def _lines(source: Layout, day: date) -> Iterator[bytes]:
    for path in source.raw_files(day):
        yield from (line for _, line in whole_lines(path))
