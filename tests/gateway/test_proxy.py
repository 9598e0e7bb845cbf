"""Requests to all other /v1 paths are passed on unchanged to the default model's address."""

import gzip
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.gateway.scripted import STREAM_HEAD, Arrived, Script, chunk, reply
from tests.gateway.world import Outside, RunningGateway

Start = Callable[..., RunningGateway]


def test_method_path_query_and_body_are_passed_on_unchanged(outside: Outside, start: Start) -> None:
    outside.other = lambda _: reply(b"\x00\x01made", "201 Created", "audio/wav", ("X-A", "1"), ("X-A", "2"))
    gateway = start(outside.config(models__big__api_key_env="BIG_KEY"), {"BIG_KEY": "own"})
    packed = gzip.compress(b"anything")
    answer = httpx.put(
        f"{gateway.address}/v1/audio/sp%C3%A9ech%2F1?x=1&y=%20z",
        content=packed,
        headers={
            "content-encoding": "gzip",
            "authorization": "Bearer clients",
            "accept-encoding": "br, zstd",
        },
    )
    assert (answer.status_code, answer.content) == (201, b"\x00\x01made")
    assert answer.headers.get_list("x-a") == ["1", "2"]
    asked = outside.server.requests[0]
    assert (asked.method, asked.path) == ("PUT", "/v1/audio/sp%C3%A9ech%2F1?x=1&y=%20z")
    assert asked.body == packed
    assert asked.header("content-encoding") == "gzip"
    assert asked.header("accept-encoding") == "br, zstd"
    assert asked.header("authorization") == "Bearer own"
    assert "x-flywheel-model" not in answer.headers


@pytest.mark.parametrize("path", ["/v1/files", "/v1/chat/completions", "/v1/observe", "/v1/models"])
@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}, {"host": "evil.example:8001"}],
    ids=["a page", "an image", "a name that leads here"],
)
def test_a_web_page_cannot_use_the_gateway_of_its_reader(
    outside: Outside, start: Start, path: str, headers: dict[str, str]
) -> None:
    gateway = start(outside.config())
    method = "GET" if path in ("/v1/files", "/v1/models") else "POST"
    answer = httpx.request(
        method, f"{gateway.address}{path}", content=b"{}" * (method == "POST"), headers=headers
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "page_refused")
    assert outside.server.requests == []


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS", "PATCH"])
def test_all_methods_are_passed_on(outside: Outside, start: Start, method: str) -> None:
    outside.other = lambda asked: reply(asked.method.encode())
    gateway = start(outside.config())
    assert httpx.request(method, f"{gateway.address}/v1/files/f").text == method


def test_head_has_no_body_and_does_not_wait_for_one(outside: Outside, start: Start) -> None:
    outside.other = lambda _: [b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\nX-Size: 500\r\n\r\n"]
    gateway = start(outside.config())
    for _ in range(2):
        answer = httpx.head(f"{gateway.address}/v1/files/f")
        assert (answer.status_code, answer.headers["x-size"], answer.content) == (200, "500", b"")


def test_an_answer_without_length_ends_with_its_connection(outside: Outside, start: Start) -> None:
    outside.other = lambda _: [b"HTTP/1.1 200 OK\r\n\r\nto the ", 0.05, b"end", b""]
    assert start(outside.config()).get("/v1/files/f").text == "to the end"


def test_an_interim_answer_is_not_the_answer(outside: Outside, start: Start) -> None:
    outside.other = lambda _: [b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", *reply(b"real")]
    assert start(outside.config()).get("/v1/files/f").text == "real"


def test_a_redirect_is_not_followed(outside: Outside, start: Start) -> None:
    outside.other = lambda _: reply(
        b"", "307 Temporary Redirect", "text/plain", ("Location", "/v1/elsewhere")
    )
    answer = start(outside.config()).get("/v1/files/f")
    assert answer.status_code == 502
    assert len(outside.server.requests) == 1


@pytest.mark.parametrize("status", ["401 Unauthorized", "402 Payment Required", "403 Forbidden"])
def test_what_a_model_says_of_the_gateways_key_does_not_reach_the_client(
    outside: Outside, start: Start, status: str
) -> None:
    """Such an answer often quotes the key, and a client would take it for an answer about its own."""
    outside.other = lambda asked: reply(f"no such key: {asked.header('authorization')}".encode(), status)
    config = outside.config(models__big__api_key_env="BIG_KEY")
    answer = start(config, {"BIG_KEY": "sk-of-the-gateway"}).get("/v1/files")
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_failed")
    assert answer.json()["error"]["message"] == f"big: http_status ({status[:3]})"


def test_what_a_client_has_already_is_not_sent_again(outside: Outside, start: Start) -> None:
    """304 Not Modified is the answer to a conditional request, and no redirect."""
    outside.other = lambda _: [b'HTTP/1.1 304 Not Modified\r\nETag: "one"\r\n\r\n']
    gateway = start(outside.config())
    condition = {"if-none-match": '"one"'}
    answer = httpx.get(f"{gateway.address}/v1/files/f", headers=condition)
    assert (answer.status_code, answer.headers["etag"], answer.content) == (304, '"one"', b"")
    assert outside.server.requests[0].header("if-none-match") == '"one"'
    assert gateway.get("/v1/files/f").status_code == 304


def test_the_length_that_an_unchanged_file_has_is_not_waited_for(outside: Outside, start: Start) -> None:
    """With 304 a server may send the Content-Length of the answer that it left out."""
    outside.other = lambda _: [b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\n\r\n"]
    gateway = start(outside.config())
    with httpx.Client(base_url=gateway.address) as client:
        answers = [client.get("/v1/files/f", headers={"if-none-match": '"one"'}) for _ in range(2)]
    assert [(answer.status_code, answer.content) for answer in answers] == [(304, b"")] * 2
    assert gateway.metric('flywheel_gateway_requests_total{code="ok"}') == 2


def test_the_path_of_a_models_address_is_put_in_front(outside: Outside, start: Start) -> None:
    outside.other = lambda asked: reply(asked.path.encode())
    gateway = start(outside.config(models__big__base_url=f"{outside.address}/deep/er"))
    assert gateway.get("/v1/files").text == "/deep/er/v1/files"


@pytest.mark.parametrize("path", ["/v1/../admin", "/v1/%2e%2e/admin", "/v1/x/.%2E/admin", "/v1/.\\../admin"])
def test_no_path_leads_out_of_v1(outside: Outside, start: Start, path: str) -> None:
    host, port = start(outside.config()).address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        got = b""
        while piece := client.recv(65_536):
            got += piece
    assert got.split(b" ")[1] in (b"404", b"400")
    assert not outside.server.requests


def test_a_stale_kept_connection_is_not_a_failure(outside: Outside, start: Start) -> None:
    """The model closes its connection after each answer without announcing it by `Connection: close`."""
    outside.other = lambda _: [*reply(b"again"), b""]
    gateway = start(outside.config())
    assert [gateway.get("/v1/files").text for _ in range(5)] == ["again"] * 5


def test_fault_01_connections_are_reused(outside: Outside, start: Start) -> None:
    """No request opens a connection of its own."""
    outside.other = lambda _: reply(b"again")
    gateway = start(outside.config(data_collection__enabled=False))
    for _ in range(10):
        assert gateway.get("/v1/files").text == "again"
        assert gateway.chat().status_code == 200
    assert outside.server.connections == 1


def test_an_answer_that_breaks_off_does_not_look_whole(outside: Outside, start: Start) -> None:
    outside.other = lambda _: [STREAM_HEAD, chunk(b"half"), 0.05, b""]
    gateway = start(outside.config())
    with pytest.raises(httpx.RemoteProtocolError):
        gateway.get("/v1/files")
    assert gateway.metric('flywheel_gateway_requests_total{code="answer_cut"}') == 1
    (logged,) = gateway.logged("answer_cut")
    assert (logged["model"], logged["reason"].partition(":")[0]) == ("big", "connection_lost")


def test_a_model_that_does_not_speak_http_is_a_failure(outside: Outside, start: Start) -> None:
    outside.other = lambda _: [b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b""]
    answer = start(outside.config()).get("/v1/files")
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "upstream_failed"


def test_a_status_that_http_does_not_have_is_a_failure(outside: Outside, start: Start) -> None:
    outside.other = lambda _: reply(b"{}", "999 Go Away")
    answer = start(outside.config()).get("/v1/files")
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "upstream_failed"


def test_an_endless_header_is_a_failure(outside: Outside, start: Start) -> None:
    outside.other = lambda _: [b"HTTP/1.1 200 OK\r\nX-Filler: ", *[b"x" * 8_000] * 20]
    assert start(outside.config()).get("/v1/files").status_code == 502


def test_a_large_request_is_passed_on_whole(outside: Outside, start: Start) -> None:
    outside.other = lambda asked: reply(str(len(asked.body)).encode())
    gateway = start(outside.config())
    assert gateway.post("/v1/files", b"x" * 5_000_000).text == "5000000"


def test_a_request_that_ends_its_connection_is_retried_only_once(outside: Outside, start: Start) -> None:
    """The request itself may be what crashes the other side: it must not be tried on every kept connection in turn."""
    together = threading.Barrier(5)

    def other(asked: Arrived) -> Script:
        if asked.body == b"deadly":
            return [b""]
        together.wait(30)
        return reply(b"kept")

    outside.other = other
    gateway = start(outside.config())
    with ThreadPoolExecutor(5) as clients:
        kept = list(clients.map(gateway.get, ["/v1/files"] * 5))
    assert [answer.text for answer in kept] == ["kept"] * 5
    assert gateway.post("/v1/files", b"deadly").status_code == 502
    deadly = [asked for asked in outside.server.requests if asked.body == b"deadly"]
    assert len(deadly) == 2, "on a kept connection, which may have been closed before, and on a new one"
