"""Call every configured service once, to find wrong addresses, names and keys before users do."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from flywheel_core.collect.addresses import guard_of
from flywheel_core.collect.answer import Answer
from flywheel_core.collect.calls import answer_of, target_of
from flywheel_core.collect.delivery import collector_endpoint, deliver
from flywheel_core.collect.http import Http
from flywheel_core.collect.pool import PooledHttp
from flywheel_core.collect.question import Question
from flywheel_core.collect.retries import RetryBudget, post_with_retries
from flywheel_core.collect.scoring import Scorer
from flywheel_core.collect.spend import cost_of
from flywheel_core.config import Config
from flywheel_core.errors import ConfigError, ConfigIncompleteError, UsageError

QUESTION = "What is 1 + 1?"
ANSWER = "2"
"""The answer that the scorer is given if no model answers."""


@dataclass(frozen=True)
class Trial:
    """The outcome of calling a service once.

    ok: None if it was not called because nothing needs it; seconds: duration of the call, None without one;
    says: the result in words.
    """

    service: str
    name: str
    ok: bool | None
    seconds: float | None
    says: str


_OFF = {
    service: Trial(service, "-", None, None, "collecting is off: data_collection.enabled")
    for service in ("scorer", "collector")
}


async def try_services(config: Config, environment: Mapping[str, str] | None = None) -> list[Trial]:
    """Ask every model with an address `QUESTION`, have an answer scored, send the collector an empty batch.

    Each service is called once, without retries; a model charges for its answer as usual. environment: holds
    the keys, os.environ by default. Raises nothing but cancellation.
    """
    http = PooledHttp(guard=guard_of(config))
    try:
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(_try_model(http, config, name, environment)) for name in config.models]
            collector = group.create_task(_try_collector(http, config, environment))
        models = [task.result() for task in asked]
        answer = next((text for trial, text in models if trial.ok and text), ANSWER)
        scorer = await _try_scorer(http, config, answer)
        return [*(trial for trial, _ in models), scorer, collector.result()]
    finally:
        await http.close()


async def _try_model(
    http: Http, config: Config, name: str, environment: Mapping[str, str] | None
) -> tuple[Trial, str | None]:
    if config.models[name].base_url is None and name not in config.models_in_use():
        return Trial("model", name, None, None, f"the configuration leaves models.{name}.base_url open"), None
    try:
        target = target_of(config, name, environment)
    except (ConfigError, UsageError) as error:
        return Trial("model", name, False, None, error.message), None
    timeout = target.settings.timeout
    attempt = await post_with_retries(
        http,
        target.endpoint,
        target.body(Question(QUESTION)),
        call_timeout=timeout,
        ends=asyncio.get_running_loop().time() + timeout,
        max_bytes=target.max_bytes,
        budget=RetryBudget(0.0),
        on_retry=lambda: None,
    )
    answer = await answer_of(attempt, target)
    if answer.error is not None or answer.text is None:
        return Trial("model", name, False, attempt.seconds, answer.error or "no answer"), None
    return Trial("model", name, True, attempt.seconds, _described(config, name, answer)), answer.text


def _described(config: Config, name: str, answer: Answer) -> str:
    model = config.models[name]
    cost = cost_of(answer.usage, model)
    if cost is None:
        return "answers without token counts: what it costs stays unknown"
    if not (model.input_price or model.output_price):
        return "answers; without prices it counts as free"
    return f"answers, cost {cost:.6f}"


async def _try_scorer(http: Http, config: Config, answer: str) -> Trial:
    if not config.data_collection.enabled:
        return _OFF["scorer"]
    try:
        address = config.require("data_collection.training.evaluate_endpoint")
    except ConfigIncompleteError as error:
        return Trial("scorer", "-", False, None, error.message)
    once = config.data_collection.model_copy(update={"score_repeats": 1})
    scorer = Scorer(config.model_copy(update={"data_collection": once}), http=http, budget=RetryBudget(0.0))
    began = asyncio.get_running_loop().time()
    scored = await scorer.score(QUESTION, answer)
    seconds = asyncio.get_running_loop().time() - began
    if scored.value is None:
        return Trial("scorer", _host(address), False, seconds, scored.reason or "no score")
    return Trial("scorer", _host(address), True, seconds, f"score {scored.value:g}")


async def _try_collector(http: Http, config: Config, environment: Mapping[str, str] | None) -> Trial:
    if not config.data_collection.enabled:
        return _OFF["collector"]
    name = _host(config.data_collection.storage_endpoint)
    try:
        endpoint = collector_endpoint(config, environment)
    except (ConfigIncompleteError, UsageError) as error:
        return Trial("collector", name, False, None, error.message)
    began = asyncio.get_running_loop().time()
    verdict = await deliver(http, endpoint, [])
    seconds = asyncio.get_running_loop().time() - began
    if verdict.kind != "taken" or verdict.rejected:
        says = verdict.reason or "; ".join(one.message for one in verdict.rejected)
        return Trial("collector", name, False, seconds, says or "it does not take a batch")
    return Trial("collector", name, True, seconds, "takes batches")


def _host(address: str) -> str:
    """Return host and port of an address, without the parts that may be secret."""
    url = httpx.URL(address)
    return url.host if url.port is None else f"{url.host}:{url.port}"
