"""Fixtures of the gateway's tests: models, scorer and collector on real sockets, and gateways as processes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.scripted import Arrived, Script, ScriptedModel
from tests.gateway.world import Outside, RunningGateway


@pytest.fixture
def outside() -> Iterator[Outside]:
    """The models, scorer and collector that the gateways of a test talk to."""
    made = Outside()
    yield made
    made.server.close()


@pytest.fixture
def model() -> Iterator[Callable[[Callable[[Arrived], Script]], ScriptedModel]]:
    """Start further models with `model(script)`, each on a socket of its own."""
    made: list[ScriptedModel] = []

    def make(script: Callable[[Arrived], Script]) -> ScriptedModel:
        made.append(ScriptedModel(script))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., RunningGateway]]:
    """Start gateways with `start(config, environment=None)`; they are closed, and so checked, after the test."""
    running: list[RunningGateway] = []

    def begin(config: dict[str, Any], environment: dict[str, str] | None = None) -> RunningGateway:
        folder = tmp_path / f"gateway-{len(running)}"
        folder.mkdir()
        running.append(RunningGateway(folder, config, environment))
        return running[-1]

    yield begin
    for gateway in running:
        gateway.close()
