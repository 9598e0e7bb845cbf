"""`flywheel why`: one decision explained, from its scores to its raw line."""

import gzip
import hashlib
import os
import re
import time
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import msgspec
import pytest

from flywheel_core.lake.layout import Layout, day_of
from flywheel_core.learn.artefact import load_router, publish_router
from flywheel_core.learn.settings import Learning
from flywheel_core.learn.why import words_that_spoke
from flywheel_core.records import DataPoint, Response, encode_point
from flywheel_gateway.decisions import DecisionRecord, decision_file, new_decision_id
from tests.cli.conftest import Run, parsed
from tests.core.learn.questions import CATEGORIES, frame, train


def publish_learned(layout: Layout, min_evidence: float | None = None) -> str:
    """Train a router on synthetic questions, publish it and return its version."""
    quick = Learning(trees=10, dimensions=16, folds=2, jobs=1)
    router = train(frame(400), quick, version="learned", categories=CATEGORIES).router
    if min_evidence is not None:
        router = replace(router, policy=replace(router.policy, min_evidence=min_evidence))
    publish_router(layout, router, {"dataset": "made up"}, ["What is 1 + 1?"])
    return router.version


def decided(layout: Layout, prompt: str, **changes: Any) -> str:
    """Log a decision as a gateway does, and return its id."""
    decision_id = new_decision_id(changes.get("at"))
    record = DecisionRecord(
        decision_id,
        time.time(),
        hashlib.sha256(prompt.encode()).hexdigest()[:32],
        "math",
        "general",
        0.8,
        "router",
        router_version="to-math",
        scores={"math": 0.9, "big": 0.3},
        served="math",
    )
    record = msgspec.structs.replace(record, **changes)
    layout.decisions.mkdir(parents=True, exist_ok=True)
    with decision_file(layout.decisions, day_of(record.at)).open("ab") as file:
        file.write(msgspec.json.encode(record) + b"\n")
    return decision_id


def test_why_explains_a_collected_decision_to_its_raw_line(run: Run, layout: Layout) -> None:
    question = "Which prime is the sum of a matrix?"
    version, scores = publish_learned(layout), {"m-math": 0.9, "m-code": 0.3}
    decision_id = decided(layout, question, router_version=version, model="m-math", scores=scores)
    point = DataPoint(
        "p1",
        question,
        {"math": Response("math", answer="25")},
        {"math": 1.0},
        int(time.time()),
        decision_id=decision_id,
        source="tests",
    )
    raw = layout.raw_file(day_of(time.time()))
    raw.parent.mkdir(parents=True)
    other = encode_point(msgspec.structs.replace(point, id="p0", decision_id="another")) + b"\n"
    raw.write_bytes(other + encode_point(point) + b"\n")
    found = parsed(run("why", decision_id, "--json"))
    assert found["decision"]["scores"] == scores
    assert (found["router"]["version"], found["dataset"]) == (version, "made up")
    assert found["raw_line"]["question"] == question
    assert found["raw_line"]["offset"] == len(other)
    assert {word["word"] for word in found["words"]} == set(question.rstrip("?").split())
    text = run("why", decision_id).output
    assert re.match(rf"decision {decision_id}, \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC\n", text)
    assert "reason router: the router chose the model" in text
    assert "Words that spoke for it" in text
    assert question in text
    assert '"decision_id"' in run("why", decision_id, "--raw").output
    router = load_router(layout.router(version))
    errors = router.forecast([question]).errors[0].tolist()
    assert found["grounds"]["errors"] == dict(zip(router.models, errors, strict=True))
    assert set(found["grounds"]["evidence"]) == set(router.models)
    assert re.search(r"model +expected score +± +similar questions +chosen", text)
    assert "the scores did not decide" not in text


def test_why_says_how_unfamiliar_a_text_is_and_that_the_scores_did_not_decide(
    run: Run, layout: Layout
) -> None:
    prompt = "zxqv wkjh ßßß"
    router = load_router(layout.router(publish_learned(layout)))
    decision = router.decide(prompt)
    assert decision.reason == "unfamiliar"
    decision_id = decided(
        layout,
        prompt,
        router_version=router.version,
        model=decision.model,
        scores=decision.scores,
        reason="unfamiliar",
    )
    known = parsed(run("why", decision_id, "--prompt", prompt, "--json"))["grounds"]["known_share"]
    assert known < router.policy.known_share
    text = run("why", decision_id, "--prompt", prompt).output
    assert (
        f"the scores did not decide: {known:.0%} of the text's n-grams are known from training, and a text"
        f" is familiar from {router.policy.known_share:.0%} on" in text
    )
    assert "Words that spoke for it" not in text, "it was not chosen for its score"
    assert f"Words behind the lead of {decision.model}" in text


def test_why_says_what_thin_evidence_lacks(run: Run, layout: Layout) -> None:
    """At the edge of the evidence any model may be: here each needs more than there is."""
    prompt = "Which prime is the sum of a matrix?"
    version = publish_learned(layout, min_evidence=1e6)
    decision = load_router(layout.router(version)).decide(prompt)
    assert decision.reason == "thin_evidence"
    decision_id = decided(
        layout,
        prompt,
        router_version=version,
        model=decision.model,
        scores=decision.scores,
        reason="thin_evidence",
    )
    text = run("why", decision_id, "--prompt", prompt).output
    assert (
        "the scores did not decide: m-math leads, and is chosen only with 1,000,000 similar training" in text
    )


def test_why_of_a_decision_that_was_not_collected(run: Run, layout: Layout) -> None:
    decision_id = decided(layout, "a secret question", router_version=publish_learned(layout), model="m-math")
    found = parsed(run("why", decision_id, "--json"))
    assert (found["raw_line"], found["words"]) == (None, [])
    assert "--prompt" in found["note"]
    assert parsed(run("why", decision_id, "--prompt", "a secret question", "--json"))["words"]
    assert "no raw line: the request was not collected" in run("why", decision_id).output
    wrong = run("why", decision_id, "--prompt", "another question")
    assert wrong.exit_code == 2
    assert "not the prompt of that decision" in wrong.stderr


def test_why_of_a_decision_that_another_gateway_asked_for(run: Run, layout: Layout) -> None:
    """That gateway answered the user; only what it reported to /v1/observe is known."""
    asked: dict[str, Any] = {"reason": "no_router", "router_version": None, "scores": {}, "served": None}
    decision_id = decided(layout, "hello you", **asked)
    assert "confidence 0.80; who answered is not on record\n" in run("why", decision_id).output
    point = DataPoint(
        "p1", "hello you", {}, {}, int(time.time()), decision_id=decision_id, served_model="big"
    )
    raw = layout.raw_file(day_of(time.time()))
    raw.parent.mkdir(parents=True)
    raw.write_bytes(encode_point(point) + b"\n")
    assert "confidence 0.80; answered by big, as reported to /v1/observe\n" in run("why", decision_id).output
    failed = decided(layout, "hello you", **asked, failed={"math": "timeout"})
    assert "confidence 0.80; answered by nobody\n" in run("why", failed).output


def test_texts_that_why_quotes_do_not_control_the_terminal(run: Run, layout: Layout) -> None:
    """The question and the name of an observed model come from a client, a failure's words from a model's server."""
    evil = "\x1b[2J\x1b]0;gone\x07\x9b2J"
    decision_id = decided(
        layout, f"hello {evil}", reason="no_router", served=None, failed={"math": f"http_500 {evil}"}
    )
    point = DataPoint(
        "p1", f"hello {evil}", {}, {}, int(time.time()), decision_id=decision_id, served_model=f"big{evil}"
    )
    raw = layout.raw_file(day_of(time.time()))
    raw.parent.mkdir(parents=True)
    raw.write_bytes(encode_point(point) + b"\n")
    printed = run("why", decision_id).output
    assert "answered by big\\x1b[2J" in printed
    assert "question: hello \\x1b[2J" in printed
    for shown in (printed, run("why", decision_id, "--raw").output, run("why", decision_id, "--json").output):
        assert [char for char in shown if not char.isprintable() and char != "\n"] == []


def test_why_of_an_answer_observed_without_a_decision(run: Run, layout: Layout) -> None:
    result = run("why", new_decision_id())
    assert result.exit_code == 1
    assert "an answer observed without a decision_id belongs to no decision" in result.stderr


def test_why_names_a_packed_raw_file_that_is_damaged(run: Run, layout: Layout) -> None:
    """The raw line may be in that file, so this is an error with a code, and not a traceback from zlib."""
    decision_id = decided(layout, "hello you", router_version=None, reason="no_router")
    raw = layout.raw_file(day_of(time.time()))
    packed = bytearray(gzip.compress(b'{"question": "one"}\n' * 500 + os.urandom(1_000)))
    packed[30:60] = bytes(30)
    raw.parent.mkdir(parents=True)
    raw.with_name(raw.name + ".gz").write_bytes(packed)
    result = run("why", decision_id)
    assert result.exit_code == 1
    assert f"error[storage_failed]: cannot read data/raw/{raw.name}.gz" in result.stderr


def test_why_of_a_decision_whose_point_is_on_its_way(run: Run, layout: Layout) -> None:
    decision_id = decided(layout, "hello", router_version=publish_learned(layout), collected=True)
    layout.raw.mkdir()
    text = run("why", decision_id).output
    assert "not collected" not in text
    assert "no raw line: collected, but its data point is not here yet" in text


def stored_on(layout: Layout, decision_id: str, day: date) -> None:
    """Store the decision's data point as received on `day`."""
    point = DataPoint("p1", "hello you", {}, {}, int(time.time()), decision_id=decision_id)
    raw = layout.raw_file(day)
    raw.parent.mkdir(parents=True, exist_ok=True)
    raw.write_bytes(encode_point(point) + b"\n")


@pytest.mark.parametrize("days_later", [-1, 0, 1, 4])
def test_why_finds_a_data_point_that_came_on_another_day(run: Run, layout: Layout, days_later: int) -> None:
    """A gateway's clock may be ahead of the collector's at midnight, and a spool may wait a weekend for a collector."""
    at = time.time() - 10 * 86_400
    decision_id = decided(layout, "hello you", at=at, reason="no_router", router_version=None, collected=True)
    stored_on(layout, decision_id, day_of(at) + timedelta(days=days_later))
    assert "question: hello you" in run("why", decision_id).output


def test_why_says_which_days_it_looked_at(run: Run, layout: Layout) -> None:
    at = time.time() - 40 * 86_400
    decision_id = decided(layout, "hello you", at=at, reason="no_router", router_version=None, collected=True)
    stored_on(layout, "another", day_of(at))
    first, last = day_of(at) - timedelta(days=1), day_of(at) + timedelta(days=7)
    text = run("why", decision_id).output
    assert (
        f"no raw line: collected, but its data point is not here: no raw file of {first} to {last} has"
        in text
    )


def test_why_in_the_folder_of_a_gateway_whose_collector_has_another(run: Run, layout: Layout) -> None:
    decision_id = decided(layout, "hello you", reason="no_router", collected=True)
    text = run("why", decision_id).output
    assert f"no raw line: there is no folder data/{layout.raw.name}: link that of the collector to it" in text


def test_why_of_a_decision_whose_raw_day_and_router_were_removed(run: Run, layout: Layout) -> None:
    """What `flywheel prune` removed will never arrive, so it must not look as if it were on its way."""
    at = time.time() - 40 * 86_400
    decision_id = decided(layout, "an old question", at=at, collected=True, router_version="pruned")
    text = run("why", decision_id).output
    assert f"no raw line: there is no raw file of {day_of(at)} in {layout.raw.name}/" in text
    assert "router pruned is not here" in text
    assert text.count("flywheel prune") == 2
    assert "yet" not in text
    layout.raw.mkdir()
    layout.raw_file(day_of(at)).write_bytes(b"")
    assert "no raw line: collected, but its data point is not here" in run("why", decision_id).output


def test_why_shows_no_words_where_none_spoke(run: Run, layout: Layout) -> None:
    alone = decided(layout, "hello you", reason="best_single")
    text = run("why", alone, "--prompt", "hello you").output
    assert "this router asks one model whatever the prompt: no words spoke" in text
    assert "reason best_single: no router beats the best single model" in text
    late = decided(layout, "hello you", router_version=publish_learned(layout), reason="fallback", scores={})
    assert "the router gave no scores" in run("why", late, "--prompt", "hello you").output
    assert parsed(run("why", late, "--prompt", "hello you", "--json"))["words"] == []


def test_why_of_a_decision_whose_router_is_damaged_still_tells_what_is_on_record(
    run: Run, layout: Layout
) -> None:
    version = publish_learned(layout)
    decision_id = decided(layout, "hello you", router_version=version)
    for damaged in layout.router(version).glob("*.npz"):
        damaged.write_bytes(b"")
    found = parsed(run("why", decision_id, "--prompt", "hello you", "--json"))
    assert found["note"].startswith(f"router {version} cannot be asked: ")
    assert found["decision"]["scores"] == {"math": 0.9, "big": 0.3}


def test_why_without_router_or_decision(run: Run, layout: Layout) -> None:
    decision_id = decided(layout, "hello you", router_version=None, reason="no_router")
    assert parsed(run("why", decision_id, "--json"))["note"] == "no router decided"
    gone = decided(layout, "hello you", router_version="gone")
    assert "router gone is not here" in parsed(run("why", gone, "--prompt", "hello you", "--json"))["note"]
    unknown = run("why", new_decision_id())
    assert unknown.exit_code == 1
    assert "error[no_data]: there is no decision" in unknown.stderr


def test_the_words_that_spoke_are_those_whose_absence_changes_the_lead() -> None:
    import numpy as np

    def utilities(texts: Any) -> Any:
        return np.array([[0.5 + 0.3 * ("prime" in text) - 0.1 * ("poem" in text), 0.5] for text in texts])

    found = words_that_spoke(utilities, ["math", "big"], "a poem about the prime number 7", "math")
    assert [(one.word, round(one.lead, 6)) for one in found[:2]] == [("prime", 0.3), ("poem", -0.1)]
    assert words_that_spoke(utilities, ["math", "big"], "prime", "math") == []
    assert words_that_spoke(utilities, ["math", "big"], "two words", "gone") == []
