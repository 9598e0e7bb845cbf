"""Damaged artefacts never come into service, and the same dataset and settings give the same router."""

from pathlib import Path

import numpy as np
import pytest

from flywheel_core.errors import RouterError
from flywheel_core.lake.layout import Layout
from flywheel_core.learn.artefact import load_router
from flywheel_core.learn.champion import MANIFEST
from flywheel_core.learn.craft import best_single_version, train_labels_version
from flywheel_core.learn.registry import Registry
from flywheel_core.learn.route import RouterWatch
from flywheel_core.learn.settings import Learning
from tests.core.learn import toy
from tests.core.learn.small import publish_single


def test_a_thousand_single_bit_flips_are_all_refused(tmp_path: Path) -> None:
    """Bits are flipped all over every file, including its first and its last."""
    layout = Layout(tmp_path)
    folder = layout.router(publish_single(layout, "a", "big", ("big", "math")))
    Registry(layout, load_router).promote("a", kind="manual", by="tests", reason="", since=None)
    files = sorted(folder.iterdir())
    assert len(files) == 4
    random = np.random.default_rng(1)
    for path in files:
        whole = bytearray(path.read_bytes())
        last = len(whole) * 8 - 1
        for bit in [0, last, *random.integers(0, last + 1, 248).tolist()]:
            flipped = whole.copy()
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            with pytest.raises(RouterError):
                load_router(folder)
        watch = RouterWatch(layout, load_router)
        assert watch.poll() is None
        assert watch.refusal is not None
        path.write_bytes(whole)
    assert load_router(folder).version == "a"


def test_a_version_of_a_dataset_and_settings_is_the_same_again(tmp_path: Path) -> None:
    layout, config = Layout(tmp_path), toy.config(tmp_path)
    dataset = toy.make_day(layout, config, toy.FIRST, 60)
    version = best_single_version(layout, dataset, config)
    before = {path.name: path.read_bytes() for path in layout.router(version).iterdir()}
    for path in layout.router(version).iterdir():
        path.unlink()
    layout.router(version).rmdir()
    assert best_single_version(layout, dataset, config) == version
    assert {path.name: path.read_bytes() for path in layout.router(version).iterdir()} == before
    dearer = config.model_copy(update={"learning": Learning(lambda_cost=1.0)})
    assert best_single_version(layout, dataset, dearer) != version
    assert (layout.router(version) / MANIFEST).is_file()


def test_another_order_of_the_models_is_another_router_of_labels(tmp_path: Path) -> None:
    """The first model of a category stands for it.

    So training with another order must not reuse a version that stands on another model.
    """
    layout, config = Layout(tmp_path), toy.config(tmp_path)
    dataset = toy.make_day(layout, config, toy.FIRST, 60)
    code = config.models["coder"]
    asked = []
    for coders in (("coder", "coder-2"), ("coder-2", "coder")):
        models = {"all-round": config.models["all-round"], **dict.fromkeys(coders, code)}
        declared = config.data_collection.training.model_copy(update={"candidate_models": list(models)})
        collection = config.data_collection.model_copy(update={"training": declared})
        ordered = config.model_copy(update={"models": models, "data_collection": collection})
        router = load_router(layout.router(train_labels_version(layout, dataset, ordered)))
        asked.append(router.models[router.categories.index("code")])
    assert asked == ["coder", "coder-2"]


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("name", ["parameters.npz", "router.json"])
def test_a_damaged_version_is_whole_again_when_it_is_trained_again(
    tmp_path: Path, name: str, gone: bool
) -> None:
    layout, config = Layout(tmp_path), toy.config(tmp_path)
    dataset = toy.make_day(layout, config, toy.FIRST, 60)
    version = best_single_version(layout, dataset, config)
    damaged = layout.router(version) / name
    before = damaged.read_bytes()
    if gone:
        damaged.unlink()
    else:
        damaged.write_bytes(before[:100])
    assert best_single_version(layout, dataset, config) == version
    assert damaged.read_bytes() == before
    assert load_router(layout.router(version)).version == version
