"""Metrics of the collector."""

from prometheus_client import Counter, Gauge, Histogram

from flywheel_core.errors import POINT_CODES
from flywheel_core.serve.metrics import ServerMetrics

_NOT_STORED = ("storage_unavailable", "disk_full", "internal_error")
"""Codes of requests that an alert counts."""
_COMMIT_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class CollectorMetrics(ServerMetrics):
    """Metrics of points, bytes, rejects by code, commits, the queue and the disk."""

    def __init__(self) -> None:
        super().__init__("flywheel_collector")
        registry = self.registry
        self.points = Counter("flywheel_collector_points", "Data points stored.", registry=registry)
        self.rejected_points = Counter(
            "flywheel_collector_rejected_points",
            "Data points set aside, by code.",
            ["code"],
            registry=registry,
        )
        self.stored_bytes = Counter(
            "flywheel_collector_stored_bytes", "Bytes of stored data points.", registry=registry
        )
        self.commit_seconds = Histogram(
            "flywheel_collector_commit_seconds",
            "Time to write and sync one commit, in seconds.",
            buckets=_COMMIT_BUCKETS,
            registry=registry,
        )
        self.commit_failures = Counter(
            "flywheel_collector_commit_failures", "Commits that failed.", registry=registry
        )
        self.queue_requests = Gauge(
            "flywheel_collector_queue_requests", "Requests that wait for a commit.", registry=registry
        )
        self.queue_bytes = Gauge(
            "flywheel_collector_queue_bytes",
            "Bytes of bodies being received, decoded or waiting for a commit.",
            registry=registry,
        )
        self.disk_free_bytes = Gauge(
            "flywheel_collector_disk_free_bytes",
            "Free space where the raw files lie; NaN while it is unknown.",
            registry=registry,
        )
        # Prometheus sees no increase in a series that begins with its first event: these begin at 0.
        for code in POINT_CODES:
            self.rejected_points.labels(code)
        for code in _NOT_STORED:
            self.requests.labels(code)
