"""Errors of an invalid configuration name every bad setting, its place, its value and what is allowed."""

from pathlib import Path

import pytest

from flywheel_core.config_file import load_config
from flywheel_core.errors import ConfigError
from tests.core.configs import refusal, write


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
    "value", ["[s3cret", "s3cret: a: b", "*s3cret", "!!int s3cret", "!!bool s3cret", "[" * 3_000]
)
def test_a_variable_that_is_not_yaml_is_named_and_its_value_not_shown(tmp_path: Path, value: str) -> None:
    """It may be a secret in place of its variable's name, or an address with a password."""
    variable = "FLYWHEEL__GATEWAY__USER_SECRET_ENV"
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, ""), {variable: value})
    assert caught.value.message == f"the environment variable {variable} is not YAML"
    assert "s3cret" not in str(caught.value)


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
        ("cache: {5: 7}", "1: cache.5: Keys should be strings; the file has 5"),
        ("models: {5: {}}", "1: models: the name 5 must be text, 1..200 characters"),
        ("models:\n  '': {}", "2: models: the name '' must be text, 1..200 characters"),
    ],
)
def test_a_key_that_is_no_setting_is_named_with_what_is_known(
    tmp_path: Path, text: str, expected: str
) -> None:
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


def test_a_malformed_list_of_models_is_not_blamed_for_its_default(tmp_path: Path) -> None:
    assert refusal(
        tmp_path,
        "models: {big: {}}\nrouting: {default_model: big}\ndata_collection: {training: {candidate_models: 5}}\n",
    ) == [
        "flywheel.yaml:3: data_collection.training.candidate_models: must be a list of names, 1..64 entries; the file has 5"
    ]


def test_default_models_that_are_missing_are_one_line_a_setting(tmp_path: Path) -> None:
    """Replacing the default models omits five default candidates at once: that is one mistake, not five."""
    defaults = "'qwen-max', 'qwen-math-7b', 'qwen-code-7b', 'qwen-medicine-7b', 'qwen-writing-7b'"
    assert refusal(tmp_path, "models: {big: {category: general}, small: {}}") == [
        "flywheel.yaml:1: data_collection.training.candidate_models: "
        f"the defaults {defaults} are not in models; known are big, small",
        "flywheel.yaml:1: routing.default_model: the default 'qwen-max' is not in models; known are big, small",
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"cache: [\n", "is not YAML"),
        (b"cache: {ttl: !!int x}\n", "yaml:1: this is not YAML: no value of type !!int"),
        (b"cache:\n  ttl: !!float ''\n", "yaml:2: this is not YAML: no value of type !!float"),
        (b"cache: {enabled: !!bool x}\n", "yaml:1: this is not YAML: no value of type !!bool"),
        (b"cache: {ttl: !!timestamp x}\n", "yaml:1: this is not YAML: no value of type !!timestamp"),
        (b"- 1\n", "holds one value instead of sections"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"#" * 1_048_577, "larger than"),
    ],
)
def test_a_file_that_is_not_a_configuration_is_refused_with_a_reason(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    file = tmp_path / "flywheel.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=expected):
        load_config(file, {})


def test_a_file_saved_in_another_encoding_is_named_with_its_line_and_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "flywheel.yaml"
    file.write_bytes("cache:\r\n  # 决策缓存\r\n  ttl: 60\r\n".encode("gb18030"))
    with pytest.raises(ConfigError, match=r"flywheel.yaml:2: this is not UTF-8") as refused:
        load_config(file, {})
    assert "iconv -f GB18030 -t UTF-8" in str(refused.value.hint)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_chinese_names_are_read_with_or_without_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    name = "阿里/通义千问-Max:free v1.0"
    text = f"models:\n  {name}: {{category: 通用}}\nrouting: {{default_model: '{name}'}}\n"
    text += f"data_collection: {{training: {{candidate_models: ['{name}']}}}}\n"
    file = tmp_path / "flywheel.yaml"
    file.write_bytes(text.replace("\n", "\r\n").encode(encoding))
    assert load_config(file, {}).categories() == {name: "通用"}


def test_settings_that_stand_twice_hide_no_other_mistake(tmp_path: Path) -> None:
    found = refusal(
        tmp_path,
        "cache: {ttl: 0}\ncollector:\n  port: 1\n  port: 99999\nstorage: {}\nstorage: {data_dr: x}\n",
    )
    assert found == [
        "flywheel.yaml:4: collector.port: stands twice in the file",
        "flywheel.yaml:6: storage: stands twice in the file",
        "flywheel.yaml:1: cache.ttl: must be a number, above 0, at most 604800 s; the file has 0",
        "flywheel.yaml:6: storage.data_dr: there is no such setting; did you mean data_dir?",
        "flywheel.yaml:4: collector.port: must be a whole number, 0..65535; the file has 99999",
    ]


def test_a_setting_that_stands_twice_is_the_only_mistake(tmp_path: Path) -> None:
    """Which of two values is meant cannot be known, even where both are valid."""
    assert refusal(tmp_path, "cache: {ttl: 1}\ncache: {ttl: 2}\n") == [
        "flywheel.yaml:2: cache: stands twice in the file"
    ]


def test_broken_yaml_is_one_line_with_its_place(tmp_path: Path) -> None:
    """The parser's own message takes five lines and calls the file "<unicode string>"."""
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
        load_config(tmp_path / "is nowhere.yaml", {})
    assert caught.value.hint is not None
    assert "FLYWHEEL_CONFIG" in caught.value.hint
    assert f"> '{tmp_path}/is nowhere.yaml'`" in caught.value.hint, "a shell takes the command as it stands"


def test_aliases_of_aliases_do_not_keep_the_reader_busy(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    problems = refusal(tmp_path, "\n".join([*lines, "routing: {default_model: *a39}"]))
    assert len(problems) == 41
    assert any("must be text, 1..200 characters; the file has [[[" in problem for problem in problems)


def test_a_variable_that_reaches_into_a_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="reaches into ttl"):
        load_config(write(tmp_path, "cache: {ttl: 5}"), {"FLYWHEEL__CACHE__TTL__X": "1"})


def test_a_name_in_the_folder_that_is_no_file_is_not_taken_for_no_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker makes a folder where a file to mount is missing; the defaults would then be in force without a word."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "flywheel.yaml"
    file.mkdir()
    with pytest.raises(ConfigError, match=r"cannot read the configuration flywheel\.yaml: Is a directory"):
        load_config(None, {})
    file.rmdir()
    file.symlink_to("nowhere.yaml")
    with pytest.raises(ConfigError, match=r"cannot read the configuration flywheel\.yaml: No such file"):
        load_config(None, {})
