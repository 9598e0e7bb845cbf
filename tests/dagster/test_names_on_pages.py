"""Names from outside on Dagster's pages: they load nothing, link to nothing, and do not fill its storage."""

import json
from datetime import date
from typing import Any

import dagster as dg
import pytest
from markdown_it import MarkdownIt

from flywheel_core.config import Config
from flywheel_core.lake.layout import Layout
from flywheel_dagster import metadata, steps
from tests.dagster.graphs import metadata_of, run_days
from tests.dagster.points import MODELS, point, write_raw

DAY = date(2026, 1, 5)


def test_names_from_outside_render_no_image_and_no_link(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    """The UI renders descriptions as Markdown: an image in a model's name would be fetched by every reader's browser."""
    marks = "![seen](http://evil.example/?you) [here](http://evil.example) <img src='http://evil.example'> \\![a](b)"
    strange: list[Any] = [point(DAY, number) for number in range(30)]
    for number, one in enumerate(strange):
        one["responses"] |= {f"{number} {marks}": {"model": "m", "answer": "42"}}
    write_raw(layout, DAY, strange)
    ran = run_days(config, instance, DAY)
    (told,) = [one for one in ran.get_asset_check_evaluations() if one.check_name == "models_mapped"]
    shown = str(told.description)
    found = {inner.type for token in MarkdownIt().parse(shown) for inner in (token, *(token.children or ()))}
    assert not found & {"image", "link_open", "html_inline", "html_block"}
    assert "seen" in shown
    assert shown.endswith("and 20 more")


def test_a_flood_of_invented_models_does_not_fill_dagsters_storage(
    config: Config, layout: Layout, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "MAX_ROWS", 20)
    strange: list[Any] = [point(DAY, number) for number in range(30)]
    for number, one in enumerate(strange):
        one["responses"] |= {f"invented-{number}": {"model": "m", "answer": "42"}}
        one["scores"] |= {f"invented-{number}": 0.5}
    write_raw(layout, DAY, strange)
    shown = metadata_of(run_days(config, instance, DAY), "model_leaderboard")["table"]
    assert shown.count("\n| ") == 21
    assert shown.endswith(f"and {30 + len(MODELS) - 20} more")


class ShowsDrawings(MarkdownIt):
    """Takes drawings in addresses for pictures, as the UI does."""

    def validateLink(self, url: str) -> bool:  # noqa: N802  # the library's name
        return True


@pytest.mark.parametrize(
    "name", ["![x](//host/a.png)", "x](//host/a) [y", "a\n\n![x](//host/b.png)", "x\\](//host/c"]
)
def test_names_in_the_words_of_a_picture_load_nothing(name: str) -> None:
    """Who cannot see a chart reads its ranges and the names at both ends, which came from outside."""
    shown = metadata.chart([(name, 1.0), ("low", 0.5)], of="model", title="Scores", unit="score").value
    (paragraph,) = [token for token in ShowsDrawings().parse(str(shown)) if token.type == "inline"]
    found = paragraph.children or []
    assert [token.type for token in found] == ["image"]
    image = found[0]
    assert str(image.attrGet("src")).startswith("data:image/svg+xml;base64,")
    assert image.content.startswith("Scores. By model. score: 0.5 (low) to 1 (")


def test_a_flood_of_invented_models_has_no_chart_and_no_series(
    config: Config, layout: Layout, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Configured models come first; the dataset's manifest names only a few of the invented ones."""
    monkeypatch.setattr(steps, "MAX_MODELS", 8)
    strange: list[Any] = [point(DAY, number) for number in range(60)]
    for number, one in enumerate(strange):
        for name in (f"invented-{min(number, 57)}", "busy", "x" * 100_000):
            one["responses"] |= {name: {"model": name, "answer": "42"}}
            one["scores"] |= {name: 1.0 if "-" in name else 0.9}
    write_raw(layout, DAY, strange)
    ran = run_days(config, instance, DAY)
    shown = metadata_of(ran, "model_leaderboard")
    series = {name for name in shown if name.startswith("mean_score_")}
    assert len(series) == 7, "the name that no page has room for has none"
    assert series > {f"mean_score_{model}" for model in (*MODELS, "busy")}
    assert (shown["models"], shown["models_shown"]) == (58 + 2 + len(MODELS), 8)
    assert sum(len(name) + len(str(value)) for name, value in shown.items()) < 50_000
    dataset = metadata_of(ran, "training_dataset")
    named = dataset["manifest"]["unknown_models"]
    assert len(named) == metadata.MAX_NAMED
    assert named["invented-57"] == 3, "the most frequent ones are named"


def test_a_day_of_many_raw_files_names_a_few(
    config: Config, layout: Layout, instance: dg.DagsterInstance
) -> None:
    for number in range(30):
        path = layout.raw_file(DAY, f"writer-{number:02}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(point(DAY, number)) + "\n")
    shown = metadata_of(run_days(config, instance, DAY), "responses")["raw_files"]
    assert shown.startswith("training_data_20260105.writer-00.jsonl, ")
    assert shown.endswith("training_data_20260105.writer-09.jsonl and 20 more")


def test_as_many_names_and_rows_as_fit_are_shown_without_a_remark() -> None:
    names = [f"n{number}" for number in range(metadata.MAX_NAMED)]
    assert metadata.named(names) == ", ".join(names)
    assert metadata.named([*names, "n"]) == f"{', '.join(names)} and 1 more"
    rows = [(number,) for number in range(metadata.MAX_ROWS)]
    assert str(metadata.rows_of(("a",), rows).value).endswith(f"\n| {metadata.MAX_ROWS - 1} |")
    assert str(metadata.rows_of(("a",), [*rows, (0,)]).value).endswith("\nand 1 more")
