"""The meaning of every column of every table, with unit and range, as shown by Dagster and in docs/data.md.

A test checks that this module, the schemas and the document agree.
"""

from collections.abc import Mapping

_RESPONSES = {
    "day": "UTC day of receipt",
    "point": "place of the data point within the day, from 0",
    "raw_file": "name of the raw file",
    "data_point_id": "id of the data point",
    "byte_offset": "where the line begins in the raw file, in bytes (unpacked bytes of a `.gz`), from 0",
    "source": "which gateway, from the collector key",
    "tenant": "opaque id of the gateway's client, set by the gateway",
    "user": "opaque id of who asked, set by the gateway",
    "received_at": "when the collector received it, unix seconds",
    "timestamp": "when it happened, unix seconds, up to the year 2100",
    "question": "the question, at most 64 KiB of UTF-8",
    "question_key": "32 hex digits, equal for questions that differ in case and white space only",
    "split": "train, validation or test",
    "prompt_rule": "version of the rule that made the question of a request",
    "mode": "mode of collection",
    "sampling_rate": "share of requests that were collected, 0..1",
    "decision_id": "id of the routing decision",
    "served_model": "the model whose answer the user got",
    "router_version": "version of the router that decided",
    "predicted_model": "the model that the router chose",
    "predicted_category": "the category of the model that the router chose",
    "confidence": "confidence of the decision, 0..1",
    "decision_reason": "why it was decided so",
    "position": "place of the model within the data point, from 0",
    "model": "name of the model; null where the data point has none",
    "answer": "its answer, null without one",
    "latency_ms": "time it took, whole ms, from 0",
    "cost": "what it cost, in the currency of the prices, from 0",
    "finish_reason": "why the answer ended, as the model said it",
    "error": "the failure, as recorded; null without one",
    "failed": "whether the response failed",
    "failure_reason": "`error`, `answer_empty` (nothing but white space), `answer_missing` (neither answer nor score), or null",
    "score": "0..1; null when the response failed or has no score",
    "score_reason": "why there is no score: `response_failed`, what the gateway recorded, `score_null` (null or -1), `score_absent`",
    "score_spread": "standard deviation of repeated scores, 0..1",
    "asked": "probability with which the model was asked, 0..1",
}

_REJECTS = {
    **{name: _RESPONSES[name] for name in ("day", "raw_file")},
    "byte_offset": "where the line begins, in bytes, from 0",
    "length": "bytes of the line, without its newline",
    "code": "a stable code: those of a data point, `file_damaged` or `schema_later`",
    "message": "what is wrong, and where",
    "text": "the line; bytes that are no UTF-8 as `\\xNN`",
}

_TRAINING_EXAMPLES = {
    **{
        name: _RESPONSES[name]
        for name in (
            "day",
            "point",
            "data_point_id",
            "raw_file",
            "byte_offset",
            "source",
            "tenant",
            "user",
            "received_at",
            "timestamp",
            "question_key",
            "split",
            "mode",
            "sampling_rate",
            "decision_id",
            "served_model",
            "router_version",
            "predicted_model",
            "predicted_category",
            "confidence",
        )
    },
    "text": "the question",
    "label": "category of the best model, null where the rule gives none",
    "rule": "the label rule that held",
    "best_model": "the best model, also where there is no label; null without any score",
    "score": "the best model's score, 0..1",
    "margin": "highest score minus the next one, 0..1; null with fewer than two scores",
    "n_models": "how many models were asked, from 0",
    "n_scored": "how many models have a score, from 0",
    "n_failed": "how many models failed, from 0",
    "n_tied": "models within the tolerance of the highest score that reach `min_score`, the best included",
    "outcomes": "of `model`, `score`, `failed`, `cost`, `latency_ms`, `asked` (the probability that it was) of every model, in order of name",
}

_LABEL_DISTRIBUTION = {
    "day": "UTC day of receipt",
    "label": "the label, a category",
    "examples": "examples with it, from 0",
    "share": "of all labelled examples, 0..1; null without any",
    "train": "how many of them are in train",
    "validation": "how many of them are in validation",
    "test": "how many of them are in test",
    "mean_score": "mean of the best models' scores, 0..1",
    "mean_margin": "mean of their margins, 0..1",
}

_MODEL_LEADERBOARD = {
    "day": "UTC day of receipt",
    "place": "place by mean score, from 1",
    "model": "name of the model",
    "category": "its category; null: unknown to the configuration",
    "responses": "how often it was asked or scored, from 0",
    "scored": "how many of its responses have a score",
    "failed": "how many of its responses failed",
    "missing_scores": "how many of its answers have no score",
    "mean_score": "mean score of the scored ones, 0..1; of models asked by chance an answer stands for as many questions as its probability `asked` says; null without any",
    "contests": "data points in which it was one of two or more scored models",
    "wins": "contests in which it was the best model; a tie that is led by a model that the configuration does not know is nobody's win",
    "win_rate": "wins / contests, 0..1",
    "failure_rate": "failed / responses, 0..1",
    "latency_p50_ms": "latency that half of its answers do not exceed, exact, whole ms",
    "latency_p95_ms": "latency that 95 % of its answers do not exceed, exact, whole ms",
    "cost": "sum of its costs, in the currency of the prices, from 0; null without any",
    "mean_cost": "mean cost of the responses with one, in the currency of the prices",
}

_QUALITY_REPORT = {
    "day": "UTC day of receipt",
    "section": "the section of the report",
    "metric": "name of the figure",
    "key": "what it is of (a label, rule, model, code, range of scores); empty when it stands alone",
    "value": "its value, shares as 0..1; null where there is nothing to compute it from",
}

_EXAMPLES = {
    **{name: _RESPONSES[name] for name in ("split", "question_key")},
    "id": "id of the question's first data point",
    "day": "UTC day of receipt of the question's first data point",
    "text": "the question of its first data point",
    "label": "category of the best model, null where the rule gives none",
    "rule": "the label rule that held",
    "best_model": "the best model by mean score; null without any score",
    "score": "the best model's mean score, 0..1",
    "margin": "highest mean score minus the next one, 0..1; null with fewer than two",
    "weight": "what it counts for in training: how many data points are merged in it, at most `dataset.max_weight`",
    "copies": "how often it stands in its split's file, from 0",
    "left_out": "why it stands in none: `unlabelled`, `group_cap`, `balance`, or null",
    "for_scores": "whether scores are learned from it: not if it is over its source's or tenant's share of all",
    "n_models": "how many models were asked, from 0",
    "n_scored": "how many models have a score, from 0",
    "n_failed": "how many models have failed in all their responses, from 0",
    "n_tied": "models within the tolerance of the highest score that reach `min_score`",
    "received_at": "when the first data point was received, unix seconds",
    "last_received_at": "when the last one was received, unix seconds",
    "source": "which gateway sent the first data point",
    "tenant": "opaque id of the gateway's client, of the first data point",
    "data_point_ids": "ids of all merged data points, sorted",
    "outcomes": "of every model in order of name: `model`, `score`, `failed`, `cost`, `latency_ms`, `asked` (the probability that it was) as means, and `times` (responses), `failures`, `scored` (responses with a score)",
}

MEANINGS: Mapping[str, Mapping[str, str]] = {
    "responses": _RESPONSES,
    "rejects": _REJECTS,
    "training_examples": _TRAINING_EXAMPLES,
    "label_distribution": _LABEL_DISTRIBUTION,
    "model_leaderboard": _MODEL_LEADERBOARD,
    "quality_report": _QUALITY_REPORT,
    "training_dataset": _EXAMPLES,
}
"""Table -> column -> meaning. `training_dataset` stands for the columns of `examples.parquet`."""
