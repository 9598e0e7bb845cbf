"""A running process follows the champion: it loads whole versions, and a damaged one changes nothing."""

import itertools
import json
from pathlib import Path

import pytest

from flywheel_core.learn.registry import Registry
from flywheel_core.learn.route import FIRST_RETRY, LONGEST_RETRY, RouterWatch
from tests.core.learn.folders import load, publish, registry


class Clock:
    """A clock that stands still until it is moved on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def found(tmp_path: Path) -> Registry:
    return registry(tmp_path, "a", "b")


@pytest.fixture
def watch(found: Registry, tmp_path: Path, clock: Clock) -> RouterWatch[str]:
    return RouterWatch(found.layout, load, clock)


def promote(found: Registry, version: str) -> None:
    found.promote(version, kind="manual", by="tests", reason="", since=None)


def serving(watch: RouterWatch[str]) -> str | None:
    return watch.in_force.router if watch.in_force else None


def test_without_a_champion_there_is_nothing_to_take_up(watch: RouterWatch[str]) -> None:
    assert watch.poll() is None
    assert watch.in_force is None
    assert watch.refusal is None


def test_each_promotion_and_rollback_is_taken_up_once(found: Registry, watch: RouterWatch[str]) -> None:
    promote(found, "a")
    taken = watch.poll()
    assert taken is not None and (taken.router, taken.champion.sequence) == ("a", 1)
    assert watch.poll() is None
    promote(found, "b")
    assert watch.poll() is not None
    found.rollback(by="tests", reason="", since=None)
    watch.poll()
    assert serving(watch) == "a"
    assert watch.taken_up == 3


def test_a_damaged_version_is_refused_while_the_old_one_serves(
    found: Registry, watch: RouterWatch[str], tmp_path: Path
) -> None:
    promote(found, "a")
    watch.poll()
    promote(found, "b")
    (tmp_path / "routers" / "b" / "parameters").write_bytes(b"Parameters")
    assert watch.poll() is None
    assert serving(watch) == "a"
    assert watch.refusal is not None
    assert (watch.refusal.version, watch.refusal.code, watch.refused) == ("b", "router_damaged", 1)


def test_a_manifest_that_is_not_the_promoted_one_is_refused(
    found: Registry, watch: RouterWatch[str], tmp_path: Path
) -> None:
    """The folder is whole in itself, but somebody put another router there under the same name."""
    promote(found, "a")
    manifest = tmp_path / "routers" / "a" / "router.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "more": 1}))
    assert load(manifest.parent) == "a"
    watch.poll()
    assert watch.in_force is None
    assert watch.refusal is not None and watch.refusal.code == "router_damaged"


def test_a_refused_version_is_tried_again_at_growing_intervals_until_it_is_whole(
    found: Registry, watch: RouterWatch[str], clock: Clock, tmp_path: Path
) -> None:
    promote(found, "a")
    parameters = tmp_path / "routers" / "a" / "parameters"
    whole = parameters.read_bytes()
    parameters.write_bytes(b"half")
    tries = []
    for second in range(200):
        clock.now = float(second)
        before = watch.refused
        watch.poll()
        if watch.refused > before:
            tries.append(second)
    pauses = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert pauses[0] == FIRST_RETRY
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_RETRY
    parameters.write_bytes(whole)
    clock.now += LONGEST_RETRY
    assert watch.poll() is not None
    assert serving(watch) == "a"
    assert watch.refusal is None


def test_a_version_that_arrives_late_is_taken_up(
    found: Registry, watch: RouterWatch[str], clock: Clock, tmp_path: Path
) -> None:
    """A pointer may be copied to another machine before its version is."""
    promote(found, "a")
    folder = tmp_path / "routers" / "a"
    folder.rename(tmp_path / "elsewhere")
    watch.poll()
    assert watch.refusal is not None and "no router" in watch.refusal.message
    (tmp_path / "elsewhere").rename(folder)
    clock.now += FIRST_RETRY
    watch.poll()
    assert serving(watch) == "a"


def test_a_new_promotion_is_tried_at_once_although_the_last_was_refused(
    found: Registry, watch: RouterWatch[str], tmp_path: Path
) -> None:
    promote(found, "a")
    (tmp_path / "routers" / "a" / "parameters").write_bytes(b"half")
    watch.poll()
    promote(found, "b")
    watch.poll()
    assert serving(watch) == "b"
    assert watch.refusal is None


@pytest.mark.parametrize("content", [b"", b"{", b'{"sequence": "x"}', b"\xff\xfe"])
def test_a_damaged_pointer_is_refused_while_the_router_serves_on(
    found: Registry, watch: RouterWatch[str], content: bytes
) -> None:
    promote(found, "a")
    watch.poll()
    found.pointer.write_bytes(content)
    watch.poll()
    assert serving(watch) == "a"
    assert watch.refusal is not None
    assert (watch.refusal.version, watch.refusal.code) == (None, "pointer_damaged")


def test_a_pointer_that_is_gone_takes_no_router_out_of_service(
    found: Registry, watch: RouterWatch[str]
) -> None:
    promote(found, "a")
    watch.poll()
    found.pointer.unlink()
    watch.poll()
    assert serving(watch) == "a"
    assert watch.refusal is not None and watch.refusal.code == "pointer_missing"


def test_a_pointer_that_is_restored_ends_the_refusal(found: Registry, watch: RouterWatch[str]) -> None:
    """The router that it names already serves: it is not taken up again."""
    promote(found, "a")
    watch.poll()
    content = found.pointer.read_bytes()
    found.pointer.write_bytes(b"{")
    watch.poll()
    assert watch.refused == 1
    found.pointer.write_bytes(content)
    assert watch.poll() is None
    assert (watch.refusal, watch.taken_up, watch.refused) == (None, 1, 1)


def test_the_same_version_promoted_again_is_taken_up_with_its_new_promotion(
    found: Registry, watch: RouterWatch[str], tmp_path: Path
) -> None:
    publish(found.layout, "c", b"other")
    for version in ("c", "a", "c"):
        promote(found, version)
        watch.poll()
    assert serving(watch) == "c"
    assert watch.in_force is not None and watch.in_force.champion.sequence == 3
