"""The simulated models and scorer, over real sockets."""

import json
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import openai
import pytest

from simulation.bank import build
from simulation.server import running
from simulation.service import Service

EQUATION = "求解方程 x^2 + 2x - 3 = 0"


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with running(Service(speed=0)) as url:
        yield url


@pytest.fixture(scope="module")
def client(base: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=base, timeout=20) as http:
        yield http


def _body(model: str = "qwen-max", question: str = EQUATION, **more: object) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": question}], **more}


def test_whole_answer(client: httpx.Client) -> None:
    """A chat completion has content, finish reason and usage that adds up, and asking again gives the same choices."""
    first = client.post("/v1/chat/completions", json=_body()).json()
    assert first["object"] == "chat.completion"
    assert first["model"] == "qwen-max"
    choice = first["choices"][0]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"]
    assert choice["finish_reason"] == "stop"
    usage = first["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert client.post("/v1/chat/completions", json=_body()).json()["choices"] == first["choices"]


@pytest.mark.parametrize("with_usage", [True, False])
def test_stream_carries_the_same_answer(client: httpx.Client, with_usage: bool) -> None:
    """The pieces add up to the complete answer; a usage chunk comes if asked for; [DONE] is last."""
    whole = client.post("/v1/chat/completions", json=_body()).json()
    options = {"include_usage": True} if with_usage else None
    response = client.post("/v1/chat/completions", json=_body(stream=True, stream_options=options))
    assert response.headers["content-type"].startswith("text/event-stream")
    events = response.content.decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    text = "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])
    assert text == whole["choices"][0]["message"]["content"]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"]][-1] == "stop"
    usages = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    assert usages == ([whole["usage"]] if with_usage else [])


def test_official_client_works(base: str) -> None:
    """The `openai` package reads models, complete answers and streams."""
    with openai.OpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0) as api:
        assert len(api.models.list().data) == 13
        messages: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": EQUATION}]
        whole = api.chat.completions.create(model="qwen-math-7b", messages=messages)
        pieces = [
            chunk.choices[0].delta.content or ""
            for chunk in api.chat.completions.create(model="qwen-math-7b", messages=messages, stream=True)
        ]
        assert "".join(pieces) == whole.choices[0].message.content
        with pytest.raises(openai.NotFoundError, match="no model"):
            api.chat.completions.create(model="gpt-none", messages=messages)


def test_answers_are_scored(client: httpx.Client) -> None:
    """/v1/evaluate needs only question and answer."""
    scores = {}
    for model in ("qwen-max", "qwen-math-32b"):
        text = client.post("/v1/chat/completions", json=_body(model)).json()["choices"][0]["message"][
            "content"
        ]
        scores[model] = client.post("/v1/evaluate", json={"question": EQUATION, "answer": text}).json()[
            "score"
        ]
    assert all(0 <= value <= 1 for value in scores.values())
    assert scores["qwen-math-32b"] > 0.8


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"question": EQUATION},
        {"question": EQUATION, "answer": ""},
        {"question": None, "answer": "x"},
        {"question": 3, "answer": ["x"]},
    ],
)
def test_invalid_question_or_answer_is_minus_one(client: httpx.Client, body: dict[str, object]) -> None:
    """The score is -1 with status 200, as the contract of /v1/evaluate says."""
    response = client.post("/v1/evaluate", json=body)
    assert (response.status_code, response.json()) == (200, {"score": -1.0})


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("/v1/chat/completions", b"{", 400),
        ("/v1/chat/completions", b'{"messages": []}', 400),
        ("/v1/chat/completions", b'{"model": "gpt", "messages": []}', 404),
        ("/v1/chat/completions", b'{"model": "qwen-max", "messages": [], "n": 99}', 400),
        ("/v1/chat/completions", b'{"model": "qwen-max", "messages": [], "max_tokens": 0}', 400),
        ("/v1/evaluate", b"[]", 400),
        ("/v1/evaluate", b"\xff", 400),
        ("/admin/faults", b'{"error_rate": 2}', 400),
        ("/admin/faults", b'{"eror_rate": 0.5}', 400),
    ],
)
def test_bad_requests_are_refused_with_a_message(
    client: httpx.Client, path: str, content: bytes, status: int
) -> None:
    """The response is an error object that says what is wrong."""
    response = client.post(path, content=content)
    assert response.status_code == status
    assert response.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/evaluate", "/v1/chat/completions", "/admin/faults"])
def test_large_body_is_refused(client: httpx.Client, path: str) -> None:
    """A body of more than 8 MiB is not read."""
    assert client.post(path, content=b"x" * (9 * 2**20)).status_code == 413


def test_question_sets(client: httpx.Client) -> None:
    """Sets are served by name, whole or in part; without a name, the one chosen at the start; other names are refused."""
    training = client.get("/questions").json()["questions"]
    assert training == client.get("/questions?set=training").json()["questions"]
    assert [entry["question"] for entry in training] == [q.text for q in build().training]
    assert training[0]["id"] == "0000"
    validation = client.get("/questions?set=validation").json()["questions"]
    assert not {entry["question"] for entry in training} & {entry["question"] for entry in validation}
    assert client.get("/questions?offset=10&limit=5").json()["questions"] == training[10:15]
    assert client.get("/questions?set=test").status_code == 400
    assert client.get("/questions?offset=-1").status_code == 400
    with running(Service(speed=0, question_set="validation")) as url:
        assert httpx.get(f"{url}/questions").json()["questions"] == validation


def test_parts_of_the_last_user_message_are_the_question(client: httpx.Client) -> None:
    """System prompt and earlier turns change nothing; text parts are joined."""
    parts = [{"type": "text", "text": EQUATION}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "hi"},
        {"role": "user", "content": parts},
    ]
    asked = client.post("/v1/chat/completions", json={"model": "qwen-max", "messages": messages}).json()
    plain = client.post("/v1/chat/completions", json=_body()).json()
    assert asked["choices"] == plain["choices"]


def test_several_choices(client: httpx.Client) -> None:
    """There are `n` choices."""
    body = client.post("/v1/chat/completions", json=_body(n=3)).json()
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]


def test_stats_count_per_model_and_repeated_questions() -> None:
    """Each call is counted, by model, and so is each call that asks a model a question again."""
    with running(Service(speed=0)) as url, httpx.Client(base_url=url) as http:
        for model in ("qwen-max", "qwen-code-7b", "qwen-max"):
            http.post("/v1/chat/completions", json=_body(model))
        http.post("/v1/evaluate", json={"question": "a", "answer": "b"})
        stats = http.get("/admin/stats").json()
        assert {name: calls["requests"] for name, calls in stats["models"].items()} == {
            "qwen-max": 2,
            "qwen-code-7b": 1,
        }
        assert stats["models"]["qwen-max"]["answered"] == 2
        assert stats["evaluate"]["requests"] == 1
        assert stats["asked_again"] == 1
        assert stats["active"] == 0
        assert http.get("/health").text == "OK"


def _until(http: httpx.Client, reached: str, value: int) -> dict[str, int]:
    """Wait until qwen-max's count `reached` has that value, and return its counts; pytest's time-out ends it otherwise."""
    while True:
        stats = http.get("/admin/stats").json()
        calls: dict[str, int] = stats["models"].get("qwen-max", {})
        if calls.get(reached) == value:
            return calls
        time.sleep(0.01)


@pytest.mark.parametrize("stream", [True, False])
def test_a_call_ends_when_its_client_leaves(stream: bool) -> None:
    """A call that would take over an hour ends as soon as its client leaves, streamed or not, and is counted as left."""
    with running(Service(speed=0.0001)) as url, httpx.Client(base_url=url) as http:
        body = json.dumps(_body(stream=stream)).encode()
        host, port = url.removeprefix("http://").split(":")
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(head.encode() + body)
            assert _until(http, "active", 1)["requests"] == 1
        calls = _until(http, "active", 0)
        assert calls["left"] == 1
        assert calls["answered"] == 0


def test_latency_is_simulated_and_calls_run_at_once() -> None:
    """At speed 1 a call takes its simulated latency, so several calls run at the same time."""
    with running(Service(speed=1)) as url, httpx.Client(base_url=url) as http:
        threads = [
            threading.Thread(
                target=httpx.post, args=(f"{url}/v1/chat/completions",), kwargs={"json": _body()}
            )
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert http.get("/admin/stats").json()["models"]["qwen-max"]["peak_active"] > 1
