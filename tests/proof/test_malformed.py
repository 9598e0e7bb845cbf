"""Servers: malformed bodies and bombs

Whatever is no data point or no question is refused with a code: nothing is stored, no model asked, memory is bounded.
"""

import functools
import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flywheel_core.errors import REQUEST_CODES
from tests.collector.conftest import Start as StartCollector
from tests.collector.conftest import body_of, point
from tests.gateway.world import Outside, RunningGateway
from tests.proof.conftest import Proof
from tests.proof.measure import MOST_GROWTH, memory_of

GOOD = body_of(point(1))


CHAT = json.dumps({"messages": [{"role": "user", "content": "1 + 1?"}]}).encode()


WRONG_FIELDS: dict[str, list[Any]] = {
    "question": [None, 5, True, "", " \t", ["x"], {}, "q" * 65_537],
    "responses": [5, "x", ["x"], True, {"m": 5}, {"m": {"answer": 5}}, {"m": {"latency_ms": "x"}}],
    "scores": [5, "x", ["x"], {"m": 2.0}, {"m": True}, {"m": "0.9"}, {"m": float("nan")}, {"m": -0.5}],
    "timestamp": ["x", True, -5, 1e300, [], {}],
    "id": [5, "x" * 129, {}, []],
}


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


SPOILERS = st.sampled_from([b"\x00", b"\x1f", b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\\u12", b'"'])


Sent = tuple[bytes, dict[str, str]]


def broken(good: bytes) -> st.SearchStrategy[bytes]:
    """Bodies that are not JSON. Hypothesis also draws constants of the program; data points among them are left out."""
    places = st.integers(0, len(good) - 1)
    spoilt = st.tuples(places, SPOILERS).map(lambda at: good[: at[0]] + at[1] + good[at[0] :])
    return (
        places.map(lambda length: good[:length])
        | spoilt.filter(_is_no_json)
        | st.sampled_from([b"x", b"{}", b",", b"]", b"\x00", b"\xef\xbb\xbf"]).map(lambda tail: good + tail)
        | st.binary(max_size=300).filter(lambda text: b"question" not in text and _is_no_json(text))
    )


def _is_no_json(text: bytes) -> bool:
    if (
        b"question" in text
    ):  # Hypothesis also draws constants of the program, and the collector accepts a whole point in a broken body
        return False
    try:
        json.loads(text.decode())
    except ValueError:
        return True
    return False


def _folded(key: str) -> str:
    """Return a field name in a form that its CamelCase, camelCase and snake_case spellings share."""
    return key.replace("_", "").lower()


@st.composite
def wrong_points(draw: st.DrawFn) -> bytes:
    """A batch of one data point with one invalid field."""
    name = draw(st.sampled_from(sorted(WRONG_FIELDS)))
    return body_of(point(1, **{name: draw(st.sampled_from(WRONG_FIELDS[name]))}))


wrong_shapes = ANYTHING.filter(
    lambda value: not (isinstance(value, dict) and any("datapoints" in _folded(key) for key in value))
)


batches = (
    broken(GOOD)
    | wrong_points()
    | wrong_shapes.map(lambda value: json.dumps(value).encode())
    | wrong_shapes.map(lambda value: body_of(value))
    | wrong_shapes.filter(lambda value: value is not None and not isinstance(value, list)).map(
        lambda value: json.dumps({"data_points": value}).encode()
    )
)


@st.composite
def sent(draw: st.DrawFn, bodies: st.SearchStrategy[bytes]) -> Sent:
    """A malformed body as it is, gzipped, gzipped and cut off, or declared as gzip or br although it is neither."""
    body = draw(bodies)
    how = draw(st.sampled_from(["plain"] * 6 + ["packed", "cut", "not packed", "unknown"]))
    headers = {"content-type": "application/json"}
    if how == "plain":
        return body, headers
    if how == "packed":
        return gzip.compress(body), {**headers, "content-encoding": "gzip"}
    if how == "cut":
        return gzip.compress(body)[: draw(st.integers(0, 20))], {**headers, "content-encoding": "gzip"}
    return body, {**headers, "content-encoding": "gzip" if how == "not packed" else "br"}


def run(
    proof: Proof, most: int, bodies: st.SearchStrategy[bytes], check: Callable[[bytes, dict[str, str]], None]
) -> int:
    """Check at most `most` bodies, fewer in the short form, and return how many were checked."""
    tried = 0

    @given(sent(bodies))
    @settings(
        max_examples=proof.size(250, most),
        deadline=None,
        derandomize=not proof.full,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def one(request: Sent) -> None:
        nonlocal tried
        tried += 1
        check(*request)

    one()
    return tried


@pytest.mark.proof(
    "A malformed batch is refused with a code and stored nowhere",
    "bodies by Hypothesis: cut, spoilt, packed wrongly, of wrong shapes and fields; memory may grow by 64 MiB",
)
def test_malformed_batches(proof: Proof, launch: StartCollector) -> None:
    collector = launch()
    for _ in range(100):
        collector.collect(content=GOOD[:-1])

    def check(body: bytes, headers: dict[str, str]) -> None:
        answer = collector.client.post("/collect", content=body, headers=headers)
        assert answer.status_code in (400, 415, 422), answer.text
        assert REQUEST_CODES[answer.json()["code"]][0] == answer.status_code

    with memory_of(collector.process.pid) as growth:
        tried = run(proof, 10_000, batches, check)
    assert collector.raw() == []
    assert growth.peak <= MOST_GROWTH
    assert "Traceback" not in collector.log.read_text()
    proof.note(bodies=tried, server_errors=0, points_stored=0, memory_growth_MiB=growth.peak_mib)


@pytest.mark.proof(
    "A malformed question is refused with a code and reaches no model",
    "bodies by Hypothesis to completions, routing and observation; memory may grow by 64 MiB",
)
def test_malformed_questions(proof: Proof, outside: Outside, start: Callable[..., RunningGateway]) -> None:
    gateway = start(outside.config())
    observed = json.dumps({"request": json.loads(CHAT), "model": "big", "answer": "2"}).encode()
    no_objects = ANYTHING.filter(lambda value: not isinstance(value, dict)).map(
        lambda value: json.dumps(value, allow_nan=True).encode()
    )
    empty = ANYTHING.filter(
        lambda value: (
            not isinstance(value, dict) or not {"prompt", "messages", "input", "request"} & set(value)
        )
    ).map(lambda value: json.dumps(value).encode())
    tried = 0
    with (
        httpx.Client(base_url=gateway.address, timeout=30) as client,
        memory_of(gateway.process.pid) as growth,
    ):

        def check_at(path: str) -> Callable[[bytes, dict[str, str]], None]:
            def check(body: bytes, headers: dict[str, str]) -> None:
                answer = client.post(path, content=body, headers=headers)
                assert answer.status_code in (400, 415), (path, body, answer.text)
                assert REQUEST_CODES[answer.json()["error"]["code"]][0] == answer.status_code

            return check

        tried += run(proof, 3_400, broken(CHAT) | no_objects, check_at("/v1/chat/completions"))
        tried += run(proof, 3_400, broken(CHAT) | empty, check_at("/v1/route"))
        tried += run(proof, 3_400, broken(observed) | empty, check_at("/v1/observe"))
    assert outside.server.requests == []
    assert growth.peak <= MOST_GROWTH
    proof.note(bodies=tried, server_errors=0, models_asked=0, memory_growth_MiB=growth.peak_mib)


def packed(pieces: int, piece: bytes, head: bytes = b"", tail: bytes = b"") -> bytes:
    """Return the gzip of `head`, `pieces` times `piece` and `tail`, made without holding the unpacked text in memory."""
    packer = zlib.compressobj(9, wbits=31)
    parts = [packer.compress(head), *(packer.compress(piece) for _ in range(pieces)), packer.compress(tail)]
    return b"".join(parts) + packer.flush()


A_MILLION_KEYS = b"{" + b",".join(b'"k%d":%d' % (number, number) for number in range(10**6)) + b"}"


@functools.cache
def spaces() -> bytes:
    """Return 1 GiB of spaces, gzipped."""
    return packed(1_024, b" " * 2**20)


def bombs(head: bytes, tail: bytes) -> dict[str, tuple[bytes, bool]]:
    """Return name -> body and whether it is gzipped; between `head` and `tail` any JSON value may stand."""
    return {
        "1 GiB of spaces": (spaces(), True),
        "gzip within gzip": (gzip.compress(spaces()), True),
        "as many gzip members as fit": (gzip.compress(b"") * 400_000, True),
        "a million lists in each other": (head + b"[" * 10**6 + b"]" * 10**6 + tail, False),
        "a million objects in each other": (
            gzip.compress(head + b'{"a":' * 10**6 + b"1" + b"}" * 10**6 + tail),
            True,
        ),
        "nesting that does not end": (b"[" * (8 * 2**20 - 1), False),
        "a million keys": (gzip.compress(head + A_MILLION_KEYS + tail, 1), True),
        "a million keys at the top": (gzip.compress(A_MILLION_KEYS, 1), True),
        "a million values": (head + b"[" + b"1," * 10**6 + b"1]" + tail, False),
        "a number of a million digits": (head + b"9" * 10**6 + tail, False),
        "a text of 7 MiB": (head + b'"' + b"x" * (7 * 2**20) + b'"' + tail, False),
        "a million surrogates": (head + b'"' + b"\\ud800" * 10**6 + b'"' + tail, False),
        "one key a million times": (head + b"{" + b'"a":1,' * 10**6 + b'"a":1}' + tail, False),
    }


@pytest.mark.proof(
    "Bombs are refused within bounded memory",
    "gzip of 1 GiB, deep nesting, a million keys, long numbers and texts, at the collector and at the gateway",
)
def test_bombs(
    proof: Proof, launch: StartCollector, outside: Outside, start: Callable[..., RunningGateway]
) -> None:
    collector, gateway = launch(), start(outside.config())
    head, tail = b'{"data_points": [{"question": "q", "responses": ', b"}]}"
    chat_head, chat_tail = b'{"messages": ', b"}"
    targets = {
        collector.process.pid: [(f"{collector.address}/collect", bombs(head, tail))],
        gateway.process.pid: [
            (f"{gateway.address}/v1/route", bombs(chat_head, chat_tail)),
            (f"{gateway.address}/v1/observe", bombs(b'{"model": "big", "answer": "x", "request": ', b"}")),
        ],
    }
    most = 0.0
    for pid, addresses in targets.items():
        for address, bodies in addresses:
            for name, (body, is_packed) in bodies.items():
                headers = {"content-type": "application/json"}
                headers |= {"content-encoding": "gzip"} if is_packed else {}
                with memory_of(pid) as growth:
                    for _ in range(proof.size(1, 3)):
                        answer = httpx.post(address, content=body, headers=headers, timeout=60)
                        refused = answer.status_code in (400, 413, 422)
                        assert refused or answer.json().get("collected") is False, (
                            f"{address}: {name}: {answer.text[:300]}"
                        )
                        if (
                            "members" in name
                        ):  # refused for their number, because unpacking all of them would cost time, not memory
                            assert '"encoding_invalid"' in answer.text
                most = max(most, growth.peak_mib)
    assert collector.raw() == []
    assert outside.server.requests == []
    assert most * 2**20 <= MOST_GROWTH
    proof.note(
        bombs=sum(len(bodies) for found in targets.values() for _, bodies in found), memory_peak_MiB=most
    )
