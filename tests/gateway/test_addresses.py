"""The gateway's own addresses, however a client writes them, and what is said where there is none."""

from collections.abc import Callable

import httpx
import openai
import pytest

from tests.gateway.scripted import reply
from tests.gateway.world import Outside, RunningGateway, until

Start = Callable[..., RunningGateway]


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions/", "/v1//chat/completions", "/v1/chat//completions//"]
)
def test_slashes_too_many_do_not_lead_past_routing_and_collection(
    outside: Outside, start: Start, path: str
) -> None:
    gateway = start(outside.config())
    answer = gateway.post(path, {"model": "auto", "messages": [{"role": "user", "content": "1 + 1?"}]})
    assert answer.json()["choices"][0]["message"]["content"] == "I am big"
    assert answer.headers["x-flywheel-reason"] == "no_router"
    assert until(lambda: outside.points)[0]["served_model"] == "big"
    assert {asked.path for asked in outside.asked()} == {"/v1/chat/completions"}


def test_every_listed_model_can_be_looked_up(outside: Outside, start: Start) -> None:
    config = outside.config()
    for name in ("org/large", "/models/llama", "modèle"):
        config["models"][name] = {"base_url": outside.address}
    gateway = start(config)
    with openai.OpenAI(base_url=f"{gateway.address}/v1", api_key="any", max_retries=0) as client:
        listed = list(client.models.list())
        assert len(listed) == 7
        assert [client.models.retrieve(model.id) for model in listed] == listed
    assert not outside.server.requests


def test_a_model_that_is_not_listed_is_looked_up_at_the_default_models_address(
    outside: Outside, start: Start
) -> None:
    outside.other = lambda _: reply(b'{"id": "theirs"}')
    assert start(outside.config()).get("/v1/models/theirs").json() == {"id": "theirs"}
    assert outside.server.requests[0].path == "/v1/models/theirs"


def test_models_can_be_asked_for_their_headers_alone(outside: Outside, start: Start) -> None:
    gateway = start(outside.config())
    for path in ("/v1/models", "/v1/models/", "/v1/models/big"):
        answer = httpx.head(gateway.address + path)
        assert (answer.status_code, answer.content) == (200, b"")
        assert int(answer.headers["content-length"]) == len(gateway.get(path).content)
    assert not outside.server.requests
