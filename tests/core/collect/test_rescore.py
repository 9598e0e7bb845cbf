"""Scoring a day's stored answers again fills in missing scores, and the next ingest takes them."""

import asyncio
import gzip
import itertools
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flywheel_core.collect.rescore import WINDOW, RescoreResult, missing_scores, rescore_day
from flywheel_core.config import Config
from flywheel_core.errors import NoDataError, StorageError, UsageError
from flywheel_core.lake.ingest import ingest_day
from flywheel_core.lake.layout import Layout
from flywheel_core.records import DataPoint, Response, encode_point
from flywheel_core.wire import decode_point
from tests.core.collect.outside import Outside, Reply, as_json

DAY = date(2026, 1, 5)


def point(number: int, **changes: Any) -> DataPoint:
    fields: dict[str, Any] = {
        "responses": {
            "general": Response("general", f"answer {number}"),
            "math": Response("math", None, error="http_status: 500"),
        },
        "scores": {"general": None, "math": None},
        "timestamp": 1_767_600_000,
        "score_reasons": {"general": "timeout", "math": "no_answer"},
        "received_at": 1_767_600_001.0,
    }
    return DataPoint(f"p{number}", f"question {number}", **{**fields, **changes})


def store(layout: Layout, *lines: bytes, writer: str | None = None, packed: bool = False) -> Path:
    path = layout.raw_file(DAY, writer)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = b"".join(line + b"\n" for line in lines)
    if packed:
        path = path.with_name(path.name + ".gz")
        content = gzip.compress(content)
    path.write_bytes(content)
    return path


def rescore(layout: Layout, scorer: Any, **options: Any) -> tuple[RescoreResult, Outside, Config]:
    async def main() -> tuple[RescoreResult, Outside, Config]:
        async with Outside() as world:
            world.scorer(scorer)
            config = world.config(retry_budget=0.0)
            return await asyncio.to_thread(rescore_day, layout, DAY, config, **options), world, config

    return asyncio.run(main())


def score_by_answer(request: Any) -> Reply:
    return as_json({"score": int(request.json["answer"].removeprefix("answer ")) / 100})


def test_missing_scores_come_and_ingest_takes_them(tmp_path: Path) -> None:
    """The day's tables then have the scores, received raw files are untouched, and every id counts once."""
    layout = Layout(tmp_path)
    scored = point(3, scores={"general": 0.9, "math": None}, score_reasons=None)
    received = store(layout, *(encode_point(one) for one in (point(1), point(2), scored)), b'{"torn')
    before = received.read_bytes()
    packed = store(layout, encode_point(point(4)), writer="B", packed=True)
    result, world, config = rescore(layout, score_by_answer)
    assert (result.points, result.improved, result.scores, result.missing) == (3, 3, 3, 0)
    assert sorted(request.json["question"] for request in world.requests) == [
        "question 1",
        "question 2",
        "question 4",
    ]
    assert received.read_bytes() == before
    assert packed.exists()
    kept = [decode_point(line) for line in result.file.read_bytes().splitlines()]
    assert {one.id: one.scores["general"] for one in kept} == {"p1": 0.01, "p2": 0.02, "p4": 0.04}
    assert all(one.score_reasons == {"math": "no_answer"} for one in kept)
    assert all(one.received_at == 1_767_600_001.0 for one in kept)
    ingested = ingest_day(layout, DAY, config, today=date(2026, 1, 9))
    assert (ingested.accepted, ingested.duplicates, ingested.rejected) == (4, 3, 1)
    rows = pl.read_parquet(layout.table("responses", DAY)).filter(pl.col("model") == "general")
    assert sorted(rows["score"].to_list()) == [0.01, 0.02, 0.04, 0.9]


def test_repeating_it_asks_only_for_what_is_still_missing(tmp_path: Path) -> None:
    """At first half of the answers get a score, then the others, and the third time nothing changes."""
    layout = Layout(tmp_path)
    store(layout, *(encode_point(point(number)) for number in range(1, 81)))

    def half(request: Any) -> Reply:
        return score_by_answer(request) if int(request.json["answer"][7:]) % 2 else Reply(503)

    first, _, _ = rescore(layout, half)
    assert (first.points, first.improved, first.missing) == (80, 40, 40)
    second, world, _ = rescore(layout, score_by_answer)
    assert (second.points, second.improved, second.missing) == (40, 40, 0)
    assert len(world.requests) == 40
    bytes_then = second.file.read_bytes()
    ids = [decode_point(line).id for line in bytes_then.splitlines()]
    assert sorted(ids) == sorted(f"p{number}" for number in range(1, 81))
    third, world, _ = rescore(layout, score_by_answer)
    assert (third.points, third.improved) == (0, 0)
    assert world.requests == []
    assert third.file.read_bytes() == bytes_then


def test_points_with_several_missing_scores_keep_what_came(tmp_path: Path) -> None:
    """When one of two scores comes, it is kept, and the other one is asked for next time."""
    layout = Layout(tmp_path)
    both = {"general": Response("general", "answer 1"), "math": Response("math", "answer 2")}
    store(layout, encode_point(point(1, responses=both, scores={}, score_reasons=None)))
    first, _, _ = rescore(
        layout, lambda request: score_by_answer(request) if "1" in request.json["answer"] else Reply(500)
    )
    assert (first.scores, first.missing) == (1, 1)
    again = decode_point(first.file.read_bytes())
    assert again.scores == {"general": 0.01, "math": None}
    assert again.score_reasons == {"math": "http_status: 500"}
    second, world, _ = rescore(layout, score_by_answer)
    assert [request.json["answer"] for request in world.requests] == ["answer 2"]
    assert decode_point(second.file.read_bytes()).scores == {"general": 0.01, "math": 0.02}


def test_an_outage_that_goes_on_leaves_no_file(tmp_path: Path) -> None:
    """No score came, so nothing is written."""
    layout = Layout(tmp_path)
    store(layout, encode_point(point(1)))
    result, _, _ = rescore(layout, lambda _: Reply(503))
    assert (result.improved, result.missing) == (0, 1)
    assert [path.name for path in layout.raw_files(DAY)] == ["training_data_20260105.jsonl"]


def test_an_answer_that_the_scorer_calls_invalid_gets_no_score_and_is_not_sent_again(tmp_path: Path) -> None:
    """It is recorded, so that the next call leaves it alone, and it does not count as a score that came."""
    layout = Layout(tmp_path)
    store(layout, encode_point(point(1)), encode_point(point(2)))
    first, _, _ = rescore(
        layout,
        lambda request: score_by_answer(request) if "1" in request.json["answer"] else as_json({"score": -1}),
    )
    assert (first.points, first.improved, first.scores, first.missing) == (2, 1, 1, 0)
    kept = {one.id: one for one in map(decode_point, first.file.read_bytes().splitlines())}
    assert kept["p2"].scores["general"] is None
    assert kept["p2"].score_reasons == {"general": "invalid", "math": "no_answer"}
    again, world, _ = rescore(layout, score_by_answer)
    assert (again.points, world.requests) == (0, [])


def ingested_scores(layout: Layout, config: Config) -> dict[tuple[str, str], float]:
    """Return (data point, model) -> score after the next ingest of the day."""
    ingest_day(layout, DAY, config, today=date(2026, 1, 9))
    rows = pl.read_parquet(layout.table("responses", DAY)).drop_nulls("score")
    return {(row["data_point_id"], row["model"]): row["score"] for row in rows.iter_rows(named=True)}


def test_a_new_scorer_scores_every_answer_and_ingest_takes_its_scores(tmp_path: Path) -> None:
    """Failed responses are not scored, and a replaced score takes its spread with it."""
    layout = Layout(tmp_path)
    scored = point(1, scores={"general": 0.9, "math": None}, score_spreads={"general": 0.2})
    received = store(layout, encode_point(scored), encode_point(point(2)))
    before = received.read_bytes()
    result, world, config = rescore(layout, score_by_answer, every=True)
    assert (result.points, result.improved, result.scores, result.missing) == (2, 2, 2, 0)
    assert sorted(request.json["answer"] for request in world.requests) == ["answer 1", "answer 2"]
    assert received.read_bytes() == before
    assert ingested_scores(layout, config) == {("p1", "general"): 0.01, ("p2", "general"): 0.02}
    assert all(decode_point(line).score_spreads is None for line in result.file.read_bytes().splitlines())
    again, _, config = rescore(layout, lambda _: as_json({"score": 0.5}), every=True)
    assert again.scores == 2
    assert ingested_scores(layout, config) == {("p1", "general"): 0.5, ("p2", "general"): 0.5}


def test_an_answer_that_a_new_scorer_fails_to_score_keeps_its_score(tmp_path: Path) -> None:
    """An outage during the run loses no score."""
    layout = Layout(tmp_path)
    both = {"general": Response("general", "answer 1"), "math": Response("math", "answer 2")}
    scored = {
        "scores": {"general": 0.9, "math": 0.8},
        "score_reasons": None,
        "score_spreads": {"general": 0.2},
    }
    store(layout, encode_point(point(1, responses=both, **scored)))
    result, _, config = rescore(
        layout,
        lambda request: Reply(500) if "1" in request.json["answer"] else score_by_answer(request),
        every=True,
    )
    assert (result.scores, result.missing) == (1, 1)
    assert ingested_scores(layout, config) == {("p1", "general"): 0.9, ("p1", "math"): 0.02}
    kept = decode_point(result.file.read_bytes())
    assert (kept.score_reasons, kept.score_spreads) == (None, {"general": 0.2})


def test_by_default_scored_answers_are_not_scored_again(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    store(layout, encode_point(point(1, scores={"general": 0.9, "math": None})))
    _, world, config = rescore(layout, score_by_answer)
    assert world.requests == []
    assert ingested_scores(layout, config) == {("p1", "general"): 0.9}


def test_a_later_line_without_scores_does_not_take_the_place_of_a_scored_point(tmp_path: Path) -> None:
    """Of several lines with one id the first counts, and the file of rescored points comes before all others."""
    scored = point(1, scores={"general": 0.9, "math": None}, score_reasons=None)
    store(Layout(tmp_path), encode_point(scored), encode_point(point(1)))
    result, world, _ = rescore(Layout(tmp_path), score_by_answer)
    assert result.points == 0
    assert world.requests == []
    assert not result.file.exists()


def test_what_cannot_get_a_score_is_not_asked_for(tmp_path: Path) -> None:
    """These are failed answers, pairs that the scorer called invalid, and answers that have a score."""
    assert missing_scores(point(1)) == ["general"]
    assert missing_scores(point(1, score_reasons={"general": "invalid"})) == []
    assert missing_scores(point(1, responses={"m": Response("m", "  ")})) == []
    assert missing_scores(point(1, scores={"general": 0.0, "math": None})) == []


def test_go_points_without_reasons_are_scored_too(tmp_path: Path) -> None:
    """The reference gateway writes -1 and no reason: that is a missing score, asked for under the same id."""
    layout = Layout(tmp_path)
    go = b'{"Question":"q","Responses":{"general":{"Answer":"answer 7"}},"Scores":{"general":-1}}'
    store(layout, b"\xef\xbb\xbf" + go)
    result, _, config = rescore(layout, score_by_answer)
    assert result.improved == 1
    ingested = ingest_day(layout, DAY, config, today=date(2026, 1, 9))
    assert (ingested.accepted, ingested.duplicates) == (1, 1)


def test_points_that_import_rejected_for_their_time_are_not_scored(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    of_another_day = encode_point(point(2, timestamp=0))
    untimed = encode_point(point(3, received_at=None)).replace(b'"timestamp":1767600000', b'"timestamp":null')
    store(layout, encode_point(point(1)), of_another_day, untimed, writer="import-0123456789ab")
    result, world, config = rescore(layout, score_by_answer)
    assert [request.json["question"] for request in world.requests] == ["question 1"]
    ingested = ingest_day(layout, DAY, config)
    assert (result.points, ingested.duplicates) == (1, 1)
    assert (ingested.accepted, ingested.rejected_by_code) == (1, {"timestamp_invalid": 2})


def test_a_day_without_raw_files_is_named(tmp_path: Path) -> None:
    """There is nothing to score."""
    with pytest.raises(NoDataError, match="2026-01-05"):
        rescore(Layout(tmp_path), score_by_answer)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    """A gzip file that cannot be read is an error, and does not count as less data."""
    layout = Layout(tmp_path)
    path = store(layout, encode_point(point(1)), packed=True)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StorageError, match=path.name):
        rescore(layout, score_by_answer)


def test_two_at_once_do_not_both_pay(tmp_path: Path) -> None:
    """The second one says so and asks for nothing; the first one's scores are kept."""
    layout = Layout(tmp_path)
    store(layout, encode_point(point(1)))

    async def main() -> int:
        async with Outside() as world:
            asked, refused = asyncio.Event(), asyncio.Event()

            async def late(request: Any) -> Reply:
                asked.set()
                await refused.wait()
                return score_by_answer(request)

            world.scorer(late)
            config = world.config(retry_budget=0.0)
            first = asyncio.create_task(asyncio.to_thread(rescore_day, layout, DAY, config))
            await asked.wait()
            with pytest.raises(UsageError, match="another flywheel rescore"):
                await asyncio.to_thread(rescore_day, layout, DAY, config, every=True)
            refused.set()
            assert (await first).scores == 1
            return len(world.requests)

    assert asyncio.run(main()) == 1


def test_when_stopped_the_scores_that_came_are_kept(tmp_path: Path) -> None:
    """Also those of an earlier run, whose points come first; the next run asks only for the rest."""
    layout = Layout(tmp_path)
    count = 3 * WINDOW
    store(layout, *(encode_point(point(number)) for number in range(1, count + 1)))
    asked = itertools.count()
    first, _, _ = rescore(layout, score_by_answer, stop=lambda: next(asked) >= 1)
    assert (first.stopped, first.scores) == (True, WINDOW)
    before = first.file.read_bytes()
    assert len(before.splitlines()) == WINDOW
    second, world, _ = rescore(layout, score_by_answer, stop=lambda: True)
    assert (second.stopped, second.scores, world.requests) == (True, 0, [])
    assert second.file.read_bytes() == before
    third, world, _ = rescore(layout, score_by_answer)
    assert (third.stopped, third.scores, len(world.requests)) == (False, count - WINDOW, count - WINDOW)
    assert len(third.file.read_bytes().splitlines()) == count


def test_when_stopped_points_keep_the_scores_of_an_earlier_scorer(tmp_path: Path) -> None:
    """With every answer to be scored again, and some points already in the file of rescored ones."""
    layout = Layout(tmp_path)
    store(layout, *(encode_point(point(number)) for number in range(1, 2 * WINDOW + 1)))
    rescore(layout, score_by_answer)
    asked = itertools.count()
    second, _, _ = rescore(
        layout, lambda _: as_json({"score": 1.0}), every=True, stop=lambda: next(asked) >= 1
    )
    assert (second.stopped, second.scores) == (True, WINDOW)
    scores = [decode_point(line).scores["general"] for line in second.file.read_bytes().splitlines()]
    assert scores == [1.0] * WINDOW + [number / 100 for number in range(WINDOW + 1, 2 * WINDOW + 1)]


def test_progress_is_told_in_bytes_of_the_days_files(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    plain = store(layout, *(encode_point(point(number)) for number in range(3)))
    long = encode_point(point(4, responses={"general": Response("general", "answer 4" + " " * 50_000)}))
    packed = store(layout, *[long] * 3, writer="B", packed=True)
    told: list[tuple[int, int]] = []
    rescore(layout, score_by_answer, progress=lambda done, total: told.append((done, total)))
    total = plain.stat().st_size + packed.stat().st_size
    assert {whole for _, whole in told} == {total}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (total, total)
