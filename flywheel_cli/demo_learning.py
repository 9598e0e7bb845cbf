"""The demo's second half: train and promote a router, see the gateway load it, and measure what it gains."""

import asyncio
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import httpx

from flywheel_cli.demo_setup import Stage
from flywheel_cli.demo_traffic import POLL_SECONDS, Tell
from flywheel_core.collect import Fanout
from flywheel_core.collect.sampling import Plan
from flywheel_core.errors import FlywheelError, NoDataError
from flywheel_core.lake.dataset import latest_dataset, load_manifest
from flywheel_core.lake.layout import Layout, parse_day
from flywheel_core.learn.craft import trained_craft
from flywheel_core.records import DataPoint
from flywheel_dagster.materialize import Retrained, retrain

TAKE_UP_SECONDS = 30.0
COMPARED_AT_ONCE = 2
"""Questions asked at a time.

With more, queueing in the simulation would make all models seem equally slow.
"""


@dataclass(frozen=True)
class Policy:
    """The result of one way to choose a model.

    score: mean, 0..1, failures counting as 0; cost: per 1,000 questions; latency_ms: mean.
    """

    name: str
    score: float
    cost: float
    latency_ms: float


def train_and_judge(stage: Stage, layout: Layout) -> Retrained:
    """Train a router on the newest dataset, judge it, and promote it if it passes, as every night.

    All of it runs through Dagster.

    Raises NoDataError when there is no dataset.
    """
    dataset = latest_dataset(layout)
    if dataset is None:
        raise NoDataError("there is no dataset to train on", hint="look at the days' failures above")
    return retrain(parse_day(load_manifest(layout, dataset)["last_day"]), stage.config, stage.dagster_home)


def wait_until_taken_up(stage: Stage, version: str) -> None:
    """Wait until the gateway decides with a router version. Raises FlywheelError after `TAKE_UP_SECONDS`."""
    deadline = time.monotonic() + TAKE_UP_SECONDS
    for number in itertools.count():
        # A different prompt each time: a cached decision would be the old router's.
        prompt = {"prompt": f"{number} + 1 = ?"}
        answer = httpx.post(f"{stage.gateway}/v1/route", json=prompt, timeout=10.0, trust_env=False)
        if answer.status_code == httpx.codes.OK and answer.json()["router_version"] == version:
            return
        if time.monotonic() > deadline:
            break
        time.sleep(POLL_SECONDS)
    raise FlywheelError(
        f"the gateway did not take up router {version}", hint="look at the gateway's log", code="not_taken_up"
    )


async def ask_every_model(stage: Stage, asked: Sequence[str], tell: Tell) -> list[DataPoint]:
    """Return every model's scored answer to every question, one data point each; nothing is stored."""
    models = stage.config.data_collection.training.candidate_models
    plan = Plan(models=tuple(models), mode="training", sampling_rate=1.0, asked=dict.fromkeys(models, 1.0))
    turns = asyncio.Semaphore(COMPARED_AT_ONCE)
    done = itertools.count(1)

    async def ask(fanout: Fanout, question: str) -> DataPoint:
        async with turns:
            point = await fanout.collect(question, plan=plan)
        tell(next(done), len(asked))
        return point

    async with Fanout(stage.config) as fanout:
        return list(await asyncio.gather(*(ask(fanout, question) for question in asked)))


def compare(stage: Stage, points: Sequence[DataPoint], chosen: Mapping[str, Sequence[str]]) -> list[Policy]:
    """Return what each way to choose a model achieves on the same questions, with fixed choices to compare.

    points: every model's outcome, one per question; chosen: name of a policy -> the model it chose for each
    question.
    """
    models = stage.config.data_collection.training.candidate_models
    means = {model: fmean(_score(point, model) for point in points) for model in models}
    single = max(models, key=means.__getitem__)
    default = stage.config.routing.default_model
    best = [max(models, key=lambda model, point=point: _score(point, model)) for point in points]  # type: ignore[misc]  # mypy cannot infer a lambda's default
    ways = {
        **chosen,
        **({f"always {default}": [default] * len(points)} if default != single else {}),
        f"best single ({single})": [single] * len(points),
        "oracle": best,
    }
    rows = [_policy(name, points, picked) for name, picked in ways.items()]
    each = [_policy(model, points, [model] * len(points)) for model in models]
    rows.insert(
        -1,
        Policy(
            "random",
            fmean(row.score for row in each),
            fmean(row.cost for row in each),
            fmean(row.latency_ms for row in each),
        ),
    )
    return rows


def decided(layout: Layout, version: str, asked: Sequence[str]) -> list[str]:
    """Return which model a router version would choose for each question."""
    router = trained_craft().load(layout.router(version))
    return [decision.model for decision in router.decide_all(asked)]


def _policy(name: str, points: Sequence[DataPoint], picked: Sequence[str]) -> Policy:
    chosen = [point.responses[model] for point, model in zip(points, picked, strict=True)]
    return Policy(
        name,
        fmean(_score(point, model) for point, model in zip(points, picked, strict=True)),
        1_000 * fmean(response.cost or 0.0 for response in chosen),
        fmean(response.latency_ms or 0 for response in chosen),
    )


def _score(point: DataPoint, model: str) -> float:
    """Return a model's score; a missing one, as after a failure, counts as 0."""
    score = point.scores.get(model)
    return 0.0 if score is None else score
