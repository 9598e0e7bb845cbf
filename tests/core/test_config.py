"""The configuration: what loads, what is refused, and with which words."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel_core.config import Config, Model
from flywheel_core.config_file import environment_with, load_config, secret, to_yaml
from flywheel_core.config_schema import find, json_schema, settings
from flywheel_core.errors import ConfigError, ConfigIncompleteError
from tests.core.configs import refusal, write

GATEWAY_EXAMPLE = """\
data_collection:
  enabled: true
  mode: "training"              # or production
  sampling_rate: 1.0            # everything
  storage_endpoint: "http://data-collector:8080/collect"

  training:
    candidate_models:
      - "qwen-max"
      - "qwen-math-7b"
      - "qwen-code-7b"
      - "qwen-medicine-7b"
      - "qwen-writing-7b"

    evaluate_endpoint: "http://sem-router-train.higress.io/v1/evaluate"
    evaluate_timeout: 5000      # ms
    batch_size: 10
    flush_interval: 60
"""


def test_the_gateways_example_loads_as_it_stands(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GATEWAY_EXAMPLE), {})
    collection = config.data_collection
    assert (collection.enabled, collection.mode, collection.sampling_rate) == (True, "training", 1.0)
    assert collection.storage_endpoint == "http://data-collector:8080/collect"
    assert collection.training.candidate_models[1:3] == ["qwen-math-7b", "qwen-code-7b"]
    assert collection.training.evaluate_timeout == 5000
    assert collection.training.flush_interval == 60
    assert set(config.categories().values()) == {"general", "math", "code", "medicine", "writing"}


def test_what_the_example_leaves_open_is_refused_only_by_who_needs_it(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GATEWAY_EXAMPLE), {})
    assert config.require("data_collection.training.evaluate_endpoint").endswith("/v1/evaluate")
    with pytest.raises(ConfigIncompleteError, match=r"leaves models\.qwen-max\.base_url open"):
        config.require("models.qwen-max.base_url")


def test_names_of_models_may_have_dots() -> None:
    config = Config(
        models={"gpt-4": Model(), "gpt-4.1": Model(base_url="http://h")},
        routing={"default_model": "gpt-4"},  # type: ignore[arg-type]  # pydantic accepts a section as a dict too
        data_collection={"training": {"candidate_models": ["gpt-4"]}},  # type: ignore[arg-type]  # the same
    )
    assert config.require("models.gpt-4.1.base_url") == "http://h"
    with pytest.raises(ConfigIncompleteError, match=r"has no models\.gpt-5\.base_url"):
        config.require("models.gpt-5.base_url")


def test_no_file_gives_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config(None, {}) == Config()
    write(tmp_path, "")
    assert load_config(None, {}) == Config()


def test_the_argument_wins_over_the_variable_and_that_over_the_file_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "dataset: {window_days: 1}")
    (tmp_path / "two.yaml").write_text("dataset: {window_days: 2}")
    (tmp_path / "three.yaml").write_text("dataset: {window_days: 3}")
    variables = {"FLYWHEEL_CONFIG": "two.yaml"}
    assert load_config(None, {}).dataset.window_days == 1
    assert load_config(None, variables).dataset.window_days == 2
    assert load_config(Path("three.yaml"), variables).dataset.window_days == 3


def test_a_variable_overrides_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "collector: {port: 9000, host: 127.0.0.2}")
    config = load_config(file, {"FLYWHEEL__COLLECTOR__PORT": "9001", "FLYWHEEL__CACHE__ENABLED": "false"})
    assert (config.collector.port, config.collector.host, config.cache.enabled) == (9001, "127.0.0.2", False)


def test_settings_shown_can_be_loaded_again(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, to_yaml(Config())), {}) == Config()


@pytest.mark.parametrize(
    "address",
    [
        *(
            "http:///v1/evaluate",
            "http://:8090",
            "http://?a",
            "http://h:99999/c",
            "http://h:x",
            "http://[::1",
        ),
        *("", "h:8090", "ftp://h/c", "http://", "http://h h/c"),
        *("http://scorer..example", "http://.example", f"http://{'h' * 64}.de"),
    ],
)
def test_an_address_without_scheme_host_or_valid_port_is_refused(tmp_path: Path, address: str) -> None:
    (found,) = refusal(tmp_path, f"data_collection: {{storage_endpoint: '{address}'}}")
    assert found == (
        "flywheel.yaml:1: data_collection.storage_endpoint: must be an address that begins with http:// or https:// "
        f"and names a host without user or password; the file has '{address}'"
    )


def test_a_password_in_an_address_is_refused_and_not_repeated(tmp_path: Path) -> None:
    """When the file changes while a gateway runs, this message also goes to the gateway's log."""
    (found,) = refusal(tmp_path, "data_collection: {storage_endpoint: 'https://me:s3cret@h/c'}")
    assert "names a host without user or password" in found
    assert found.endswith("the file has 'https://***@h/c'")


@pytest.mark.parametrize(
    "path",
    [
        "models.big.api_key_env",
        "data_collection.api_key_env",
        "gateway.user_secret_env",
        "operations.failure_webhook_env",
    ],
)
def test_a_secret_in_place_of_its_variables_name_is_refused_and_not_shown(tmp_path: Path, path: str) -> None:
    *sections, name = path.split(".")
    for secret_itself in ("sk-s3cret", "cc4cef4cae0e.pu72YL", "https://h/hook", "a b", ""):
        text = (
            "".join(f"{section}: {{" for section in sections)
            + f"{name}: '{secret_itself}'"
            + "}" * len(sections)
        )
        found = next(line for line in refusal(tmp_path, text) if path in line)
        assert found == (
            f"flywheel.yaml:1: {path}: must be the name of an environment variable (letters, digits and _) or null; "
            "the value in the file is not shown: it may be the secret itself"
        )


def test_a_secret_that_is_not_set_names_who_needs_it() -> None:
    assert secret("KEY", "models.big.api_key_env", {"KEY": "s"}) == "s"
    with pytest.raises(
        ConfigIncompleteError, match=r"models\.big\.api_key_env names .* KEY, which is not set"
    ):
        secret("KEY", "models.big.api_key_env", {})


def test_line_ends_after_a_secret_do_not_belong_to_it() -> None:
    """A secret that was made from a file, as Kubernetes does, usually ends in one."""
    for end in ("\n", "\r\n", "\n\n"):
        assert secret("KEY", "models.big.api_key_env", {"KEY": f" two\nwords {end}"}) == " two\nwords "
    with pytest.raises(ConfigIncompleteError, match="which is not set"):
        secret("KEY", "models.big.api_key_env", {"KEY": "\n"})


@pytest.mark.parametrize(
    "variable", ["FLYWHEEL__MODELS__GPT-4O__TIMEOUT", "FLYWHEEL__Models__GPT-4o__timeout"]
)
def test_a_variable_finds_the_files_model_whatever_its_capitals(tmp_path: Path, variable: str) -> None:
    file = write(
        tmp_path,
        """
        models: {GPT-4o: {category: general}}
        routing: {default_model: GPT-4o}
        data_collection: {training: {candidate_models: [GPT-4o]}}
        """,
    )
    config = load_config(file, {variable: "3"})
    assert {name: model.timeout for name, model in config.models.items()} == {"GPT-4o": 3.0}


def test_a_variable_sets_one_value_of_a_default_model_and_leaves_the_others(tmp_path: Path) -> None:
    address = {"FLYWHEEL__MODELS__QWEN-MAX__BASE_URL": "http://h:1"}
    for file in (None, write(tmp_path, "dataset: {window_days: 7}")):
        models = load_config(file, address).models
        assert models["qwen-max"] == Config().models["qwen-max"].model_copy(update={"base_url": "http://h:1"})
        assert list(models) == list(Config().models)
    more = {"FLYWHEEL__MODELS__BIG__CATEGORY": "general", **address}
    assert list(load_config(None, more).models) == [*Config().models, "big"]


def test_variables_that_name_other_models_make_a_table_of_their_own() -> None:
    config = load_config(
        None,
        {
            "FLYWHEEL__MODELS__BIG__CATEGORY": "general",
            "FLYWHEEL__ROUTING__DEFAULT_MODEL": "big",
            "FLYWHEEL__DATA_COLLECTION__TRAINING__CANDIDATE_MODELS": "[big]",
        },
    )
    assert list(config.models) == ["big"]


def test_a_child_process_gets_this_environment_with_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYWHEEL_TEST_KEPT", "kept")
    assert environment_with({"NEW": "1"})["FLYWHEEL_TEST_KEPT"] == "kept"
    assert environment_with({"NEW": "1"})["NEW"] == "1"


def test_every_setting_has_a_sentence_and_a_kind_and_numbers_have_a_range() -> None:
    every = list(settings())
    assert len(every) > 70
    for setting in every:
        assert setting.sentence.endswith("."), setting.path
        assert setting.allowed.kind != "a section", setting.path
        if "number" in setting.allowed.kind:
            assert setting.allowed.bounds, setting.path
        if setting.path.endswith(("timeout", "interval", "bytes", "ttl", "days", "_mb", "_ms", "_seconds")):
            assert setting.allowed.unit, setting.path
        assert find(tuple(setting.path.replace("NAME", "x").split("."))) == setting.allowed


def test_the_json_schema_has_units_ranges_and_sentences() -> None:
    timeout = json_schema()["$defs"]["Training"]["properties"]["evaluate_timeout"]
    assert (timeout["unit"], timeout["minimum"], timeout["maximum"]) == ("ms", 1, 600000)
    assert timeout["description"] == "Time for one scoring."


def test_the_json_schema_has_the_default_of_every_setting() -> None:
    def without(name: str, node: dict[str, Any]) -> list[str]:
        inner = node.get("$ref", "").rpartition("/")[2]
        if not inner:
            return [] if "default" in node else [name]
        properties = schema["$defs"][inner]["properties"]
        return [found for key in properties for found in without(f"{name}.{key}", properties[key])]

    schema = json_schema()
    assert [found for name, node in schema["properties"].items() for found in without(name, node)] == []
    assert schema["$defs"]["Labelling"]["properties"]["tie_preference"]["default"][0] == "cheaper"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["data_collection", "training", "models", "routing", "qwen-max", "ttl", "x"]),
                inner,
                max_size=3,
            )
        ),
        max_leaves=12,
    )
)
def test_any_tree_is_either_taken_or_refused_with_a_reason(tree: object) -> None:
    try:
        config = load_config(
            None,
            {
                f"FLYWHEEL__{name.upper()}": json.dumps(tree)
                for name in ("models", "data_collection", "cache")
            },
        )
    except ConfigError as error:
        assert "problem" in str(error)
    else:
        assert isinstance(config, Config)
