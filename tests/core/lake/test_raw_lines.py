"""Cutting raw files into chunks of whole lines."""

import gzip
import os
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flywheel_core.errors import StorageError
from flywheel_core.lake import raw_lines
from flywheel_core.lake.chunks import Wanted
from flywheel_core.lake.raw_lines import plain_chunks, unpacked_chunks, whole_lines
from flywheel_core.lake.reading import Tally, read_files


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut chunks at 100 bytes, so that small files have several."""
    monkeypatch.setattr(raw_lines, "CHUNK_BYTES", 100)
    monkeypatch.setattr(raw_lines, "_BLOCK", 16)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.binary(max_size=60).map(lambda text: text.replace(b"\n", b"")), max_size=30), st.booleans()
)
def test_chunks_are_whole_lines_and_together_the_file(
    tmp_path: Path, lines: list[bytes], ended: bool
) -> None:
    content = b"\n".join(lines) + (b"\n" if ended else b"")
    plain, packed = tmp_path / "lines.jsonl", tmp_path / "lines.jsonl.gz"
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content))
    chunks = list(plain_chunks(plain))
    texts = list(unpacked_chunks(packed))
    assert b"".join(chunk.read() for chunk in chunks) == content
    assert b"".join(text.read() for text in texts) == content
    assert all(chunk.read().endswith(b"\n") for chunk in chunks[:-1])
    assert all(text.read().endswith(b"\n") for text in texts[:-1])
    assert not any(chunk.oversized for chunk in chunks) and not any(text.oversized for text in texts)
    assert all(chunk.end - chunk.start <= 100 for chunk in chunks)


def test_a_file_that_packs_well_is_unpacked_a_little_at_a_time(tmp_path: Path) -> None:
    content = b"the same line again\n" * 5_000
    packed = tmp_path / "lines.jsonl.gz"
    packed.write_bytes(gzip.compress(content))
    texts = list(unpacked_chunks(packed))
    assert b"".join(text.data for text in texts) == content
    assert (
        max(len(text.data) for text in texts) <= 200
    )  # what was left over from the last chunk, plus what is unpacked at once


def test_a_line_longer_than_a_chunk_is_set_apart_and_not_held(tmp_path: Path) -> None:
    content = b"before\n" + b"x" * 350 + b"\nafter\n"
    plain, packed = tmp_path / "lines.jsonl", tmp_path / "lines.jsonl.gz"
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content))
    chunks = list(plain_chunks(plain))
    assert [(chunk.start, chunk.end, chunk.oversized) for chunk in chunks] == [
        (0, 7, False),
        (7, 358, True),
        (358, 364, False),
    ]
    assert chunks[1].read() == b"x" * 16
    texts = list(unpacked_chunks(packed))
    assert [(text.start, text.oversized) for text in texts] == [(0, False), (7, True), (358, False)]
    assert texts[2].read() == b"after\n"


def test_a_last_line_that_is_too_long_and_has_no_newline_is_not_held_either(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b"before\n" + b"x" * 350)
    chunks = list(plain_chunks(path))
    assert [(chunk.start, chunk.end, chunk.oversized) for chunk in chunks] == [
        (0, 7, False),
        (7, 357, True),
    ]
    assert chunks[1].read() == b"x" * 16


@pytest.mark.parametrize("before", [b"before\n", b"\n", b""])
def test_what_follows_a_line_that_is_too_long_is_kept_wherever_that_line_ends(
    tmp_path: Path, before: bytes
) -> None:
    """A block may end with the last byte of the line, with its newline, or anywhere else."""
    plain, packed = tmp_path / "lines.jsonl", tmp_path / "lines.jsonl.gz"
    for length in range(210, 420):
        content = before + b"x" * length + b"\nafter\nlast\n"
        plain.write_bytes(content)
        packed.write_bytes(gzip.compress(content))
        for found in (list(plain_chunks(plain)), list(unpacked_chunks(packed))):
            long = [piece.start for piece in found if piece.oversized]
            assert long == [len(before)]
            kept = [(piece.start, piece.read()) for piece in found if not piece.oversized]
            assert b"".join(text for _, text in kept) == before + b"after\nlast\n"
            assert all(content[start : start + len(text)] == text for start, text in kept)


def test_members_of_a_gzip_file_follow_each_other_with_padding(tmp_path: Path) -> None:
    packed = tmp_path / "lines.jsonl.gz"
    packed.write_bytes(gzip.compress(b"one\n") + b"\0" * 40 + gzip.compress(b"two\n") + b"\0" * 3)
    assert [text.read() for text in unpacked_chunks(packed)] == [b"one\ntwo\n"]


def test_a_gzip_file_cut_at_any_byte_gives_what_can_be_read(tmp_path: Path) -> None:
    lines = [f"line {number} {number**7}\n".encode() for number in range(40)]
    whole = gzip.compress(b"".join(lines))
    packed = tmp_path / "lines.jsonl.gz"
    most = 0
    for size in range(1, len(whole)):
        packed.write_bytes(whole[:size])
        texts = list(unpacked_chunks(packed))
        assert texts[-1].damage is not None
        read = b"".join(text.read() for text in texts)
        assert b"".join(lines).startswith(read)
        most = max(most, len(read))
    assert most == len(b"".join(lines)), "all text is there before the checksum is"


def test_a_damaged_gzip_file_gives_what_comes_before_the_damage(tmp_path: Path) -> None:
    lines = [f"line {number} {number**7}\n".encode() for number in range(200)]
    whole = bytearray(gzip.compress(b"".join(lines)))
    whole[len(whole) // 2] ^= 0xFF
    packed = tmp_path / "lines.jsonl.gz"
    packed.write_bytes(whole)
    texts = list(unpacked_chunks(packed))
    assert texts[-1].damage
    assert b"".join(lines)[:500] == b"".join(text.read() for text in texts)[:500]


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    gone = tmp_path / "gone.jsonl"
    with pytest.raises(StorageError, match=r"gone\.jsonl"):
        list(plain_chunks(gone))
    with pytest.raises(StorageError, match=r"gone\.jsonl"):
        list(unpacked_chunks(gone))


def test_single_lines_have_their_offsets_and_blank_ones_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "training_data_20260105.jsonl"
    path.write_bytes(b"one\n\n \t\r\n  two\nthree")
    assert list(whole_lines(path)) == [(0, b"one"), (9, b"  two"), (15, b"three")]


@pytest.mark.timeout(20)
def test_a_named_pipe_among_the_raw_files_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "training_data_20260105.jsonl"
    os.mkfifo(pipe)
    with pytest.raises(StorageError, match=r"20260105\.jsonl: it is not a file"):
        list(read_files([pipe], Wanted(date(2026, 1, 5)), Tally()))
    with pytest.raises(StorageError, match=r"20260105\.jsonl: it is not a file"):
        list(whole_lines(pipe))
