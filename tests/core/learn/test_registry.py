"""Which router is in service: swapped atomically, logged first, rolled back, whole whatever is killed."""

import json
import os
from pathlib import Path

import pytest

from flywheel_core.errors import RouterError
from flywheel_core.learn.champion import router_versions
from flywheel_core.learn.promotion_log import append_entry
from tests.core.learn.folders import SINCE, promote, registry


def test_nothing_is_in_service_at_first(tmp_path: Path) -> None:
    found = registry(tmp_path)
    assert found.champion() is None
    assert router_versions(found.layout) == []
    assert found.history() == []


def test_a_promotion_swaps_the_pointer_and_is_written_down(tmp_path: Path) -> None:
    found = registry(tmp_path, "a", "b")
    promote(found, "a")
    champion = promote(found, "b", expected=1)
    assert found.champion() == champion
    assert (champion.sequence, champion.version, champion.previous, champion.since) == (2, "b", 1, SINCE)
    newest = found.history()[-1]
    assert (newest.entry.by, newest.entry.reason, newest.in_service) == ("tests", "better", True)
    assert [record.took_effect for record in found.history()] == [True, True]
    assert [record.in_service for record in found.history()] == [False, True]


def test_a_promotion_is_durably_written_down_before_the_pointer_is_swapped(
    tmp_path: Path, steps: list[tuple[str, Path]]
) -> None:
    found = registry(tmp_path, "a", "b")
    for version, of_the_log in (("a", [found.log, found.log.parent]), ("b", [found.log])):
        steps.clear()
        promote(found, version)
        before = steps[
            : steps.index(("rename", found.pointer)) - 1
        ]  # the last step before the swap syncs the pointer's own content
        assert before == [("sync", path) for path in of_the_log]


def test_an_entry_is_in_the_log_when_the_log_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Python still holds in its own buffer is not made durable by a sync."""
    found = registry(tmp_path, "a")
    synced: list[bytes] = []
    fsync = os.fsync

    def sync(handle: int) -> None:
        if Path(f"/proc/self/fd/{handle}").readlink() == found.log:
            synced.append(found.log.read_bytes())
        fsync(handle)

    monkeypatch.setattr(os, "fsync", sync)
    promote(found, "a")
    assert synced == [found.log.read_bytes()]


def test_a_missing_version_is_not_promoted(tmp_path: Path) -> None:
    found = registry(tmp_path, "a")
    promote(found, "a")
    for name in ("b", "../a", "a/../a", ".hidden", ""):
        with pytest.raises(RouterError, match="no router"):
            promote(found, name)
    assert len(found.history()) == 1


def test_a_damaged_version_is_not_promoted(tmp_path: Path) -> None:
    found = registry(tmp_path, "a", "b")
    promote(found, "a")
    (tmp_path / "routers" / "b" / "parameters").write_bytes(b"Parameters")
    with pytest.raises(RouterError, match="damaged"):
        promote(found, "b")
    champion = found.champion()
    assert champion is not None and champion.version == "a"


def test_a_judgement_against_another_champion_does_not_promote(tmp_path: Path) -> None:
    found = registry(tmp_path, "a", "b", "c")
    promote(found, "a", expected=0)
    promote(found, "b", expected=1)
    with pytest.raises(RouterError, match="somebody else promoted") as caught:
        promote(found, "c", expected=1)
    assert caught.value.code == "champion_changed"


@pytest.mark.parametrize(
    ("line", "link"), [(1, {"previous": 2}), (2, {"restores": 2}), (2, {"previous": 3}), (3, {"previous": 3})]
)
def test_a_log_in_which_an_entry_follows_a_later_one_is_damaged(
    tmp_path: Path, line: int, link: dict[str, int]
) -> None:
    """Only a person's hand writes such a log; walking back through it would never end."""
    found = registry(tmp_path, "a", "b", "c")
    for version in ("a", "b", "c"):
        promote(found, version)
    lines = [json.loads(text) for text in found.log.read_bytes().splitlines()]
    lines[line - 1] |= {"kind": "renewed", **link}
    found.log.write_text("".join(json.dumps(one) + "\n" for one in lines))
    champion = found.champion()
    assert champion is not None
    for read in (
        found.way_back,
        found.history,
        lambda: found.looks(champion),
        lambda: found.rollback(by="tests", reason="", since=None),
    ):
        with pytest.raises(RouterError, match=f"line {line} of ") as caught:
            read()
        assert caught.value.code == "promotion_log_damaged"


def test_an_entry_without_its_swap_never_took_effect(tmp_path: Path) -> None:
    """A process that dies between the log and the pointer leaves such an entry."""
    found = registry(tmp_path, "a", "b", "c")
    promote(found, "a")
    before = found.pointer.read_bytes()
    promote(found, "b")
    found.pointer.write_bytes(before)
    assert [record.took_effect for record in found.history()] == [True, False]
    assert promote(found, "c", expected=1).sequence == 3
    assert [record.took_effect for record in found.history()] == [True, False, True]
    assert found.rollback(by="tests", reason="", since=None).version == "a"


def test_a_torn_last_line_is_not_read_and_is_removed_by_the_next_entry(tmp_path: Path) -> None:
    found = registry(tmp_path, "a", "b")
    promote(found, "a")
    whole = found.log.read_bytes()
    found.log.write_bytes(whole + b'{"kind":"promoted","version":"b","at":1' * 300)
    assert len(found.history()) == 1
    promote(found, "b")
    assert [record.entry.version for record in found.history()] == ["a", "b"]
    assert found.log.read_bytes().startswith(whole)


@pytest.mark.parametrize("before", [0, 1])
def test_a_torn_line_of_any_length_takes_nothing_else_with_it(tmp_path: Path, before: int) -> None:
    """The end of the log is read in blocks of 4,096 bytes, and a line may be torn at the edge of one."""
    found = registry(tmp_path, "a")
    promote(found, "a")
    line = found.log.read_bytes()
    entry = found.history()[0].entry
    for length in (1, 2, *range(4_090, 4_100), *range(8_188, 8_196)):
        found.log.write_bytes(line * before + b"x" * length)
        append_entry(found.log, entry)
        assert found.log.read_bytes() == line * (before + 1), length


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    found = registry(tmp_path, "a")
    promote(found, "a")
    append_entry(found.log, found.history()[0].entry)
    found.log.write_bytes(found.log.read_bytes().replace(b'"promoted"', b'"promoteD"', 1))
    with pytest.raises(RouterError, match="line 1") as caught:
        found.history()
    assert caught.value.code == "promotion_log_damaged"


def test_a_damaged_pointer_is_named_and_repaired_by_hand(tmp_path: Path) -> None:
    found = registry(tmp_path, "a", "b")
    promote(found, "a")
    found.pointer.write_bytes(b"{")
    with pytest.raises(RouterError) as caught:
        promote(found, "b")
    assert caught.value.code == "pointer_damaged"
    champion = found.promote("b", kind="manual", by="tests", reason="repair", since=None)
    assert (champion.sequence, champion.previous) == (2, 1)
    assert found.rollback(by="tests", reason="", since=None).version == "a"
