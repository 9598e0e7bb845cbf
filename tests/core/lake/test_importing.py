"""Recorded outcomes become raw days: placed by timestamp, the same bytes every time, nothing twice."""

import gzip
import json
import os
import time
import tracemalloc
import uuid
from datetime import date
from pathlib import Path

import pytest

from flywheel_core.errors import POINT_CODES, NoDataError
from flywheel_core.lake import importing, raw_lines
from flywheel_core.lake.chunks import REJECT_CODES
from flywheel_core.lake.importing import import_files
from flywheel_core.lake.ingest import ingest_day
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.leftovers import KEPT_SECONDS, remove_leftovers
from flywheel_core.lake.tables import read_table
from flywheel_core.wire import MAX_POINT_BYTES
from tests.core.lake.lakes import CONFIG, DAY, LATER, contents, line, point

NOON = 1_767_614_400
DAY_SECONDS = 86_400
NEXT = date(2026, 1, 6)


def recorded(name: str, timestamp: int | None) -> bytes:
    """Return a recorded outcome as data sets have it: short responses, and a field unknown to ingest."""
    value = {
        "id": name,
        "question": f"Question {name}?",
        "responses": {"big": {"answer": "A", "latency_ms": None}, "coder": {"answer": None}},
        "scores": {"big": 1.0, "coder": 0.0},
        "category": "law",
    }
    return line(value if timestamp is None else {**value, "timestamp": timestamp})


def test_points_go_to_the_days_of_their_timestamps(layout: Layout, tmp_path: Path) -> None:
    source = tmp_path / "outcomes.jsonl"
    source.write_bytes(recorded("b", NOON + DAY_SECONDS) + recorded("a", NOON))
    result = import_files(layout, [source])
    assert (result.lines, result.imported, result.days) == (2, 2, {DAY: 1, NEXT: 1})
    assert (result.shifted_days, result.files) == (0, (source,))
    assert [path.name[:22] for path in result.written] == ["training_data_20260105", "training_data_20260106"]
    assert set(result.written) == {*layout.raw_files(DAY), *layout.raw_files(NEXT)}
    (found,) = [json.loads(text) for text in layout.raw_files(DAY)[0].read_bytes().splitlines()]
    assert (found["timestamp"], found["received_at"], found["source"]) == (NOON, NOON, "import")
    assert "category" not in found


def test_the_latest_point_can_be_moved_to_a_day_by_whole_days(layout: Layout, tmp_path: Path) -> None:
    source = tmp_path / "outcomes.jsonl.gz"
    source.write_bytes(gzip.compress(recorded("a", NOON) + recorded("b", NOON + 2 * DAY_SECONDS)))
    result = import_files(layout, [source], last_day=date(2026, 3, 10))
    assert (result.shifted_days, result.days) == (62, {date(2026, 3, 8): 1, date(2026, 3, 10): 1})
    (found,) = [json.loads(text) for text in layout.raw_files(date(2026, 3, 8))[0].read_bytes().splitlines()]
    assert found["timestamp"] == found["received_at"] == NOON + 62 * DAY_SECONDS


def test_an_import_that_is_repeated_leaves_the_same_bytes(layout: Layout, tmp_path: Path) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    first.write_bytes(recorded("a", NOON) + recorded("b", NOON + DAY_SECONDS))
    second.write_bytes(recorded("b", NOON) + recorded("c", NOON))
    import_files(layout, [first])
    once = contents(layout.root)
    import_files(layout, [first])
    assert contents(layout.root) == once
    result = import_files(layout, [first, second])
    assert (result.imported, result.duplicates, result.lines) == (3, 1, 4)
    again = contents(layout.root)
    assert once.items() <= again.items()
    import_files(layout, [first, second])
    assert contents(layout.root) == again


def test_bad_lines_are_carried_over_for_ingest_to_keep(layout: Layout, tmp_path: Path) -> None:
    source = tmp_path / "outcomes.jsonl"
    source.write_bytes(
        b"not json\n\xef\xbb\xbf"
        + recorded("a", NOON)
        + b"\n\xff\xfe\n"
        + recorded("b", NOON)
        + recorded("untimed", None)
        + recorded("torn", NOON)[:-9]
    )
    result = import_files(layout, [source])
    assert (result.lines, result.imported, result.rejected) == (6, 2, 4)
    assert result.rejected_by_code == {"point_not_json": 2, "point_not_utf8": 1, "timestamp_invalid": 1}
    ingested = ingest_day(layout, DAY, CONFIG, today=LATER)
    rejects = read_table(layout, "rejects").to_dicts()
    assert ingested.lines == 6
    assert ingested.rejected_by_code == result.rejected_by_code
    assert [row["text"] for row in rejects] == [
        "not json",
        "\\xff\\xfe",
        recorded("untimed", None).decode().removesuffix("\n"),
        recorded("torn", NOON)[:-9].decode(),
    ]


def test_lines_before_the_first_point_wait_on_disk(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file may begin with gigabytes of something else."""
    monkeypatch.setattr(importing, "_EARLY_BYTES", 100_000)
    monkeypatch.setattr(importing, "_BUFFER_BYTES", 100_000)
    junk = [b"%06d " % number + b"x" * 9_000 for number in range(2_500)]
    path = tmp_path / "outcomes.jsonl"
    path.write_bytes(b"\n".join([*junk, line(point("a", {"big": 0.5}))]))
    tracemalloc.start()
    try:
        result = import_files(layout, [path])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (result.imported, result.rejected) == (1, len(junk))
    [raw] = layout.raw.iterdir()
    assert raw.read_bytes().split(b"\n")[: len(junk)] == junk
    assert most < 21_000_000  # a chunk and its lines take 16 MiB


def test_lines_rejected_for_their_time_do_not_claim_their_ids(layout: Layout, tmp_path: Path) -> None:
    """Such lines have no time, or are moved out of the valid range.

    Ingest rejects them too, and a later line may use their id.
    """
    source = tmp_path / "outcomes.jsonl"
    lines = [
        recorded("a", NOON),
        recorded("b", None),
        recorded("b", NOON),
        recorded("c", 0),
        recorded("c", NOON),
    ]
    source.write_bytes(b"".join(lines))
    before = date(2025, 1, 5)
    result = import_files(layout, [source], before)
    assert (result.imported, result.rejected_by_code) == (3, {"timestamp_invalid": 2})
    ingested = ingest_day(layout, before, CONFIG, today=LATER)
    assert (ingested.accepted, ingested.duplicates) == (3, 0)
    assert ingested.rejected_by_code == result.rejected_by_code
    moments = read_table(layout, "responses")["timestamp"].unique().to_list()
    assert moments == [NOON - 365 * DAY_SECONDS]


def test_a_packed_file_that_breaks_off_says_so_and_gives_what_it_has(layout: Layout, tmp_path: Path) -> None:
    lines = [recorded(f"point {number}", NOON) for number in range(2_000)]
    packed = gzip.compress(b"".join(lines))
    source = tmp_path / "outcomes.jsonl.gz"
    source.write_bytes(packed[: len(packed) // 2])
    result = import_files(layout, [source])
    assert result.rejected_by_code == {"file_damaged": 1}
    assert 0 < result.imported == result.lines - 1 < len(lines)
    ingested = ingest_day(layout, DAY, CONFIG, today=LATER)
    assert (ingested.accepted, ingested.lines) == (result.imported, result.lines)


@pytest.mark.parametrize("packed", [False, True])
def test_a_line_too_long_to_be_read_whole_is_called_too_large(
    layout: Layout, tmp_path: Path, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only its beginning is read, which is not valid JSON even if the whole line is."""
    monkeypatch.setattr(raw_lines, "CHUNK_BYTES", 200_000)
    source = tmp_path / ("outcomes.jsonl.gz" if packed else "outcomes.jsonl")
    long = line(point("b", {"big": 0.5}, "why " * 100_000))
    content = recorded("a", NOON) + long + recorded("c", NOON)
    source.write_bytes(gzip.compress(content) if packed else content)
    result = import_files(layout, [source])
    assert (result.lines, result.imported, result.rejected_by_code) == (3, 2, {"point_too_large": 1})
    assert ingest_day(layout, DAY, CONFIG, today=LATER).lines == 3


def test_a_rejected_line_keeps_its_byte_order_marks(layout: Layout, tmp_path: Path) -> None:
    """With one mark less, ingest would take the second line, which import had rejected."""
    source = tmp_path / "outcomes.jsonl"
    mark = b"\xef\xbb\xbf"
    source.write_bytes(mark + recorded("a", NOON) + mark + mark + recorded("b", NOON))
    result = import_files(layout, [source])
    assert (result.imported, result.rejected_by_code) == (1, {"point_not_json": 1})
    ingested = ingest_day(layout, DAY, CONFIG, today=LATER)
    assert (ingested.accepted, ingested.rejected_by_code) == (1, {"point_not_json": 1})


def test_a_raw_line_as_large_as_a_collector_may_store_is_imported(layout: Layout, tmp_path: Path) -> None:
    """Otherwise import would count it as rejected, and ingest would take the line that import carried over."""
    source = tmp_path / "outcomes.jsonl"
    large = point("b", {"big": 0.5})
    large["responses"]["big"]["answer"] = "x" * (MAX_POINT_BYTES + 1)
    source.write_bytes(recorded("a", NOON) + line(large))
    assert import_files(layout, [source]).imported == 2
    ingested = ingest_day(layout, DAY, CONFIG, today=LATER)
    assert (ingested.accepted, ingested.rejected) == (2, 0)
    rows = read_table(layout, "responses").select("timestamp", "received_at").unique().rows()
    assert all(received_at == timestamp for timestamp, received_at in rows)


@pytest.mark.parametrize("name", ["plain.jsonl.gz", "without.jsonl"])
@pytest.mark.parametrize("last_day", [None, DAY])
def test_files_of_which_nothing_can_be_imported_are_an_error_that_says_why(
    layout: Layout, tmp_path: Path, name: str, last_day: date | None
) -> None:
    source = tmp_path / name
    source.write_bytes(recorded("a", None))
    with pytest.raises(NoDataError, match=name) as error:
        import_files(layout, [source], last_day)
    code = "file_damaged" if name[-3:] == ".gz" else "timestamp_invalid"
    meaning = (POINT_CODES | REJECT_CODES)[code]
    assert error.value.hint == f"rejected: {code} 1 ({meaning})", "in words: nobody knows the codes yet"
    assert layout.raw_days() == []


def test_points_that_have_a_source_keep_it(layout: Layout, tmp_path: Path) -> None:
    source = tmp_path / "outcomes.jsonl"
    source.write_bytes(line(point("a", {"big": 0.5}, source="gateway-9")))
    import_files(layout, [source])
    ingest_day(layout, DAY, CONFIG, today=LATER)
    assert read_table(layout, "responses")["source"].to_list() == ["gateway-9"]


def test_the_buffer_size_does_not_change_the_raw_files(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "outcomes.jsonl"
    source.write_bytes(
        b"".join(recorded(str(number), NOON + number % 40 * DAY_SECONDS) for number in range(200))
    )
    import_files(layout, [source])
    whole = contents(layout.raw)
    monkeypatch.setattr(importing, "_BUFFER_BYTES", 500)
    import_files(layout, [source])
    assert contents(layout.raw) == whole
    assert len(layout.raw_days()) == 40
    assert not (layout.root / ".scratch").exists() or not list((layout.root / ".scratch").iterdir())


def test_a_day_gathered_long_ago_is_no_leftover(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is being renamed it looks half-made, so a clean-up must then find a recent time on it."""
    source = tmp_path / "outcomes.jsonl"
    source.write_bytes(recorded("a", NOON))
    monkeypatch.setattr(importing, "_BUFFER_BYTES", 1)
    long_ago = time.time() - 2 * KEPT_SECONDS
    aged = []

    def progress(_done: int, _total: int) -> None:
        for part in (layout.root / ".scratch").glob("*/*"):
            os.utime(part, (long_ago, long_ago))
            aged.append(part)

    import_files(layout, [source], progress=progress)
    assert aged
    (written,) = layout.raw_files(DAY)
    half_made = written.rename(written.with_name(f".{written.name}.{uuid.uuid4().hex}.tmp"))
    assert remove_leftovers(layout) == 0
    assert half_made.exists()


def test_progress_ends_at_the_total(layout: Layout, tmp_path: Path) -> None:
    source = tmp_path / "outcomes.jsonl"
    source.write_bytes(recorded("a", NOON))
    calls: list[tuple[int, int]] = []
    import_files(layout, [source], DAY, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1][0] == calls[-1][1] == 2 * source.stat().st_size


def test_missing_and_unreadable_inputs_are_refused(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match="gone"):
        import_files(layout, [tmp_path / "gone.jsonl"])
    source = tmp_path / "outcomes.jsonl"
    source.write_bytes(b"nothing\n")
    with pytest.raises(NoDataError, match="no line"):
        import_files(layout, [source], last_day=DAY)
