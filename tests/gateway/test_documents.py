"""The examples, settings and metrics in the gateway's documents are those of the code."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import generate_latest

from collector_api.metrics import CollectorMetrics
from flywheel_core.collect.answer import ANSWER_ERRORS
from flywheel_core.config import Config
from flywheel_core.errors import REQUEST_CODES, SKIP_CODES
from flywheel_gateway.collection import GATEWAY_SKIPS
from flywheel_gateway.decisions import DecisionRecord
from flywheel_gateway.metrics import MEANINGS
from flywheel_gateway.routing import REASONS
from tests.gateway.scripted import completion, reply
from tests.gateway.test_litellm import WIRING
from tests.gateway.world import Outside, RunningGateway, by_user, until

DOCS = Path(__file__).parents[2] / "docs"
OUR_METRICS = r"(?:flywheel|semantic_router)_\w+"
Start = Callable[..., RunningGateway]


def test_the_example_calls_of_integrations_are_accepted(outside: Outside, start: Start) -> None:
    text = (DOCS / "integrations.md").read_text(encoding="utf-8")
    calls = re.findall(r"```json\nPOST (\S+)\n(.*?)```", text, re.S)
    assert [path for path, _ in calls] == ["/v1/route", "/v1/observe"]
    config = outside.config()
    config["models"]["qwen-math-7b"] = {"base_url": outside.address}
    gateway = start(config)
    described = gateway.get("/openapi.json").json()["components"]["schemas"]["Observation"]["properties"]
    for name, value in json.loads(calls[1][1]).items():
        assert value is not None or described[name].get("nullable"), f"{name} is null"
    route, observe = (gateway.post(path, body.encode()) for path, body in calls)
    assert route.status_code == 200
    assert all(f'"{name}"' in text for name in route.json())
    assert observe.status_code == 202
    assert all(f'"{name}"' in text for name in observe.json())
    point = until(lambda: outside.points)[0]
    assert point["responses"]["qwen-math-7b"]["answer"] == json.loads(calls[1][1])["answer"]


def test_the_documented_wiring_of_litellm_is_the_one_tested() -> None:
    text = (DOCS / "integrations.md").read_text(encoding="utf-8")
    assert WIRING.format(address="http://127.0.0.1:8001").strip() in text


def test_the_gateway_s_own_reasons_for_not_collecting_are_documented() -> None:
    """operations.md sends the reader of the metric's `reason` to this table."""
    text = (DOCS / "collect.md").read_text(encoding="utf-8")
    assert set(GATEWAY_SKIPS.items()) <= set(re.findall(r"^\| `(\w+)` \| (.+) \|$", text, re.M))


def test_every_reason_and_setting_that_the_page_names_exists() -> None:
    text = (DOCS / "gateway.md").read_text(encoding="utf-8")
    table = text.partition("| `x-flywheel-reason` |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == set(REASONS)
    config = Config()
    sections = {
        "gateway": config.gateway,
        "routing": config.routing,
        "data_collection": config.data_collection,
    }
    named = re.findall(r"`(gateway|routing|data_collection)\.([a-z_]+)", text)
    assert named
    for section, name in named:
        assert hasattr(sections[section], name), f"{section}.{name}"


def test_every_metric_that_the_page_names_exists(outside: Outside, start: Start) -> None:
    text = (DOCS / "gateway.md").read_text(encoding="utf-8")
    gateway = start(outside.config())
    gateway.chat()
    page = gateway.get("/metrics").text
    names = set(re.findall(r"`((?:semantic_router|flywheel_gateway|flywheel_upload)_\w+)", text))
    assert len(names) > 8
    for name in names:
        assert name in page, name
    for name, meaning in MEANINGS.items():
        assert f"# HELP {name} {meaning}\n" in page


def test_every_metric_is_on_the_page(outside: Outside, start: Start) -> None:
    """The page shortens names: `..._x` stands for `flywheel_gateway_x`, `flywheel_upload_...` for all that begin so."""
    page = (DOCS / "gateway.md").read_text(encoding="utf-8").partition("\n## Metrics\n")[2]
    found = re.findall(r"`((?:\.\.\.|[a-z])[\w.]+)", page.partition("\n## ")[0])
    named = [name.replace("..._", "flywheel_gateway_", 1) for name in found]
    families = tuple(name.removesuffix("...") for name in named if name.endswith("..."))
    gateway = start(outside.config())
    shown = re.findall(r"^# TYPE (\w+) ", gateway.get("/metrics").text, re.M)
    assert len(shown) > 20
    ours = [name for name in shown if not name.endswith("_created")]  # the client library adds those
    assert [name for name in ours if name not in named and not name.startswith(families)] == []


def test_every_header_of_an_answer_is_on_the_page(outside: Outside, start: Start) -> None:
    text = (DOCS / "gateway.md").read_text(encoding="utf-8")
    sentence = re.search(r"carries the headers (.*?);", text, re.S)
    assert sentence
    found = re.findall(r"`(?:x-flywheel)?-(\w+)`", sentence[1])
    headers = start(outside.config()).chat().headers
    assert [name for name in headers if name.startswith("x-flywheel-")] == [
        f"x-flywheel-{one}" for one in found
    ]


def test_every_field_of_a_decision_on_record_is_on_the_page() -> None:
    text = (DOCS / "gateway.md").read_text(encoding="utf-8")
    listed = text.partition("decisions_YYYYMMDD.jsonl`: ")[2].partition(". ")[0]
    assert re.findall(r"`(\w+)`", listed) == list(DecisionRecord.__struct_fields__)


def alert_rules() -> list[dict[str, Any]]:
    """Return the alert rules of docs/operations.md."""
    rules = re.search(r"```yaml\n(groups:.*?)```", (DOCS / "operations.md").read_text(encoding="utf-8"), re.S)
    assert rules
    (group,) = yaml.safe_load(rules[1])["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def test_every_alert_says_what_to_do() -> None:
    remedies = (DOCS / "operations.md").read_text(encoding="utf-8").partition("## When something is wrong")[2]
    first_cells = [line.split("|")[1] for line in remedies.splitlines() if line.startswith("|")]
    dagsters = ["run_failed", "dataset_recent"]
    for alert in [*(rule["alert"] for rule in alert_rules()), *dagsters]:
        assert any(f"`{alert}`" in cell for cell in first_cells), alert


def test_every_metric_of_the_alerts_exists(outside: Outside, start: Start) -> None:
    """The alert rules are valid YAML, and every metric that they use is exposed by the gateway or the collector."""
    gateway = start(outside.config())
    gateway.chat()
    shown = gateway.get("/metrics").text + generate_latest(CollectorMetrics().registry).decode()
    for rule in alert_rules():
        names = re.findall(OUR_METRICS, rule["expr"])
        assert names or rule["expr"].startswith("up{"), rule["alert"]
        for name in names:
            assert f"# TYPE {name} " in shown, name


def test_every_code_that_an_alert_waits_for_exists() -> None:
    """A code that is renamed would leave an alert that never fires, or one that never ends."""
    known = {*SKIP_CODES, *GATEWAY_SKIPS, *REQUEST_CODES, *ANSWER_ERRORS}
    exprs = " ".join(rule["expr"] for rule in alert_rules())
    wanted = [one for found in re.findall(r'\w+[!=]~"([^"]+)"', exprs) for one in found.split("|")]
    assert len(wanted) > 10
    assert [one for one in wanted if not any(re.fullmatch(one, code) for code in known)] == []


def test_every_way_to_lose_a_data_point_has_an_alert() -> None:
    """A proxy that answers 400 in the collector's place makes the gateway set every point aside: no collector counts that."""
    exprs = " ".join(rule["expr"] for rule in alert_rules())
    lost = [name for name in MEANINGS if re.fullmatch(r"flywheel_upload_(?:rejected|dropped)_total", name)]
    assert len(lost) == 2
    assert [name for name in [*lost, "flywheel_collector_rejected_points_total"] if name not in exprs] == []


def test_only_counters_have_an_increase() -> None:
    """Prometheus takes each fall of a gauge for a restart, so `increase` of a gauge that goes up and down is wrong."""
    called = re.findall(r"\b(?:rate|irate|increase)\((\w+)", " ".join(rule["expr"] for rule in alert_rules()))
    assert len(called) > 10
    assert [name for name in called if not name.endswith("_total")] == []


def test_counters_of_alerts_are_there_before_the_first_event(outside: Outside, start: Start) -> None:
    """Prometheus sees no increase in a series that begins with its first event.

    Excepted are series with a reason of which an alert waits for many events: the first may be missed there.
    """
    gateway = start(outside.config())
    shown = gateway.get("/metrics").text + generate_latest(CollectorMetrics().registry).decode()
    exprs = [rule["expr"] for rule in alert_rules() if not re.search(r"> (?:5 \+|20)", rule["expr"])]
    names = [*re.findall(OUR_METRICS, " ".join(exprs)), "semantic_router_requests_total"]
    assert len(names) > 10
    for name in names:
        assert re.search(rf"^{name}(?:{{.*}})? \S+$", shown, re.M), name


def test_the_alert_of_a_failing_candidate_has_every_reason_but_those_of_single_answers() -> None:
    """A reason that the alert leaves out is a candidate that is never heard of again.

    `no_choices` is no matter of a single answer: some services report an exhausted quota with status 200.
    """
    (rule,) = (rule for rule in alert_rules() if rule["alert"] == "CandidateFails")
    wanted = re.search(r'reason=~"([^"]+)"', rule["expr"])
    assert wanted
    of_single_answers = {
        "body_too_large",
        "empty_answer",
        "tool_call",
        "refused",
        "content_filter",
        "truncated",
        "reported",
    }
    assert of_single_answers < set(ANSWER_ERRORS)
    assert {reason for reason in ANSWER_ERRORS if not re.fullmatch(wanted[1], reason)} == of_single_answers


def test_failures_of_collection_name_the_model(outside: Outside, start: Start) -> None:
    """A candidate that only collection asks fails without any client noticing."""
    outside.chat = lambda asked: (
        reply(completion("fine")) if by_user(asked) else reply(b"{}", "401 Unauthorized")
    )
    gateway = start(outside.config())
    gateway.chat()
    name = 'flywheel_gateway_collection_failures_total{{model="{}",reason="http_status"}}'
    until(lambda: all(gateway.metric(name.format(model)) == 1 for model in ("math", "code")))


def test_both_sides_of_an_alert_have_the_same_labels(outside: Outside, start: Start) -> None:
    """Prometheus compares only series whose labels are equal: a sum on neither side, or on both."""
    gateway = start(outside.config())
    gateway.chat()
    collector = CollectorMetrics()
    collector.rejected_points.labels("question_empty").inc()
    shown = gateway.get("/metrics").text + generate_latest(collector.registry).decode()

    def labels(name: str) -> frozenset[str]:
        found = re.search(rf"^{name}{{(.*)}} ", shown, re.M)
        return frozenset(re.findall(r"(\w+)=", found[1]) if found else ())

    for rule in alert_rules():
        alone = re.sub(r"\bsum(?: by \(\w+\) )?\((?:[^()]|\([^()]*\))*\)", "", rule["expr"])
        names = re.findall(OUR_METRICS, alone)
        assert len({labels(name) for name in names}) <= 1, rule["alert"]
