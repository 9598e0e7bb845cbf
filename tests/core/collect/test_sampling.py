"""Which requests are collected, from which models: by hash, the same everywhere, with known probabilities."""

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flywheel_core.collect.sampling import MARK_HEADER, Plan, hash_share, plan_collection
from flywheel_core.config import Config
from flywheel_core.errors import SKIP_CODES, SkippedError


def config(**settings: Any) -> Config:
    return Config.model_validate({"data_collection": settings})


ALL = tuple(Config().data_collection.training.candidate_models)


def plan(settings: Config, request_id: str = "r1", **headers: str) -> Plan | str:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        return plan_collection(settings, request_id, named, "qwen-max")
    except SkippedError as skip:
        assert skip.code in SKIP_CODES
        return skip.code


def test_training_asks_every_candidate() -> None:
    """At rate 1 every request goes to every candidate with certainty, and all of that is recorded."""
    assert plan(config()) == Plan(ALL, "training", 1.0, dict.fromkeys(ALL, 1.0))
    with_baseline = config(mode="training", production={"baseline": True})
    assert plan(with_baseline) == plan(config()), "the settings of production mode do not matter"


def test_a_routed_model_that_is_not_a_candidate_is_asked_too() -> None:
    """The model that answers the user is in the data point even when it is not a candidate."""
    found = plan_collection(config(), "r1", {}, "qwen-math-3b")
    assert found.models == (*ALL, "qwen-math-3b")


def test_the_same_request_id_always_decides_the_same() -> None:
    """This holds on every gateway and in every process; another id may decide otherwise."""
    half = config(sampling_rate=0.5)
    decided = [plan(half, f"r{number}") == "sampled_out" for number in range(200)]
    assert decided == [plan(half, f"r{number}") == "sampled_out" for number in range(200)]
    assert 60 < sum(decided) < 140


def test_a_higher_rate_collects_what_a_lower_one_did_and_more() -> None:
    """Raising the rate never drops a request that was collected before."""
    low, high = config(sampling_rate=0.2), config(sampling_rate=0.6)
    for number in range(300):
        if plan(low, f"r{number}") != "sampled_out":
            assert plan(high, f"r{number}") != "sampled_out"


def test_rate_0_collects_nothing_and_rate_1_everything() -> None:
    """Both ends of the range are exact."""
    for number in range(500):
        assert plan(config(sampling_rate=0.0), f"r{number}") == "sampled_out"
        assert isinstance(plan(config(sampling_rate=1.0), f"r{number}"), Plan)


def test_production_has_a_rate_of_its_own() -> None:
    """Its default is 0, and training's rate never counts in production."""
    assert plan(config(mode="production", sampling_rate=1.0)) == "sampled_out"
    found = plan(config(mode="production", sampling_rate=0.0, production={"sampling_rate": 1.0}))
    assert found == Plan(ALL, "production", 1.0, dict.fromkeys(ALL, 1.0))


def test_production_asks_the_predicted_model_and_one_random_baseline() -> None:
    """Two models are asked: each of the others is the baseline equally often, and its probability says so."""
    settings = config(mode="production", production={"sampling_rate": 0.5, "baseline": True})
    chosen: Counter[str] = Counter()
    for number in range(4_000):
        found = plan(settings, f"r{number}")
        if not isinstance(found, Plan):
            continue
        assert len(found.models) == 2
        assert found.asked == {name: 1.0 if name == "qwen-max" else 0.25 for name in ALL}
        chosen.update(name for name in found.models if name != "qwen-max")
    assert set(chosen) == set(ALL) - {"qwen-max"}
    assert all(400 < count < 600 for count in chosen.values()), "whatever the rate lets through"


def test_without_another_model_there_is_no_baseline() -> None:
    settings = config(
        mode="production",
        production={"sampling_rate": 1.0, "baseline": True},
        training={"candidate_models": ["qwen-max"]},
    )
    assert plan(settings) == Plan(("qwen-max",), "production", 1.0, {"qwen-max": 1.0})


def test_a_request_can_ask_to_be_collected() -> None:
    """X-Training-Mode: true works in any mode and at any rate, if the configuration allows it."""
    quiet = config(mode="production")
    assert plan(quiet, x_training_mode="true") == Plan(ALL, "header", 1.0, dict.fromkeys(ALL, 1.0))
    assert isinstance(plan(quiet, x_training_mode=" TRUE "), Plan)
    assert plan(quiet, x_training_mode="1") == "sampled_out"
    assert plan(config(mode="production", training_header=False), x_training_mode="true") == "sampled_out"
    assert plan(config(enabled=False), x_training_mode="true") == "disabled"


def test_flywheels_own_calls_are_never_collected() -> None:
    """The mark wins over everything, so that collection does not recurse."""
    assert plan(config(), **{MARK_HEADER: "1", "x-training-mode": "true"}) == "marked"


def test_collection_can_be_switched_off() -> None:
    """With enabled: false nothing is collected."""
    assert plan(config(enabled=False)) == "disabled"


@given(st.text(), st.text(max_size=5))
def test_hash_shares_are_shares(request_id: str, purpose: str) -> None:
    """They include 0 and exclude 1, for any id."""
    assert 0.0 <= hash_share(request_id, purpose) < 1.0
