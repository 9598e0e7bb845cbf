"""The configuration's default models are those that the simulation stands in for and the demo asks."""

import re

from flywheel_cli.demo_setup import _CONFIG
from flywheel_core.config import DEFAULT_CANDIDATES, Config
from simulation.models import DEFAULT_FIVE, MODELS


def test_the_sample_and_the_demo_ask_the_default_candidates() -> None:
    """The first hour of the README mixes all three: the sample, the simulation, and the configuration's defaults."""
    assert DEFAULT_FIVE == DEFAULT_CANDIDATES
    asked = re.search(r"candidate_models: \[(.*)\]", _CONFIG)
    assert asked
    assert tuple(asked[1].split(", ")) == DEFAULT_CANDIDATES


def test_every_default_model_is_simulated_in_its_category_and_at_its_price() -> None:
    """Otherwise costs of the sample and of new answers, side by side in one dataset, would be in two currencies."""
    simulated = {name: (one.category, one.prompt_price, one.completion_price) for name, one in MODELS.items()}
    models = Config().models
    assert {
        name: (one.category, one.input_price, one.output_price) for name, one in models.items()
    } == simulated
    demo = re.findall(r"(qwen-\S+): {{category: (\S+), .*input_price: (\S+), output_price: (\S+)}}", _CONFIG)
    assert {name: (kind, float(paid), float(got)) for name, kind, paid, got in demo} == {
        name: simulated[name] for name in DEFAULT_FIVE
    }
