"""What may be removed from the data folder, and that what is needed stays."""

import os
import shutil
from datetime import date, timedelta
from pathlib import Path

import pytest

from flywheel_core.errors import RouterError, StorageError, UsageError
from flywheel_core.lake.atomic import write_atomically
from flywheel_core.lake.dataset import build_dataset, dataset_versions
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.leftovers import HALF_MADE
from flywheel_core.lake.order import note_version
from flywheel_core.lake.schemas import TABLES
from flywheel_core.learn.artefact import verify_router
from flywheel_core.learn.champion import router_versions
from flywheel_core.learn.pruning import Removal, days_to_prune, least_days, prune, versions_to_prune
from flywheel_core.learn.registry import Registry
from tests.core.lake.lakes import CONFIG, build_day, point, write_raw
from tests.core.learn.small import publish_single

TODAY = date(2026, 3, 1)
WINDOW = CONFIG.model_copy(update={"dataset": CONFIG.dataset.model_copy(update={"window_days": 3})})


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


@pytest.fixture
def registry(layout: Layout) -> Registry:
    return Registry(layout, verify_router)


def named(removals: list[Removal]) -> list[tuple[str, str]]:
    return [(removal.kind, removal.of) for removal in removals]


def make_days(layout: Layout, *back: int) -> None:
    for days in back:
        day = TODAY - timedelta(days=days)
        write_raw(layout, [point(f"{day}", {"big": 0.5, "coder": 0.25})], day)
        build_day(layout, day)
        layout.rejected_file(day, "east").parent.mkdir(exist_ok=True)
        layout.rejected_file(day, "east").write_text("{}\n")


def dataset_name(number: int) -> str:
    return f"20260201-{9 - number:012x}"


def make_router(layout: Layout, registry: Registry, number: int, *, promoted: bool) -> str:
    """Publish a router with a dataset of its own.

    All their names begin with the same day, so names do not tell the order in which they were made.
    """
    dataset = dataset_name(number)
    write_atomically(layout.dataset(dataset) / "dataset.json", b"{}")
    version = publish_single(layout, f"{dataset}-router", "big", ["big", "math"], dataset)
    note_version(layout.datasets, dataset)
    write_atomically(layout.evaluation(version, "json"), b"{}")
    if promoted:
        registry.promote(version, kind="promoted", by="tests", reason="better", since=None)
    return version


def test_days_before_the_kept_ones_go_raw_files_first(layout: Layout, registry: Registry) -> None:
    """A raw file that outlived its tables would lead to their being built again."""
    make_days(layout, 11, 10, 1)
    other = layout.raw / "training_data_20260230.jsonl"
    other.write_text("not a day\n")
    found = days_to_prune(layout, WINDOW, 10, TODAY)
    assert named(found) == [("raw", "2026-02-18"), ("rejected", "2026-02-18")] + [
        ("tables", "2026-02-18")
    ] * len(TABLES)
    assert sum(removal.bytes for removal in found) == sum(
        removal.path.stat().st_size for removal in found if removal.path.is_file()
    )
    before = build_dataset(layout, TODAY - timedelta(days=1), WINDOW).version
    prune(found, registry)
    assert days_to_prune(layout, WINDOW, 10, TODAY) == []
    assert layout.raw_days() == [TODAY - timedelta(days=10), TODAY - timedelta(days=1)]
    assert other.is_file()
    shutil.rmtree(layout.datasets)
    assert build_dataset(layout, TODAY - timedelta(days=1), WINDOW).version == before


def test_days_that_a_dataset_or_its_drift_looks_back_to_cannot_go(layout: Layout) -> None:
    assert least_days(WINDOW) == 10
    with pytest.raises(UsageError, match="9 days are too few to keep: datasets look back 3 days") as told:
        days_to_prune(layout, WINDOW, 9, TODAY)
    assert told.value.hint == "keep at least 10"


def test_more_days_than_the_calendar_has_may_be_kept(layout: Layout) -> None:
    make_days(layout, 50)
    assert days_to_prune(layout, WINDOW, 99_999_999_999, TODAY) == []


@pytest.mark.parametrize("since_then", [(), (0,)], ids=["nothing", "a day by the wrong clock"])
def test_a_clock_far_ahead_removes_nothing(layout: Layout, since_then: tuple[int, ...]) -> None:
    """By such a clock every day is old, raw files are nowhere else, and cron asks nobody."""
    make_days(layout, 367, 366, *since_then)
    with pytest.raises(UsageError, match="is 2025-02-28, and no later one has data until 2026-03-01") as told:
        days_to_prune(layout, WINDOW, 10, TODAY)
    assert told.value.hint == "if today is 2026-03-01, say so: --today 2026-03-01; otherwise set the clock"
    found = days_to_prune(layout, WINDOW, 10, TODAY, certain=True)
    assert {removal.of for removal in found} == {"2025-02-27", "2025-02-28"}


def test_a_pause_of_the_days_to_keep_is_no_reason_to_doubt(layout: Layout) -> None:
    make_days(layout, 12, 11, 1)
    assert {removal.of for removal in days_to_prune(layout, WINDOW, 10, TODAY)} == {
        "2026-02-17",
        "2026-02-18",
    }


def test_versions_that_serve_or_served_last_stay_with_their_datasets(
    layout: Layout, registry: Registry
) -> None:
    oldest = make_router(layout, registry, 0, promoted=True)
    first = make_router(layout, registry, 1, promoted=True)
    second = make_router(layout, registry, 2, promoted=True)
    tried = make_router(layout, registry, 3, promoted=False)
    champion = make_router(layout, registry, 4, promoted=True)
    newer = make_router(layout, registry, 5, promoted=False)
    newest = make_router(layout, registry, 6, promoted=False)
    found = versions_to_prune(layout, registry, 2)
    assert named(found) == [
        ("evaluation", oldest),
        ("router", oldest),
        ("evaluation", tried),
        ("router", tried),
        ("dataset", dataset_name(3)),
        ("dataset", dataset_name(0)),
    ]
    prune(found, registry)
    assert router_versions(registry.layout) == [first, second, champion, newer, newest]
    assert registry.rollback(by="tests", reason="back", since=None).version == second
    assert registry.rollback(by="tests", reason="back", since=None).version == first
    assert not layout.evaluation(oldest, "json").exists()


def test_in_a_copy_the_same_routers_go(layout: Layout, registry: Registry, tmp_path: Path) -> None:
    """`cp -r` gives every file the time at which it was copied, in whatever order."""
    made = [make_router(layout, registry, number, promoted=number == 0) for number in range(4)]
    copy = Layout(tmp_path / "copy")
    shutil.copytree(layout.root, copy.root)
    for number, version in enumerate(reversed(made)):
        for path in (copy.router(version), copy.router(version) / "router.json"):
            os.utime(path, (number, number))
    assert router_versions(copy) == made
    found = versions_to_prune(copy, Registry(copy, verify_router), 2)
    assert [one.of for one in found if one.kind == "router"] == [made[1]]


def test_rejected_challengers_do_not_take_the_place_of_earlier_champions(
    layout: Layout, registry: Registry
) -> None:
    """A rollback after weeks of rejected challengers still finds the champion before."""
    before = make_router(layout, registry, 1, promoted=True)
    make_router(layout, registry, 2, promoted=True)
    champion = registry.champion()
    assert champion
    for number in (3, 4, 5):
        rejected = make_router(layout, registry, number, promoted=False)
        registry.record_judgement(
            champion,
            rejected,
            f"2026-02-0{number}",
            lambda _: ("worse", {"look": 1, "questions": 9}),
            by="tests",
        )
    prune(versions_to_prune(layout, registry, 2), registry)
    assert registry.rollback(by="tests", reason="back", since=None).version == before


def test_the_champion_stays_however_old_it_is(layout: Layout, registry: Registry) -> None:
    champion = make_router(layout, registry, 1, promoted=True)
    for number in (2, 3, 4):
        make_router(layout, registry, number, promoted=False)
    prune(versions_to_prune(layout, registry, 1), registry)
    assert champion in router_versions(registry.layout)
    assert len(router_versions(registry.layout)) == 2
    assert set(dataset_versions(layout)) == {dataset_name(1), dataset_name(4)}


def test_even_without_the_log_the_champion_stays(layout: Layout, registry: Registry) -> None:
    champion = make_router(layout, registry, 1, promoted=True)
    make_router(layout, registry, 2, promoted=False)
    registry.log.unlink()
    assert ("router", champion) not in named(versions_to_prune(layout, registry, 1))


def test_a_router_that_was_promoted_meanwhile_is_not_removed(layout: Layout, registry: Registry) -> None:
    old = make_router(layout, registry, 1, promoted=False)
    make_router(layout, registry, 2, promoted=True)
    found = versions_to_prune(layout, registry, 1)
    assert ("router", old) in named(found)
    registry.promote(old, kind="manual", by="tests", reason="wanted", since=None)
    with pytest.raises(RouterError, match="in service by now"):
        prune(found, registry)
    verify_router(layout.router(old))


def test_what_is_gone_already_is_no_error(layout: Layout, registry: Registry) -> None:
    make_days(layout, 11, 1)
    found = days_to_prune(layout, WINDOW, 10, TODAY)
    found[0].path.unlink()
    assert prune(found, registry) == sum(removal.bytes for removal in found)


def test_a_kill_half_way_leaves_whole_versions_and_leftovers_only(
    layout: Layout, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = make_router(layout, registry, 1, promoted=False)
    make_router(layout, registry, 2, promoted=True)

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(shutil, "rmtree", killed)
        prune(versions_to_prune(layout, registry, 1), registry)
    assert len(router_versions(registry.layout)) == 1
    hidden = [path.name for path in layout.routers.iterdir() if path.name.endswith(".tmp")]
    assert len(hidden) == 1
    assert HALF_MADE.fullmatch(hidden[0])
    prune(versions_to_prune(layout, registry, 1), registry)
    assert not layout.evaluation(gone, "json").exists()


def test_at_least_one_version_is_kept(layout: Layout, registry: Registry) -> None:
    with pytest.raises(UsageError, match="0 versions are too few"):
        versions_to_prune(layout, registry, 0)


def test_an_empty_folder_has_nothing_to_prune(layout: Layout, registry: Registry) -> None:
    assert versions_to_prune(layout, registry, 1) == []
    assert days_to_prune(layout, WINDOW, 10, TODAY) == []


def test_what_a_rollback_returns_to_stays_even_after_rollbacks(layout: Layout, registry: Registry) -> None:
    """The last promotions in the log are then not those before the champion."""
    first, second, third, fourth = (make_router(layout, registry, n, promoted=True) for n in (1, 2, 3, 4))
    for served in (third, second):
        assert registry.rollback(by="tests", reason="back", since=None).version == served
    prune(versions_to_prune(layout, registry, 1), registry)
    assert router_versions(layout) == [first, second, fourth]
    assert registry.rollback(by="tests", reason="back", since=None).version == first


def test_a_champion_promoted_again_counts_once_among_those_kept(layout: Layout, registry: Registry) -> None:
    first = make_router(layout, registry, 1, promoted=True)
    second = make_router(layout, registry, 2, promoted=True)
    registry.promote(second, kind="manual", by="tests", reason="again", since=None)
    make_router(layout, registry, 3, promoted=False)
    prune(versions_to_prune(layout, registry, 1), registry)
    assert registry.rollback(by="tests", reason="back", since=None).version == first


def test_a_damaged_router_needs_no_dataset(layout: Layout, registry: Registry) -> None:
    """Otherwise one damaged manifest would keep everything from being pruned, or its dataset for ever."""
    versions = [make_router(layout, registry, number, promoted=True) for number in range(4)]
    (layout.router(versions[1]) / "router.json").write_bytes(b"{")
    gone = {removal.of for removal in versions_to_prune(layout, registry, 2) if removal.kind == "dataset"}
    assert gone == {dataset_name(0), dataset_name(1)}


def test_what_cannot_be_removed_is_named(layout: Layout) -> None:
    place = layout.root / "a file"
    place.write_text("")
    with pytest.raises(StorageError, match=r"cannot remove .*a file/raw.jsonl: Not a directory"):
        prune([Removal("raw", "2026-01-05", place / "raw.jsonl", 1)], Registry(layout, verify_router))
