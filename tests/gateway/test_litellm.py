"""The callback in the real LiteLLM proxy: requests for `auto` are routed, answers are collected.

LiteLLM is installed into a virtual environment of its own, which takes some minutes the first time.
"""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from benchmarks.litellm import environment
from flywheel_gateway.integrations import __file__ as integrations
from tests.gateway.scripted import (
    DONE,
    STREAM_END,
    STREAM_HEAD,
    Arrived,
    Script,
    chunk,
    completion,
    event,
    reply,
)
from tests.gateway.world import Outside, RunningGateway, until

KEY = "sk-1234567890abcdef"

pytestmark = pytest.mark.timeout(1_800)

WIRING = """
from litellm_callback import FlywheelCallback

flywheel = FlywheelCallback("{address}", fallback="big")
"""


class LiteLLMProxy:
    """A LiteLLM proxy with Flywheel's callback, on a free port and with three models behind it."""

    def __init__(self, folder: Path, outside: Outside, gateway: str) -> None:
        shutil.copy(Path(integrations).with_name("litellm_callback.py"), folder)
        (folder / "wiring.py").write_text(WIRING.format(address=gateway), encoding="utf-8")
        models = [
            {
                "model_name": name,
                "litellm_params": {
                    "model": f"openai/{name}",
                    "api_base": f"{outside.address}/v1",
                    "api_key": "x",
                },
            }
            for name in ("big", "math", "code")
        ]
        cache = {"type": "local", "mode": "default_off"}
        settings = {
            "callbacks": "wiring.flywheel",
            "telemetry": False,
            "cache": True,
            "cache_params": cache,
        }
        config = {"model_list": models, "litellm_settings": settings}
        (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        self.log = folder / "litellm.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    str(environment() / "bin" / "litellm"),
                    *("--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port)),
                ],
                cwd=folder,
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "LITELLM_MASTER_KEY": KEY,
                    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                },
            )

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return httpx.get(f"{self.address}/health/liveliness", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def chat(self, model: str, headers: dict[str, str] | None = None, **further: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "1 + 1?"}], **further}
        sent = {"authorization": f"Bearer {KEY}", **(headers or {})}
        return httpx.post(f"{self.address}/v1/chat/completions", json=body, headers=sent, timeout=60)


@pytest.fixture(scope="module")
def outside_here() -> Iterator[Outside]:
    made = Outside()

    def chat(asked: Arrived) -> Script:
        if asked.json.get("stream"):
            yield (
                STREAM_HEAD + chunk(event("two")) + chunk(event(" it is")) + chunk(event(None, "stop") + DONE)
            )
            yield STREAM_END
        else:
            yield from reply(completion(f"I am {asked.json['model']}"))

    made.chat = chat
    yield made
    made.server.close()


@pytest.fixture(scope="module")
def gateway(outside_here: Outside, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    config = outside_here.config(routing__default_model="math")
    running = RunningGateway(tmp_path_factory.mktemp("gateway"), config)
    yield running
    running.close()


@pytest.fixture(scope="module")
def proxy(
    outside_here: Outside, gateway: RunningGateway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiteLLMProxy]:
    running = LiteLLMProxy(tmp_path_factory.mktemp("litellm"), outside_here, gateway.address)
    try:
        until(running.answers, 240)
        yield running
    finally:
        running.process.terminate()
        running.process.wait(60)


@pytest.fixture
def collected(outside_here: Outside) -> Callable[[], dict[str, Any]]:
    """A function that waits for the only data point collected since the test began, and returns it."""
    outside_here.points.clear()

    def one() -> dict[str, Any]:
        (point,) = until(lambda: outside_here.points)
        return dict(point)

    return one


def test_auto_is_routed_and_the_answer_is_collected(
    proxy: LiteLLMProxy, gateway: RunningGateway, collected: Callable[[], dict[str, Any]]
) -> None:
    answer = proxy.chat("auto", temperature=0.3)
    assert answer.status_code == 200, answer.text + proxy.log.read_text()
    assert answer.json()["choices"][0]["message"]["content"] == "I am math"
    point = collected()
    assert point["served_model"] == "math"
    assert point["responses"]["math"]["answer"] == "I am math"
    assert point["responses"]["big"]["answer"] == "I am big"
    assert point["responses"]["math"]["usage"]["total_tokens"] == 30
    assert point["classification"]["reason"] == "no_router"
    routed = until(gateway.decisions)
    assert point["decision_id"] in {decision["decision_id"] for decision in routed}


def test_a_named_model_is_left_alone_and_collected(
    proxy: LiteLLMProxy, collected: Callable[[], dict[str, Any]]
) -> None:
    assert proxy.chat("code").json()["choices"][0]["message"]["content"] == "I am code"
    point = collected()
    assert point["served_model"] == "code"
    assert point["classification"]["reason"] == "requested"


def test_a_streamed_answer_is_collected_whole(
    proxy: LiteLLMProxy, collected: Callable[[], dict[str, Any]]
) -> None:
    answer = proxy.chat("big", stream=True)
    words = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    assert "".join(word["choices"][0]["delta"].get("content") or "" for word in words) == "two it is"
    assert collected()["responses"]["big"]["answer"] == "two it is"


def test_the_cost_of_a_routed_stream_is_unknown_without_token_counts(
    proxy: LiteLLMProxy, collected: Callable[[], dict[str, Any]]
) -> None:
    """LiteLLM reports zeros then; taken at their word, each such answer would be the cheapest."""
    assert proxy.chat("auto", stream=True).status_code == 200
    response = collected()["responses"]["math"]
    assert (response["answer"], response["cost"]) == ("two it is", None)


def test_an_answer_from_litellms_cache_is_not_collected(proxy: LiteLLMProxy, outside_here: Outside) -> None:
    """No model was asked: reported, it would make one look as fast as the cache, and have the others asked again."""
    outside_here.points.clear()
    for _ in range(3):
        assert proxy.chat("code", cache={"use-cache": True}).status_code == 200
    assert proxy.chat("big").status_code == 200
    until(lambda: "big" in [point["served_model"] for point in outside_here.points])
    assert sorted(point["served_model"] for point in outside_here.points) == ["big", "code"]


def test_a_clients_headers_for_collection_are_passed_on(
    proxy: LiteLLMProxy, collected: Callable[[], dict[str, Any]]
) -> None:
    """X-Training-Mode asks for collection through LiteLLM as it does at the gateway itself."""
    proxy.chat("code", headers={"X-Training-Mode": "true", "X-Request-Id": "of-the-client"})
    assert collected()["mode"] == "header"


def test_flywheels_own_calls_are_not_collected_again(
    proxy: LiteLLMProxy, gateway: RunningGateway, collected: Callable[[], dict[str, Any]]
) -> None:
    assert proxy.chat("big", headers={"x-flywheel-collect": "1"}).status_code == 200
    assert proxy.chat("code").status_code == 200
    assert collected()["served_model"] == "code"


def test_without_the_gateway_the_fallback_answers(
    proxy: LiteLLMProxy, gateway: RunningGateway, outside_here: Outside
) -> None:
    gateway.stop()
    answer = proxy.chat("auto")
    assert answer.json()["choices"][0]["message"]["content"] == "I am big"
    assert "Flywheel did not answer /v1/route" in proxy.log.read_text()
    gateway.start()


ASKING = """
import asyncio, json, sys
from litellm_callback import FlywheelCallback

async def main():
    for address in sys.argv[1:]:
        asking = FlywheelCallback(address, fallback="big")
        body = {"model": "auto", "messages": [{"role": "user", "content": "1 + 1?"}]}
        print((await asking.async_pre_call_hook(None, None, body, "acompletion"))["model"])

asyncio.run(main())
"""


def test_an_address_of_another_service_fails_no_request(outside: Outside) -> None:
    """One that answers with other JSON than the gateway, and one that is no address."""
    answers = [b"[]", b'"ok"', b"null", b'{"model": null}', b'{"model": 7}', b'{"model": "math"}']
    left = iter(answers)
    outside.other = lambda _: reply(next(left))
    addresses = [outside.address] * len(answers) + ["http://127.0.0.1:port"]
    done = subprocess.run(
        [environment() / "bin" / "python", "-c", ASKING, *addresses],
        cwd=Path(integrations).parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [*["big"] * 5, "math", "big"]
