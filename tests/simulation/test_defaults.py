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


def test_every_default_model_is_simulated_in_its_category() -> None:
    configured = {name: model.category for name, model in Config().models.items()}
    assert {name: model.category for name, model in MODELS.items()} == configured
