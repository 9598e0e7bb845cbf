"""What the system refuses around routers is an error that names the file, with the code of its kind."""

from pathlib import Path

import pytest

from flywheel_core.config import Config
from flywheel_core.errors import DatasetError, RouterError, StorageError
from flywheel_core.lake.dataset import build_dataset
from flywheel_core.lake.layout import Layout
from flywheel_core.learn.champion import LOCK
from flywheel_core.learn.craft import evaluate_version, train_version
from flywheel_core.learn.nightly import judge_challenger
from flywheel_core.learn.route import RouterWatch
from tests.core.lake.lakes import CONFIG, DAY, build_day, point, write_raw
from tests.core.learn import toy
from tests.core.learn.folders import load, promote, registry
from tests.core.learn.small import publish_single


def test_a_pointer_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    found = registry(tmp_path, "a")
    promote(found, "a")
    found.pointer.unlink()
    found.pointer.mkdir()
    with pytest.raises(RouterError, match=r"champion.json cannot be read: Is a directory") as caught:
        found.champion()
    assert caught.value.code == "pointer_damaged"
    watch = RouterWatch(found.layout, load)
    assert watch.poll() is None
    assert watch.refusal is not None and watch.refusal.code == "pointer_damaged"


def test_a_log_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    found = registry(tmp_path, "a")
    found.log.mkdir(parents=True)
    for attempt in (found.history, lambda: promote(found, "a")):
        with pytest.raises(StorageError, match=rf"{found.log.name} cannot be read: Is a directory"):
            attempt()
    assert found.champion() is None


def test_without_its_lock_nothing_is_promoted(tmp_path: Path) -> None:
    found = registry(tmp_path, "a")
    (found.layout.routers / LOCK).mkdir()
    with pytest.raises(StorageError, match=rf"cannot write .*{LOCK}: Is a directory"):
        promote(found, "a")
    assert found.champion() is None


@pytest.mark.parametrize("refusal", [MemoryError("no room"), OSError("no room")], ids=["memory", "disk"])
def test_a_router_that_cannot_be_loaded_is_refused_and_the_old_one_serves_on(
    tmp_path: Path, refusal: Exception
) -> None:
    found = registry(tmp_path, "a", "b")
    promote(found, "a")

    def loaded(folder: Path) -> object:
        if folder.name == "b":
            raise refusal
        return load(folder)

    watch = RouterWatch(found.layout, loaded)
    assert watch.poll() is not None
    promote(found, "b", expected=1)
    assert watch.poll() is None
    assert watch.refusal is not None and "no room" in watch.refusal.message
    assert watch.in_force is not None and watch.in_force.champion.version == "a"


def test_without_a_champion_nothing_is_judged(tmp_path: Path) -> None:
    with pytest.raises(RouterError, match="there is no champion to judge against"):
        judge_challenger(Layout(tmp_path), "b", DAY, Config(), toy.CRAFT, by="tests")


def test_training_on_a_dataset_that_is_not_there_says_where_datasets_are(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no dataset 'gone'") as caught:
        train_version(Layout(tmp_path), "gone", Config())
    assert caught.value.hint and str(tmp_path) in caught.value.hint


def test_an_evaluation_without_a_test_question_is_empty(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_raw(layout, [point("a", {"big": 0.5, "coder": 0.25}, question="x" * 3)])
    build_day(layout)
    dataset = build_dataset(layout, DAY, CONFIG).version
    version = publish_single(layout, "single", "big", ["big", "coder"])
    assert evaluate_version(layout, version, dataset, CONFIG) == {}
    assert not layout.evaluation(version, "html").exists()
