"""The label rules at work: `sql/labels.sql` over whatever outcomes a connection holds."""

import duckdb

from flywheel_core.lake.engine import sql

RULES = (
    "too_few_scores",
    "below_min_score",
    "unknown_model",
    "single_best",
    "tie_cheaper",
    "tie_faster",
    "tie_declared",
)
"""Every rule's name, in the order in which they are tried; the first three give no label."""


def create_labels(connection: duckdb.DuckDBPyConnection) -> None:
    """Label the relation `outcomes` of an engine's connection; the result is its table `labels`.

    outcomes: example (any integer), model, score (0..1 or null), failed, cost, latency_ms; one row an example and
    model, no null model. labels: one row an example, with rule, label (null where the rule gives none), best_model,
    score, margin (best minus next score), n_models, n_scored, n_failed, n_tied (scores within the tolerance).
    """
    connection.execute(f"create or replace temp table labels as {sql('labels')}")
