"""Servers: keys and prompts

Everything that a run of the whole system wrote is searched for every key, and for a word that is in every prompt.
"""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest

from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import DAILY_TABLES
from flywheel_core.serve.keys import KeyStore
from flywheel_dagster.home import prepare_home
from tests.collector.conftest import Start as StartCollector
from tests.collector.conftest import body_of, point
from tests.gateway.scripted import Arrived, Script, completion, reply
from tests.gateway.world import Outside, RunningGateway, until
from tests.proof.conftest import Proof

PROMPT = "xylophonquestion"
"""A word that is in every prompt of the test and in no program."""
HOLDS_PROMPTS = ("raw", "rejected", "tables", "datasets", "routers", "spool")
"""Folders in the data folder that hold prompts by design."""
PROJECT = Path(__file__).parents[2]


@pytest.mark.proof(
    "No key and no prompt is in a log, an error or a metric",
    "a run of gateway, collector and Dagster with failing models, scorer and collector, wrong keys and unreadable bodies; "
    "every file that was written, every refusal and both metrics pages are searched, keys in raw data too",
)
def test_nothing_that_was_written_has_a_key_or_a_prompt(
    proof: Proof,
    launch: StartCollector,
    outside: Outside,
    tmp_path: Path,
) -> None:
    folder, home = tmp_path / "system", tmp_path / "home"
    data = folder / "data"
    layout = Layout(data)
    collector_key = KeyStore(layout.keys).create("gateway-1")
    client_key = KeyStore(layout.client_keys).create("team-a")
    collector = launch(data)
    secrets = {
        "MODEL_KEY": "sk-model-5f1d9c0e7b",
        "USER_SECRET": "pepper-83c1aa94",
        "COLLECTOR_KEY": collector_key,
    }
    wrong = "0123456789.wrongkey-77aa01"
    hidden = [
        secrets["MODEL_KEY"],
        secrets["USER_SECRET"],
        collector_key.partition(".")[2],
        client_key.partition(".")[2],
        wrong.partition(".")[2],
        "querykey-90ff12",
    ]
    outside.chat, outside.score = _unreliable_model(), _unreliable_scorer()
    outside.other = lambda _: reply(b"{}", "500 Internal Server Error")
    config = outside.config(
        data_collection__storage_endpoint=f"{collector.address}/collect",
        data_collection__api_key_env="COLLECTOR_KEY",
        gateway__user_secret_env="USER_SECRET",
        routing__fallback_models=["math"],
        labelling={"min_score": 0.0},
        storage={"first_day": "2026-01-01"},
    )
    for named in config["models"].values():
        named["api_key_env"] = "MODEL_KEY"
    config["models"]["code"]["base_url"] = "http://127.0.0.1:9"
    gateway = RunningGateway(folder, config, secrets)
    rounds = proof.size(12, 60)
    refusals = [*_use(gateway, client_key, wrong, rounds), *_misuse(collector.address, collector_key, wrong)]
    until(lambda: gateway.metric("flywheel_gateway_collection_in_flight") == 0)
    until(lambda: gateway.metric("flywheel_upload_acknowledged_total") > 0)
    pages = [gateway.get("/metrics").text, collector.client.get("/metrics").text, *refusals]
    gateway.close()
    assert collector.stop() == 0
    (tmp_path / "collector.log").write_text(collector.log.read_text())
    _run_dagster(gateway.config_file, data, home, tmp_path)
    assert layout.table_days("training_examples")
    pages += _dagster_events(home)
    searched = 0
    for path in sorted(found for found in tmp_path.rglob("*") if found.is_file()):
        content = path.read_bytes()
        searched += len(content)
        for one in _spellings(hidden):
            assert one not in content, f"{path} has the key {one!r}"
        by_nature = path.is_relative_to(data) and path.relative_to(data).parts[0] in HOLDS_PROMPTS
        # Dagster's databases hold the preview on the dataset's page; their events are searched one by one instead
        if not by_nature and ".db" not in path.suffixes:
            assert PROMPT.encode() not in content, f"{path} has a prompt"
    for page in pages:
        searched += len(page)
        assert PROMPT not in page, page[:2000]
        assert not any(one in page.encode() for one in _spellings(hidden)), page[:2000]
    assert PROMPT in "".join(path.read_text() for path in layout.raw.glob("*.jsonl")), (
        "the search finds what is there"
    )
    proof.note(KiB_searched=searched // 1024, keys_found=0, prompts_found=0)


def _unreliable_model() -> Callable[[Arrived], Script]:
    """A model that echoes the question: by turns in an error, in replies that are no completion, and in answers."""
    calls = iter(range(10**6))

    def chat(asked: Arrived) -> Script:
        text = asked.json["messages"][-1]["content"]
        turn = next(calls) % 6
        if turn == 0:
            return reply(json.dumps({"error": {"message": text}}).encode(), "500 Internal Server Error")
        if turn == 1:
            return reply(text.encode(), "200 OK", "text/plain")
        if turn == 2:
            return [b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + text.encode(), b""]
        if turn == 3:
            return [f"HTTP/1.1 200 {text}\r\nX-{text}\r\n\r\n".encode(), b""]
        return reply(completion(f"an answer to {text}"))

    return chat


def _unreliable_scorer() -> Callable[[Arrived], Script]:
    calls = iter(range(10**6))

    def score(asked: Arrived) -> Script:
        if next(calls) % 4 == 0:
            return reply(asked.body, "500 Internal Server Error")
        return reply(b'{"score": 0.%d}' % (1 + len(asked.json["answer"]) % 9))

    return score


def _use(gateway: RunningGateway, key: str, wrong: str, rounds: int) -> list[str]:
    """Send valid and invalid chat, routing, observation and proxy requests; return the bodies of some refusals."""
    own = {"authorization": f"Bearer {key}"}
    until(lambda: gateway.chat(PROMPT).status_code == 401)
    refusals = []
    for number in range(rounds):
        question = f"{PROMPT} {number}?"
        chat: dict[str, Any] = {"messages": [{"role": "user", "content": question}], "user": "ann"}
        answers = [
            gateway.post("/v1/chat/completions", chat, own),
            gateway.post("/v1/chat/completions", {**chat, "stream": True}, own),
            gateway.post("/v1/chat/completions", {**chat, "model": f"no-{PROMPT}"}, own),
            gateway.post("/v1/chat/completions", json.dumps(chat).encode()[:-2], own),
            gateway.post("/v1/chat/completions", chat, {"authorization": f"Bearer {wrong}"}),
            gateway.post("/v1/chat/completions", chat, {"authorization": wrong}),
            gateway.post("/v1/route", {"prompt": question}, own),
            gateway.post("/v1/observe", {"request": chat, "model": "big", "answer": question}, own),
            gateway.post("/v1/observe", {"request": chat, "model": 5, "answer": question}, own),
            gateway.post("/v1/files?api_key=querykey-90ff12", chat, own),
        ]
        assert all(answer.status_code < 600 for answer in answers)
        refusals += [answers[at].text for at in (3, 4, 5, 8)]
    return refusals


def _misuse(address: str, key: str, wrong: str) -> list[str]:
    """Send batches that the collector refuses, and return its answers."""
    bad = body_of(point(1, question=PROMPT, scores={"qwen-max": 2.0}))
    bodies = [
        bad,
        bad[:-2],
        bad.replace(b"2.0", b"NaN"),
        body_of(point(1, question=[PROMPT])),
        PROMPT.encode(),
    ]
    with httpx.Client(base_url=address, timeout=30) as client:
        answers = [
            client.post("/collect", content=body, headers={"authorization": f"Bearer {named}"})
            for body in bodies
            for named in (key, wrong)
        ]
    assert {answer.status_code for answer in answers} == {400, 401, 422}
    return [answer.text for answer in answers]


def _run_dagster(config: Path, data: Path, home: Path, logs: Path) -> None:
    """Materialize today's assets with Dagster's own command, which captures the output of its steps, and keep its log."""
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(prepare_home(home)),
        "FLYWHEEL_CONFIG": str(config),
        "FLYWHEEL__STORAGE__DATA_DIR": str(data),
        "COLLECTOR_KEY": "unused.unused",
    }
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    command = [
        "-m",
        "dagster",
        "asset",
        "materialize",
        "-m",
        "flywheel_dagster.definitions",
        "--partition",
        day,
    ]
    with (logs / "dagster.log").open("wb") as output:
        ran = subprocess.run(
            [sys.executable, *command, "--select", ",".join((*DAILY_TABLES, "training_dataset"))],
            env=environment,
            cwd=PROJECT,
            stdout=output,
            stderr=output,
            timeout=240,
            check=False,
        )
    assert ran.returncode == 0, (logs / "dagster.log").read_text()[-4000:]


def _dagster_events(home: Path) -> list[str]:
    """Return everything that Dagster keeps of its runs, except the preview that the dataset's page is meant to show."""
    pages = []
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for run in instance.get_runs():
            pages.append(str(run))
            for entry in instance.all_logs(run.run_id):
                pages.append(_without_preview(entry))
    assert len(pages) > 20
    return pages


def _without_preview(entry: dg.EventLogEntry) -> str:
    """Return an event in full, or one with the preview as its message, its error and all other metadata."""
    data = entry.dagster_event.event_specific_data if entry.dagster_event is not None else None
    for holder in (data, getattr(data, "materialization", None)):
        metadata = getattr(holder, "metadata", None) or {}
        if "preview" in metadata:
            others = {name: value for name, value in metadata.items() if name != "preview"}
            return f"{entry.user_message} {entry.error_info} {others}"
    return str(entry)


def _spellings(keys: Iterable[str]) -> list[bytes]:
    """Return each key as it is, and in base64, as Basic authorization would have it."""
    plain = [key.encode() for key in keys]
    return plain + [base64.b64encode(key)[:-4] for key in plain]
