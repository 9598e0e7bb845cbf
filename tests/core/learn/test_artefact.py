"""A router on disk loads as it was, has the same bytes each time, and is refused when one bit is wrong."""

import hashlib
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flywheel_core.errors import RouterError
from flywheel_core.lake.layout import Layout
from flywheel_core.learn.artefact import FILES, SUMS, load_router, publish_router, router_files, verify_router
from flywheel_core.learn.features import TextFeatures
from flywheel_core.learn.labels import train_labels
from flywheel_core.learn.router import Router
from flywheel_core.learn.settings import Learning
from tests.core.learn.questions import CATEGORIES, frame, train

QUICK = Learning(trees=10, dimensions=16, folds=2, jobs=1)
PROMPTS = frame(8, seed=4)["text"].to_list()


@pytest.fixture(scope="module")
def router() -> Router:
    return train(frame(300), QUICK, version="v1", categories=CATEGORIES).router


@pytest.fixture
def folder(router: Router, tmp_path: Path) -> Path:
    return publish_router(Layout(tmp_path), router, {"dataset": "d1"}, PROMPTS)


def test_a_loaded_router_decides_as_the_trained_one(router: Router, folder: Path) -> None:
    prompts = frame(50, seed=5)["text"].to_list()
    assert load_router(folder).decide_all(prompts) == router.decide_all(prompts)


def test_the_best_single_model_and_classifiers_come_back_too(tmp_path: Path) -> None:
    rows = frame(100)
    small = train(rows, QUICK, version="small", categories=CATEGORIES).router
    labels = train_labels(
        rows["text"].to_list(), rows["label"].to_list(), CATEGORIES, QUICK, version="labels"
    ).router
    scored = train(frame(250, seed=100), QUICK, version="scored", categories=CATEGORIES).router
    assert scored.by_label is not None
    for one in (small, labels, scored):
        again = load_router(publish_router(Layout(tmp_path), one, {}, PROMPTS))
        assert again.decide_all(PROMPTS) == one.decide_all(PROMPTS)


def test_the_same_examples_and_seed_give_the_same_bytes(router: Router) -> None:
    again = train(frame(300), QUICK, version="v1", categories=CATEGORIES).router
    assert router_files(again, {}, PROMPTS) == router_files(router, {}, PROMPTS)


def test_every_file_has_its_hash_in_the_sums_and_in_the_manifest(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {*FILES, SUMS}
    said = json.loads((folder / "router.json").read_bytes())["sha256"]
    for name in said:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == said[name]


def test_a_thousand_single_bit_flips_are_all_refused(folder: Path) -> None:
    random = np.random.default_rng(0)
    names = [*FILES, SUMS]
    for number in range(1_000):
        path = folder / names[number % len(names)]
        size = path.stat().st_size
        at, bit = int(random.integers(size)), 1 << int(random.integers(8))
        with path.open("r+b") as file:
            file.seek(at)
            old = file.read(1)
            file.seek(at)
            file.write(bytes([old[0] ^ bit]))
        with pytest.raises(RouterError):
            verify_router(folder)
        with path.open("r+b") as file:
            file.seek(at)
            file.write(old)
    verify_router(folder)


@pytest.mark.parametrize("name", [*FILES, SUMS])
def test_a_missing_or_cut_file_is_refused(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(RouterError, match="damaged"):
        load_router(folder)
    (folder / name).unlink()
    with pytest.raises(RouterError, match="not whole"):
        load_router(folder)


def test_a_router_whose_scores_differ_from_those_at_training_is_refused(folder: Path) -> None:
    canary = json.loads((folder / "canary.json").read_bytes())
    first = canary["decisions"][0]
    first["scores"] = {model: score + 0.01 for model, score in first["scores"].items()}
    _rewrite(folder, "canary.json", json.dumps(canary).encode())
    with pytest.raises(
        RouterError, match=r"canary prompt 0 as at its training: scores off by 0.01\n"
    ) as refused:
        load_router(folder)
    assert refused.value.code == "canary_failed"


def test_a_router_whose_choices_differ_from_those_at_training_is_refused(
    router: Router, folder: Path
) -> None:
    """This holds even where the scores that the canary expects are the same."""
    canary = json.loads((folder / "canary.json").read_bytes())
    first = canary["decisions"][-1]
    first["model"] = next(model for model in router.models if model != first["model"])
    _rewrite(folder, "canary.json", json.dumps(canary).encode())
    said = rf"canary prompt {len(canary['decisions']) - 1} .*, [\w-]+ instead of {first['model']}\n"
    with pytest.raises(RouterError, match=said) as refused:
        load_router(folder)
    assert refused.value.code == "canary_failed"


def test_parameters_with_objects_in_them_are_not_unpacked(folder: Path) -> None:
    with (folder / "parameters.npz").open("wb") as file:
        np.savez(file, means=np.array([{"an": "object"}], dtype=object))
    _rewrite(folder, "parameters.npz", (folder / "parameters.npz").read_bytes())
    with pytest.raises(RouterError, match="cannot be read"):
        load_router(folder)


NESTED = b"[" * 100_000 + b"]" * 100_000
HEADER = b"{'descr': '<f8', 'fortran_order': False, 'shape': (%b)}\n"


def _npz(header: bytes) -> bytes:
    """Return a parameters file with one array, of which only the header is there."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("means.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("router.json", NESTED),
        ("canary.json", b'{"decisions": %b}' % NESTED),
        ("canary.json", b'{"decisions": [1]}'),
        ("canary.json", b'{"decisions": [{"prompt": "x", "model": "m", "scores": [1]}]}'),
        ("canary.json", b'{"decisions": [{"prompt": "x", "model": "m", "scores": {"nobody": 1}}]}'),
        ("parameters.npz", b""),
        ("parameters.npz", _npz(HEADER % b"10000000000000000000000000000,")),
        ("parameters.npz", _npz(HEADER % (b"(" * 5_000))),
    ],
    ids=["nest", "canary nest", "number", "list", "model", "nothing", "huge", "torn header"],
)
def test_crafted_files_are_refused_whatever_is_in_them(folder: Path, name: str, content: bytes) -> None:
    _rewrite(folder, name, content)
    with pytest.raises(RouterError, match="cannot be read"):
        load_router(folder)


def test_arrays_of_other_shapes_are_refused(folder: Path) -> None:
    with np.load(folder / "parameters.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    packed = io.BytesIO()
    np.savez(packed, **{**arrays, "spreads": np.zeros((0, 2))})
    _rewrite(folder, "parameters.npz", packed.getvalue())
    with pytest.raises(RouterError, match="cannot be read"):
        load_router(folder)


def test_a_router_that_goes_by_the_name_of_another_is_refused(folder: Path) -> None:
    facts = json.loads((folder / "router.json").read_bytes())
    _rewrite(folder, "router.json", json.dumps({**facts, "version": "../elsewhere"}).encode())
    with pytest.raises(RouterError, match="elsewhere"):
        load_router(folder)


def test_a_router_of_the_format_before_still_serves(router: Router, tmp_path: Path) -> None:
    """It has no lengths to scale texts by, and was trained on texts that were not scaled."""
    assert router.features is not None
    arrays = {name: array for name, array in router.features.arrays().items() if name != "lengths"}
    earlier = replace(router, features=TextFeatures.from_arrays(arrays))
    assert earlier.decide_all(PROMPTS) != router.decide_all(PROMPTS)
    folder = publish_router(Layout(tmp_path), earlier, {}, PROMPTS)
    with np.load(folder / "parameters.npz") as packed:
        kept = {name: packed[name] for name in packed.files if name != "features.lengths"}
    parameters = io.BytesIO()
    np.savez(parameters, **kept)
    _rewrite(folder, "parameters.npz", parameters.getvalue())
    facts = json.loads((folder / "router.json").read_bytes())
    digest = hashlib.sha256(parameters.getvalue()).hexdigest()
    facts |= {"format": 2, "sha256": {**facts["sha256"], "parameters.npz": digest}}
    _rewrite(folder, "router.json", json.dumps(facts).encode())
    assert load_router(folder).decide_all(PROMPTS) == earlier.decide_all(PROMPTS)


def test_a_router_of_another_release_is_refused_with_a_hint(folder: Path) -> None:
    facts = json.loads((folder / "router.json").read_bytes())
    _rewrite(folder, "router.json", json.dumps({**facts, "format": 1}).encode())
    with pytest.raises(RouterError, match="has format 1, this release reads 2 and 3") as told:
        load_router(folder)
    assert "flywheel router promote VERSION" in str(told.value.hint)


def test_scores_that_are_no_numbers_are_not_those_of_the_training(folder: Path) -> None:
    canary = json.loads((folder / "canary.json").read_bytes())
    first = canary["decisions"][0]
    first["scores"] = dict.fromkeys(first["scores"], float("nan"))
    _rewrite(folder, "canary.json", json.dumps(canary).encode())
    with pytest.raises(RouterError, match="canary prompt 0"):
        load_router(folder)


def _rewrite(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    lines = [
        f"{hashlib.sha256((folder / file).read_bytes()).hexdigest()}  {file}\n" for file in sorted(FILES)
    ]
    (folder / SUMS).write_text("".join(lines))
