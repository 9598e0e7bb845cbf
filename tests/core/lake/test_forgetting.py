"""What was received with a text goes, whatever its spelling, and all else that holds it or was made from it is named."""

import gzip
import json
import tracemalloc
from datetime import date
from pathlib import Path

import pytest

from collector_api.rejects import rejected_lines
from flywheel_core.errors import StorageError, UsageError
from flywheel_core.lake.dataset import build_dataset
from flywheel_core.lake.forgetting import Found, find, holder_of, remove
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.lock import only_one
from flywheel_core.wire_batch import Rejected
from tests.core.lake.lakes import CONFIG, DAY, build_day, line, point, response, write_raw
from tests.core.learn.small import publish_single

NEXT = date(2026, 1, 6)
HERS = "0f" * 16
"""The pseudonym of the person whose lines go."""


def received(name: str, user: str = "aa" * 16) -> bytes:
    return line(point(name, {"big": 0.2, "algebra": 0.9}, user=user))


def store(path: Path, *lines: bytes) -> Path:
    """Write lines, packed if the name says so, as the collector does: closed to other users."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = b"".join(lines)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    path.chmod(0o640)
    return path


def content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def rejected(text: str) -> bytes:
    """Return the lines of the collector for a rejected point that came as this text."""
    return b"".join(rejected_lines([Rejected(0, "score_invalid", "7", text.encode())], "gw", 1.0))


def forget(layout: Layout, *texts: str) -> list[Found]:
    """Find, remove what was received, and return what was found."""
    holds = holder_of(texts)
    found = find(layout, holds)
    remove(layout, [one.path for one in found if one.day is not None], holds)
    return found


def test_the_lines_go_from_every_kind_of_file_and_the_others_stay_as_they_are(layout: Layout) -> None:
    """Of several writers, rescored, imported, packed and rejected, torn lines too."""
    hers, others, torn = received("a", HERS), received("b"), b'{"question": "wh\n'
    names = ("", ".east", ".-rescored", ".import-0123456789ab", ".1")
    plain = [
        store(layout.raw / f"training_data_20260105{name}.jsonl", others, hers, torn, received("c"))
        for name in names
    ]
    packed = store(layout.raw / "training_data_20260106.jsonl.gz", hers, others)
    aside = store(layout.rejected / "rejected_20260105.east.jsonl", rejected(hers.decode()), rejected("x"))
    untouched = store(layout.raw / "training_data_20260107.jsonl", others)
    before = untouched.stat()
    found = forget(layout, HERS)
    assert [(one.path, one.lines, one.day) for one in found] == [
        *((path, 1, DAY) for path in sorted(plain)),
        (packed, 1, NEXT),
        (aside, 1, DAY),
    ]
    assert {content(path) for path in plain} == {others + torn + received("c")}
    assert content(packed) == others
    assert content(aside) == rejected("x")
    assert {path.stat().st_mode & 0o777 for path in (*plain, packed, aside)} == {0o640}
    assert untouched.stat() == before
    again = [path.read_bytes() for path in (*plain, packed, aside)]
    assert forget(layout, HERS) == []
    assert [path.read_bytes() for path in (*plain, packed, aside)] == again


def test_a_file_with_nothing_else_stays_empty_so_that_its_day_is_made_again(layout: Layout) -> None:
    path = store(layout.raw_file(DAY), received("a", HERS))
    build_day(layout, DAY)
    forget(layout, HERS)
    assert path.read_bytes() == b""
    build_day(layout, DAY)
    assert find(layout, holder_of([HERS])) == []


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ('{"question": "I am José"}', "José"),
        ('{"question": "I am Jos\\u00e9"}', "José"),
        ('{"question": "I am Jos\\u00E9"}', "JOSÉ"),
        ('{"question": "I am Jose\u0301"}', "José"),
        ('{"question": "I am Jose\\u0301"}', "José"),
        ('{"question": "\\ud83d\\ude00 it is me"}', "\U0001f600 it"),
        ('{"question": "she said \\"Ann\\" and\\nleft"}', '"ann" and\nleft'),
        ('{"question": "https:\\/\\/a.example\\/ann"}', "https://a.example/ann"),
        ('{"question": "C:\\\\users\\\\ann"}', "C:\\users\\ann"),
        ('{"tenant":"ann","user":null}', '"tenant":"ann"'),
    ],
)
def test_the_escapes_of_json_hide_nothing(layout: Layout, written: str, wanted: str) -> None:
    """Neither in a point that the collector wrote, nor in one that a sender wrote and that is kept as a text."""
    raw = store(layout.raw_file(DAY), written.encode() + b"\n", b'{"question": "other"}\n')
    aside = store(layout.rejected_file(DAY), rejected(written), rejected('{"question": "other"}'))
    assert [one.path for one in forget(layout, wanted)] == [raw, aside]
    assert raw.read_bytes() == b'{"question": "other"}\n'
    assert aside.read_bytes() == rejected('{"question": "other"}')


def test_several_texts_at_once_and_none_that_every_line_holds(layout: Layout) -> None:
    path = store(layout.raw_file(DAY), received("a"), received("b"), received("c"))
    for blank in ("", " ", "\n"):
        with pytest.raises(UsageError, match="blank"):
            holder_of(["What is a?", blank])
    forget(layout, "What is a?", "What is b?")
    assert path.read_bytes() == received("c")


def test_what_else_holds_it_or_was_made_from_its_day_is_named_and_stays(layout: Layout) -> None:
    """A pseudonym is in no dataset and no router, but the questions are."""
    store(layout.raw_file(DAY), *(received(f"a{number}") for number in range(9)))
    build_day(layout, DAY)
    before = build_dataset(layout, DAY, CONFIG).version
    store(layout.raw_file(NEXT), received("hers", HERS))
    build_day(layout, NEXT)
    after = build_dataset(layout, NEXT, CONFIG).version
    routers = [
        publish_single(layout, f"{dataset}-single-0123456789ab", "big", ["big", "coder"])
        for dataset in (before, after)
    ]
    layout.reports.mkdir()
    for router in routers:
        layout.evaluation(router, "html").write_text("<p>What is hers?</p>")
    spooled = store(layout.spool / "rejected.jsonl", received("spooled", HERS))
    page = layout.reports / "page.html"
    page.write_text(f"<p>Ann O&#39;Neil, {HERS}</p>")
    found = {one.path: one.lines for one in forget(layout, HERS) if one.day is None}
    made = [
        path for folder in (layout.dataset(after), layout.router(routers[1])) for path in folder.iterdir()
    ]
    assert found == {
        **dict.fromkeys(made, 0),
        layout.evaluation(routers[1], "html"): 0,
        layout.table("responses", NEXT): 2,
        layout.table("training_examples", NEXT): 1,
        spooled: 1,
        page: 1,
    }
    assert all(path.is_file() for path in found)
    assert {one.path for one in find(layout, holder_of(["ann o'neil"]))} == {page}
    assert {one.path.parent for one in find(layout, holder_of(["What is hers?"]))} == {
        *(layout.dataset(after), layout.tables / "responses", layout.tables / "training_examples"),
        layout.reports,
    }


def test_a_folder_that_lies_on_another_disk_is_searched_too(layout: Layout, tmp_path: Path) -> None:
    """A data folder may hold links, as to the collector's raw files; one that leads back is followed once."""
    elsewhere = tmp_path / "other disk"
    path = store(elsewhere / "raw" / "training_data_20260105.jsonl", received("a", HERS))
    noted = store(elsewhere / "tables" / "note.jsonl", received("a", HERS))
    layout.root.mkdir(exist_ok=True)
    for folder in (path.parent, noted.parent):
        (layout.root / folder.name).symlink_to(folder)
    (noted.parent / "back").symlink_to(layout.root)
    assert [(one.path, one.day) for one in forget(layout, HERS)] == [
        (layout.raw / path.name, DAY),
        (layout.tables / noted.name, None),
    ]
    assert path.read_bytes() == b""


def test_a_file_that_is_written_to_meanwhile_is_left_as_it_is(layout: Layout) -> None:
    """A collector whose clock is behind would otherwise lose what it has acknowledged."""
    path = store(layout.raw_file(DAY), received("a", HERS))

    def holds(text: bytes) -> bool:
        if b"tardy" not in path.read_bytes():
            with path.open("ab") as file:
                file.write(received("tardy"))
        return HERS.encode() in text

    with pytest.raises(StorageError, match="written to meanwhile"):
        remove(layout, [path], holds)
    assert path.read_bytes() == received("a", HERS) + received("tardy")
    assert sorted(layout.raw.iterdir()) == [layout.raw / ".rescore.lock", path]


def test_not_while_answers_are_scored_again(layout: Layout) -> None:
    path = store(layout.raw_file(DAY), received("a", HERS))
    with (
        only_one(layout.raw / ".rescore.lock", "taken", "wait"),
        pytest.raises(UsageError, match="flywheel rescore or another flywheel forget runs"),
    ):
        remove(layout, [path], holder_of([HERS]))
    assert path.read_bytes() == received("a", HERS)


def test_a_file_that_cannot_be_unpacked_is_an_error_and_not_clean(layout: Layout) -> None:
    path = layout.raw / "training_data_20260105.jsonl.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(received("a", HERS))[:-9])
    with pytest.raises(StorageError, match="cannot read"):
        find(layout, holder_of([HERS]))


def test_a_table_is_not_held_in_memory(layout: Layout) -> None:
    answers = {"big": response("big", answer="a" * 100_000)}
    write_raw(layout, [point(str(number), {"big": 0.5}, responses=answers) for number in range(300)])
    build_day(layout)
    tracemalloc.start()
    try:
        assert find(layout, holder_of(["no one"])) == []
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 15_000_000


def test_answers_and_replies_count_as_well_as_questions(layout: Layout) -> None:
    answered = point("a", {"big": 0.5})
    answered["responses"]["big"] = response("big", answer="dear Ann", raw_response={"thinks": "of Ann Other"})
    path = store(layout.raw_file(DAY), line(answered), received("b"))
    assert json.loads(content(path).splitlines()[0])["responses"]["big"]["raw_response"]
    forget(layout, "ann other")
    assert path.read_bytes() == received("b")
