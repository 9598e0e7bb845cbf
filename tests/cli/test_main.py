"""The `flywheel` command itself: what it lists, what it imports, how it fails."""

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import pytest

from flywheel_cli.main import COMMANDS, Entry, main
from flywheel_core.errors import NoDataError, StorageError
from tests.cli.conftest import Run, parsed


def test_help_lists_every_command_that_is_there(run: Run) -> None:
    result = run("--help")
    assert result.exit_code == 0
    for name in ("config", "ingest", "label", "dataset", "generate", "import", "sql", "status", "report"):
        assert f"\n  {name} " in result.output
        assert COMMANDS[name].sentence in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["why", "abcdef12\udcff"],
        ["sql", "select '\udcff'"],
        ["replay", "outcomes.jsonl", "--pool", "a,\udcff"],
        ["simulate", "--host", "\udcff"],
        ["simulate", "--host", "a" * 64],
    ],
)
def test_arguments_that_are_not_valid_text_are_named(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "outcomes.jsonl").touch()
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("error[usage_invalid]: ")
    assert repr(arguments[-1])[1:-1] in result.stderr


def test_a_command_whose_module_is_missing_is_not_listed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "later", Entry("flywheel_cli.not_there_yet:later", "Comes later."))
    assert "later" not in run("--help").output
    assert run("later").exit_code == 2


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from flywheel_cli.main import main\n"
        f"try: main({arguments})\n"
        "except SystemExit: pass\n"
        "heavy = {'polars', 'duckdb', 'dagster', 'pyarrow', 'numpy', 'pydantic', 'starlette', 'httpx', 'rich'}\n"
        "sys.exit(', '.join(heavy & sys.modules.keys()) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_listed_command_loads() -> None:
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert command.help, name


def test_an_unknown_command_suggests_the_nearest(run: Run) -> None:
    result = run("ingets")
    assert result.exit_code == 2
    assert "No such command 'ingets'" in result.stderr
    assert "ingest" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["frobnicate"], "No such command 'frobnicate'.", "flywheel --help says more"),
        (["--bogus"], "No such option '--bogus'.", "flywheel --help says more"),
        (
            ["ingest"],
            "Missing argument 'DAY...'.",
            "flywheel ingest [OPTIONS] DAY...; flywheel ingest --help",
        ),
        (["router", "shows"], "No such command 'shows'.", "flywheel router --help says more"),
    ],
)
def test_wrong_usage_has_a_code_and_says_how_it_is_meant(
    run: Run, arguments: list[str], message: str, hint: str
) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    first, second = result.stderr.splitlines()
    assert first.startswith(f"error[usage_invalid]: {message}")
    assert hint in second


@pytest.mark.parametrize("arguments", [[], ["router"]])
def test_a_group_by_itself_shows_its_help(run: Run, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.output.startswith("Usage: ")
    assert "Commands:" in result.output


def test_an_error_has_its_code_hint_and_exit_status(run: Run) -> None:
    result = run("ingest", "soon")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == (
        "error[usage_invalid]: 'soon' is not a day\n  write it as 2026-01-05, 20260105, today or yesterday\n"
    )


def test_an_error_of_a_json_command_is_a_json_object(run: Run) -> None:
    result = run("ingest", "soon", "--json")
    assert result.exit_code == 2
    assert result.stderr == ""
    assert json.loads(result.stdout)["error"] == {
        "code": "usage_invalid",
        "message": "'soon' is not a day",
        "hint": "write it as 2026-01-05, 20260105, today or yesterday",
    }


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["ingest", "--json"], "DAY"),
        (["ingest", "all", "--json", "--bogus"], "--bogus"),
        (["ingest", "--bogus", "all", "--json"], "--bogus"),
        (["--json", "ingest", "all"], "--json"),
        (["ingets", "all", "--json"], "ingets"),
        (["router", "lst", "--json"], "lst"),
    ],
)
def test_wrong_arguments_of_a_json_command_are_a_json_object_too(
    run: Run, arguments: list[str], named: str
) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stderr) == (2, "")
    error = json.loads(result.stdout)["error"]
    assert (error["code"], named in error["message"]) == ("usage_invalid", True)


@pytest.mark.parametrize("arguments", [["--help"], ["config", "show"], ["config", "show", "--json"]])
def test_a_full_disk_behind_standard_output_is_an_error_not_a_traceback(
    arguments: list[str], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", f"from flywheel_cli.main import main; main({arguments})"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == StorageError.exit_status
    assert done.stderr.startswith("error[storage_failed]: cannot print: No space left on device\n  ")
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize("group", [[], ["config"], ["dagster"], ["keys"], ["router"]])
def test_no_sentence_of_a_list_of_commands_is_cut_off(run: Run, group: list[str]) -> None:
    """Click truncates a sentence that does not fit on one line of 80 columns."""
    _, found, listed = run(*group, "--help").stdout.partition("Commands:\n")
    assert found
    assert all(line.endswith(".") and not line.endswith("...") for line in listed.splitlines())


@pytest.mark.parametrize(
    ("command", "looked_in", "first"),
    [
        (["ingest"], "raw", "import or collect something first"),
        (["rescore"], "raw", "import or collect something first"),
        (["dagster", "backfill"], "raw", "import or collect something first"),
        (["label"], "tables/responses", "run flywheel ingest all first"),
        (["dataset"], "tables/training_examples", "run flywheel ingest all, then flywheel label all, first"),
        (["report"], "tables/quality_report", "run flywheel ingest all, then flywheel label all, first"),
    ],
)
def test_all_days_of_an_empty_folder_is_no_data(
    run: Run, tmp_path: Path, command: list[str], looked_in: str, first: str
) -> None:
    """A user in the wrong folder reads which folder that was; one who left out a step reads which step."""
    result = run(*command, "all")
    assert result.exit_code == NoDataError.exit_status
    assert result.stderr == (
        f"error[no_data]: there are no days yet in {tmp_path / 'data' / looked_in}\n"
        f"  {first}; --data-dir names another data folder\n"
    )


def test_a_file_that_the_system_refuses_is_named_and_no_traceback(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()

    @click.command()
    def reading() -> None:
        folder.read_bytes()

    monkeypatch.setattr("flywheel_cli.config.config", reading)
    result = run("config")
    assert result.exit_code == StorageError.exit_status
    assert result.stderr == f"error[storage_failed]: cannot use {folder}: Is a directory\n"


def test_an_unexpected_exception_keeps_its_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def broken() -> None:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr("flywheel_cli.config.config", broken)
    with pytest.raises(ZeroDivisionError, match="a fault of ours"):
        run("config")


def test_options_may_stand_before_or_after_the_command(run: Run, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("storage: {data_dir: there}\n")
    for arguments in (
        ["--config", "other.yaml", "config", "show"],
        ["config", "show", "--config", "other.yaml"],
    ):
        assert "data_dir: there\n" in run(*arguments).output
    assert "data_dir: here\n" in run("config", "show", "--config", "other.yaml", "--data-dir", "here").output


def test_the_installed_command_exits_with_the_errors_status(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("flywheel")
    done = subprocess.run(
        [command, "ingest", "never"],
        cwd=tmp_path,
        env={**os.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error[usage_invalid]: 'never' is not a day")


def test_a_data_folder_that_cannot_be_written_says_what_to_name(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "raw").write_text("in the way")
    result = run("collector", "--port", "0")
    assert result.exit_code == 1
    assert result.stderr == (
        "error[storage_failed]: cannot write in data/raw: File exists\n"
        "  name a folder that this user may write to with --data-dir or storage.data_dir\n"
    )


@pytest.mark.parametrize(
    "command", [["collector", "--port", "0"], ["keys", "create", "gw"], ["keys", "list"]]
)
def test_keys_below_a_path_that_is_not_a_folder_give_an_error_message(
    run: Run, tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    result = run(*command, "--data-dir", "file/data")
    assert result.exit_code == 1
    assert "the keys in file/data/keys.json: Not a directory\n" in result.stderr
    assert "--data-dir or storage.data_dir" in result.stderr


def test_hints_about_a_clients_key_name_the_clients_keys(run: Run) -> None:
    unknown = run("keys", "revoke", "nope", "--gateway")
    assert (
        unknown.stderr == "error[usage_invalid]: there is no key nope\n  see flywheel keys list --gateway\n"
    )
    for _ in range(2):
        assert run("keys", "create", "team", "--gateway").exit_code == 0
    third = run("keys", "create", "team", "--gateway")
    assert third.stderr.endswith("revoke the older one first: flywheel keys revoke --gateway KEY_ID\n")


def test_keys_as_json(run: Run) -> None:
    key_id = parsed(run("keys", "create", "team", "--json"))["key"].partition(".")[0]
    revoked = parsed(run("keys", "revoke", key_id, "--json"))
    assert (revoked["key_id"], revoked["source"]) == (key_id, "team") and revoked["revoked_at"]
    (listed,) = parsed(run("keys", "list", "--json"))
    assert {name: listed[name] for name in revoked} == revoked


def test_rescoring_a_day_without_raw_files_says_where_and_what_to_do(run: Run, tmp_path: Path) -> None:
    result = run("rescore", "2026-01-05")
    assert result.exit_code == NoDataError.exit_status
    assert result.stderr.endswith(
        f"error[no_data]: there are no raw files of 2026-01-05 in {tmp_path / 'data' / 'raw'}\n"
        "  flywheel status shows which days have raw files\n"
    )


def _run_in_gbk(query: str, **streams: Any) -> subprocess.CompletedProcess[bytes]:
    code = f"from flywheel_cli.main import main; main(['sql', {query!r}])"
    environment = {**os.environ, "PYTHONIOENCODING": "gbk"}
    return subprocess.run([sys.executable, "-c", code], env=environment, check=True, **streams)


def test_files_and_pipes_are_utf_8_whatever_the_system_uses(tmp_path: Path) -> None:
    """`flywheel config show > flywheel.yaml` would otherwise write a file that Flywheel refuses."""
    written = _run_in_gbk("select '模型 👩' as found", stdout=subprocess.PIPE, cwd=tmp_path)
    assert "模型 👩" in written.stdout.decode("utf-8")
    data = tmp_path / "query.sql"
    data.write_text("select 'found ' || length('模型') as found", encoding="utf-8")
    with data.open("rb") as query:
        read = _run_in_gbk("-", stdin=query, stdout=subprocess.PIPE, cwd=tmp_path)
    assert b"found 2" in read.stdout


def test_a_terminal_gets_what_it_can_show_and_the_rest_spelled_out(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    _run_in_gbk("select '模型' || chr(128105) as found", stdout=theirs, cwd=tmp_path)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # a terminal that nobody writes to any more ends with an error
        while part := os.read(ours, 65536):
            shown += part
    os.close(ours)
    assert "模型\\U0001f469" in shown.decode("gbk")
