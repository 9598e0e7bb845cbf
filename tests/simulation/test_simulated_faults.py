"""Injected faults, over real sockets."""

from collections.abc import Iterator

import httpx
import pytest

from flywheel_core.errors import UsageError
from simulation.faults import Faults, Injector, parse_faults
from simulation.server import running
from simulation.service import Service

CHAT = {"model": "qwen-max", "messages": [{"role": "user", "content": "1+1=?"}]}
SCORE = {"question": "1+1=?", "answer": "2"}


@pytest.fixture(scope="module")
def server() -> Iterator[httpx.Client]:
    with running(Service(speed=0)) as url, httpx.Client(base_url=url, timeout=20) as http:
        yield http


@pytest.fixture
def http(server: httpx.Client) -> Iterator[httpx.Client]:
    yield server
    server.post("/admin/faults", json={}).raise_for_status()


def _set(http: httpx.Client, **faults: object) -> None:
    http.post("/admin/faults", json=faults).raise_for_status()


def test_errors_with_a_status(http: httpx.Client) -> None:
    """Every call fails with the chosen status until the faults are cleared, and the failures are counted."""
    before = http.get("/admin/faults").json()["injected"]["error"]
    _set(http, error_rate=1.0, error_status=503)
    assert [http.post("/v1/chat/completions", json=CHAT).status_code for _ in range(3)] == [503] * 3
    shown = http.get("/admin/faults").json()
    assert shown["faults"]["error_rate"] == 1.0
    assert shown["injected"]["error"] == before + 3
    _set(http)
    assert http.post("/v1/chat/completions", json=CHAT).status_code == 200


def test_rate_limit_says_when_to_come_back(http: httpx.Client) -> None:
    """429 with Retry-After in whole seconds."""
    _set(http, rate_limit_rate=1.0, retry_after_s=1.5)
    response = http.post("/v1/chat/completions", json=CHAT)
    assert (response.status_code, response.headers["retry-after"]) == (429, "2")


@pytest.mark.parametrize("stream", [True, False])
def test_a_hang_sends_nothing(http: httpx.Client, stream: bool) -> None:
    """Nothing is sent while the call hangs; the answer follows afterwards."""
    _set(http, hang_rate=1.0, hang_s=3600)
    with pytest.raises(httpx.ReadTimeout):
        http.post("/v1/chat/completions", json={**CHAT, "stream": stream}, timeout=0.3)
    _set(http, hang_rate=1.0, hang_s=0.05)
    assert http.post("/v1/chat/completions", json={**CHAT, "stream": stream}).status_code == 200


@pytest.mark.parametrize("stream", [True, False])
def test_cut_closes_the_connection_half_way(http: httpx.Client, stream: bool) -> None:
    """A part of the answer is sent, then the connection is closed."""
    _set(http, cut_rate=1.0)
    received = b""
    with (
        pytest.raises(httpx.RemoteProtocolError),
        http.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": stream}) as response,
    ):
        assert response.status_code == 200
        for part in response.iter_raw():
            received += part
    assert received
    assert b"[DONE]" not in received


def test_malformed_bodies_come_in_four_varieties(http: httpx.Client) -> None:
    """Status 200 every time, and never a chat completion."""
    _set(http, malformed_rate=1.0)
    replies = [http.post("/v1/chat/completions", json=CHAT) for _ in range(4)]
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.content for reply in replies}) == 4
    for reply in replies:
        try:
            assert "choices" not in reply.json()
        except ValueError:
            continue
    streamed = http.post("/v1/chat/completions", json={**CHAT, "stream": True})
    assert streamed.headers["content-type"].startswith("text/event-stream")


def test_empty_answers(http: httpx.Client) -> None:
    """A valid completion without content."""
    _set(http, empty_rate=1.0)
    assert http.post("/v1/chat/completions", json=CHAT).json()["choices"][0]["message"]["content"] == ""


def test_only_chosen_models_fail(http: httpx.Client) -> None:
    """`models` limits the faults to the models that it names."""
    _set(http, error_rate=1.0, models=["qwen-code-7b"])
    assert http.post("/v1/chat/completions", json=CHAT).status_code == 200
    assert http.post("/v1/chat/completions", json={**CHAT, "model": "qwen-code-7b"}).status_code == 500


def test_scorer_faults(http: httpx.Client) -> None:
    """The scorer fails, sends unusable bodies in five varieties, or scores -1; chat is not affected."""
    _set(http, score_error_rate=1.0)
    assert http.post("/v1/evaluate", json=SCORE).status_code == 500
    assert http.post("/v1/chat/completions", json=CHAT).status_code == 200
    _set(http, score_malformed_rate=1.0)
    bodies = [http.post("/v1/evaluate", json=SCORE) for _ in range(5)]
    assert {body.status_code for body in bodies} == {200}
    assert len({body.content for body in bodies}) == 5
    _set(http, score_invalid_rate=1.0)
    assert http.post("/v1/evaluate", json=SCORE).json() == {"score": -1.0}


def test_slow_scoring(http: httpx.Client) -> None:
    """The scorer takes as long as it is told to, and gives up when its client leaves."""
    _set(http, score_delay_ms=600_000)
    with pytest.raises(httpx.ReadTimeout):
        http.post("/v1/evaluate", json=SCORE, timeout=0.3)
    _set(http, score_delay_ms=20)
    assert http.post("/v1/evaluate", json=SCORE).json()["score"] > 0.7


def test_faults_have_the_configured_shares() -> None:
    """Of 10,000 calls about 30 % fail and 20 % are rate-limited; the same seed gives the same sequence."""
    faults = Faults(error_rate=0.3, rate_limit_rate=0.2)
    first, second, other = Injector(faults, 1), Injector(faults, 1), Injector(faults, 2)
    drawn = [first.for_chat("qwen-max") for _ in range(10_000)]
    assert drawn == [second.for_chat("qwen-max") for _ in range(10_000)]
    assert drawn != [other.for_chat("qwen-max") for _ in range(10_000)]
    assert 2_800 < drawn.count("error") < 3_200
    assert 1_800 < drawn.count("rate_limit") < 2_200
    assert first.counts["error"] == drawn.count("error")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"error_rate": 1.5}, "error_rate"),
        ({"error_rate": 0.6, "hang_rate": 0.6}, "add up"),
        ({"score_error_rate": 0.6, "score_invalid_rate": 0.6}, "add up"),
        ({"eror_rate": 0.1}, "eror_rate"),
        ({"error_status": 200}, "error_status"),
        ({"error_rate": "often"}, "error_rate"),
    ],
)
def test_bad_faults_are_refused(given: dict[str, object], told: str) -> None:
    """The message names the field, and the known fields."""
    with pytest.raises(UsageError, match=told) as caught:
        parse_faults(given)
    assert "known fields: error_rate" in str(caught.value)
