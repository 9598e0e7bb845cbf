"""Headers: which go on to the model, which reach the client, and what the gateway's own say."""

from collections.abc import Callable
from urllib.parse import unquote

import httpx
import pytest

from flywheel_core.collect.sampling import MARK_HEADER
from tests.gateway.scripted import completion, reply
from tests.gateway.world import Outside, RunningGateway, until

Start = Callable[..., RunningGateway]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/files"])
def test_neither_secrets_nor_the_headers_of_one_connection_go_on_to_the_model(
    outside: Outside, start: Start, path: str
) -> None:
    kept = {
        "api-key": "secret",
        "openai-organization": "org-of-the-client",
        "openai-project": "proj-of-the-client",
        "proxy-authorization": "Basic secret",
        "keep-alive": "timeout=7",
        "proxy-connection": "keep-alive",
        "te": "trailers",
        "trailer": "x-sum",
        "expect": "100-continue",
        "x-training-mode": "true",
        "x-first": "1",
        "x-second": "2",
    }
    gateway = start(outside.config(data_collection__enabled=False))
    named = {"connection": "x-first , X-Second", "x-third": "goes-on", MARK_HEADER: "gw-other"}
    gateway.post(path, {"messages": [{"role": "user", "content": "1 + 1?"}]}, kept | named)
    (asked,) = outside.server.requests
    assert asked.header("host") == outside.address.removeprefix("http://")
    assert asked.header("x-third") == "goes-on"
    assert [name for name in (*kept, "connection") if asked.header(name) is not None] == []
    assert [name.lower() for name, _ in asked.headers].count("content-length") == 1
    (mark,) = [value for name, value in asked.headers if name.lower() == MARK_HEADER]
    assert mark.startswith("gw-other,gw-")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/files"])
def test_a_model_cannot_speak_for_the_gateway_its_site_or_its_connections(
    outside: Outside, start: Start, path: str
) -> None:
    dropped = (
        ("Connection", "x-first"),
        ("X-First", "1"),
        ("Keep-Alive", "timeout=7"),
        ("Trailer", "x-sum"),
        ("Set-Cookie", "id=1; Path=/"),
        ("Alt-Svc", 'h3=":443"'),
        ("Strict-Transport-Security", "max-age=9"),
        ("OpenAI-Organization", "org-of-the-gateway"),
        ("OpenAI-Project", "proj-of-the-gateway"),
    )
    forged = (("X-Flywheel-Model", "forged"), ("X-Flywheel-Anything", "forged"), ("X-Other", "goes-on"))
    outside.chat = outside.other = lambda _: reply(
        completion("two"), "200 OK", "application/json", *dropped, *forged
    )
    gateway = start(outside.config(data_collection__enabled=False))
    answer = gateway.post(path, {"messages": [{"role": "user", "content": "1 + 1?"}]})
    assert answer.headers["x-other"] == "goes-on"
    assert "forged" not in answer.headers.values()
    assert [name for name, _ in dropped if name in answer.headers] == []


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/files"])
def test_a_header_of_a_model_that_http_cannot_carry_is_left_out(
    outside: Outside, start: Start, path: str
) -> None:
    """The model's own server sent it all the same; the answer that came with it is as good as any."""
    odd = (("X-Odd", "\x1b[2J\x01"), ("X-Tab", "a\tb"))
    outside.chat = outside.other = lambda _: reply(completion("two"), "200 OK", "application/json", *odd)
    gateway = start(outside.config(data_collection__enabled=False))
    answer = gateway.post(path, {"messages": [{"role": "user", "content": "1 + 1?"}]})
    assert answer.content == completion("two")
    assert "x-odd" not in answer.headers
    assert answer.headers["x-tab"] == "a\tb"


@pytest.mark.parametrize("name", ["模型-7b", "百度/文心一言 4.0", "50%/gpt-4.1 mini:free", "µ"])
def test_names_beyond_ascii_are_percent_encoded_in_headers(outside: Outside, start: Start, name: str) -> None:
    """Two names in Chinese stay two names, and `urllib.parse.unquote` gives each of them back."""
    config = outside.config(data_collection__enabled=False)
    config["models"][name] = {"category": "数学", "base_url": outside.address}
    headers = start(config).chat(model=name).headers
    asked = outside.asked()[0].header("x-higress-llm-model")
    assert asked == headers["x-flywheel-model"]
    assert (unquote(headers["x-flywheel-model"]), headers["x-flywheel-category"]) == (
        name,
        "%E6%95%B0%E5%AD%A6",
    )


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        (["br", "GZIP; q=0.5 , identity"], "GZIP; q=0.5, identity"),
        (["br, zstd"], "identity"),
        (["gzipped"], "identity"),
        ([], "identity"),
    ],
)
def test_a_model_is_asked_for_an_encoding_that_collection_can_read(
    outside: Outside, start: Start, sent: list[str], wanted: str
) -> None:
    gateway = start(outside.config(data_collection__enabled=False))
    with httpx.Client(base_url=gateway.address) as client:
        del client.headers["accept-encoding"]
        body = {"messages": [{"role": "user", "content": "1 + 1?"}]}
        headers = [("accept-encoding", value) for value in sent]
        assert client.post("/v1/chat/completions", json=body, headers=headers).status_code == 200
    assert outside.asked()[0].header("accept-encoding") == wanted


def test_a_request_that_goes_round_through_another_gateway_is_refused(outside: Outside, start: Start) -> None:
    one, two = start(outside.config()), start(outside.config())
    for gateway, next_one in ((one, two), (two, one)):
        port = int(gateway.address.rpartition(":")[2])
        math = {"category": "math", "base_url": next_one.address, "timeout": 2.0}
        config = outside.config(gateway__port=port, models__math=math, data_collection__enabled=False)
        gateway.write_config(config)
    taken = 'flywheel_gateway_reloads_total{result="taken"}'
    until(lambda: one.metric(taken) == two.metric(taken) == 1)
    answer = one.chat(model="math")
    assert (answer.status_code, answer.json()["error"]["code"]) == (508, "loop_detected")
    assert outside.asked() == []


def test_nothing_is_added_for_a_client_that_sends_few_headers(outside: Outside, start: Start) -> None:
    gateway = start(outside.config())
    with httpx.Client(base_url=gateway.address) as client:
        client.headers.clear()
        client.post("/v1/files", content=b"anything")
    (asked,) = outside.server.requests
    added = {"host", "content-length", "accept-encoding", "x-higress-llm-model", "x-ai-eg-model", MARK_HEADER}
    assert {name.lower() for name, _ in asked.headers} == added
