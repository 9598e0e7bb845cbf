"""Ingest of bad, repeated, torn, oversized and compressed lines: none is lost."""

import gzip
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flywheel_core.lake import chunks, raw_lines
from flywheel_core.lake.ingest import ingest_day
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.points import PointReader
from flywheel_core.lake.tables import read_table
from tests.core.lake.lakes import CONFIG, DAY, LATER, line, point, write_raw


def test_every_kind_of_bad_line_is_counted_and_kept(layout: Layout) -> None:
    good = line(point("a", {"big": 0.5}))
    bad: list[tuple[bytes, str]] = [
        (b"null\n", "point_not_object"),
        (b'{"question": "x", "responses": {"big"\n', "point_not_json"),
        (b'{"question": "\xff", "responses": {}}\n', "point_not_utf8"),
        (b'{"question": " ", "responses": {}}\n', "question_empty"),
        (line(point("b", {"big": 2.0})), "score_invalid"),
        (line(point("c", {"big": "0.9"})), "score_invalid"),  # type: ignore[dict-item] # wrong on purpose
        (line(point("d", {"big": True})), "score_invalid"),
        (line(point("e", {"big": float("nan")})), "score_invalid"),
        (line(point("f", {}, responses=[])), "responses_invalid"),
        (b"\x00\x00\x00\n", "point_not_json"),
    ]
    lines = [b"\xef\xbb\xbf" + good, b"\n", b" \t\r\n", b"\xef\xbb\xbf\n", *(text for text, _ in bad), good]
    path = write_raw(layout, lines)
    result = ingest_day(layout, DAY, CONFIG, today=LATER)
    assert (result.accepted, result.duplicates, result.rejected, result.blank) == (1, 1, len(bad), 3)
    assert result.lines == 2 + len(bad)
    assert result.bytes_read == path.stat().st_size
    raw = path.read_bytes()
    rows = read_table(layout, "rejects").to_dicts()
    assert [row["code"] for row in rows] == [code for _, code in bad]
    for row, (text, _) in zip(rows, bad, strict=True):
        kept = raw[row["byte_offset"] : row["byte_offset"] + row["length"]]
        assert kept + b"\n" == text
        assert row["text"] == kept.decode(errors="backslashreplace")
        assert row["raw_file"] == path.name and row["message"]
    assert sum(result.rejected_by_code.values()) == len(bad)


def test_blank_lines_are_not_decoded(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day may have millions of them, and the decoder would try each in three ways."""
    tried = []
    read = PointReader.read

    def counted(self: PointReader, line: bytes | memoryview) -> Any:
        tried.append(bytes(line))
        return read(self, line)

    monkeypatch.setattr(PointReader, "read", counted)
    write_raw(layout, [*[b"\n", b"\r\n", b" \t\n"] * 100, point("a", {"big": 0.5})])
    result = ingest_day(layout, DAY, CONFIG, today=LATER)
    assert (result.accepted, result.blank, len(tried)) == (1, 300, 1)


def test_rejects_of_a_chunk_are_not_all_held_as_objects(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Python objects, the rejects of eight megabytes of one-byte lines would take two gigabytes."""
    count = 12_000
    monkeypatch.setattr(chunks, "_ROWS_AT_ONCE", 1_000)
    write_raw(layout, [b"x\n" * count])
    tracemalloc.start()
    try:
        result = ingest_day(layout, DAY, CONFIG, today=LATER)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert result.rejected_by_code == {"point_not_json": count}
    assert read_table(layout, "rejects")["byte_offset"].to_list() == list(range(0, 2 * count, 2))
    assert most < 300 * count


def test_only_newline_ends_a_line(layout: Layout) -> None:
    write_raw(layout, [point("a", {"big": 0.5}, question="one\u2028two\u0085three\x0cfour")])
    assert ingest_day(layout, DAY, CONFIG, today=LATER).accepted == 1


def test_duplicates_count_once_a_day_and_the_first_is_kept(layout: Layout) -> None:
    write_raw(layout, [point("a", {"big": 0.5}), point("a", {"big": 0.75}), point("b", {"big": 0.5})])
    write_raw(layout, [point("c", {"big": 0.25}), point("b", {"big": 1.0})], writer="two")
    result = ingest_day(layout, DAY, CONFIG, today=LATER)
    assert (result.lines, result.accepted, result.duplicates) == (5, 3, 2)
    assert result.files == ("training_data_20260105.jsonl", "training_data_20260105.two.jsonl")
    rows = read_table(layout, "responses").to_dicts()
    assert [(row["point"], row["data_point_id"], row["score"]) for row in rows] == [
        (0, "a", 0.5),
        (1, "b", 0.5),
        (2, "c", 0.25),
    ]


def test_the_open_day_is_read_up_to_its_last_whole_line(layout: Layout) -> None:
    whole, torn = line(point("a", {"big": 0.5})), line(point("b", {"big": 0.5}))
    write_raw(layout, [whole, torn[:-20]])
    result = ingest_day(layout, DAY, CONFIG, today=DAY)
    assert (result.open, result.lines, result.accepted, result.rejected) == (True, 1, 1, 0)
    assert result.bytes_read == len(whole)
    write_raw(layout, [whole, torn])
    result = ingest_day(layout, DAY, CONFIG, today=DAY)
    assert (result.lines, result.accepted) == (2, 2)


def test_a_torn_last_line_of_a_day_that_is_over_is_a_reject(layout: Layout) -> None:
    whole = line(point("a", {"big": 0.5}))
    write_raw(layout, [whole, whole[:-20]])
    result = ingest_day(layout, DAY, CONFIG, today=LATER)
    assert (result.open, result.accepted, result.rejected_by_code) == (False, 1, {"point_not_json": 1})


def test_a_whole_last_line_without_newline_counts_once_the_day_is_over(layout: Layout) -> None:
    write_raw(layout, [line(point("a", {"big": 0.5})).strip()])
    assert ingest_day(layout, DAY, CONFIG, today=LATER).accepted == 1


def test_a_line_of_a_later_schema_is_kept_as_a_reject_and_not_read_as_what_it_may_not_be(
    layout: Layout,
) -> None:
    later = point("later", {"big": 0.5}, schema_version=2)
    lines = [
        point("a", {"big": 0.5}, schema_version=1),
        later,
        point("further", {"big": 0.5}, schema_version=2, weighted_scores={"big": 0.1}),
        point("b", {"big": 0.5}, schema_version="2"),  # a sender's own value is none of ours
    ]
    write_raw(layout, lines)
    result = ingest_day(layout, DAY, CONFIG, today=LATER)
    assert (result.accepted, result.rejected_by_code) == (2, {"schema_later": 2})
    first = read_table(layout, "rejects").row(0, named=True)
    assert first["message"] == "the line has schema 2, this version of Flywheel reads 1"
    assert json.loads(first["text"]) == later


def test_compressed_files_are_read_and_damage_is_kept(layout: Layout) -> None:
    lines = b"".join(line(point(f"p{number}", {"big": 0.5})) for number in range(50))
    path = layout.raw / "training_data_20260105.jsonl.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(lines))
    result = ingest_day(layout, DAY, CONFIG, today=LATER)
    assert (result.accepted, result.rejected) == (50, 0)
    path.write_bytes(gzip.compress(lines)[:-60])
    result = ingest_day(layout, DAY, CONFIG, today=LATER)
    assert 1 <= result.accepted < 50
    assert result.rejected_by_code == {"file_damaged": 1}
    assert result.lines == result.accepted + 1
    (reject,) = read_table(layout, "rejects").to_dicts()
    assert lines[reject["byte_offset"] :].startswith(reject["text"].encode())


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("after", [[point("b", {"big": 0.5})], []])
def test_an_oversized_line_is_rejected_without_its_neighbours(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, packed: bool, after: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr(raw_lines, "CHUNK_BYTES", 2_000)
    monkeypatch.setattr(raw_lines, "_BLOCK", 500)
    huge = line(point("huge", {"big": 0.5}, question="x" * 5_000))
    plain = write_raw(layout, [point("a", {"big": 0.5}), huge if after else huge[:-1], *after])
    if packed:
        plain.with_suffix(".jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    result = ingest_day(layout, DAY, CONFIG, today=LATER)
    assert (result.accepted, result.rejected_by_code) == (1 + len(after), {"point_too_large": 1})
    (reject,) = read_table(layout, "rejects").to_dicts()
    assert (reject["length"], len(reject["text"])) == (len(huge) - 1, 500)


def test_an_oversized_line_that_still_grows_is_left_alone(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_lines, "CHUNK_BYTES", 2_000)
    write_raw(layout, [point("a", {"big": 0.5}), b"x" * 5_000])
    assert ingest_day(layout, DAY, CONFIG, today=DAY).rejected == 0
    assert ingest_day(layout, DAY, CONFIG, today=LATER).rejected == 1


def test_an_oversized_line_of_the_open_day_is_rejected_once_it_has_ended(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_lines, "CHUNK_BYTES", 2_000)
    write_raw(layout, [b"x" * 5_000 + b"\n", point("a", {"big": 0.5})])
    result = ingest_day(layout, DAY, CONFIG, today=DAY)
    assert (result.accepted, result.rejected_by_code) == (1, {"point_too_large": 1})


lines_of_any_kind = st.one_of(
    st.integers(0, 5).map(lambda number: line(point(f"p{number}", {"big": 0.5, "algebra": number / 5}))),
    st.binary(max_size=40).map(lambda text: text.replace(b"\n", b"") + b"\n"),
    st.sampled_from([b"\n", b"null\n", b"\xef\xbb\xbf\n", b"{}\n", b"[1]\n"]),
    st.integers(0, 80).map(lambda cut: line(point("torn", {"big": 0.5}))[:cut] + b"\n"),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.lists(lines_of_any_kind, max_size=12),
    st.lists(lines_of_any_kind, max_size=6),
    st.integers(100, 3_000),
)
def test_whatever_the_lines_are_they_add_up_and_nothing_is_lost(
    layout: Layout, first: list[bytes], second: list[bytes], chunk_bytes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw_lines, "CHUNK_BYTES", chunk_bytes)
        paths = [write_raw(layout, first), write_raw(layout, second, writer="b")]
        result = ingest_day(layout, DAY, CONFIG, today=LATER)
    raw = {path.name: path.read_bytes() for path in paths}
    assert result.lines + result.blank == sum(text.count(b"\n") for text in raw.values())
    assert result.lines == result.accepted + result.duplicates + result.rejected
    responses, rejects = read_table(layout, "responses"), read_table(layout, "rejects")
    assert responses["data_point_id"].n_unique() == responses["point"].n_unique() == result.accepted
    assert len(rejects) == result.rejected
    for row in rejects.to_dicts():
        end = row["byte_offset"] + row["length"]
        kept = raw[row["raw_file"]][row["byte_offset"] : end]
        assert kept.decode(errors="backslashreplace")[:16].startswith(row["text"][:16])
    for row in responses.to_dicts():
        found = raw[row["raw_file"]][row["byte_offset"] :].split(b"\n")[0]
        assert json.loads(found.removeprefix(b"\xef\xbb\xbf"))["id"] == row["data_point_id"]
