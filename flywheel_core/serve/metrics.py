"""Prometheus metrics that every server has."""

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class ServerMetrics:
    """Requests by code, bytes received, and connections.

    Every name starts with `prefix`, e.g. `flywheel_collector`.
    """

    def __init__(self, prefix: str) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            f"{prefix}_requests",
            "Requests, by code: ok, the code of the refusal, client_gone if the client left; at the gateway also answer_cut if a model's answer broke off.",
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
        self._ok = self.requests.labels("ok")
        self._ok_since = self._bytes_since = 0

    def note_received(self, size: int) -> None:
        """Count a body of `size` bytes.

        Like `note_ok` this only adds to an integer until the metrics are read, because every request pays for
        it.
        """
        self._bytes_since += size

    def note_ok(self) -> None:
        """Count a request that succeeded."""
        self._ok_since += 1

    def text(self) -> bytes:
        """Return all metrics in Prometheus text format.

        Call it in the event loop, where requests are counted.
        """
        self._ok.inc(self._ok_since)
        self.received_bytes.inc(self._bytes_since)
        self._ok_since = self._bytes_since = 0
        return generate_latest(self.registry)
