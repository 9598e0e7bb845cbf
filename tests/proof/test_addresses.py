"""Servers: where the gateway connects to

Addresses come only from the configuration, redirects are not followed, and link-local and metadata addresses are refused.
"""

import json
from collections.abc import Callable
from functools import partial
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
from aiohttp.resolver import ThreadedResolver
at_once, later = socket.getaddrinfo, ThreadedResolver.resolve

def named(host):
    if isinstance(host, str) and host.endswith(".example"):
        with open(os.environ["NAMES"]) as file:
            return file.read().strip()
    return host

async def resolve(self, host, port=0, family=0):
    return await later(self, named(host), port, family)

socket.getaddrinfo = lambda host, *arguments, **options: at_once(named(host), *arguments, **options)
ThreadedResolver.resolve = resolve
"""
"""A resolver for the gateway's process: every name below .example has the address in a file, which may change."""


def refusal(folder: Path, config: dict[str, Any]) -> str:
    """Start a gateway that refuses to start, and return its log."""
    own = folder / f"refused-{len(list(folder.iterdir()))}"
    own.mkdir()
    with pytest.raises(NotStartedError) as caught:
        RunningGateway(own, config)
    return str(caught.value)


@pytest.mark.proof(
    "Link-local and metadata addresses are refused in the configuration",
    "eleven spellings, as a model's, the scorer's and the collector's address",
)
def test_blocked_in_the_configuration(proof: Proof, outside: Outside, tmp_path: Path) -> None:
    addresses = proof.size(BLOCKED[:1], BLOCKED)
    for address in addresses:
        for setting in SETTINGS:
            log = refusal(tmp_path, outside.config(**{setting: f"http://{address}:80"}))
            assert "error[config_invalid]" in log and "link-local or a cloud" in log, log
    proof.note(refused=len(addresses) * len(SETTINGS))


def blocked_everywhere(gateway: RunningGateway) -> bool:
    """Return whether all connections for one data point, to two models, scorer and collector, were refused."""
    return (
        sum(
            gateway.metric(
                f'flywheel_gateway_collection_failures_total{{model="{model}",reason="address_blocked"}}'
            )
            for model in ("math", "code")
        )
        == 2
        and gateway.metric('flywheel_gateway_missing_scores_total{reason="address_blocked"}') == 1
        and gateway.metric('flywheel_upload_failures_total{reason="address_blocked"}') >= 1
        and gateway.metric("flywheel_upload_offered_total") == 1
        and gateway.metric("flywheel_upload_acknowledged_total") == 0
    )


@pytest.mark.proof(
    "A name that begins to resolve to such an address later is refused as well",
    "the name of model, scorer and collector moves to a metadata address while the gateway runs",
)
def test_blocked_when_a_name_moves(proof: Proof, outside: Outside, start: Start, tmp_path: Path) -> None:
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
    for address in proof.size(("169.254.169.254",), ("169.254.169.254", "fe80::1", "fd00:ec2::254")):
        names.write_text("127.0.0.1")
        gateway = start(config, environment)
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
        until(partial(blocked_everywhere, gateway))
        assert len(outside.server.requests) == before
    proof.note(connections_made=0)


@pytest.mark.proof(
    "A setting allows such addresses, and only then",
    "the same configuration with network.allow_link_local starts",
)
def test_allowed_by_a_setting(proof: Proof, outside: Outside, start: Start, tmp_path: Path) -> None:
    config = outside.config(models__math__base_url="http://169.254.169.254")
    assert "network.allow_link_local" in refusal(tmp_path, config)
    assert start({**config, "network": {"allow_link_local": True}}).get("/health").text == "OK"
    proof.note(starts=1)


def redirect(status: int, location: str, _: Arrived) -> Script:
    return reply(b"", f"{status} Moved", "text/plain", ("Location", location))


def arrived_at(server: ScriptedModel, paths: set[str]) -> bool:
    return paths <= {request.path for request in server.requests}


@pytest.mark.proof(
    "Redirects of models, scorer and collector lead nowhere",
    "301 to 308, in chat, proxying, scoring and uploads",
)
def test_redirects_are_refused(proof: Proof, outside: Outside, start: Start, model: MakeModel) -> None:
    elsewhere = model(lambda _: reply(completion("from elsewhere")))
    for status in proof.size((307,), (301, 302, 303, 307, 308)):
        away = model(partial(redirect, status, f"{elsewhere.address}/v1/chat/completions"))
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
        until(partial(arrived_at, away, {"/v1/evaluate", "/collect"}))
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
