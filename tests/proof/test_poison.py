"""Pipeline: poisoned input

Invalid scores, and sources or tenants that flood a label: neither decides what a router learns.
"""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from flywheel_core.config import Config, Dataset, Storage
from flywheel_core.config_servers import Operations
from flywheel_core.lake.dataset import latest_dataset, load_manifest
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import read_table
from flywheel_dagster.home import prepare_home
from flywheel_dagster.materialize import materialize_days
from tests.collector.conftest import Start as StartCollector
from tests.collector.conftest import body_of, point
from tests.dagster import points as raw
from tests.gateway.scripted import reply
from tests.gateway.world import Outside, RunningGateway, until
from tests.proof.conftest import Proof

POISON = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "2.0",
    "1.0000001",
    "-0.5",
    "-1",
    "true",
    '"0.9"',
    "[1]",
    "{}",
]
"""JSON texts, and texts like JSON, that are sent as the score of the model that would win."""
DAY = date(2026, 1, 5)


def poisoned(number: int, poison: str) -> bytes:
    """Return a batch of one data point, which `qwen-max` wins if its poisoned score counts, and else `qwen-math-7b`."""
    models = ("qwen-max", "qwen-math-7b", "qwen-code-7b")
    good = point(
        number,
        question=f"question {'abcdefghij'[number % 10]} {number:x} {poison}?",
        responses={model: {"model": model, "answer": "an answer"} for model in models},
        scores={"qwen-max": "POISON", "qwen-math-7b": 0.8, "qwen-code-7b": 0.3},
    )
    return body_of(good).replace(b'"POISON"', poison.encode())


@pytest.mark.proof(
    "A score that is none never makes a label",
    'NaN, infinity, 2.0, true, "0.9", -1 and their kin through a collector, through raw files and from the scorer',
)
def test_poisoned_scores_make_no_label(
    proof: Proof,
    launch: StartCollector,
    outside: Outside,
    start: Callable[..., RunningGateway],
    tmp_path: Path,
) -> None:
    each = proof.size(2, 200)
    layout = Layout(tmp_path / "data")
    collector = launch(layout.root)
    for number, poison in enumerate(POISON * each):
        answer = collector.collect(content=poisoned(number, poison))
        assert answer.status_code in ((200,) if poison == "-1" else (400, 422)), poison
    assert collector.stop() == 0
    received = datetime.now(UTC).date()
    bodies = [poisoned(len(POISON) * each + number, poison) for number, poison in enumerate(POISON * each)]
    points = [body.removeprefix(b'{"data_points": [').removesuffix(b"]}") for body in bodies]
    raw.write_raw(layout, DAY, [one.decode() for one in points])
    config = Config(
        storage=Storage(data_dir=layout.root, first_day="2026-01-01"),
        operations=Operations(max_rejected_share=1.0),  # otherwise so many rejects would block the day
    )
    assert not materialize_days({DAY, received}, config, tmp_path / "home").failed
    examples = read_table(layout, "training_examples")
    assert examples.height == 2 * each
    assert examples.filter(pl.col("best_model") == "qwen-max").height == 0
    assert set(examples["label"]) == {"math"}
    assert read_table(layout, "rejects").height == len(POISON) * each - each
    replies = POISON * proof.size(2, 20)
    said = iter(replies)
    outside.score = lambda asked: reply(
        b'{"score": %s}' % (next(said, "-1").encode() if "am big" in asked.json["answer"] else b"0.7")
    )
    gateway = start(outside.config())
    for number in range(len(replies)):
        assert gateway.chat(f"question {number}").status_code == 200
    until(lambda: len(outside.points) == len(replies))
    assert {found["scores"]["big"] for found in outside.points} == {None}
    assert all(found["score_reasons"]["big"] for found in outside.points)
    proof.note(poisoned_points=2 * len(POISON) * each + len(replies), labels_they_made=0)


@pytest.mark.proof(
    "One source or tenant that floods a label is capped and reported",
    "one tenant, then one source, gives almost all examples of a label; default settings, through Dagster, twice",
)
@pytest.mark.parametrize("group", ["source", "tenant"])
def test_a_flood_is_capped_and_reported(proof: Proof, tmp_path: Path, group: str) -> None:
    flood, quiet = proof.size(2_000, 20_000), proof.size(30, 400)
    lines: list[Any] = [
        {**raw.point(DAY, number, best="qwen-math-7b"), "source": "gateway", group: "loud"}
        for number in range(flood)
    ]
    for number in range(flood, flood + 5 * quiet):
        lines.append({**raw.point(DAY, number), "source": "gateway", group: f"quiet-{number % 3}"})
    manifests, files = [], []
    for name in ("one", "other"):
        layout = Layout(tmp_path / name / "data")
        raw.write_raw(layout, DAY, lines)
        config = Config(
            storage=Storage(data_dir=layout.root, first_day="2026-01-01"), dataset=Dataset(window_days=1)
        )
        home = tmp_path / name / "home"
        assert not materialize_days([DAY], config, home).failed
        version = latest_dataset(layout)
        assert version is not None
        manifests.append(load_manifest(layout, version))
        files.append({path.name: path.read_bytes() for path in layout.dataset(version).iterdir()})
    assert files[0] == files[1]
    caps = {one["label"]: one for one in manifests[0]["group_caps"]}
    assert {(one["group"], one["name"]) for one in caps.values()} == {(group, "loud")}
    assert set(caps) == {"math", None}, "of the label's examples, and of all that scores are learned from"
    cap, for_scores = caps["math"], caps[None]
    rows = pl.read_parquet(tmp_path / "one" / "data" / "datasets" / "*" / "examples.parquet")
    train = rows.filter((pl.col("split") == "train") & (pl.col("label") == "math"))
    kept = Counter(train.filter(pl.col("copies") > 0)[group])
    settings = Dataset()
    others = kept.total() - kept["loud"]
    assert kept["loud"] == cap["kept"] <= max(settings.group_floor, settings.max_group_share * kept.total())
    assert others == train.filter(pl.col(group) != "loud").height, "only the flood is cut"
    assert manifests[0]["counts"]["left_out"]["group_cap"] == cap["examples"] - cap["kept"]
    learned = Counter(rows.filter((pl.col("split") == "train") & pl.col("for_scores"))[group])
    floor = settings.group_floor * rows["label"].n_unique()
    assert learned["loud"] == for_scores["kept"]
    assert (
        for_scores["kept"] <= max(floor, settings.max_group_share * learned.total()) < for_scores["examples"]
    )
    with dg.DagsterInstance.from_config(str(prepare_home(tmp_path / "one" / "home"))) as instance:
        key = dg.AssetCheckKey(dg.AssetKey("training_dataset"), "groups_within_share")
        (record,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=2)
        assert record.evaluation is not None and not record.evaluation.passed
        assert "loud" in str(record.evaluation.description)
    proof.note(
        flood_examples=cap["examples"],
        kept=cap["kept"],
        scores_learned_from=for_scores["kept"],
        share_before=cap["examples"] / (cap["examples"] + others),
        share_after=cap["kept"] / kept.total(),
    )
