"""Servers: their API descriptions

Requests made from the OpenAPI descriptions by schemathesis, good ones and bad ones, to running processes.
"""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.collector.conftest import Start as StartCollector
from tests.gateway.world import Outside, RunningGateway
from tests.proof.conftest import Proof

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def explore(address: str, proof: Proof) -> None:
    """Every operation of a server, each with as many requests as the size says."""
    description = httpx.get(f"{address}/openapi.json").json()
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    operations = [(path, method.upper()) for path, item in description["paths"].items() for method in item]
    requests = 0
    for path, method in operations:

        @given(case=schema[path][method].as_strategy())
        @settings(
            max_examples=proof.size(15, 400),
            deadline=None,
            derandomize=not proof.full,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        def answers(case: schemathesis.Case[Any]) -> None:
            nonlocal requests
            requests += 1
            case.call_and_validate(checks=CHECKS)

        answers()
    proof.note(operations=len(operations), requests=requests, server_errors=0)


@pytest.mark.proof(
    "The collector answers as it describes itself, whatever is sent", "schemathesis, every operation"
)
def test_the_collector(proof: Proof, launch: StartCollector) -> None:
    collector = launch()
    explore(collector.address, proof)
    assert "Traceback" not in collector.log.read_text()
    assert collector.stop() == 0


@pytest.mark.proof(
    "The gateway answers as it describes itself, whatever is sent", "schemathesis, every operation"
)
def test_the_gateway(proof: Proof, outside: Outside, start: Callable[..., RunningGateway]) -> None:
    explore(start(outside.config()).address, proof)
