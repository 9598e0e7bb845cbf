"""Settings of the long-running parts: limits of every server, collector, gateway, network and Dagster project."""

from pydantic import Field

from flywheel_core.config_fields import (
    Bytes,
    Days,
    Name,
    Port,
    Seconds,
    Section,
    Share,
    VariableName,
    WholeSeconds,
)


class Server(Section):
    """Bounds that every server keeps."""

    host: Name = Field("127.0.0.1", description="Address to listen on; loopback by default.")
    port: Port = Field(8080, description="Port to listen on; 0 takes a free one.")
    allow_anonymous: bool = Field(
        False,
        description="Whether requests without a key are always accepted; otherwise only on loopback, and only while there is no key.",
    )
    max_body_bytes: Bytes = Field(8_388_608, ge=1_024, le=1_073_741_824, description="Largest body as sent.")
    max_unpacked_bytes: Bytes = Field(
        33_554_432, ge=1_024, le=4_294_967_296, description="Largest body once unpacked."
    )
    header_timeout: Seconds = Field(
        10.0, gt=0, le=600, description="Time for all headers of a request to arrive."
    )
    body_timeout: Seconds = Field(
        30.0, gt=0, le=3_600, description="Time for a request's whole body to arrive."
    )
    idle_timeout: Seconds = Field(
        60.0,
        gt=0,
        le=3_600,
        description="Time a connection may stay silent between requests, or leave its answer unread.",
    )
    max_connections: int = Field(2_048, ge=1, le=100_000, description="Connections open at once.")
    drain_timeout: Seconds = Field(
        8.0,
        gt=0,
        le=600,
        description="Time for requests under way to end on SIGTERM; at the gateway also for collection and uploads.",
    )


class Collector(Server):
    """The collector API."""

    max_batch_points: int = Field(1_000, ge=1, le=100_000, description="Data points a batch may have.")
    max_queue_bytes: Bytes = Field(
        134_217_728,
        ge=1_048_576,
        description="How much may be received, decoded or waiting to be stored at once; beyond it the answer is 503.",
    )
    commit_bytes: Bytes = Field(
        2_097_152,
        ge=65_536,
        le=134_217_728,
        description="Size up to which waiting requests share one write and sync.",
    )


class Gateway(Server):
    """The gateway."""

    port: Port = Field(8001, description="Port to listen on; 0 takes a free one.")
    max_unpacked_bytes: Bytes = Field(
        8_388_608, ge=1_024, le=4_294_967_296, description="Largest body once unpacked."
    )
    allow_private_upstreams: bool = Field(
        True, description="Whether models may have private and loopback addresses."
    )
    user_secret_env: VariableName | None = Field(
        None,
        description="Name of the environment variable with the secret that users are hashed with; null: users are not recorded.",
    )
    decision_log_bytes: Bytes = Field(
        268_435_456, ge=0, description="Largest log of one day's routing decisions; further ones are dropped."
    )
    decision_log_days: Days = Field(
        30, ge=1, le=3_650, description="How long the logs of routing decisions are kept."
    )


class Network(Section):
    """What Flywheel connects to."""

    allow_link_local: bool = Field(
        False,
        description="Whether models, scorer and collector may have link-local addresses or those of clouds' metadata services.",
    )


class Operations(Section):
    """Schedules, checks and alarms of the Dagster project."""

    failure_webhook_env: VariableName | None = Field(
        None, description="Name of the environment variable with the address that run failures are posted to."
    )
    max_rejected_share: Share = Field(
        0.05,
        description="Share of rejected lines above which the check rejected_share fails; on a day of few lines it warns.",
    )
    max_label_drift: Share = Field(
        0.25,
        description="Total variation distance of a day's labels to the week before above which the check label_drift warns.",
    )
    preview_rows: int = Field(
        5, ge=0, le=20, description="Number of a dataset's questions that Dagster's page shows."
    )
    rewrite_check_interval: WholeSeconds = Field(
        60, ge=30, le=86_400, description="Time between checks for late or rewritten days."
    )
