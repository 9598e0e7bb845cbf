"""Turns one raw file directly into training lines and an analysis to print, without tables or splits."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa

from flywheel_core.config import Config
from flywheel_core.errors import NoDataError, StorageError, UsageError
from flywheel_core.lake.atomic import replacing
from flywheel_core.lake.chunks import Batch, Wanted
from flywheel_core.lake.engine import open_engine
from flywheel_core.lake.labels import create_labels
from flywheel_core.lake.reading import Progress, Tally, read_files

_POINTS_AT_ONCE = 20_000
_OUTCOMES_AT_ONCE = 500_000
"""Points are labelled at once until they have this many outcomes: a point may have 256 of them."""
_WANTED = Wanted(date(1970, 1, 1), full=False)
_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True)
class Analysis:
    """The analysis of the points of one file.

    lines = points + duplicates + rejected; points = examples + all of `unlabelled_by_rule`. Scores are those of the best
    models of the examples, 0..1; None when there are no examples. unknown_models: best model without a category ->
    points that have no label because of it.
    """

    input: Path
    output: Path
    min_score: float
    lines: int
    points: int
    duplicates: int
    rejected: int
    rejected_by_code: dict[str, int]
    examples: int
    unlabelled_by_rule: dict[str, int]
    unknown_models: dict[str, int]
    label_counts: dict[str, int]
    score_mean: float | None
    score_min: float | None
    score_max: float | None
    mean_score_by_label: dict[str, float]


def generate(
    input: Path,
    output: Path,
    min_score: float,
    config: Config,
    progress: Progress | None = None,
) -> Analysis:
    """Label the points of the raw file `input` and write each labelled one to `output` as `{"text", "label"}`.

    A best score below `min_score` (0..1) gives no label; this overrides the configuration. Of points with the same id
    only the first is taken. `output` is replaced at the end, or not at all. Memory is bounded as in `ingest_day`, but for
    one score per labelled point. Raises UsageError when `min_score` is out of range or `output` is `input`, NoDataError
    when `input` is missing, StorageError when a file cannot be read or written, or memory does not suffice.
    """
    if not 0.0 <= min_score <= 1.0:
        raise UsageError(f"the minimum score is {min_score}, not between 0 and 1")
    if not input.is_file():
        raise NoDataError(f"there is no file {input}", hint="name a raw file, plain or .gz")
    if output.exists() and output.samefile(input):
        raise UsageError(
            f"the output is the input, {input}", hint="raw files are never rewritten: name another"
        )
    labelling = config.labelling.model_copy(update={"min_score": min_score})
    tally, found = Tally(), _Found()
    with (
        open_engine(config.model_copy(update={"labelling": labelling}), scratch="") as connection,
        replacing(output) as temporary,
        temporary.open("wb") as file,
    ):
        for questions, outcomes in _portions(read_files([input], _WANTED, tally, progress)):
            for question, label in zip(
                questions, found.labels(connection, len(questions), outcomes), strict=True
            ):
                if label is not None:
                    file.write(_ENCODER.encode({"text": question, "label": label}) + b"\n")
    return found.analysis(input, output, min_score, tally)


class _Found:
    """The figures of the analysis, summed up portion by portion."""

    def __init__(self) -> None:
        self.scores: defaultdict[str, list[float]] = defaultdict(list)
        self.unlabelled: defaultdict[str, int] = defaultdict(int)
        self.unknown: defaultdict[str, int] = defaultdict(int)

    def labels(
        self, connection: duckdb.DuckDBPyConnection, points: int, outcomes: pa.Table
    ) -> list[str | None]:
        """Return the labels of the points 0 to `points` - 1 from the outcomes of their models, and count them.

        Raises StorageError when DuckDB fails, as without enough memory.
        """
        labels: list[str | None] = [None] * points
        try:
            connection.register("outcomes", outcomes)
            create_labels(connection)
            rows = connection.execute("select example, label, rule, best_model, score from labels").fetchall()
        except duckdb.Error as error:
            raise StorageError(
                f"cannot label {points:,} data points: {str(error).splitlines()[0]}",
                hint="give DuckDB more memory: storage.memory_limit_mb",
            ) from error
        for example, label, rule, best_model, score in rows:
            labels[example] = label
            if label is not None:
                self.scores[label].append(score)
            else:
                self.unlabelled[rule] += 1
            if rule == "unknown_model":
                self.unknown[best_model] += 1
        if points > len(rows):
            self.unlabelled["too_few_scores"] += points - len(rows)  # points without any response or score
        return labels

    def analysis(self, input: Path, output: Path, min_score: float, tally: Tally) -> Analysis:
        """Return all figures, the most frequent label first."""
        scores = [score for found in self.scores.values() for score in found]
        labels = sorted(self.scores, key=lambda label: (-len(self.scores[label]), label))
        return Analysis(
            input=input,
            output=output,
            min_score=min_score,
            lines=tally.lines,
            points=tally.accepted,
            duplicates=tally.duplicates,
            rejected=tally.rejected,
            rejected_by_code=dict(sorted(tally.rejected_by_code.items())),
            examples=len(scores),
            unlabelled_by_rule=dict(sorted(self.unlabelled.items())),
            unknown_models=dict(sorted(self.unknown.items())),
            label_counts={label: len(self.scores[label]) for label in labels},
            score_mean=math.fsum(scores) / len(scores) if scores else None,
            score_min=min(scores, default=None),
            score_max=max(scores, default=None),
            mean_score_by_label={
                label: math.fsum(self.scores[label]) / len(self.scores[label]) for label in labels
            },
        )


def _portions(batches: Iterable[Batch]) -> Iterator[tuple[list[str], pa.Table]]:
    """Yield the questions of points, gathered up to the bounds above, and the outcomes of their models.

    The outcomes have the columns that `create_labels` reads.
    """
    questions: list[str] = []
    outcomes: list[pa.Table] = []
    for batch in batches:
        answers = batch.answers
        if answers.column("model").null_count:
            answers = answers.filter(answers.column("model").is_valid())
        columns: dict[str, Any] = {"example": answers.column("owner").to_numpy() + len(questions)}
        for name in ("model", "score", "failed", "cost", "latency_ms"):
            columns[name] = answers.column(name)
        questions += batch.points.column("question").to_pylist()
        outcomes.append(pa.table(columns))
        if len(questions) >= _POINTS_AT_ONCE or sum(map(len, outcomes)) >= _OUTCOMES_AT_ONCE:
            yield questions, pa.concat_tables(outcomes)
            questions, outcomes = [], []
    if questions:
        yield questions, pa.concat_tables(outcomes)
