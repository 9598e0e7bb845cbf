"""The configuration: what loads, what is refused, and in which words."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel_core.config import Config, Model
from flywheel_core.config_file import environment_with, load_config, secret, to_yaml
from flywheel_core.config_schema import find, json_schema, settings
from flywheel_core.errors import ConfigError, ConfigIncompleteError

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


def write(folder: Path, text: str) -> Path:
    file = folder / "flywheel.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def refusal(folder: Path, text: str, **variables: str) -> list[str]:
    """The problems named for a file, one a line, without the folder's name."""
    with pytest.raises(ConfigError) as caught:
        load_config(write(folder, text), variables)
    heading, *problems = str(caught.value).replace(f"{folder}/", "").splitlines()
    assert heading.startswith("the configuration has ")
    return [problem.strip() for problem in problems]


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
        routing={"default_model": "gpt-4"},  # type: ignore[arg-type]  # pydantic takes the section as a dict too
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


def test_the_file_in_the_folder_gives_way_to_the_variable_and_that_to_the_argument(
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


def test_a_variable_stands_above_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "collector: {port: 9000, host: 127.0.0.2}")
    config = load_config(file, {"FLYWHEEL__COLLECTOR__PORT": "9001", "FLYWHEEL__CACHE__ENABLED": "false"})
    assert (config.collector.port, config.collector.host, config.cache.enabled) == (9001, "127.0.0.2", False)


def test_every_bad_setting_is_named_with_line_value_and_range(tmp_path: Path) -> None:
    assert refusal(
        tmp_path,
        """\
data_collection:
  sampling_rate: 1.5
  mode: test
  training:
    evaluate_timeout: 0
    batch_size: ten
    flush_interval: 0
labelling:
  min_score: "0.5"
  tie_preference: [cheaper, name]
storage:
  first_day: 2026-02-30
collector:
  port: true
""",
    ) == [
        "flywheel.yaml:3: data_collection.mode: must be training or production; the file has 'test'",
        "flywheel.yaml:2: data_collection.sampling_rate: must be a number, 0..1; the file has 1.5",
        "flywheel.yaml:5: data_collection.training.evaluate_timeout: must be a whole number, 1..600000 ms; the file has 0",
        "flywheel.yaml:6: data_collection.training.batch_size: must be a whole number, 1..1000; the file has 'ten'",
        "flywheel.yaml:7: data_collection.training.flush_interval: must be a number, above 0, at most 86400 s; the file has 0",
        "flywheel.yaml:9: labelling.min_score: must be a number, 0..1; the file has '0.5'",
        "flywheel.yaml:10: labelling.tie_preference.1: must be cheaper or faster or declared; the file has 'name'",
        "flywheel.yaml:12: storage.first_day: must be a day, YYYY-MM-DD; the file has '2026-02-30'",
        "flywheel.yaml:14: collector.port: must be a whole number, 0..65535; the file has true",
    ]


def test_a_bad_variable_is_named_as_such(tmp_path: Path) -> None:
    assert refusal(tmp_path, "", FLYWHEEL__CACHE__TTL="-1") == [
        "environment variable FLYWHEEL__CACHE__TTL: cache.ttl: must be a number, above 0, at most 604800 s; the variable has -1"
    ]


@pytest.mark.parametrize(
    ("variable", "setting"),
    [
        ("FLYWHEEL__COLLECTOR__PORT__X", "collector.port: must be a whole number, 0..65535"),
        (
            "FLYWHEEL__DATA_COLLECTION__TRAINING__CANDIDATE_MODELS__0",
            "data_collection.training.candidate_models: must be a list of names, 1..64 entries",
        ),
    ],
)
def test_a_variable_that_makes_a_section_of_a_value_is_named(
    tmp_path: Path, variable: str, setting: str
) -> None:
    last = variable.rpartition("__")[2].lower()
    assert refusal(tmp_path, "", **{variable: "a"}) == [
        f"environment variable {variable}: {setting}; the variable has {{'{last}': 'a'}}"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data_colection: {}", "1: data_colection: there is no such setting; did you mean data_collection?"),
        (
            "models:\n  qwen-max:\n    categry: x",
            "3: models.qwen-max.categry: there is no such setting; did you mean category?",
        ),
        ("min_score: 0.1", "1: min_score: there is no such setting; did you mean labelling.min_score?"),
        (
            "cache:\n  zzz: 1",
            "2: cache.zzz: there is no such setting; known here: enabled, max_entries, ttl",
        ),
    ],
)
def test_an_unknown_key_suggests_the_nearest(tmp_path: Path, text: str, expected: str) -> None:
    assert refusal(tmp_path, text)[0] == f"flywheel.yaml:{expected}"


def test_models_that_are_not_in_the_table_are_all_named_beside_other_mistakes(tmp_path: Path) -> None:
    assert refusal(
        tmp_path,
        "models: {big: {category: general}, small: {}}\n"
        "data_collection:\n  training:\n    candidate_models: [big, smal]\n"
        "cache: {ttl: 0}\n",
    ) == [
        "flywheel.yaml:5: cache.ttl: must be a number, above 0, at most 604800 s; the file has 0",
        "flywheel.yaml:4: data_collection.training.candidate_models.1: 'smal' is not in models; did you mean small?",
        "flywheel.yaml:1: routing.default_model: the default 'qwen-max' is not in models; known are big, small",
    ]


@pytest.mark.parametrize(
    ("candidates", "is_malformed"),
    [("[]", True), ("[qwen-max, 5]", True), ("5", True), ("[qwen-max]", False)],
)
def test_a_name_that_is_no_model_is_named_beside_malformed_lists_of_models(
    tmp_path: Path, candidates: str, is_malformed: bool
) -> None:
    found = refusal(
        tmp_path,
        f"data_collection:\n  training:\n    candidate_models: {candidates}\n"
        "routing:\n  default_model: qwen-maxx\n  fallback_models: 7\n",
    )
    assert found[-1] == (
        "flywheel.yaml:5: routing.default_model: 'qwen-maxx' is not in models; did you mean qwen-max?"
    )
    assert len(found) == 2 + is_malformed


def test_a_misspelt_setting_is_not_taken_for_a_default_that_is_missing(tmp_path: Path) -> None:
    (found,) = refusal(
        tmp_path,
        "models: {big: {}}\nrouting: {default_modl: big}\ndata_collection: {training: {candidate_models: [big]}}\n",
    )
    assert "did you mean default_model?" in found


def test_default_models_that_are_missing_are_one_line_a_setting(tmp_path: Path) -> None:
    """Whoever names models of their own left five candidates out by one omission, not by five mistakes."""
    defaults = "'qwen-max', 'qwen-math-7b', 'qwen-code-7b', 'qwen-medicine-7b', 'qwen-writing-7b'"
    assert refusal(tmp_path, "models: {big: {category: general}, small: {}}") == [
        "flywheel.yaml:1: data_collection.training.candidate_models: "
        f"the defaults {defaults} are not in models; known are big, small",
        "flywheel.yaml:1: routing.default_model: the default 'qwen-max' is not in models; known are big, small",
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"cache: {ttl: 1}\ncache: {ttl: 2}\n", "flywheel.yaml:2: cache stands twice"),
        (b"cache: [\n", "is not YAML"),
        (b"cache: {ttl: !!int x}\n", "is not YAML"),
        (b"- 1\n", "does not hold sections"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"#" * 1_048_577, "larger than"),
    ],
)
def test_a_file_that_is_no_configuration_says_why(tmp_path: Path, content: bytes, expected: str) -> None:
    file = tmp_path / "flywheel.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=expected):
        load_config(file, {})


def test_broken_yaml_is_one_line_with_its_place(tmp_path: Path) -> None:
    """The parser's own words take five lines and call the file "<unicode string>"."""
    file = tmp_path / "flywheel.yaml"
    file.write_text("cache:\n  enabled: true\n ttl: 1\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file, {})
    assert (
        caught.value.message
        == f"{file}:3: this is not YAML: expected <block end>, but found '<block mapping start>'"
    )
    assert caught.value.hint is not None


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"cannot read the configuration .*nowhere\.yaml: No such file"
    ) as caught:
        load_config(tmp_path / "nowhere.yaml", {})
    assert caught.value.hint is not None
    assert "FLYWHEEL_CONFIG" in caught.value.hint


def test_aliases_of_aliases_do_not_keep_the_reader_busy(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    assert len(refusal(tmp_path, "\n".join(lines))) == 40


def test_a_variable_that_reaches_into_a_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="reaches into ttl"):
        load_config(write(tmp_path, "cache: {ttl: 5}"), {"FLYWHEEL__CACHE__TTL__X": "1"})


def test_settings_shown_can_be_loaded_again(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, to_yaml(Config())), {}) == Config()


@pytest.mark.parametrize("address", ["http://h/v1", "https://h/openai/v1/"])
def test_an_address_that_would_get_v1_twice_is_refused(tmp_path: Path, address: str) -> None:
    file = write(tmp_path, f"models: {{qwen-max: {{base_url: '{address}'}}}}")
    with pytest.raises(ConfigError, match=r"qwen-max\.base_url: must be .* does not end in /v1"):
        load_config(file, {})
    assert (
        Model(base_url=address.removesuffix("/").removesuffix("v1")).base_url == address.partition("/v1")[0]
    )


@pytest.mark.parametrize(
    "address",
    ["http:///v1/evaluate", "http://:8090", "http://?a", "http://h:99999/c", "http://h:x", "http://[::1"],
)
def test_an_address_without_a_host_or_with_a_port_that_is_none_is_refused(
    tmp_path: Path, address: str
) -> None:
    (found,) = refusal(tmp_path, f"data_collection: {{storage_endpoint: '{address}'}}")
    assert found == (
        "flywheel.yaml:1: data_collection.storage_endpoint: must be an address that begins with http:// or https:// "
        f"and names a host; the file has '{address}'"
    )


def test_a_secret_that_is_not_set_names_who_needs_it() -> None:
    assert secret("KEY", "models.big.api_key_env", {"KEY": "s"}) == "s"
    with pytest.raises(
        ConfigIncompleteError, match=r"models\.big\.api_key_env names .* KEY, which is not set"
    ):
        secret("KEY", "models.big.api_key_env", {})


@pytest.mark.parametrize(
    "variable", ["FLYWHEEL__MODELS__GPT-4O__TIMEOUT", "FLYWHEEL__Models__GPT-4o__timeout"]
)
def test_a_variable_sets_the_model_that_the_file_has_whatever_its_capitals(
    tmp_path: Path, variable: str
) -> None:
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


def test_a_child_process_gets_this_environment_with_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYWHEEL_TEST_KEPT", "kept")
    assert environment_with({"NEW": "1"})["FLYWHEEL_TEST_KEPT"] == "kept"
    assert environment_with({"NEW": "1"})["NEW"] == "1"


def test_every_setting_has_a_sentence_a_kind_and_where_it_is_a_number_a_range() -> None:
    every = list(settings())
    assert len(every) > 70
    for setting in every:
        assert setting.sentence.endswith("."), setting.path
        assert setting.allowed.kind != "a section", setting.path
        if "number" in setting.allowed.kind:
            assert setting.allowed.bounds, setting.path
        if setting.path.endswith(("timeout", "interval", "bytes", "ttl", "days", "_mb")):
            assert setting.allowed.unit, setting.path
        assert find(tuple(setting.path.replace("NAME", "x").split("."))) == setting.allowed


def test_the_json_schema_has_units_ranges_and_sentences() -> None:
    timeout = json_schema()["$defs"]["Training"]["properties"]["evaluate_timeout"]
    assert (timeout["unit"], timeout["minimum"], timeout["maximum"]) == ("ms", 1, 600000)
    assert timeout["description"] == "Time for one scoring."


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
