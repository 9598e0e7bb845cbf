"""A rollback puts the champion before back into service, and says what to do if it cannot."""

import json
import shutil
from pathlib import Path

import pytest

from flywheel_core.errors import RouterError
from tests.core.learn.folders import SINCE, promote, registry


def test_rollback_goes_back_one_champion_each_time(tmp_path: Path) -> None:
    found = registry(tmp_path, "a", "b", "c")
    for version in ("a", "b", "c"):
        promote(found, version)
    assert [found.rollback(by="tests", reason="", since=SINCE).version for _ in range(2)] == ["b", "a"]
    with pytest.raises(RouterError) as caught:
        found.rollback(by="tests", reason="", since=SINCE)
    assert caught.value.code == "no_earlier_champion"
    assert [record.entry.kind for record in found.history()] == ["promoted"] * 3 + ["rollback"] * 2


def test_rollback_after_a_promotion_that_followed_a_rollback(tmp_path: Path) -> None:
    found = registry(tmp_path, "a", "b", "c")
    promote(found, "a")
    promote(found, "b")
    found.rollback(by="tests", reason="", since=SINCE)
    promote(found, "c")
    assert found.rollback(by="tests", reason="", since=SINCE).version == "a"


def test_rollback_of_a_version_that_was_promoted_again_leaves_it(tmp_path: Path) -> None:
    """Promoting the present champion again must not keep one rollback from removing it from service."""
    found = registry(tmp_path, "a", "b", "c")
    for version in ("a", "b", "c", "c", "c"):
        promote(found, version)
    assert [found.rollback(by="tests", reason="", since=SINCE).version for _ in range(2)] == ["b", "a"]
    promote(found, "a")
    with pytest.raises(RouterError) as caught:
        found.rollback(by="tests", reason="", since=SINCE)
    assert caught.value.code == "no_earlier_champion"


def test_rollback_refuses_a_version_that_was_exchanged(tmp_path: Path) -> None:
    found = registry(tmp_path, "a", "b")
    promote(found, "a")
    promote(found, "b")
    manifest = tmp_path / "routers" / "a" / "router.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "more": 1}))
    with pytest.raises(RouterError, match="not what it was"):
        found.rollback(by="tests", reason="", since=SINCE)


def test_rollback_to_a_version_that_is_damaged_or_gone_names_the_next_whole_one(tmp_path: Path) -> None:
    """The user wants the present router out of service, and must not have to search the log for another."""
    found = registry(tmp_path, "a", "b", "c", "d")
    for version in ("a", "d", "b", "c", "d"):
        promote(found, version)
    (tmp_path / "routers" / "c" / "parameters").write_bytes(b"Parameters")
    shutil.rmtree(tmp_path / "routers" / "b")
    with pytest.raises(RouterError, match="damaged") as caught:
        found.rollback(by="tests", reason="", since=SINCE)
    assert "the one before, c, cannot be put back into service" in caught.value.message
    assert caught.value.code == "router_damaged"
    assert caught.value.hint == "the next one further back that is whole: flywheel router promote a"
    shutil.rmtree(tmp_path / "routers" / "c")
    (tmp_path / "routers" / "a" / "parameters").write_bytes(b"Parameters")
    with pytest.raises(RouterError, match="no router 'c'") as caught:
        found.rollback(by="tests", reason="", since=SINCE)
    assert (
        caught.value.hint
        == "no other one before it is whole; flywheel router list shows the versions that exist"
    )
    champion = found.champion()
    assert champion is not None and champion.version == "d"
