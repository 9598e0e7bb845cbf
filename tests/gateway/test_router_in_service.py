"""A running gateway follows the champion: promotions, rollbacks, damaged versions, under load and without a restart."""

import json
import threading
from collections.abc import Callable

import httpx
import pytest

from flywheel_core.lake.layout import Layout
from flywheel_core.learn.artefact import verify_router
from flywheel_core.learn.registry import Registry
from tests.core.learn.small import publish_single
from tests.gateway.world import Outside, RunningGateway, until

MODELS = ("big", "math", "code")
REQUESTS, CLIENTS = 10_000, 4


def quiet(outside: Outside) -> dict[str, object]:
    """Return a configuration without collection."""
    return outside.config(data_collection__enabled=False)


def registry_of(gateway: RunningGateway) -> Registry:
    layout = Layout(gateway.data)
    for version, model in (("to-math", "math"), ("to-code", "code")):
        publish_single(layout, version, model, MODELS)
    return Registry(layout, verify_router)


def promote(registry: Registry, version: str) -> None:
    registry.promote(version, kind="manual", by="tests", reason="", since=None)


def serving(gateway: RunningGateway) -> str | None:
    version: str | None = gateway.get("/ready").json()["router_version"]
    return version


def test_promotions_and_rollbacks_take_effect_without_a_restart(
    outside: Outside, start: Callable[..., RunningGateway]
) -> None:
    gateway = start(quiet(outside))
    before = gateway.chat()
    assert (before.headers["x-flywheel-router"], before.headers["x-flywheel-reason"]) == ("none", "no_router")
    assert gateway.metric("flywheel_gateway_router_promotion") == 0
    registry = registry_of(gateway)
    promote(registry, "to-math")
    until(lambda: serving(gateway) == "to-math")
    scores = gateway.post("/v1/route", {"prompt": "1 + 1?"}).json()["scores"]
    assert max(scores, key=scores.__getitem__) == "math"
    answer = gateway.chat()
    assert answer.headers["x-flywheel-router"] == "to-math"
    assert (answer.headers["x-flywheel-model"], answer.headers["x-flywheel-category"]) == ("math", "general")
    promote(registry, "to-code")
    until(lambda: serving(gateway) == "to-code")
    assert gateway.chat().headers["x-flywheel-model"] == "code", "the cached decision is the old router's"
    registry.rollback(by="tests", reason="", since=None)
    until(lambda: serving(gateway) == "to-math")
    assert gateway.chat().headers["x-flywheel-model"] == "math"
    assert gateway.metric("flywheel_gateway_routers_taken_up_total") == 3
    assert gateway.metric("flywheel_gateway_router_promotion") == 3


def test_a_gateway_that_starts_with_a_champion_routes_its_first_request(
    outside: Outside, start: Callable[..., RunningGateway]
) -> None:
    gateway = start(quiet(outside))
    promote(registry_of(gateway), "to-code")
    gateway.stop()
    gateway.start()
    assert gateway.chat().headers["x-flywheel-router"] == "to-code"


def test_a_damaged_version_is_refused_and_reported_while_the_old_one_serves(
    outside: Outside, start: Callable[..., RunningGateway]
) -> None:
    gateway = start(quiet(outside))
    registry = registry_of(gateway)
    promote(registry, "to-math")
    until(lambda: serving(gateway) == "to-math")
    parameters = gateway.data / "routers" / "to-code" / "parameters.npz"
    parameters.write_bytes(parameters.read_bytes()[:-1] + b"?")
    promote(Registry(Layout(gateway.data), lambda _: None), "to-code")
    refused = until(lambda: gateway.get("/ready").json()["router_refused"])
    assert (refused["router_version"], refused["code"]) == ("to-code", "router_damaged")
    assert "parameters.npz" in refused["message"]
    assert gateway.chat().headers["x-flywheel-model"] == "math"
    assert gateway.metric("flywheel_gateway_router_refused") == 1
    assert gateway.metric("flywheel_gateway_routers_refused_total") >= 1, (
        "it is tried again, and refused again"
    )
    assert '"event": "router_refused"' in gateway.log()
    registry.rollback(by="tests", reason="", since=None)
    until(lambda: gateway.get("/ready").json()["router_refused"] is None)
    assert gateway.metric("flywheel_gateway_router_refused") == 0


def test_a_reloaded_configuration_keeps_the_router(
    outside: Outside, start: Callable[..., RunningGateway]
) -> None:
    gateway = start(quiet(outside))
    promote(registry_of(gateway), "to-math")
    until(lambda: serving(gateway) == "to-math")
    gateway.write_config({**quiet(outside), "cache": {"enabled": False}})
    until(lambda: gateway.metric('flywheel_gateway_reloads_total{result="taken"}') == 1)
    assert gateway.chat().headers["x-flywheel-router"] == "to-math"


@pytest.mark.timeout(600)
def test_promotions_and_rollbacks_under_load_fail_no_request(
    outside: Outside, start: Callable[..., RunningGateway]
) -> None:
    gateway = start(quiet(outside))
    registry = registry_of(gateway)
    promote(registry, "to-math")
    until(lambda: serving(gateway) == "to-math")
    failed: list[str] = []
    chosen: set[tuple[str, str]] = set()
    done = threading.Event()

    def ask(client_number: int) -> None:
        with httpx.Client(base_url=gateway.address, timeout=60) as client:
            for number in range(REQUESTS // CLIENTS):
                body = {"prompt": f"question {client_number} {number}"}
                answer = client.post("/v1/route", content=json.dumps(body))
                if answer.status_code != 200 or answer.json()["reason"] != "best_single":
                    failed.append(answer.text)
                else:
                    chosen.add((answer.json()["router_version"], answer.json()["model"]))

    clients = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for client in clients:
        client.start()

    def swap() -> None:
        while not done.is_set():
            promote(registry, "to-code")
            done.wait(0.6)
            registry.rollback(by="tests", reason="", since=None)
            done.wait(0.6)

    swapper = threading.Thread(target=swap)
    swapper.start()
    for client in clients:
        client.join()
    done.set()
    swapper.join()
    assert not failed
    assert chosen == {("to-math", "math"), ("to-code", "code")}
    assert gateway.metric("flywheel_gateway_routers_refused_total") == 0
