"""Strangers: clients that know nothing of Flywheel

Go's encoder and HTTP client, curl and the OpenAI client, each against the real servers. LiteLLM's proxy with Flywheel's
callback is tested in tests/gateway/test_litellm.py.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.collector.conftest import Process
from tests.collector.conftest import Start as StartCollector
from tests.gateway.world import Outside, RunningGateway, until
from tests.proof.conftest import Proof

GO_CLIENT = Path(__file__).with_name("go_client.go")
GO_BATCH = Path(__file__).with_name("go_batch.json").read_bytes()
"""What go_client.go writes, byte for byte, including the newline that Go's streaming encoder appends."""

DIALLED = {"Op": "dial", "Net": "tcp", "Source": None, "Addr": {"IP": "127.0.0.1", "Port": 1, "Zone": ""}, "Err": {}}  # fmt: skip
REFUSED = {
    2: "responses_missing",  # a nil map: no model was asked
    3: "response_invalid",  # a nil response among others
    4: "point_not_object",  # a nil point
}
EQUATION = "求解方程 x^2 + 2x - 3 = 0"


def needed(program: str) -> str:
    """Return the path of a program that is not part of Flywheel; skip the test where it is not installed."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed here, and this is about what the real {program} sends")
    return found


def chunked(body: bytes, size: int) -> bytes:
    """Return a request as Go's client writes it when it does not know the length of the body in advance."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return (
        b"POST /collect HTTP/1.1\r\nHost: collector\r\nUser-Agent: Go-http-client/1.1\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: application/json\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
        + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        + b"0\r\n\r\n"
    )


def sent(collector: Process, request: bytes) -> tuple[bytes, Any]:
    """Send the bytes of a request, and return the status line and the JSON body of the answer."""
    with collector.connect() as connection:
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.partition(b"\r\n")[0], json.loads(body)


def check_stored(collector: Process) -> None:
    """Check what is on disk after Go's batch."""
    stored = {line["question"]: line for line in collector.raw()}
    first = stored['is a<b && b>c?\u2028in "Go"\ufffd 求解']
    big, code, math = (first["responses"][model] for model in ("big", "code", "math"))
    assert (big["answer"], big["latency_ms"], big["error"]) == ("<b>yes</b>\n", 812, None)
    assert big["raw_response"] == {"id": 2**63 + 1, "n": 1e21, "nothing": None}
    assert code["error"] == "{}"
    assert json.loads(math["error"]) == {"Op": "Post", "URL": "http://127.0.0.1:1/v1", "Err": DIALLED}
    assert first["scores"] == {"big": 0.30000000000000004, "code": None, "math": None}
    assert stored["nil maps"]["scores"] == {}
    assert stored["another zone"]["timestamp"] == 1_767_223_800, "07:30 at +08:00 is the day before in UTC"
    assert stored["no time"]["timestamp"] == int(stored["no time"]["received_at"])
    assert len(stored) == 4
    (file,) = (collector.data / "raw").glob("*.jsonl")
    assert len([line for line in file.read_bytes().split(b"\n") if line.strip(b"\0 ")]) == 4
    assert sorted(line["code"] for line in collector.rejected()) == sorted(REFUSED.values())


@pytest.mark.proof(
    "The reference gateway's batches are stored as they were meant, whatever Go makes of them",
    "the bytes of Go's encoder: CamelCase, errors as {} and as *url.Error objects, nil maps and pointers, escaped <, > and "
    "&, U+2028, invalid UTF-8, integers above 2^53, a zero time; chunked at every size, with the trailing newline",
)
def test_gos_batch_is_stored_as_it_was_meant(launch: StartCollector, proof: Proof) -> None:
    sizes = proof.size((7, 4_096), (1, 2, 3, 7, 64, 1_000, 4_096, 65_536))
    for size in sizes:
        collector = launch()
        status, answer = sent(collector, chunked(GO_BATCH, size))
        assert status == b"HTTP/1.1 200 OK"
        assert answer["count"] == 4
        assert {one["index"]: one["code"] for one in answer["rejected"]} == REFUSED
        check_stored(collector)
    proof.note(ways_to_cut_it=len(sizes), batch_bytes=len(GO_BATCH))


@pytest.mark.proof(
    "Go itself sends that batch, and takes the answer",
    "a small Go program is compiled and run: its encoder writes the batch of the test before, its client posts it",
)
@pytest.mark.timeout(300)
def test_go_itself_is_understood(launch: StartCollector, proof: Proof, tmp_path: Path) -> None:
    collector = launch()
    done = subprocess.run(
        [needed("go"), "run", str(GO_CLIENT), f"{collector.address}/collect"],
        env={**os.environ, "GOCACHE": str(tmp_path / "cache"), "GOPROXY": "off", "GOFLAGS": "-mod=mod"},
        cwd=tmp_path,
        capture_output=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr.decode()
    batch, _, answer = done.stdout.partition(b"\n")
    assert batch + b"\n" == GO_BATCH
    status, _, body = answer.partition(b" ")
    assert (status, json.loads(body)["count"]) == (b"200", 4)
    check_stored(collector)
    proof.note(points=7, stored=4, set_aside_with_a_reason=3)


@pytest.fixture
def both(
    launch: StartCollector, start: Callable[..., RunningGateway], outside: Outside
) -> Iterator[tuple[RunningGateway, Process]]:
    """A gateway, and the collector that it uploads to; the test itself plays the models and the scorer."""
    collector = launch()
    yield start(outside.config(data_collection__storage_endpoint=f"{collector.address}/collect")), collector


def curl(*arguments: str) -> str:
    done = subprocess.run(
        [needed("curl"), "--silent", "--show-error", "--max-time", "30", *arguments],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.proof(
    "The specification's end-to-end test holds with curl: a question without a model is answered and is in the day's file",
    "curl as in its test 4.1, against a gateway and a collector; then again with X-Training-Mode, Expect and a body from a file",
)
def test_curl_as_the_specification_does_it(
    both: tuple[RunningGateway, Process], proof: Proof, tmp_path: Path
) -> None:
    gateway, collector = both
    address = f"{gateway.address}/v1/chat/completions"
    as_json = ("-H", "Content-Type: application/json")
    body = '{\n    "messages": [{"role": "user", "content": "%s"}]\n  }'
    answer = json.loads(curl("-X", "POST", address, *as_json, "-d", body % EQUATION))
    assert answer["choices"][0]["message"]["content"] == "I am big"
    (line,) = until(collector.raw)
    assert line["question"] == EQUATION
    assert set(line["responses"]) == {"big", "math", "code"}
    assert line["scores"] == {"big": 0.75, "math": 0.75, "code": 0.75}
    assert [path.name[:14] for path in (collector.data / "raw").glob("*.jsonl")] == ["training_data_"]

    (tmp_path / "body.json").write_text(body % "from a file, with Expect")
    long = (
        "-H",
        "X-Training-Mode: true",
        "-H",
        "Expect: 100-continue",
        "--data-binary",
        f"@{tmp_path}/body.json",
    )
    head = curl("-i", address, *as_json, *long)
    assert "HTTP/1.1 200" in head
    assert "x-flywheel-model: big" in head
    until(lambda: len(collector.raw()) == 2)

    assert curl(f"{collector.address}/health") == "OK"
    refused = json.loads(curl(f"{collector.address}/collect", "-d", "{}"))
    assert refused["status"] == "error"
    proof.note(questions=2, points_in_the_file=2)


@pytest.mark.proof(
    "The OpenAI client works unchanged, and what it asks is in the day's file",
    "whole answers to system and user messages through the official client; the points are read from the collector's file",
)
def test_the_openai_client_to_the_file(both: tuple[RunningGateway, Process], proof: Proof) -> None:
    gateway, collector = both
    asked = proof.size(5, 100)
    with openai.OpenAI(base_url=f"{gateway.address}/v1", api_key="any", max_retries=0) as client:
        for number in range(asked):
            answer = client.chat.completions.create(
                model="auto",
                messages=[
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": f"question {number}: 为什么?"},
                ],
                temperature=0.5,
                user="ann",
            )
            assert answer.choices[0].message.content == "I am big"
    until(lambda: len(collector.raw()) == asked)
    lines = collector.raw()
    assert len({line["decision_id"] for line in lines}) == asked
    assert all([message["role"] for message in line["messages"]] == ["system", "user"] for line in lines)
    proof.note(questions=asked, points=len(lines), lost=0)
