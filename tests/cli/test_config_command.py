"""`flywheel config check|try|show|schema`, and the settings tables in the documents."""

import json
from pathlib import Path

import pytest
import yaml

from flywheel_core.config import Config
from flywheel_core.config_file import load_config
from flywheel_core.config_schema import json_schema, markdown
from tests.cli.conftest import Run, parsed

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_check_says_what_is_in_force(run: Run, tmp_path: Path) -> None:
    assert run("config", "check").output == "the defaults: valid, 13 models\n"
    (tmp_path / "flywheel.yaml").write_text("cache: {ttl: 5}\n")
    assert run("config", "check").output == "flywheel.yaml: valid, 13 models\n"
    assert parsed(run("config", "check", "--json")) == {
        "valid": True,
        "file": "flywheel.yaml",
        "models": 13,
        "notes": [],
    }
    (tmp_path / "flywheel.yaml").write_text(
        "models: {big: {}}\nrouting: {default_model: big}\ndata_collection: {training: {candidate_models: [big]}}\n"
    )
    assert run("config", "check").output == "flywheel.yaml: valid, 1 model\n"


@pytest.mark.parametrize(
    ("candidates", "more", "named"),
    [
        ("quick, thinker", "enabled: true", True),
        ("quick, thinker", "enabled: true, point_timeout: 120", False),
        ("quick, thinker", "enabled: false", False),
        ("quick", "enabled: true", False),
    ],
)
def test_check_names_a_model_that_users_wait_for_longer_than_collection(
    run: Run, tmp_path: Path, candidates: str, more: str, named: bool
) -> None:
    """Its late answers would teach that it fails."""
    (tmp_path / "flywheel.yaml").write_text(
        "models: {quick: {category: general}, thinker: {category: math, timeout: 120}}\n"
        "routing: {default_model: quick}\n"
        f"data_collection: {{training: {{candidate_models: [{candidates}]}}, {more}}}\n"
    )
    said = run("config", "check").output
    assert "valid, 2 models" in said
    assert ("models.thinker.timeout is 120 s" in said) is named
    assert len(parsed(run("config", "check", "--json"))["notes"]) == named


def test_check_names_every_mistake_and_exits_with_2(run: Run, tmp_path: Path) -> None:
    (tmp_path / "flywheel.yaml").write_text("cache:\n  ttl: 0\n  tll: 1\n")
    result = run("config", "check")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "error[config_invalid]: the configuration has 2 problems:",
        "  flywheel.yaml:2: cache.ttl: must be a number, above 0, at most 604800 s; the file has 0",
        "  flywheel.yaml:3: cache.tll: there is no such setting; did you mean ttl?",
    ]


def test_try_fails_where_something_needed_is_open(run: Run, tmp_path: Path) -> None:
    """What each service reports when it is tried is tested in `tests/core/collect/test_trial.py`."""
    result = run("config", "try")
    assert result.exit_code == 1
    assert "models.qwen-max.base_url open" in " ".join(result.stdout.split())
    trials = {trial["name"]: trial for trial in json.loads(run("config", "try", "--json").stdout)}
    assert (trials["qwen-max"]["ok"], trials["qwen-code-3b"]["ok"]) == (False, None)
    assert trials["qwen-max"]["says"] == "the configuration leaves models.qwen-max.base_url open"


def test_what_show_prints_is_a_configuration(run: Run, tmp_path: Path) -> None:
    shown = run("config", "show").output
    (tmp_path / "again.yaml").write_text(shown)
    assert load_config(tmp_path / "again.yaml", {}) == Config()
    assert parsed(run("config", "show", "--json")) == yaml.safe_load(shown)


def test_show_never_prints_a_secret(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIG_KEY", "a-secret-value")
    monkeypatch.setenv("FLYWHEEL__DATA_COLLECTION__API_KEY_ENV", "BIG_KEY")
    shown = run("config", "show").output
    assert "BIG_KEY" in shown
    assert "a-secret-value" not in shown


def test_schema_is_json_schema_or_markdown(run: Run) -> None:
    assert json.loads(run("config", "schema").output) == json_schema()
    assert run("config", "schema", "--markdown").output == markdown()


def test_the_documents_settings_tables_are_those_of_the_code() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    _, mark, tables = text.partition("flywheel config schema --markdown -->\n")
    assert mark
    assert tables == markdown(), "bring it up to date with: flywheel config schema --markdown"


def test_the_documents_example_loads(tmp_path: Path) -> None:
    example = DOCUMENT.read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    (tmp_path / "flywheel.yaml").write_text(example)
    config = load_config(tmp_path / "flywheel.yaml", {})
    assert list(config.models) == ["big", "code-7b"]
