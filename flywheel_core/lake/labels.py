"""Applies the label rules, `sql/labels.sql`, to the outcomes that a connection holds."""

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
"""The names of all rules, in the order in which they are tried; the first three give no label."""


def create_labels(connection: duckdb.DuckDBPyConnection) -> None:
    """Label the relation `outcomes` of a connection that has the tables of `engine`; replaces its table `labels`.

    outcomes: example (any integer), model (never null), score (0..1 or null), failed, cost, latency_ms; one row per
    example and model. labels: one row per example, with rule, label (null when the rule gives none), best_model, score,
    margin (highest score minus the next one), n_models, n_scored, n_failed, n_tied (models within the tolerance of the
    highest score, and not below `min_score` unless equal to the highest).
    """
    connection.execute(f"create or replace temp table labels as {sql('labels')}")
