"""What every server counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class ServerMetrics:
    """Requests by code, bytes received, connections. `prefix` begins every name: `flywheel_collector`."""

    def __init__(self, prefix: str) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            f"{prefix}_requests",
            "Requests answered, by code: ok, or the code of the refusal.",
            ["code"],
            registry=self.registry,
        )
        self.received_bytes = Counter(
            f"{prefix}_received_bytes", "Bytes of request bodies as sent.", registry=self.registry
        )
        self.connections = Gauge(f"{prefix}_connections", "Connections open now.", registry=self.registry)
        self.deadlines = Counter(
            f"{prefix}_deadlines",
            "Connections closed because a deadline passed, by deadline: header, body, idle, write.",
            ["deadline"],
            registry=self.registry,
        )
        self.ok = self.requests.labels("ok")

    def text(self) -> bytes:
        """All metrics in the format of Prometheus."""
        return generate_latest(self.registry)
