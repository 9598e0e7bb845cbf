"""Storage: damaged raw files.

Bytes of a raw file are missing or changed: no other record may suffer, and the damaged one is read or kept as a reject.
"""

import random
import uuid
from bisect import bisect_right
from collections import Counter
from itertools import accumulate
from pathlib import Path

import pytest

from flywheel_core.lake.ingest import IngestResult, ingest_day
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import read_table
from tests.core.lake.lakes import CONFIG, DAY, LATER, line, point, write_raw
from tests.proof.conftest import Proof

RECORDS = 40


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An empty data folder."""
    return Layout(tmp_path / "data")


def records(count: int) -> list[bytes]:
    """Return raw lines, not all ASCII, with ids so different that one changed byte never turns one into another."""
    made = random.Random(count)
    names = [str(uuid.UUID(int=made.getrandbits(128))) for _ in range(count)]
    questions = [f"问题 {name}: what is {name} good for?" for name in names]
    scores = {"big": 0.5, "algebra": 0.25}
    return [line(point(name, scores, question)) for name, question in zip(names, questions, strict=True)]


def stored(layout: Layout) -> tuple[IngestResult, Counter[str], list[bytes]]:
    """Ingest the day; return its counts, how often it stored each question, and the texts that it rejected."""
    result = ingest_day(layout, DAY, CONFIG, today=LATER)
    assert result.lines == result.accepted + result.duplicates + result.rejected
    questions = read_table(layout, "responses").filter(model="big")["question"].to_list()
    raw = layout.raw_file(DAY).read_bytes()
    kept = []
    for row in read_table(layout, "rejects").to_dicts():
        text = raw[row["byte_offset"] : row["byte_offset"] + row["length"]]
        assert row["text"] == text.decode(errors="backslashreplace")
        kept.append(text)
    assert len(kept) == result.rejected
    return result, Counter(questions), kept


@pytest.mark.proof(
    "a torn record costs no other record",
    "a raw file cut off after every byte of its last record",
)
def test_a_file_cut_off_anywhere_in_its_last_record(layout: Layout, proof: Proof) -> None:
    *others, last = records(RECORDS)
    before = len(b"".join(others))
    write_raw(layout, others)
    _, whole, _ = stored(layout)
    assert len(whole) == RECORDS - 1
    cuts = range(0, len(last), proof.size(17, 1))
    for cut in cuts:
        path = write_raw(layout, [*others, last[:cut]])
        assert path.stat().st_size == before + cut
        result, questions, kept = stored(layout)
        assert questions - whole == Counter() if cut < len(last) - 1 else questions.total() == RECORDS
        assert questions & whole == whole
        assert kept == ([last[:cut]] if 0 < cut < len(last) - 1 else [])
        assert result.lines == RECORDS - 1 + (cut > 0)
    proof.note(cuts=len(cuts), others_lost=0)


@pytest.mark.proof(
    "a damaged byte costs no other record",
    "one byte of a raw file changed, in each of many places, 256 values alike; the record is read with its change, or "
    "kept among the rejects",
)
def test_a_byte_changed_anywhere(layout: Layout, proof: Proof) -> None:
    choose = random.Random(1)
    lines = records(RECORDS)
    raw = b"".join(lines)
    starts = [0, *accumulate(map(len, lines))][:-1]
    write_raw(layout, lines)
    _, whole, _ = stored(layout)
    questions_of = read_table(layout, "responses").filter(model="big")["question"].to_list()
    assert whole.total() == RECORDS
    outcomes: Counter[str] = Counter()
    places = choose.sample(range(len(raw)), proof.size(60, 1_000))
    for place in places:
        damaged = bytearray(raw)
        damaged[place] = choose.choice([value for value in range(256) if value != raw[place]])
        write_raw(layout, [bytes(damaged)])
        result, questions, kept = stored(layout)
        hit = bisect_right(starts, place) - 1
        touched = {hit, hit + 1} if raw[place] == ord("\n") else {hit}
        others = Counter(text for number, text in enumerate(questions_of) if number not in touched)
        assert others & questions == others, place
        assert result.duplicates == 0
        assert result.lines == damaged.count(b"\n") + (not damaged.endswith(b"\n")) - result.blank
        touched_bytes = b"".join(
            bytes(damaged)[starts[one] :][: len(lines[one])] for one in sorted(touched - {RECORDS})
        )
        if kept:
            assert b"\n".join(kept) == touched_bytes.strip(b"\n")
        else:
            assert result.accepted == RECORDS
        outcomes["kept_among_the_rejects" if kept else "read_with_its_change"] += 1
    proof.note(places=len(places), others_lost=0, **outcomes)
