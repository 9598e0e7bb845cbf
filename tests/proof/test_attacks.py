"""Servers: requests that lie

Header floods, request smuggling, injection into paths, logs and metrics: at most one answer, and no other effect.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.collector.conftest import Process, body_of, point
from tests.collector.conftest import Start as StartCollector
from tests.gateway.world import Outside, RunningGateway
from tests.proof.conftest import Proof
from tests.proof.measure import MOST_GROWTH, exchange, memory_of, port_of

Start = Callable[..., RunningGateway]

HIDDEN = "smuggled-question"
"""The question in the request that is hidden behind another."""


def lies(path: bytes, hidden: bytes) -> dict[str, bytes]:
    """Return requests whose end two readers may see at different places, with the complete request `hidden` inside."""
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" % path
    short = b"0\r\n\r\n" + hidden
    return {
        "CL and TE": head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + short,
        "TE and CL": head + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + short,
        "two CLs": head + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}" + hidden,
        "two equal CLs": head + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}" + hidden,
        "a list of CLs": head + b"Content-Length: 2, 2\r\n\r\n{}" + hidden,
        "a signed CL": head + b"Content-Length: +2\r\n\r\n{}" + hidden,
        "a negative CL": head + b"Content-Length: -2\r\n\r\n{}" + hidden,
        "a CL in hex": head + b"Content-Length: 0x2\r\n\r\n{}" + hidden,
        "a CL that overflows": head + b"Content-Length: 18446744073709551618\r\n\r\n{}" + hidden,
        "an empty CL": head + b"Content-Length:\r\n\r\n{}" + hidden,
        "a CL with a vertical tab": head + b"Content-Length: \x0b2\r\n\r\n{}" + hidden,
        "TE identity": head + b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}" + hidden,
        "TE xchunked": head + b"Transfer-Encoding: xchunked\r\n\r\n" + short,
        "TE chunked, identity": head + b"Transfer-Encoding: chunked, identity\r\n\r\n" + short,
        "TE twice": head + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + short,
        "TE with a vertical tab": head + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + short,
        "TE with a NUL": head + b"Transfer-Encoding: chunked\x00\r\n\r\n" + short,
        "space before the colon": head + b"Content-Length : 2\r\n\r\n{}" + hidden,
        "obs-fold": head + b"X-A: b\r\n Content-Length: 2\r\n\r\n{}" + hidden,
        "obs-fold of TE": head + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + short,
        "bare LF": head.replace(b"\r\n", b"\n") + b"Content-Length: 2\n\n{}" + hidden,
        "bare CR": head + b"X-A: b\rContent-Length: 2\r\n\r\n{}" + hidden,
        "NUL in a header": head + b"X-A: \x00\r\nContent-Length: 2\r\n\r\n{}" + hidden,
        "a header without a colon": head + b"Content-Length 2\r\n\r\n{}" + hidden,
        "a header without a name": head + b": 2\r\nContent-Length: 2\r\n\r\n{}" + hidden,
        "a chunk size with a sign": head + b"Transfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n" + short,
        "a chunk size in 0x": head + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n" + short,
        "a chunk size that overflows": head + b"Transfer-Encoding: chunked\r\n\r\n10000000000000002\r\n{}\r\n" + short,
        "a chunk that is longer": head + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}}\r\n" + short,
        "a chunk with bare LF": head + b"Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n" + hidden,
        "a chunk extension with bare LF": head + b"Transfer-Encoding: chunked\r\n\r\n2;a\n{}\r\n" + short,
        "a chunk size with spaces": head + b"Transfer-Encoding: chunked\r\n\r\n2 2\r\n{}\r\n" + short,
        "HTTP/1.0 chunked": head.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n2\r\n??\r\n" + short,
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + hidden,
        "HTTP/0.9": b"POST %b\r\n\r\n" % path + hidden,
        "HTTP/9.9": head.replace(b"1.1", b"9.9") + b"Content-Length: 2\r\n\r\n{}" + hidden,
        "an upgrade": head + b"Connection: upgrade, close\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n" % len(hidden) + hidden,
        "a body for GET": b"GET /health HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 9\r\n\r\n" + hidden,
    }  # fmt: skip


def hidden_request(path: bytes, content: bytes) -> bytes:
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" % path
    return head + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(content) + content


def tell_lies(port: int, path: bytes, content: bytes) -> int:
    """Send each lie on a connection of its own; return their number.

    Each may get one answer at most, which must be a refusal, and then the connection must be closed. The hidden request
    is sent in a packet of its own, as a proxy would: in the same packet it might be dropped together with the lie.
    """
    hidden = hidden_request(path, content)
    told = lies(path, hidden)
    for name, sent in told.items():
        answer = exchange(port, sent.removesuffix(hidden), *([hidden] if sent.endswith(hidden) else []))
        assert len(re.findall(rb"HTTP/1\.1 \d", answer)) <= 1, f"{name}: {answer!r}"
        assert answer == b"" or answer.split(b" ")[1] in (b"400", b"431", b"501", b"505"), (
            f"{name}: {answer!r}"
        )
    return len(told)


@pytest.mark.proof(
    "No request is smuggled behind another",
    "lengths, encodings, chunks, folds and line ends that readers disagree on, with a whole request behind them",
)
def test_smuggling(proof: Proof, launch: StartCollector, outside: Outside, start: Start) -> None:
    collector = launch(header_timeout=2.0, body_timeout=2.0)
    gateway = start(outside.config(gateway__header_timeout=2.0, gateway__body_timeout=2.0))
    chat = json.dumps({"messages": [{"role": "user", "content": HIDDEN}]}).encode()
    told = tell_lies(collector.port, b"/collect", body_of(point(1, question=HIDDEN)))
    told += tell_lies(port_of(gateway.address), b"/v1/chat/completions", chat)
    assert collector.raw() == []
    assert outside.server.requests == []
    assert collector.collect(point(2)).status_code == gateway.chat().status_code == 200
    proof.note(requests_that_lie=told, requests_smuggled=0)


@pytest.mark.proof(
    "Header floods are cut off within bounded memory",
    "an endless header, headers, request line, trailer, trailers or chunk extension; many after one another at full size",
)
def test_header_floods(proof: Proof, launch: StartCollector, outside: Outside, start: Start) -> None:
    collector, gateway = launch(), start(outside.config())
    line = b"GET /health HTTP/1.1\r\nHost: x\r\n"
    chunk = line + b"Transfer-Encoding: chunked\r\n\r\n2"
    floods = [
        line + b"X-A: " + b"a" * 4_000_000,
        line + b"X-A: b\r\n" * 500_000,
        line + b"a" * 4_000_000,
        b"GET /" + b"a" * 4_000_000,
        b"A" * 4_000_000,
        line + b"\r\n".join(b"X-%d: b" % number for number in range(300_000)),
        chunk + b"\r\n{}\r\n0\r\n" + b"X-A: bc\r\n" * 4_000_000,
        chunk + b"\r\n{}\r\n0\r\nX-A: " + b"ab" * 16_000_000,
        chunk + b";x=" + b"ab" * 2_000_000,
    ]
    peak = 0.0
    for pid, port in (
        (collector.process.pid, collector.port),
        (gateway.process.pid, port_of(gateway.address)),
    ):
        with memory_of(pid) as growth:
            for flood in floods * proof.size(1, 20):
                answer = exchange(port, flood)
                # a request with a complete header may have its answer already, and then gets no second one
                expected = (b"200", b"431") if flood.startswith(chunk) else (b"400", b"431")
                assert answer == b"" or answer.split(b" ")[1] in expected, answer[:200]
                assert len(re.findall(rb"HTTP/1\.1 \d", answer)) <= 1
        peak = max(peak, growth.peak_mib)
        assert growth.peak <= MOST_GROWTH
    proof.note(floods=2 * len(floods) * proof.size(1, 20), memory_peak_MiB=peak)


PATHS = [
    "/../../etc/passwd", "/docs/../../../etc/passwd", "/docs/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/docs/..%2f..%2f..%2fetc%2fpasswd", "/docs/..%5c..%5cetc%5cpasswd", "//etc/passwd", "/docs//etc/passwd",
    "/%00", "/docs/%00", "/docs/swagger-ui.css%00.html", "/collect/../../x", "/collect%2f..%2fx", "/v1/../../x",
    "/%c0%ae%c0%ae/etc/passwd", "/docs/....//....//etc/passwd", "/\\..\\..\\etc\\passwd", "/health%0d%0aX-Forged:%20y",
]  # fmt: skip
FORGED = 'x"} 1\nflywheel_forged_total 7\r\n{"event": "forged", "level": "ERROR"}\n\x1b[2J\u2028'
"""A text that would forge a log line, a metric sample and a terminal command if it were written out unescaped."""


@pytest.mark.proof(
    "Nothing that is sent becomes a path, a line of a log or a metric of its own",
    "paths that climb; names, ids and keys with line ends, quotes, escapes and dots in every field that takes text",
)
def test_injection(
    proof: Proof, launch: StartCollector, outside: Outside, start: Start, tmp_path: Path
) -> None:
    collector = launch(tmp_path / "deep" / "er" / "data")
    gateway = start(outside.config())
    for port in (collector.port, port_of(gateway.address)):
        for path in PATHS:
            answer = exchange(port, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            assert answer.split(b" ")[1] in (b"400", b"404"), (path, answer)
            assert b"root:" not in answer and b"x-forged" not in answer.lower()
    tried = 2 * len(PATHS)
    for name in (FORGED, "../../../../outside", "/tmp/outside", "a/b", "..", "\u0000"):
        tried += _in_the_collectors_fields(collector, name) + _in_the_gateways_fields(gateway, name)
    _no_line_is_forged(collector.log.read_text(), collector.client.get("/metrics").text)
    _no_line_is_forged(gateway.log(), gateway.get("/metrics").text)
    assert gateway.decisions()
    assert not list(tmp_path.rglob("*outside*"))
    folders = {path.name for path in collector.data.iterdir()}
    assert folders <= {"raw", "rejected", "spool", "keys.json", "collector.lock", "locks"}, folders
    proof.note(requests=tried, lines_forged=0)


def _in_the_collectors_fields(collector: Process, name: str) -> int:
    """Send the text in every field of valid and invalid points, and, as far as they can hold it, in headers.

    Returns the number of requests.
    """
    bodies: list[Any] = [
        point(1, **{field: name})
        for field in ("id", "tenant", "user", "decision_id", "served_model", "mode", "prompt_rule", "source")
    ]
    bodies += [
        point(1, scores={name: 2.0}),
        point(1, responses={name: {"model": name, "answer": name, "error": name}}, scores={name: 0.5}),
        point(1, responses={name: name}),
        {name: name},
    ]
    for body in bodies:
        assert collector.collect(body).status_code in (200, 422)
    shown = name.encode("ascii", "backslashreplace").translate(None, b"\r\n\0\x1b")
    for header in (b"authorization", b"content-type", b"content-encoding", b"x-request-id"):
        answer = collector.client.post("/collect", content=b"{}", headers=[(header, shown)])
        assert answer.status_code < 500
    return len(bodies) + 4


def _in_the_gateways_fields(gateway: RunningGateway, name: str) -> int:
    """Send the text as model, user, role, prompt, answer, error, finish reason and id; return the number of requests."""
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/v1/chat/completions", {"model": name, "messages": [{"role": "user", "content": "q"}]}),
        ("/v1/chat/completions", {"user": name, "messages": [{"role": "user", "content": name}]}),
        ("/v1/chat/completions", {"messages": [{"role": name, "content": name}]}),
        ("/v1/route", {"prompt": name, "model": name}),
        (
            "/v1/observe",
            {"request": {"messages": [{"role": "user", "content": name}]}, "model": name, "answer": name},
        ),
        (
            "/v1/observe",
            {
                "request": {"messages": [{"role": "user", "content": "q"}]},
                "model": "big",
                "answer": name,
                "error": name,
                "finish_reason": name,
                "decision_id": name,
            },
        ),
    ]
    for path, body in bodies:
        assert gateway.post(path, body).status_code < 500
    return len(bodies)


def _no_line_is_forged(log: str, metrics: str) -> None:
    assert "Traceback" not in log
    assert "\x1b" not in log
    for line in log.split("\n"):
        if line:
            assert json.loads(line)["event"] != "forged"
    names = {family.name for family in text_string_to_metric_families(metrics)}
    assert names
    assert "flywheel_forged" not in names
