"""Metrics whose counts are kept outside the metrics: they show what happened."""

from collections.abc import Callable

from tests.gateway.test_router_in_service import promote, quiet, registry_of, serving
from tests.gateway.world import Outside, RunningGateway, until

Start = Callable[..., RunningGateway]


def test_decisions_on_record_and_those_that_found_no_room_are_counted(outside: Outside, start: Start) -> None:
    gateway = start(outside.config(gateway__decision_log_bytes=1_000, data_collection__enabled=False))
    for number in range(6):
        gateway.chat(f"question {number}")
    written, dropped = (f"flywheel_gateway_decision_log_{name}_total" for name in ("written", "dropped"))
    until(lambda: gateway.metric(written) + gateway.metric(dropped) == 6)
    assert 0 < gateway.metric(written) == len(gateway.decisions()) < 6


def test_cached_decisions_are_counted(outside: Outside, start: Start) -> None:
    gateway = start(quiet(outside))
    promote(registry_of(gateway), "to-math")
    until(lambda: serving(gateway) == "to-math")
    for question in ("one", "two", "one"):
        gateway.chat(question)
    assert gateway.metric("flywheel_gateway_decision_cache_entries") == 2


def test_uploads_and_what_waits_on_disk_are_counted(outside: Outside, start: Start) -> None:
    gateway = start(outside.config(data_collection__storage_endpoint="http://127.0.0.1:1/collect"))
    gateway.chat()
    until(lambda: gateway.metric("flywheel_upload_spooled") == 1)
    assert gateway.metric("flywheel_upload_uploads_total") >= 1
    files = [path for path in (gateway.data / "spool").rglob("*") if path.is_file()]
    assert 0 < gateway.metric("flywheel_upload_spool_bytes") <= sum(path.stat().st_size for path in files)
