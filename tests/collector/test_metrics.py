"""What /metrics says before anything has happened, and while the disk is away: alerts are computed from that."""

import math

from flywheel_core.errors import POINT_CODES

from .conftest import Start


def test_the_free_space_is_shown_before_the_first_request(launch: Start) -> None:
    """An alert on little free space must not fire because nobody has sent anything yet."""
    one = launch()
    assert one.metric("flywheel_collector_disk_free_bytes") > 0


def test_the_free_space_is_unknown_while_the_folder_is_away(launch: Start) -> None:
    one = launch()
    one.collect()
    raw = one.data / "raw"
    away = raw.rename(one.data / "away")
    assert math.isnan(one.metric("flywheel_collector_disk_free_bytes"))
    away.rename(raw)
    assert one.metric("flywheel_collector_disk_free_bytes") > 0


def test_counters_of_alerts_begin_at_zero(launch: Start) -> None:
    """Prometheus sees no increase in a series whose first sample is the first event."""
    shown = launch().client.get("/metrics").text.splitlines()
    for code in POINT_CODES:
        assert f'flywheel_collector_rejected_points_total{{code="{code}"}} 0.0' in shown
    for code in ("storage_unavailable", "disk_full", "internal_error"):
        assert f'flywheel_collector_requests_total{{code="{code}"}} 0.0' in shown
