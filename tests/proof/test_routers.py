"""Routers in service."""

import threading
from pathlib import Path

import numpy as np
import pytest

from flywheel_core.errors import RouterError
from flywheel_core.lake.layout import Layout
from flywheel_core.learn.artefact import load_router
from flywheel_core.learn.registry import Registry
from flywheel_core.learn.route import RouterWatch
from tests.core.learn.small import publish_single
from tests.proof.conftest import Proof

MODELS = ("big", "math")


def promote(layout: Layout, version: str) -> None:
    Registry(layout, load_router).promote(version, kind="manual", by="tests", reason="", since=None)


@pytest.mark.proof(
    "A damaged router is refused while the old one serves on",
    "one bit flipped in a promoted router's files, at random places: the gateway's watch refuses each and keeps the "
    "champion before it; whole again, it is taken up",
)
def test_flipped_bits_while_another_router_serves(proof: Proof, tmp_path: Path) -> None:
    flips = proof.size(40, 4_000)
    layout = Layout(tmp_path)
    publish_single(layout, "old", "big", MODELS)
    folder = layout.router(publish_single(layout, "new", "math", MODELS))
    promote(layout, "old")
    ticks = iter(range(10**9))
    watch = RouterWatch(layout, load_router, clock=lambda: next(ticks) * 60.0)
    first = watch.poll()
    assert first is not None
    promote(layout, "new")
    files = sorted(folder.iterdir())
    draw = np.random.default_rng(5)
    for number in range(flips):
        path = files[number % len(files)]
        whole = path.read_bytes()
        flipped = bytearray(whole)
        bit = int(draw.integers(len(whole) * 8))
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        assert watch.poll() is None
        assert watch.refusal is not None
        path.write_bytes(whole)
    taken = watch.poll()
    assert taken is not None
    assert watch.refusal is None
    proof.note(flipped_bits=flips, refused=flips)


@pytest.mark.proof(
    "A promotion or rollback is one whole version or the other, at every moment",
    "two versions promoted and rolled back by turns while readers load the champion again and again",
)
def test_readers_during_promotions_and_rollbacks(proof: Proof, tmp_path: Path) -> None:
    swaps = proof.size(20, 500)
    layout = Layout(tmp_path)
    for version, best in (("one", "big"), ("two", "math")):
        publish_single(layout, version, best, MODELS)
    promote(layout, "one")
    over = threading.Event()
    read: list[str] = []
    failed: list[RouterError] = []

    def reader() -> None:
        registry = Registry(layout, load_router)
        while not over.is_set():
            champion = registry.champion()
            assert champion is not None
            try:
                read.append(load_router(layout.router(champion.version)).version)
            except RouterError as error:
                failed.append(error)

    threads = [threading.Thread(target=reader) for _ in range(2)]
    for thread in threads:
        thread.start()
    registry = Registry(layout, load_router)
    for _ in range(swaps):
        promote(layout, "two")
        registry.rollback(by="tests", reason="", since=None)
    over.set()
    for thread in threads:
        thread.join()
    assert not failed
    assert set(read) <= {"one", "two"}
    champion = registry.champion()
    assert champion is not None
    assert (champion.version, champion.sequence) == ("one", 1 + 2 * swaps)
    proof.note(swaps=2 * swaps, reads=len(read), reads_of_half_a_version=len(failed))
