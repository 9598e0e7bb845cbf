"""The columns and types of every table; docs/data.md says what they mean, and a test checks that the two agree."""

import pyarrow as pa

from flywheel_core.lake.chunks import REJECTS as _REJECTS
from flywheel_core.lake.columns import ANSWERS, POINTS

OUTCOME = pa.struct(
    [
        ("model", pa.string()),
        ("score", pa.float64()),
        ("failed", pa.bool_()),
        ("cost", pa.float64()),
        ("latency_ms", pa.float64()),
        ("asked", pa.float64()),
    ]
)

RESPONSES = pa.schema(
    [
        ("day", pa.date32()),
        ("point", pa.int64()),
        ("raw_file", pa.string()),
        *POINTS,
        *(field for field in ANSWERS if field.name != "owner"),
    ]
)

REJECTS = pa.schema([("day", pa.date32()), ("raw_file", pa.string()), *_REJECTS])

TRAINING_EXAMPLES = pa.schema(
    [
        ("day", pa.date32()),
        ("point", pa.int64()),
        ("data_point_id", pa.string()),
        ("raw_file", pa.string()),
        ("byte_offset", pa.int64()),
        ("source", pa.string()),
        ("tenant", pa.string()),
        ("user", pa.string()),
        ("received_at", pa.float64()),
        ("timestamp", pa.int64()),
        ("text", pa.string()),
        ("question_key", pa.string()),
        ("split", pa.string()),
        ("label", pa.string()),
        ("rule", pa.string()),
        ("best_model", pa.string()),
        ("score", pa.float64()),
        ("margin", pa.float64()),
        ("n_models", pa.int64()),
        ("n_scored", pa.int64()),
        ("n_failed", pa.int64()),
        ("n_tied", pa.int64()),
        ("mode", pa.string()),
        ("sampling_rate", pa.float64()),
        ("decision_id", pa.string()),
        ("served_model", pa.string()),
        ("router_version", pa.string()),
        ("predicted_model", pa.string()),
        ("predicted_category", pa.string()),
        ("confidence", pa.float64()),
        ("outcomes", pa.list_(OUTCOME)),
    ]
)

LABEL_DISTRIBUTION = pa.schema(
    [
        ("day", pa.date32()),
        ("label", pa.string()),
        ("examples", pa.int64()),
        ("share", pa.float64()),
        ("train", pa.int64()),
        ("validation", pa.int64()),
        ("test", pa.int64()),
        ("mean_score", pa.float64()),
        ("mean_margin", pa.float64()),
    ]
)

MODEL_LEADERBOARD = pa.schema(
    [
        ("day", pa.date32()),
        ("place", pa.int64()),
        ("model", pa.string()),
        ("category", pa.string()),
        ("responses", pa.int64()),
        ("scored", pa.int64()),
        ("failed", pa.int64()),
        ("missing_scores", pa.int64()),
        ("mean_score", pa.float64()),
        ("contests", pa.int64()),
        ("wins", pa.int64()),
        ("win_rate", pa.float64()),
        ("failure_rate", pa.float64()),
        ("latency_p50_ms", pa.int64()),
        ("latency_p95_ms", pa.int64()),
        ("cost", pa.float64()),
        ("mean_cost", pa.float64()),
    ]
)

QUALITY_REPORT = pa.schema(
    [
        ("day", pa.date32()),
        ("section", pa.string()),
        ("metric", pa.string()),
        ("key", pa.string()),
        ("value", pa.float64()),
    ]
)

TABLES = {
    "responses": RESPONSES,
    "rejects": REJECTS,
    "training_examples": TRAINING_EXAMPLES,
    "label_distribution": LABEL_DISTRIBUTION,
    "model_leaderboard": MODEL_LEADERBOARD,
    "quality_report": QUALITY_REPORT,
}
"""The daily tables in the order in which they are built."""

MERGED_OUTCOME = pa.struct(
    [*OUTCOME, ("times", pa.int64()), ("failures", pa.int64()), ("scored", pa.int64())]
)
"""`OUTCOME` over all repeats of a question: means, and the numbers of responses that they come from."""

EXAMPLES = pa.schema(
    [
        ("id", pa.string()),
        ("day", pa.date32()),
        ("text", pa.string()),
        ("label", pa.string()),
        ("rule", pa.string()),
        ("best_model", pa.string()),
        ("score", pa.float64()),
        ("margin", pa.float64()),
        ("split", pa.string()),
        ("weight", pa.int64()),
        ("copies", pa.int64()),
        ("left_out", pa.string()),
        ("for_scores", pa.bool_()),
        ("question_key", pa.string()),
        ("n_models", pa.int64()),
        ("n_scored", pa.int64()),
        ("n_failed", pa.int64()),
        ("n_tied", pa.int64()),
        ("received_at", pa.float64()),
        ("last_received_at", pa.float64()),
        ("source", pa.string()),
        ("tenant", pa.string()),
        ("data_point_ids", pa.list_(pa.string())),
        ("outcomes", pa.list_(MERGED_OUTCOME)),
    ]
)
"""Columns of a dataset's `examples.parquet`."""
