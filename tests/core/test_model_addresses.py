"""Where a model is asked, its address and the path of its API, and what every request to it has."""

import json
from pathlib import Path

import pytest

from flywheel_core.collect.question import Question
from flywheel_core.config import Config, Model
from flywheel_core.config_file import load_config
from flywheel_core.errors import ConfigError
from tests.core.configs import write


def with_setting(tmp_path: Path, name: str, value: str) -> Config:
    """Load a configuration with one model, which has this setting."""
    names = "{default_model: far}\ndata_collection: {training: {candidate_models: [far]}}"
    return load_config(write(tmp_path, f"models: {{far: {{{name}: {value}}}}}\nrouting: {names}\n"), {})


@pytest.mark.parametrize("address", ["http://h/v1", "https://h/openai/v1/", "https://h/api/paas/v4"])
def test_an_address_that_would_get_a_second_version_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigError, match=r"models\.far\.base_url: must be .* end in a version such as /v1"):
        with_setting(tmp_path, "base_url", f'"{address}"')
    front = address.rstrip("/").rpartition("/v")[0]
    assert Model(base_url=f"{front}/").base_url == front


@pytest.mark.parametrize(
    ("given", "kept"), [("/api/v3", "/api/v3"), ("/v1beta/openai/", "/v1beta/openai"), ("", ""), ("/", "")]
)
def test_the_path_of_a_models_api_can_be_any(tmp_path: Path, given: str, kept: str) -> None:
    assert with_setting(tmp_path, "api_path", f'"{given}"').models["far"].api_path == kept


@pytest.mark.parametrize(
    "given", ["v1", "/a b", "/a?b", "/a#b", "/a%2fb", "/../b", "/a/.", "/é", r"/a\\b", "/" + "a" * 200]
)
def test_what_could_not_be_sent_as_it_stands_is_no_path(tmp_path: Path, given: str) -> None:
    with pytest.raises(ConfigError, match=r"models\.far\.api_path: must be a path"):
        with_setting(tmp_path, "api_path", f'"{given}"')


def test_every_request_to_a_model_can_have_further_fields(tmp_path: Path) -> None:
    given = "{enable_thinking: false, reasoning: {effort: low}, stop: [a, null], seed: 7, top_p: 0.5}"
    extra = with_setting(tmp_path, "extra_body", given).models["far"].extra_body
    assert extra == {
        "enable_thinking": False,
        "reasoning": {"effort": "low"},
        "stop": ["a", None],
        "seed": 7,
        "top_p": 0.5,
    }


@pytest.mark.parametrize(
    "given",
    [
        *("{model: x}", "{messages: []}", "{stream: true}", "{stream_options: {}}", "{n: 2}"),
        *("{a: .nan}", "{a: {1: b}}", "{1: a}", "{a: !!binary eA==}", "{a: !!set {b}}", r'{a: "\ud800"}'),
        *(
            "[a]",
            "a",
            "&a {b: *a}",
            "&a {b: [&b [1, 2, 3, 4, 5, 6, 7, 8, 9], &c [*b, *b, *b, *b], &d [*c, *c, *c, *c], *d, *d, *d, *d, *d, *d]}",
        ),
    ],
)
def test_what_flywheel_sets_itself_or_json_cannot_say_is_no_further_field(tmp_path: Path, given: str) -> None:
    with pytest.raises(ConfigError, match=r"models\.far\.extra_body"):
        with_setting(tmp_path, "extra_body", given)


def test_too_many_values_are_refused_by_their_number(tmp_path: Path) -> None:
    """As of a large schema of answers, in which nothing else is wrong."""
    most = list(range(998))
    assert with_setting(tmp_path, "extra_body", f"{{allowed: {most}}}").models["far"].extra_body == {
        "allowed": most
    }
    with pytest.raises(
        ConfigError, match=r"models\.far\.extra_body: must be .* at most 1,000 names and values"
    ):
        with_setting(tmp_path, "extra_body", f"{{allowed: {[*most, 998]}}}")


def test_a_question_with_half_a_character_can_have_further_fields() -> None:
    request = {"messages": [{"role": "user", "content": "1 \ud800"}], "seed": 1, "top_p": 0.5}
    body = Question(request).body_for("far", {"seed": 2, "effort": "low"})
    assert json.loads(body) == {**request, "model": "far", "stream": False, "seed": 2, "effort": "low"}
