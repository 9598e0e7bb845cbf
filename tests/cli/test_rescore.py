"""`flywheel rescore` with a scorer that was down and is back."""

import asyncio
import json
import signal
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flywheel_cli.main import main
from flywheel_core.collect.rescore import WINDOW
from flywheel_core.config_file import load_config
from flywheel_core.lake.ingest import ingest_day
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import read_table
from simulation.server import running
from simulation.service import Service
from tests.core.collect.outside import Outside, Reply, as_json

DAY = date(2026, 1, 5)
POINT = {
    "id": "one",
    "question": "求解方程 x^2 + 2x - 3 = 0",
    "responses": {
        "qwen-max": {"model": "qwen-max", "answer": "x = 1"},
        "qwen-math-7b": {"model": "qwen-math-7b", "answer": "x = 9"},
    },
    "scores": {"qwen-max": 0.75, "qwen-math-7b": None},
    "score_reasons": {"qwen-math-7b": "timeout"},
    "timestamp": 1767571200,
}


def stored(tmp_path: Path) -> Layout:
    """Write the point into its raw day, and return the data folder."""
    layout = Layout(tmp_path / "data")
    layout.raw.mkdir(parents=True)
    layout.raw_file(DAY).write_text(json.dumps(POINT, ensure_ascii=False) + "\n", encoding="utf-8")
    return layout


def rescored(layout: Layout, file: Path, *calls: list[str]) -> list[Result]:
    """Run `flywheel rescore` for the day once per list of further options, with a scorer that is back."""
    with running(Service(speed=0)) as address:
        file.write_text(f"data_collection: {{training: {{evaluate_endpoint: '{address}/v1/evaluate'}}}}\n")
        arguments = ["--config", str(file), "--data-dir", str(layout.root), "rescore", "2026-01-05"]
        return [CliRunner().invoke(main, [*arguments, *further]) for further in calls]


def test_missing_scores_are_asked_for_and_the_next_ingest_takes_them(tmp_path: Path) -> None:
    layout, file = stored(tmp_path), tmp_path / "flywheel.yaml"
    answer, again = rescored(layout, file, ["--json"], [])
    assert "take the new scores in" not in again.stdout, "nothing was missing any more"
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["2026-01-05"]["improved"] == 1
    ingest_day(layout, DAY, load_config(file, {}))
    scores = dict(read_table(layout, "responses", [DAY]).select("model", "score").iter_rows())
    assert scores["qwen-max"] == 0.75
    assert scores["qwen-math-7b"] is not None


def test_the_table_says_how_the_new_scores_are_taken_in(tmp_path: Path) -> None:
    (answer,) = rescored(stored(tmp_path), tmp_path / "flywheel.yaml", [])
    assert answer.stdout.endswith(
        "take the new scores in: flywheel ingest 2026-01-05, then flywheel label 2026-01-05\n"
    )


def test_without_a_scorer_the_field_is_named(tmp_path: Path) -> None:
    layout = stored(tmp_path)
    answer = CliRunner().invoke(main, ["--data-dir", str(layout.root), "rescore", "2026-01-05"])
    assert answer.exit_code == 2
    assert "data_collection.training.evaluate_endpoint" in answer.stderr


def test_all_answers_are_scored_again_with_a_new_scorer(tmp_path: Path) -> None:
    layout, file = stored(tmp_path), tmp_path / "flywheel.yaml"
    some, every = rescored(layout, file, ["--json"], ["--all-answers", "--json"])
    assert json.loads(some.stdout)["2026-01-05"]["scores"] == 1
    assert every.exit_code == 0, every.output
    assert json.loads(every.stdout)["2026-01-05"]["scores"] == 2
    (table,) = rescored(layout, file, ["--all-answers"])
    assert "scored again" in table.stdout
    assert "without a score" not in table.stdout


def test_why_scores_are_still_missing_is_said(tmp_path: Path) -> None:
    """A scorer that is still down, or refuses, must not look like answers that have no score."""
    layout, file = stored(tmp_path), tmp_path / "flywheel.yaml"
    file.write_text("data_collection: {training: {evaluate_endpoint: 'http://127.0.0.1:1/v1/evaluate'}}\n")
    arguments = ["--config", str(file), "--data-dir", str(layout.root), "rescore", "2026-01-05"]
    answer = CliRunner().invoke(main, arguments)
    assert answer.exit_code == 0, answer.output
    assert answer.stdout.splitlines()[-1] == "still missing: connection 1"
    figures = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert figures["2026-01-05"]["reasons"] == {"connection": 1}


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_keeps_the_scores_that_came_and_a_second_one_ends_the_process(
    tmp_path: Path, times: int
) -> None:
    """The answers being scored at that moment get their scores, no further ones are sent, and the exit status is 130."""
    layout, file = stored(tmp_path), tmp_path / "flywheel.yaml"
    lines = [json.dumps({**POINT, "id": f"p{number}"}, ensure_ascii=False) for number in range(100)]
    for day in (DAY, DAY + timedelta(days=1)):
        layout.raw_file(day).write_text("\n".join(lines) + "\n", encoding="utf-8")

    async def main() -> tuple[str, str, int | None, int]:
        async with Outside() as world:
            asked, told = asyncio.Event(), asyncio.Event()

            async def late(_: Any) -> Reply:
                asked.set()
                await told.wait()
                return as_json({"score": 0.5})

            world.scorer(late)
            file.write_text(
                f"data_collection: {{training: {{evaluate_endpoint: '{world.url}/v1/evaluate'}}}}\n"
            )
            process = await asyncio.create_subprocess_exec(
                str(Path(sys.executable).with_name("flywheel")),
                *("--config", str(file), "--data-dir", str(layout.root)),
                *("rescore", "2026-01-05..2026-01-06", "--json"),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            await asked.wait()
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            errors = b""
            while b"stopping" not in errors:
                line = await process.stderr.readline()
                assert line, errors
                errors += line
            if times == 2:
                process.send_signal(signal.SIGINT)
                await process.wait()
            told.set()
            output, rest = await process.communicate()
            return output.decode(), (errors + rest).decode(), process.returncode, len(world.requests)

    output, errors, status, requests = asyncio.run(main())
    if times == 2:
        assert (status, output, requests) == (1, "", WINDOW), errors
        assert [path.name for path in layout.raw_files(DAY)] == [layout.raw_file(DAY).name]
        return
    assert (status, requests) == (130, WINDOW), errors
    assert "stopped: run the command again for the rest" in errors
    assert json.loads(output).keys() == {"2026-01-05"}
    found = json.loads(output)["2026-01-05"]
    assert (found["stopped"], found["scores"]) == (True, WINDOW)
    assert len(Path(found["file"]).read_bytes().splitlines()) == WINDOW
