"""The gateway's own paths, however a client writes them, and the errors on paths that it does not have."""

import json
import re
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
import openai
import pytest

from tests.gateway.scripted import reply
from tests.gateway.world import Outside, RunningGateway, until

Start = Callable[..., RunningGateway]


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions/", "/v1//chat/completions", "/v1/chat//completions//"]
)
def test_extra_slashes_do_not_bypass_routing_and_collection(
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


def test_head_requests_for_models_are_answered(outside: Outside, start: Start) -> None:
    gateway = start(outside.config())
    for path in ("/v1/models", "/v1/models/", "/v1/models/big"):
        answer = httpx.head(gateway.address + path)
        assert (answer.status_code, answer.content) == (200, b"")
        assert int(answer.headers["content-length"]) == len(gateway.get(path).content)
    assert not outside.server.requests


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"NONSENSE\r\n\r\n", 400, "request_malformed"),
        (b"GET /v1/models HTTP/1.1\r\n" + b"X-A: b\r\n" * 300 + b"\r\n", 431, "headers_too_large"),
        (b"POST /v1/route HTTP/1.1\r\nContent-Length: 9\r\n\r\n{", 408, "body_timeout"),
    ],
)
def test_refusals_of_the_http_protocol_have_the_shape_of_an_api_error(
    outside: Outside, start: Start, sent: bytes, status: int, code: str
) -> None:
    gateway = start(outside.config(gateway__body_timeout=0.5))
    address = urlsplit(gateway.address)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(sent)
        head, _, body = b"".join(iter(lambda: connection.recv(65_536), b"")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["code"], error["type"]) == (code, "invalid_request_error")
    counted = re.findall(r'flywheel_gateway_requests_total{code="(.+)"} 1', gateway.get("/metrics").text)
    assert counted == [code]


def test_a_base_url_without_v1_gets_an_api_error_that_says_so(outside: Outside, start: Start) -> None:
    gateway = start(outside.config())
    with (
        openai.OpenAI(base_url=gateway.address, api_key="any", max_retries=0) as client,
        pytest.raises(openai.NotFoundError) as caught,
    ):
        client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "1 + 1?"}])
    assert (caught.value.code, caught.value.type) == ("not_found", "invalid_request_error")
    assert "/v1/" in caught.value.message
    wrong = gateway.post("/health", {})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
    assert set(wrong.headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert gateway.metric('flywheel_gateway_requests_total{code="not_found"}') == 1
