"""Collection: which requests are collected, what their data points hold, and that no user waits for it."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from flywheel_core.serve.keys import KeyStore
from tests.gateway.scripted import Arrived, Script, completion, reply
from tests.gateway.world import NotStartedError, Outside, RunningGateway, by_user, until

Start = Callable[..., RunningGateway]


def skipped(gateway: RunningGateway, reason: str) -> float:
    return gateway.metric(f'flywheel_gateway_collection_skipped_total{{reason="{reason}"}}')


def test_fault_10_the_users_answer_is_reused_and_the_others_get_the_whole_request(
    outside: Outside, start: Start
) -> None:
    """The other models get the system message and parameters too; the model that answered is not asked again."""
    gateway = start(outside.config())
    body = {
        "messages": [{"role": "system", "content": "short"}, {"role": "user", "content": "1 + 1?"}],
        "temperature": 0.3,
    }
    answer = gateway.post("/v1/chat/completions", body)
    point = until(lambda: outside.points)[0]
    assert {name: response["answer"] for name, response in point["responses"].items()} == {
        "big": "I am big",
        "math": "I am math",
        "code": "I am code-v2",
    }
    asked = [request.json for request in outside.asked()]
    assert sorted(request["model"] for request in asked) == ["big", "code-v2", "math"]
    assert all(request["temperature"] == 0.3 for request in asked)
    assert all(request["messages"] == body["messages"] for request in asked)
    assert point["id"] == point["decision_id"] == answer.headers["x-flywheel-decision"]
    assert point["served_model"] == "big"
    assert point["question"] == "1 + 1?"
    assert point["mode"] == "training"
    assert point["asked"] == {"big": 1.0, "math": 1.0, "code": 1.0}
    assert point["classification"] == {
        "category": "general",
        "confidence": 0.5,
        "model": "big",
        "reason": "no_router",
        "router_version": None,
    }


def test_the_answer_does_not_wait_for_collection(outside: Outside, start: Start) -> None:
    """The user is answered although the other models never answer."""
    first = outside.chat
    outside.chat = lambda asked: first(asked) if by_user(asked) else [60.0]
    gateway = start(outside.config(data_collection__point_timeout=1.0))
    for _ in range(3):
        assert gateway.chat().status_code == 200
    until(lambda: len(outside.points) == 3)
    assert outside.points[0]["responses"]["math"]["error"].startswith("timeout")


def test_collection_beyond_its_bound_is_skipped_and_counted(outside: Outside, start: Start) -> None:
    first = outside.chat
    outside.chat = lambda asked: first(asked) if by_user(asked) else [3.0, *first(asked)]
    gateway = start(outside.config(data_collection__max_in_flight=2))
    answers = [gateway.chat() for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 5
    assert skipped(gateway, "busy") == 3
    body = {"messages": [{"role": "user", "content": "1 + 1?"}]}
    told = gateway.post("/v1/observe", {"request": body, "model": "big", "answer": "two"}).json()
    assert (told["collected"], told["reason"]) == (False, "busy")
    until(lambda: len(outside.points) == 2)
    decisions = until(lambda: [one for one in gateway.decisions() if not one.get("collected")])
    assert len(decisions) == 3


def test_points_that_neither_disk_nor_collector_takes_count_as_being_collected(
    outside: Outside, start: Start
) -> None:
    """As where both are on one disk, and it is full: what waits for room in memory must not grow without bound."""
    outside.chat = lambda asked: reply(completion("a" * 1_500_000))
    config = outside.config(data_collection__max_in_flight=2, gateway__drain_timeout=0.2)
    config["data_collection"]["storage_endpoint"] = "http://127.0.0.1:1/collect"
    gateway = start(config)
    (gateway.data / "spool").rename(gateway.data / "away")
    (gateway.data / "spool").mkdir()
    for _ in range(20):
        assert gateway.chat().status_code == 200
        until(lambda: gateway.metric("flywheel_gateway_collection_in_flight") == 0)
    made = gateway.metric("flywheel_gateway_collection_points_total")
    assert gateway.metric("flywheel_upload_in_memory") == made - 2
    assert skipped(gateway, "busy") == 20 - made > 0


def test_a_request_that_collection_made_is_never_collected(outside: Outside, start: Start) -> None:
    gateway = start(outside.config())
    assert gateway.chat(headers={"x-flywheel-collect": "1", "x-training-mode": "true"}).status_code == 200
    assert skipped(gateway, "marked") == 1
    assert len(outside.asked()) == 1


def test_fault_12_a_model_whose_address_is_the_gateway_does_not_recurse(
    outside: Outside, start: Start
) -> None:
    """Calls of collection and forwarded requests that come back to the gateway go no further."""
    front = start(outside.config())
    config = outside.config(
        gateway__port=int(front.address.rpartition(":")[2]), models__math__base_url=front.address
    )
    config["models"]["big"]["base_url"] = outside.address
    front.write_config(config)
    until(lambda: front.metric('flywheel_gateway_reloads_total{result="taken"}') == 1)
    answer = front.chat(model="math")
    assert answer.status_code == 508
    assert answer.json()["error"]["code"] == "loop_detected"
    assert front.chat().status_code == 200
    point = until(lambda: outside.points)[0]
    assert point["responses"]["math"]["error"].startswith("http_status: 508")
    assert len(outside.points) == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
            "earlier_turns",
        ),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"n": 2}, "several_answers"),
    ],
)
def test_a_request_that_is_not_a_single_question_is_answered_but_not_collected(
    outside: Outside, start: Start, body: dict[str, Any], reason: str
) -> None:
    gateway = start(outside.config())
    assert gateway.chat(**body).status_code == 200
    assert skipped(gateway, reason) == 1


def test_production_collects_by_its_own_rate_and_on_request(outside: Outside, start: Start) -> None:
    gateway = start(outside.config(data_collection__mode="production", data_collection__sampling_rate=1.0))
    assert gateway.chat().status_code == 200
    assert skipped(gateway, "sampled_out") == 1
    assert gateway.chat(headers={"X-Training-Mode": "true"}).status_code == 200
    point = until(lambda: outside.points)[0]
    assert point["mode"] == "header"


def test_the_training_header_is_ignored_where_the_configuration_forbids_it(
    outside: Outside, start: Start
) -> None:
    config = outside.config(data_collection__mode="production", data_collection__training_header=False)
    gateway = start(config)
    gateway.chat(headers={"X-Training-Mode": "true"})
    assert skipped(gateway, "sampled_out") == 1


def test_production_with_a_baseline_asks_one_other_model(outside: Outside, start: Start) -> None:
    production = {"sampling_rate": 1.0, "baseline": True}
    gateway = start(
        outside.config(data_collection__mode="production", data_collection__production=production)
    )
    for number in range(8):
        gateway.chat(headers={"x-request-id": f"request-{number}"})
    until(lambda: len(outside.points) == 8)
    others = set()
    for point in outside.points:
        assert point["asked"] == {"big": 1.0, "math": 0.5, "code": 0.5}
        (other,) = set(point["responses"]) - {"big"}
        others.add(other)
    assert others == {"math", "code"}


def test_fault_09_sampling_follows_its_rate_by_the_requests_id(outside: Outside, start: Start) -> None:
    """The configured rate is used, and the same request id is always decided the same way."""
    gateway = start(outside.config(data_collection__sampling_rate=0.5))
    sent = {}
    for request_id in [f"request-{number}" for number in range(40)] * 2:
        answer = gateway.chat(headers={"x-request-id": request_id})
        sent[answer.headers["x-flywheel-decision"]] = request_id
    sampled_out = int(skipped(gateway, "sampled_out"))
    assert 10 < sampled_out / 2 < 30
    until(lambda: len(outside.points) == 80 - sampled_out)
    assert outside.points[0]["sampling_rate"] == 0.5
    gateway.stop()
    decided = {(sent[one["decision_id"]], one.get("collected", False)) for one in gateway.decisions()}
    assert len(decided) == 40, "both requests of an id are collected, or none"
    assert sum(not collected for _, collected in decided) == sampled_out / 2


@pytest.mark.parametrize(
    "changes",
    [
        {"data_collection__training__flush_interval": 0},
        {"data_collection__sampling_rate": 1.5},
        {"routing__default_model": "unknown"},
        {"models__big__base_url": None},
        {"models__big__base_url": "http://169.254.169.254"},
        {"models__big__base_url": "http://[fd00:ec2::254]/"},
        {"data_collection__training__evaluate_endpoint": "http://[fe80::1]/v1/evaluate"},
        {"data_collection__storage_endpoint": "http://2852039166/collect"},
        {"models__big__base_url": "http://127.0.0.1/?x=1"},
        {"gateway__allow_private_upstreams": False},
        {"models__big__api_key_env": "NOT_SET_ANYWHERE"},
    ],
)
def test_fault_09_a_configuration_that_cannot_work_is_refused_at_the_start(
    outside: Outside, start: Start, changes: dict[str, Any]
) -> None:
    """Every setting is validated."""
    with pytest.raises(NotStartedError, match=r"error\[config"):
        start(outside.config(**changes))


def test_tenant_and_user_come_from_the_key_and_the_body(outside: Outside, start: Start) -> None:
    config = outside.config(gateway__user_secret_env="USER_SECRET")
    gateway = start(config, {"USER_SECRET": "pepper"})
    key = KeyStore(gateway.data / "client_keys.json").create("team-a")
    until(lambda: gateway.chat().status_code == 401)
    before = len(outside.points)
    ann = "ann@example.org"
    users = ({"user": ann}, {"safety_identifier": ann, "user": ""}, {"user": "bob"})
    for user in users:
        assert gateway.chat(headers={"authorization": f"Bearer {key}"}, **user).status_code == 200
    until(lambda: len(outside.points) == before + 3)
    points = outside.points[-3:]
    assert {point["tenant"] for point in points} == {"team-a"}
    hashes = [point["user"] for point in points]
    assert sorted(hashes.count(one) for one in set(hashes)) == [1, 2]
    assert all(len(one) == 32 for one in hashes)
    assert "ann@" not in gateway.log()
    gateway.stop()
    assert [decision.get("tenant") for decision in gateway.decisions()[-3:]] == ["team-a"] * 3


def test_without_a_secret_users_are_not_recorded(outside: Outside, start: Start) -> None:
    start(outside.config()).chat(user="ann@example.org")
    assert until(lambda: outside.points)[0]["user"] is None


def test_fault_01_many_requests_share_one_uploader_and_leave_nothing_behind(
    outside: Outside, start: Start
) -> None:
    """Requests fill batches together, and no collection stays in flight."""
    gateway = start(
        outside.config(
            data_collection__training={
                **outside.config()["data_collection"]["training"],
                "batch_size": 10,
                "flush_interval": 30,
            }
        )
    )
    for _ in range(30):
        assert gateway.chat().status_code == 200
    until(lambda: len(outside.points) == 30)
    assert len(outside.asked("/collect")) == 3
    assert gateway.metric("flywheel_gateway_collection_in_flight") == 0


def test_fault_11_every_point_has_an_id_a_classification_and_readable_errors(
    outside: Outside, start: Start
) -> None:
    """The data point holds the decision, and a failed response says what went wrong."""
    first = outside.chat

    def broken(asked: Arrived) -> Script:
        failing = asked.json["model"] == "math"
        return reply(b'{"error": {"message": "overloaded"}}', "400 Bad Request") if failing else first(asked)

    outside.chat = broken
    gateway = start(outside.config())
    gateway.chat()
    gateway.chat()
    until(lambda: len(outside.points) == 2)
    one, two = outside.points
    assert one["id"] != two["id"]
    assert one["responses"]["math"]["error"] == "http_status: 400 overloaded"
    assert one["classification"]["reason"] == "no_router"


def test_decisions_are_logged_without_the_prompts_text(outside: Outside, start: Start) -> None:
    gateway = start(outside.config())
    before = time.time()
    answer = gateway.chat("a very private question")
    decision = until(gateway.decisions)[0]
    assert decision["decision_id"] == answer.headers["x-flywheel-decision"]
    assert before - 1 <= int(decision["decision_id"][:8], 16) <= time.time()
    assert decision["reason"] == "no_router"
    assert decision["collected"] is True
    assert len(decision["prompt"]) == 32
    assert "private" not in json.dumps(decision)
    assert "private" not in gateway.log()


def test_fault_12_a_truncated_answer_is_not_scored_as_if_whole(outside: Outside, start: Start) -> None:
    """An answer that the model ended with finish_reason `length` gets no score."""
    outside.chat = lambda asked: reply(completion("half", finish_reason="length"))
    start(outside.config()).chat()
    point = until(lambda: outside.points)[0]
    assert point["responses"]["big"]["error"].startswith("truncated")
    assert set(point["scores"].values()) == {None}


def test_a_failure_to_save_the_spend_at_shutdown_loses_no_data_point(outside: Outside, start: Start) -> None:
    """A data point that waits for its batch to fill is still uploaded."""
    gateway = start(
        outside.config(data_collection__training__flush_interval=60, data_collection__score_cost=0.1)
    )
    (gateway.data / "spool" / "spend.json").mkdir()
    gateway.chat()
    until(lambda: gateway.metric("flywheel_upload_in_memory") == 1)
    until(lambda: "spend_not_saved" in gateway.log())
    assert gateway.stop() == 0
    assert len(outside.points) == 1
    assert gateway.log().count("spend_not_saved") >= 2, "at shutdown too"


def test_points_that_are_not_complete_when_the_gateway_ends_are_in_the_log(
    outside: Outside, start: Start
) -> None:
    """They are lost, and after the end no metric can tell."""
    first = outside.chat
    outside.chat = lambda asked: first(asked) if by_user(asked) else [60.0]
    gateway = start(outside.config(gateway__drain_timeout=0.2))
    gateway.chat("one")
    gateway.chat("two")
    assert gateway.stop() == 0
    (said,) = gateway.logged("collection_cut_off")
    assert said["points"] == 2
    assert outside.points == []
