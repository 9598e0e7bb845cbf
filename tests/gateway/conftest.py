"""Fixtures of the gateway's tests: its surroundings on a real socket, and gateways as processes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.scripted import Arrived, Script, ScriptedModel
from tests.gateway.world import Outside, RunningGateway


@pytest.fixture
def outside() -> Iterator[Outside]:
    """Models, scorer and collector."""
    made = Outside()
    yield made
    made.server.close()


@pytest.fixture
def model() -> Iterator[Callable[[Callable[[Arrived], Script]], ScriptedModel]]:
    """Makes further models, each on its own socket."""
    made: list[ScriptedModel] = []

    def make(script: Callable[[Arrived], Script]) -> ScriptedModel:
        made.append(ScriptedModel(script))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., RunningGateway]]:
    """Starts a gateway: `start(config, environment=None)`."""
    running: list[RunningGateway] = []

    def begin(config: dict[str, Any], environment: dict[str, str] | None = None) -> RunningGateway:
        folder = tmp_path / f"gateway-{len(running)}"
        folder.mkdir()
        running.append(RunningGateway(folder, config, environment))
        return running[-1]

    yield begin
    for gateway in running:
        gateway.close()
