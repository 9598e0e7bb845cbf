"""A fault of the gateway's own: the client is told, and the log's line can be found by the id that the client got."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from flywheel_core.collect import upload
from flywheel_core.collect.spend import Spend
from flywheel_core.config import Config
from flywheel_core.errors import StorageError
from flywheel_core.records import DataPoint
from flywheel_gateway.collection import Collection
from flywheel_gateway.service import Service
from flywheel_gateway.uploads import Uploads
from flywheel_gateway.upstream import Call, Upstream
from tests.gateway.world import Outside


@asynccontextmanager
async def client_of(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """Run a gateway in this process, so that a test can give it a fault, and yield a client of it."""
    transport = httpx.ASGITransport(service.app)
    async with service.running(), httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


class FaultyUpstream(Upstream):
    """Connections to models, with a fault."""

    def open(self, call: Call) -> Any:
        """Raise what no caller expects."""
        raise LookupError(f"a fault before {call.method}")


def test_a_fault_is_logged_with_the_id_that_the_client_got(
    tmp_path: Path, outside: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    settings = outside.config(storage__data_dir=str(tmp_path), data_collection__enabled=False)

    async def ask() -> httpx.Response:
        service = Service(lambda: Config.model_validate(settings))
        service.gateway.upstream = FaultyUpstream()
        async with client_of(service) as client:
            body = {"messages": [{"role": "user", "content": "a secret question"}]}
            return await client.post("/v1/chat/completions", json=body)

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    (fault,) = [record for record in caplog.records if record.message == "request_failed"]
    assert fault.exc_info is not None and fault.exc_info[0] is LookupError
    assert vars(fault)["decision_id"] == answer.headers["x-flywheel-decision"]
    (file,) = (tmp_path / "decisions").iterdir()
    (decision,) = [json.loads(line) for line in file.read_text().splitlines()]
    assert decision["decision_id"] == answer.headers["x-flywheel-decision"]
    assert "secret" not in answer.text and "fault" not in answer.text


def test_a_fault_where_no_decision_is_made_is_answered_counted_and_logged_too(
    tmp_path: Path, outside: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    settings = outside.config(storage__data_dir=str(tmp_path), data_collection__enabled=False)

    async def ask() -> tuple[httpx.Response, str]:
        service = Service(lambda: Config.model_validate(settings))
        service.gateway.upstream = FaultyUpstream()
        async with client_of(service) as client:
            answer = await client.post("/v1/embeddings", json={"input": "a secret text"})
            return answer, (await client.get("/metrics")).text

    answer, metrics = asyncio.run(ask())
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "secret" not in answer.text and "fault" not in answer.text
    assert 'flywheel_gateway_requests_total{code="internal_error"} 1.0' in metrics
    (fault,) = [record for record in caplog.records if record.message == "request_failed"]
    assert fault.exc_info is not None and fault.exc_info[0] is LookupError


class FaultyUploads(Uploads):
    """Uploads that take no data point. fault: what offering one raises."""

    fault: Exception

    async def offer(self, point: DataPoint) -> None:
        raise self.fault


@pytest.mark.parametrize("fault", [LookupError("a fault"), StorageError("the disk is gone")], ids=repr)
def test_a_fault_in_collection_is_counted_and_logged_and_costs_no_answer(
    tmp_path: Path, outside: Outside, caplog: pytest.LogCaptureFixture, fault: Exception
) -> None:
    config = Config.model_validate(outside.config(storage__data_dir=str(tmp_path)))

    async def ask() -> httpx.Response:
        service = Service(lambda: config)
        uploads = FaultyUploads(config, tmp_path / "none")
        uploads.fault = fault
        gateway = service.gateway
        gateway.collection = Collection(gateway.setup, uploads, Spend(None), gateway.metrics)
        async with client_of(service) as client:
            body = {"messages": [{"role": "user", "content": "a secret question"}]}
            answer = await client.post("/v1/chat/completions", json=body)
        assert gateway.collection.stats()["skipped"] == {"failed": 1}
        return answer

    answer = asyncio.run(ask())
    assert answer.status_code == 200
    (logged,) = [record for record in caplog.records if record.message == "collecting_failed"]
    assert vars(logged)["decision_id"] == answer.headers["x-flywheel-decision"]
    assert (logged.exc_info is None) == isinstance(fault, StorageError)


def test_requests_are_skipped_as_busy_while_memory_is_full_of_data_points(
    tmp_path: Path, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector is away and the disk refuses: what waits has a bound, and no model is paid for more of it."""
    monkeypatch.setattr(upload, "MAX_MEMORY_BYTES", 1)
    settings = outside.config(
        storage__data_dir=str(tmp_path),
        data_collection__storage_endpoint="http://127.0.0.1:1/collect",
        data_collection__max_in_flight=2,
        gateway__drain_timeout=0.5,
    )

    async def ask() -> Mapping[str, Any]:
        service = Service(lambda: Config.model_validate(settings))
        async with client_of(service) as client:
            (tmp_path / "spool").rename(tmp_path / "away")
            (tmp_path / "spool").touch()
            for _ in range(30):
                await client.post(
                    "/v1/chat/completions", json={"messages": [{"role": "user", "content": "a"}]}
                )
                await asyncio.sleep(0.05)
            return service.gateway.collection.stats()

    stats = asyncio.run(ask())
    assert stats["points"] + stats["skipped"]["busy"] == 30
    assert stats["points"] < 15
