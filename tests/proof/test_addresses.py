"""Servers: where the gateway connects to

Addresses come from the configuration alone, redirects lead nowhere, and link-local and metadata addresses are refused.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.scripted import Arrived, Script, ScriptedModel, completion, reply
from tests.gateway.world import NotStartedError, Outside, RunningGateway, until
from tests.proof.conftest import Proof
from tests.proof.measure import exchange, port_of

Start = Callable[..., RunningGateway]
MakeModel = Callable[[Callable[[Arrived], Script]], ScriptedModel]

BLOCKED = [
    "169.254.169.254", "169.254.170.2", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "[fe80::1]",
    "[fd00:ec2::254]", "[fd20:ce::254]", "100.100.100.200", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]",
]  # fmt: skip
SETTINGS = [
    "models__big__base_url",
    "data_collection__training__evaluate_endpoint",
    "data_collection__storage_endpoint",
]
RESOLVER = """
import os, socket
real = socket.getaddrinfo

def resolve(host, port, *arguments, **options):
    name = host.decode() if isinstance(host, bytes) else host
    if name is not None and name.endswith(".example"):
        with open(os.environ["NAMES"]) as file:
            host = file.read().strip()
    return real(host, port, *arguments, **options)

socket.getaddrinfo = resolve
"""
"""A name server of the gateway's process: every name below .example is the address in a file, which may change."""


@pytest.mark.proof(
    "Link-local and metadata addresses are refused in the configuration",
    "eleven spellings, as a model's, the scorer's and the collector's address",
)
def test_blocked_in_the_configuration(proof: Proof, outside: Outside, start: Start) -> None:
    addresses = proof.size(BLOCKED[:1], BLOCKED)
    for address in addresses:
        for setting in SETTINGS:
            with pytest.raises(NotStartedError, match=r"error\[config.*link-local or a cloud"):
                start(outside.config(**{setting: f"http://{address}:80"}))
    proof.note(refused=len(addresses) * len(SETTINGS))


@pytest.mark.proof(
    "A name that begins to resolve to such an address later is refused as well",
    "the name of model, scorer and collector moves to a metadata address while the gateway runs",
)
def test_blocked_when_a_name_moves(
    proof: Proof, outside: Outside, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(RESOLVER)
    names = tmp_path / "names"
    names.write_text("127.0.0.1")
    port = port_of(outside.address)
    config = outside.config(
        models__big__base_url=f"http://model.example:{port}",
        data_collection__training__evaluate_endpoint=f"http://scorer.example:{port}/v1/evaluate",
        data_collection__storage_endpoint=f"http://collector.example:{port}/collect",
    )
    for name in ("big", "math", "code"):
        config["models"][name]["base_url"] = f"http://{name}.example:{port}"
    environment = {"PYTHONPATH": str(tmp_path), "NAMES": str(names)}
    gateway = start(config, environment)
    assert gateway.chat().status_code == 200
    until(lambda: len(outside.points) == 1)
    for address in proof.size(("169.254.169.254",), ("169.254.169.254", "fe80::1", "fd00:ec2::254")):
        names.write_text(address)
        gateway.kill()  # kept connections end, the next ones ask for the name again
        names.write_text("127.0.0.1")
        gateway.start()
        names.write_text(address)
        before = len(outside.server.requests)
        answer = gateway.chat()
        assert answer.status_code == 502
        assert "big: address_blocked" in answer.json()["error"]["message"]
        assert address not in answer.text
        assert (
            gateway.metric('flywheel_gateway_model_failures_total{model="big",reason="address_blocked"}') == 1
        )
        observed = {
            "request": {"messages": [{"role": "user", "content": "q"}]},
            "model": "big",
            "answer": "a",
        }
        assert gateway.post("/v1/observe", observed).json()["collected"] is True
        until(
            lambda: (
                gateway.metric('flywheel_gateway_collection_failures_total{reason="address_blocked"}') == 2
                and gateway.metric('flywheel_gateway_missing_scores_total{reason="address_blocked"}') == 1
                and "address_blocked" in gateway.log()
                and gateway.metric("flywheel_upload_offered_total") == 1
                and gateway.metric("flywheel_upload_acknowledged_total") == 0
            )
        )
        assert len(outside.server.requests) == before
    proof.note(connections_made=0)


@pytest.mark.proof(
    "A setting allows such addresses, and only then",
    "the same configuration with network.allow_link_local starts",
)
def test_allowed_by_a_setting(proof: Proof, outside: Outside, start: Start) -> None:
    config = outside.config(models__math__base_url="http://169.254.169.254")
    with pytest.raises(NotStartedError, match=r"network\.allow_link_local"):
        start(config)
    assert start({**config, "network": {"allow_link_local": True}}).get("/health").text == "OK"
    proof.note(starts=1)


@pytest.mark.proof(
    "Redirects of models, scorer and collector lead nowhere",
    "301 to 308, in chat, proxying, scoring and uploads",
)
def test_redirects_are_refused(proof: Proof, outside: Outside, start: Start, model: MakeModel) -> None:
    elsewhere = model(lambda _: reply(completion("from elsewhere")))
    for status in proof.size((307,), (301, 302, 303, 307, 308)):
        moved: list[tuple[str, str]] = [("Location", f"{elsewhere.address}/v1/chat/completions")]
        away = model(
            lambda _, status=status, moved=moved: reply(b"", f"{status} Moved", "text/plain", *moved)
        )  # type: ignore[misc] # bound now
        config = outside.config(
            models__big__base_url=away.address,
            data_collection__training__evaluate_endpoint=f"{away.address}/v1/evaluate",
            data_collection__storage_endpoint=f"{away.address}/collect",
        )
        gateway = start(config)
        assert gateway.chat().status_code == 502
        assert gateway.get("/v1/files").status_code == 502
        observed = {
            "request": {"messages": [{"role": "user", "content": "q"}]},
            "model": "math",
            "answer": "a",
        }
        gateway.post("/v1/observe", observed)
        until(lambda away=away: {"/v1/evaluate", "/collect"} <= {found.path for found in away.requests})
    assert elsewhere.requests == []
    proof.note(redirects_followed=0)


@pytest.mark.proof(
    "A model's address comes from the configuration only",
    "addresses in the request line, in headers and in every field of a body that clients of other gateways use",
)
def test_no_client_names_an_address(proof: Proof, outside: Outside, start: Start, model: MakeModel) -> None:
    elsewhere = model(lambda _: reply(completion("from elsewhere")))
    gateway = start(outside.config())
    target = elsewhere.address
    host = target.removeprefix("http://")
    names = ("host", "x-forwarded-host", "forwarded", "x-original-url", "x-rewrite-url", "x-envoy-original-dst-host",
             "x-ai-eg-model", "x-higress-llm-model", "x-higress-llm-provider", "x-base-url", "proxy", "via")  # fmt: skip
    for name in names:
        value = host if "host" in name or name in ("via", "proxy") else target
        gateway.chat(headers={name: f"host={host}" if name == "forwarded" else value})
    fields: list[dict[str, Any]] = [
        {name: value}
        for name in ("base_url", "api_base", "endpoint", "url", "upstream", "model", "provider", "api_key")
        for value in (target, {"base_url": target})
    ]
    for field in fields:
        gateway.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "q"}], **field})
        gateway.post("/v1/route", {"prompt": "q", **field})
        observed = {
            "request": {"messages": [{"role": "user", "content": "q"}], **field},
            "model": "big",
            "answer": "a",
        }
        gateway.post("/v1/observe", {**observed, **field})
    body = json.dumps({"messages": [{"role": "user", "content": "q"}]})
    for line in (f"POST {target}/v1/chat/completions", f"POST //{host}/v1/chat/completions", f"CONNECT {host}",
                 f"POST /v1/@{host}/x", f"POST /v1//{host}/x", f"GET {target}/", f"POST /v1/chat/completions?base_url={target}"):  # fmt: skip
        head = f"{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        exchange(port_of(gateway.address), f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    until(lambda: gateway.metric("flywheel_gateway_collection_in_flight") == 0)
    assert elsewhere.requests == []
    assert outside.asked()
    proof.note(requests=len(names) + 3 * len(fields) + 7, connections_elsewhere=0)
