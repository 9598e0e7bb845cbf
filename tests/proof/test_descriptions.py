"""Servers: their API descriptions

schemathesis makes valid and invalid requests from the OpenAPI descriptions, and sends them to running processes.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core import NotSet
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


MEDIA = st.sampled_from([None] * 7 + ["text/plain", "application/json; charset=latin-1", "nonsense"])
"""Content types to send in place of the described one; None keeps that one."""


def explore(address: str, proof: Proof) -> Counter[int]:
    """Send valid and invalid requests to each operation of a server, as many as the size says; return the statuses."""
    description = httpx.get(f"{address}/openapi.json").json()
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    operations = [
        (path, method, "requestBody" in operation)
        for path, item in description["paths"].items()
        for method, operation in item.items()
    ]
    statuses: Counter[int] = Counter()
    for path, method, takes_a_body in operations:
        # without a body a request cannot be invalid: a model's name may be any text
        for mode in GenerationMode if takes_a_body else [GenerationMode.POSITIVE]:

            @given(case=schema[path][method.upper()].as_strategy(generation_mode=mode), media=MEDIA)
            @settings(
                max_examples=proof.size(15, 400),
                deadline=None,
                derandomize=not proof.full,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            def answers(case: schemathesis.Case[Any], media: str | None) -> None:
                if media is not None and not isinstance(case.body, NotSet):
                    case.headers["Content-Type"] = media
                statuses[case.call_and_validate(checks=CHECKS).status_code] += 1

            answers()
    proof.note(operations=len(operations), requests=statuses.total(), server_errors=0)
    return statuses


@pytest.mark.proof(
    "The collector answers as it describes itself, whatever is sent", "schemathesis, every operation"
)
def test_the_collector(proof: Proof, launch: StartCollector) -> None:
    collector = launch()
    statuses = set(explore(collector.address, proof))
    # which statuses a few requests get changes with every word of the description
    assert statuses >= ({200, 400, 415, 422} if proof.full else {200, 400})
    assert "Traceback" not in collector.log.read_text()
    assert collector.stop() == 0


@pytest.mark.proof(
    "The gateway answers as it describes itself, whatever is sent", "schemathesis, every operation"
)
def test_the_gateway(proof: Proof, outside: Outside, start: Callable[..., RunningGateway]) -> None:
    assert {200, 400} <= set(explore(start(outside.config()).address, proof))
