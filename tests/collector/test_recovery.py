"""The collector goes on after what one request, one file or one file system does wrong."""

import asyncio
import errno
import fcntl
import mmap
import os
from pathlib import Path
from typing import Any

import pytest

from collector_api.disk import BLOCK, Disk

from .conftest import point
from .test_faults import Site


def test_a_client_that_leaves_while_its_points_are_written_costs_the_others_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with Site(tmp_path) as site:
            site.disk.gate.clear()
            leaving, staying = (asyncio.create_task(site.collect(point(number))) for number in (1, 2))
            await asyncio.sleep(0.05)
            leaving.cancel()
            await asyncio.wait([leaving])
            site.disk.gate.set()
            assert (await asyncio.wait_for(staying, 30)).status_code == 200
            assert (await site.collect(point(3))).status_code == 200
            assert {"p-2", "p-3"} <= set(site.ids("*.jsonl"))

    asyncio.run(main())


def test_a_fault_of_the_collectors_own_is_answered_counted_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with Site(tmp_path) as site:
            site.now = "no time"  # type: ignore[assignment] # the fault
            answer = await site.collect(point(1))
            assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
            site.now = 1.0
            assert (await site.collect(point(2))).status_code == 200
            metrics = (await site.client.get("/metrics")).text
            assert 'flywheel_collector_requests_total{code="internal_error"} 1.0' in metrics

    asyncio.run(main())
    (fault,) = [record for record in caplog.records if record.message == "collect_failed"]
    assert fault.exc_info is not None


@pytest.mark.parametrize(
    ("method", "path", "status"), [("PUT", "/collect", 405), ("POST", "/health", 405), ("GET", "/no", 404)]
)
def test_what_no_address_takes_is_answered_as_all_errors_are(
    tmp_path: Path, method: str, path: str, status: int
) -> None:
    code = {404: "not_found", 405: "method_not_allowed"}[status]

    async def main() -> None:
        async with Site(tmp_path) as site:
            answer = await site.client.request(method, path)
            assert (answer.status_code, answer.json()["status"], answer.json()["code"]) == (
                status,
                "error",
                code,
            )
            allowed = {"/collect": {"POST"}, "/health": {"GET", "HEAD"}}.get(path, {""})
            assert set(answer.headers.get("allow", "").split(", ")) == allowed
            metrics = (await site.client.get("/metrics")).text
            assert f'flywheel_collector_requests_total{{code="{code}"}} 1.0' in metrics

    asyncio.run(main())


def test_a_probe_that_a_killed_collector_left_does_not_keep_the_next_one_from_trying(tmp_path: Path) -> None:
    async def main() -> None:
        async with Site(tmp_path) as site:
            site.disk.broken = True
            assert (await site.collect(point(1))).status_code == 503
            (tmp_path / "raw" / ".probe").write_bytes(b"pro")
            assert (await site.client.get("/ready")).status_code == 200
            assert not (tmp_path / "raw" / ".probe").exists()

    asyncio.run(main())


def test_a_file_system_that_refuses_direct_writes_is_written_through_the_page_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some accept O_DIRECT when a file is opened, and refuse only the write."""
    write = os.pwrite

    def refuse(file: int, data: Any, offset: int) -> int:
        if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return write(file, data, offset)

    disk, path = Disk(), tmp_path / "file"
    file = disk.open(path, create=True)
    try:
        fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_DIRECT)
    except OSError:
        pytest.skip("this file system has no direct writes at all")
    block = mmap.mmap(-1, BLOCK)
    block[:] = b"a" * BLOCK
    monkeypatch.setattr(os, "pwrite", refuse)
    with memoryview(block) as data:
        disk.write(file, data, 0)
    disk.close(file)
    assert path.read_bytes() == b"a" * BLOCK
