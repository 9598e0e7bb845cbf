"""The gateway's metrics, under the names that the routing challenge prescribes and under names of its own."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import Counter, Gauge, Histogram, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from flywheel_core.serve.metrics import ServerMetrics

ACCURACY_WINDOW = 1_000
"""Number of latest scored answers over which the accuracy score is averaged."""

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_DECISION_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 5)


MEANINGS: Mapping[str, str] = {
    "flywheel_gateway_routers_taken_up_total": "Routers taken up.",
    "flywheel_gateway_routers_refused_total": "Routers refused, because they are damaged or do not answer as they did.",
    "flywheel_gateway_router_refused": "1 while the router that should be in service is refused and the one before serves on.",
    "flywheel_gateway_router_paused": "1 while the router is hardly asked, because it keeps taking too long.",
    "flywheel_gateway_router_promotion": "Sequence of the promotion in service, 0 without a router.",
    "flywheel_gateway_collection_points_total": "Data points made.",
    "flywheel_gateway_collection_in_flight": "Data points under way now.",
    "flywheel_gateway_collection_skipped_total": "Requests that were not collected, by reason.",
    "flywheel_gateway_collection_calls_total": "Calls of models for collection, without retries, by model.",
    "flywheel_gateway_collection_retries_total": "Calls tried again, by model; those of the scorer under scorer.",
    "flywheel_gateway_collection_failures_total": "Answers that were not usable, by model and reason.",
    "flywheel_gateway_missing_scores_total": "Answers that should have a score and have none, by reason.",
    "flywheel_gateway_collection_unpriced_total": "Answers without token counts, whose cost is unknown.",
    "flywheel_gateway_collection_spend_today": "What collection cost since midnight UTC, in the currency of the prices.",
    "flywheel_gateway_collection_spend_limit": "What collection may cost in a UTC day, +Inf without a limit.",
    "flywheel_gateway_decision_cache_entries": "Decisions in the cache.",
    "flywheel_gateway_decision_log_written_total": "Decisions on record.",
    "flywheel_gateway_decision_log_dropped_total": "Decisions not recorded: the day's file is full or cannot be written, or too many wait.",
    "flywheel_gateway_configuration_refused": "1 while a changed configuration is refused and the one before is in force.",
    "flywheel_upload_offered_total": "Data points given to the uploader.",
    "flywheel_upload_acknowledged_total": "Data points that the collector has stored.",
    "flywheel_upload_rejected_total": "Data points that the collector refused for good; they are set aside.",
    "flywheel_upload_dropped_total": "Data points given up because the spool is full or cannot be written.",
    "flywheel_upload_uploads_total": "Batches sent, each try counted.",
    "flywheel_upload_spooled": "Data points that wait on disk.",
    "flywheel_upload_in_memory": "Data points that wait in memory or are being sent.",
    "flywheel_upload_spool_bytes": "Size of the spool.",
    "flywheel_upload_failures_total": "Batches that were not taken, by reason.",
}
"""Help texts of the metrics whose counts are kept elsewhere: name -> one sentence."""


class Metrics(ServerMetrics):
    """All metrics of one gateway."""

    def __init__(self) -> None:
        super().__init__("flywheel_gateway")
        registry = self.registry
        self.answered = Counter(
            "semantic_router_requests",
            "Chat completions by the model that answered.",
            ["model"],
            registry=registry,
        )
        self.response_time = Histogram(
            "semantic_router_response_time_histogram",
            "Time from a chat completion's request to the end of its answer in s, by the model that answered.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.accuracy = Gauge(
            "semantic_router_accuracy_score",
            f"Mean score (0..1) of the last {ACCURACY_WINDOW} collected answers that clients got, NaN before the first.",
            registry=registry,
        )
        self.accuracy.set(math.nan)
        self.decisions = Counter(
            "flywheel_gateway_decisions",
            "Routing decisions by reason and model.",
            ["reason", "model"],
            registry=registry,
        )
        self.decision_time = Histogram(
            "flywheel_gateway_decision_seconds",
            "Time of a routing decision in s.",
            buckets=_DECISION_SECONDS,
            registry=registry,
        )
        self.failures = Counter(
            "flywheel_gateway_model_failures",
            "Models that could not answer a client, by model and reason.",
            ["model", "reason"],
            registry=registry,
        )
        self.left_waiting = Counter(
            "flywheel_gateway_left_waiting",
            "Clients that left before anything of the model's answer had come.",
            ["model"],
            registry=registry,
        )
        self.spend = Counter(
            "flywheel_gateway_spend",
            "Cost of answers in the currency of the prices, by model and purpose: clients or collection.",
            ["model", "purpose"],
            registry=registry,
        )
        self.unpriced = Counter(
            "flywheel_gateway_unpriced",
            "Answers to clients without token counts, whose cost is unknown and not part of the spend, by model.",
            ["model"],
            registry=registry,
        )
        self.reloads = Counter(
            "flywheel_gateway_reloads",
            "Changes of the configuration file: taken or refused.",
            ["result"],
            registry=registry,
        )
        self.held_bytes = Gauge(
            "flywheel_gateway_held_bytes", "Bytes of request bodies in memory.", registry=registry
        )
        self._scores: deque[float] = deque(maxlen=ACCURACY_WINDOW)

    def expect(self, models: Iterable[str]) -> None:
        """Show the counters of these models from now on.

        Prometheus sees no increase in a series that begins with its first event.
        """
        for model in models:
            self.answered.labels(model)
            self.left_waiting.labels(model)

    def score(self, score: float) -> None:
        """Add the score of an answer that a client got."""
        self._scores.append(score)
        self.accuracy.set(sum(self._scores) / len(self._scores))

    def show(self, read: Callable[[], Mapping[str, Any]]) -> None:
        """Include what `read` returns in every scrape; see `Counted`."""
        self.registry.register(Counted(read))


class Counted(Collector):
    """Metrics whose counts are kept elsewhere and read at each scrape.

    `read` returns, for names of `MEANINGS`, name -> number, or name -> {label value: number}. Names that end
    in `_total` are counters, all others gauges. The label of a metric with label values follows a colon:
    `skipped_total:reason`. Several labels are separated by commas, and their values are a tuple.
    """

    def __init__(self, read: Callable[[], Mapping[str, Any]]) -> None:
        self._read = read

    def describe(self) -> list[Metric]:
        """Return nothing: which metrics there are is only known at a scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield one metric family per name."""
        for key, value in self._read().items():
            name, _, label = key.partition(":")
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            family = kind(name, MEANINGS[name], labels=label.split(",") if label else None)
            for at, number in value.items() if label else [((), value)]:
                family.add_metric([at] if isinstance(at, str) else at, number)
            yield family
