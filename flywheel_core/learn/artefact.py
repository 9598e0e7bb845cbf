"""A router on disk: arrays and JSON. Nothing in it can execute code or is parsed before its hash is checked.

SHA256SUMS       the hash of every other file, in the format of `sha256sum --check`; checked first
router.json      version, dataset, models, policy, settings, figures, hashes
parameters.npz   every learned array
canary.json      prompts and the decisions on them, which a router must reproduce before it serves
"""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flywheel_core.errors import RouterError
from flywheel_core.lake.atomic import publish_folder, set_aside
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.order import note_version
from flywheel_core.learn.champion import MANIFEST
from flywheel_core.learn.ensemble import Ensemble
from flywheel_core.learn.features import TextFeatures
from flywheel_core.learn.linear import MultiRidge
from flywheel_core.learn.policy import Policy
from flywheel_core.learn.router import Router, state_arrays
from flywheel_core.learn.targets import restored

FORMAT = 3
READABLE = (2, FORMAT)
"""Formats that are read. In 2, latent vectors have the lengths that they come with."""
SUMS = "SHA256SUMS"
PARAMETERS = "parameters.npz"
CANARY = "canary.json"
FILES = (CANARY, PARAMETERS, MANIFEST)
CANARY_TOLERANCE = 1e-5
"""How far expected scores may differ on another machine, whose arithmetic rounds differently."""

_SUMS = re.compile("".join(rf"([0-9a-f]{{64}})  {re.escape(name)}\n" for name in sorted(FILES)))


def publish_router(layout: Layout, router: Router, facts: Mapping[str, Any], prompts: Sequence[str]) -> Path:
    """Write a router, the facts about it and its decisions on `prompts`; return its folder.

    A version that exists is left alone, unless it is not whole: then it is replaced, because no gateway takes
    it up and nothing else would ever repair it. Raises StorageError when the system refuses.
    """
    content = router_files(router, facts, prompts)
    folder = layout.router(router.version)
    if folder.exists() and not is_whole(folder):
        set_aside(folder)

    def fill(place: Path) -> None:
        for name, data in content.items():
            (place / name).write_bytes(data)

    note_version(layout.routers, router.version)
    publish_folder(folder, fill)
    return folder


def router_files(router: Router, facts: Mapping[str, Any], prompts: Sequence[str]) -> dict[str, bytes]:
    """Return all files of a router: name -> content. The same router gives the same bytes."""
    canary = [
        {"prompt": prompt, "model": decision.model, "scores": dict(decision.scores)}
        for prompt, decision in zip(prompts, router.decide_all(prompts), strict=True)
    ]
    content = {PARAMETERS: _packed(state_arrays(router)), CANARY: _json({"decisions": canary})}
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
    content[MANIFEST] = _json(
        {
            "format": FORMAT,
            "version": router.version,
            "models": list(router.models),
            "categories": list(router.categories),
            "labels": list(router.labels),
            "policy": router.policy.to_json(),
            **facts,
            "sha256": hashes,
        }
    )
    hashes[MANIFEST] = hashlib.sha256(content[MANIFEST]).hexdigest()
    content[SUMS] = "".join(f"{hashes[name]}  {name}\n" for name in sorted(FILES)).encode()
    return content


def verify_router(folder: Path) -> dict[str, bytes]:
    """Return the files of a router, after checking that each has its hash in SHA256SUMS.

    Raises RouterError unless all are there and whole.
    """
    try:
        matched = _SUMS.fullmatch((folder / SUMS).read_bytes().decode("ascii", "replace"))
        content = {name: (folder / name).read_bytes() for name in FILES}
    except OSError as error:
        raise RouterError(
            f"router {folder.name} is not whole: {folder / str(error.filename or '')}: {error.strerror}",
            hint="train it again, or put another one into service: flywheel router promote VERSION",
            code="router_damaged",
        ) from None
    if matched is None:
        raise RouterError(f"{folder / SUMS} is damaged", code="router_damaged")
    for name, said in zip(sorted(FILES), matched.groups(), strict=True):
        found = hashlib.sha256(content[name]).hexdigest()
        if found != said:
            raise RouterError(
                f"{folder / name} is damaged: its SHA-256 is {found}, {SUMS} says {said}",
                hint="train it again, or put another one into service: flywheel router promote VERSION",
                code="router_damaged",
            )
    return content


def is_whole(folder: Path) -> bool:
    """Whether every file of a router is there with its hash in SHA256SUMS."""
    try:
        verify_router(folder)
    except RouterError:
        return False
    return True


def load_router(folder: Path) -> Router:
    """Return the router in a folder, after checking its hashes and its canary decisions.

    Raises RouterError when a file is missing or damaged, the format is another release's, or the router does
    not answer as it did at training.
    """
    content = verify_router(folder)
    try:
        facts = json.loads(content[MANIFEST])
        if facts["format"] not in READABLE:
            raise RouterError(
                f"router {folder.name} has format {facts['format']}, this release reads {' and '.join(map(str, READABLE))}",
                hint="put one of this release into service: flywheel train --no-judge, then flywheel router promote VERSION",
            )
        if facts["version"] != folder.name:
            raise RouterError(
                f"router {folder.name} says that it is {facts['version']!r}", code="router_damaged"
            )
        router = _assembled(facts, _unpacked(content[PARAMETERS]))
        _answer_as_before(router, json.loads(content[CANARY])["decisions"])
    except (RouterError, MemoryError):
        raise
    # Hashes only prove that the files are as they were written; reading them may still raise anything.
    except Exception as error:
        raise RouterError(f"router {folder.name} cannot be read: {error!r}", code="router_damaged") from error
    return router


def _assembled(facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Router:
    parts: dict[str, dict[str, NDArray[Any]]] = {}
    for name, array in arrays.items():
        group, _, rest = name.partition(".")
        parts.setdefault(group, {})[rest] = array
    features = parts.get("features")
    ensemble = parts.get("ensemble")
    classifier = parts.get("classifier")
    return Router(
        version=facts["version"],
        models=tuple(facts["models"]),
        categories=tuple(facts["categories"]),
        policy=Policy.from_json(facts["policy"]),
        means=arrays["means"],
        spreads=arrays["spreads"],
        counts=arrays["counts"],
        features=TextFeatures.from_arrays(features) if features else None,
        ensemble=Ensemble.from_arrays(ensemble) if ensemble else None,
        classifier=restored(MultiRidge, ("coef_", "intercept_"), classifier) if classifier else None,
        labels=tuple(facts["labels"]),
        by_label=arrays.get("by_label"),
    )


def _answer_as_before(router: Router, canary: Sequence[Mapping[str, Any]]) -> None:
    decisions = router.decide_all([one["prompt"] for one in canary])
    for number, (was, now) in enumerate(zip(canary, decisions, strict=True)):
        off = max((abs(now.scores[model] - score) for model, score in was["scores"].items()), default=0.0)
        if now.model != was["model"] or not off <= CANARY_TOLERANCE:  # NaN fails too
            other = "" if now.model == was["model"] else f", {now.model} instead of {was['model']}"
            raise RouterError(
                f"router {router.version} does not answer canary prompt {number} as at its training: scores off by {off:.2g}{other}",
                hint="train it again, or put another one into service: flywheel router promote VERSION",
                code="canary_failed",
            )


def _packed(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return an .npz archive whose bytes depend on the arrays alone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            array = io.BytesIO()
            np.lib.format.write_array(array, np.asarray(arrays[name], order="C"), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), array.getvalue())
    return buffer.getvalue()


def _unpacked(data: bytes) -> dict[str, NDArray[Any]]:
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False) + "\n").encode(
        "utf-8", "surrogatepass"
    )
