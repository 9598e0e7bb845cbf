"""What the models answered, as one text per question.

Training learns from it what questions are about; a decision never sees it.
"""

import hashlib
from collections.abc import Sequence
from datetime import date

import polars as pl

from flywheel_core.errors import DatasetError
from flywheel_core.lake.layout import Layout
from flywheel_core.learn.example_rows import for_scores

ANSWER_CHARS = 400
ALL_CHARS = 3_000
"""Most characters read of one answer, and of all answers to a question, from their beginnings."""
_EMPTY = {"id": pl.String, "answers": pl.String}


def joined_answers(answers: Sequence[str | None]) -> str | None:
    """Return the beginnings of the answers as one text, equally much of each; None without any answer."""
    known = [answer for answer in answers if answer]
    if not known:
        return None
    size = min(ANSWER_CHARS, ALL_CHARS // len(known))
    return "\n".join(answer[:size] for answer in known)


def newest_answers(layout: Layout, examples: pl.DataFrame, most: int) -> pl.DataFrame:
    """Return columns id and answers of the newest examples in use, at most `most`.

    The answers are read from the `responses` of the examples' days. examples: with `id`, `day` and
    `for_scores`. Examples without answers are left out, as are days whose table is gone. Raises DatasetError
    when a table cannot be read.
    """
    used = for_scores(examples).sort("day", "id", descending=True).head(most)
    parts = [
        _of_day(layout, day, rows["id"]) for (day,), rows in sorted(used.select("id", "day").group_by("day"))
    ]
    return pl.concat([pl.DataFrame(schema=_EMPTY), *parts])


def digest_of(answers: pl.DataFrame) -> str:
    """Return the SHA-256 of what `newest_answers` returned."""
    digest = hashlib.sha256()
    for identity, text in answers.sort("id").iter_rows():
        digest.update(f"{len(identity)} {len(text)} {identity}{text}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _of_day(layout: Layout, day: date, ids: pl.Series) -> pl.DataFrame:
    path = layout.table("responses", day)
    if not path.is_file():
        return pl.DataFrame(schema=_EMPTY)
    rows = (
        pl.scan_parquet(path, glob=False)
        .filter(
            pl.col("data_point_id").is_in(ids.implode()) & pl.col("answer").is_not_null() & ~pl.col("failed")
        )
        .select("point", "model", id="data_point_id", answer=pl.col("answer").str.slice(0, ANSWER_CHARS))
    )
    try:
        found = (
            rows.collect(engine="streaming")
            .sort("id", "point", "model")
            .unique(["id", "model"], keep="first", maintain_order=True)
        )
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DatasetError(f"the responses of {day} cannot be read: {error}") from error
    lists = found.group_by("id", maintain_order=True).agg("answer")
    texts = [joined_answers(answers) for answers in lists["answer"]]
    return lists.select("id", answers=pl.Series(texts, dtype=pl.String)).drop_nulls()
