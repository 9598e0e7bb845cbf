"""Recorded outcomes played day by day: each router serves the next day, and an interrupted replay resumes."""

import gzip
import json
import re
from pathlib import Path

import msgspec
import pytest

from flywheel_core.config import Config
from flywheel_core.errors import NoDataError, StorageError, UsageError
from flywheel_core.lake.importing import import_files
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.points import BYTE_ORDER_MARK
from flywheel_core.learn.nightly import Craft
from flywheel_core.learn.registry import Registry
from flywheel_core.learn.replay import replay
from flywheel_core.learn.replay_days import hand_out
from flywheel_core.learn.replay_result import DayResult, Replay
from tests.core.learn import toy

DAYS = 4
PER_DAY = 600


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One compressed file with the outcomes of several days, out of order."""
    path = tmp_path_factory.mktemp("recorded") / "outcomes.jsonl.gz"
    lines = [line for day in reversed(toy.days(DAYS)) for line in toy.points(day, PER_DAY)]
    path.write_bytes(gzip.compress(b"".join(line + b"\n" for line in lines)))
    return path


@pytest.fixture(scope="module")
def played(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Replay]:
    folder = tmp_path_factory.mktemp("replay")
    return folder, replay([recorded], folder, Config(), toy.CRAFT)


def test_each_day_is_served_by_the_router_of_the_day_before(played: tuple[Path, Replay]) -> None:
    folder, result = played
    assert [day.day for day in result.days] == toy.days(DAYS)
    assert result.days[0].router is None and result.days[0].routed is None
    history = Registry(Layout(folder / "data"), toy.verify).history()
    in_service = [
        next(one.entry.version for one in reversed(history) if one.entry.sequence == sequence)
        for sequence in (1, 2, 2)
    ]
    assert [day.verdict for day in result.days][:2] == ["not_yet", "promoted"]
    assert [day.router for day in result.days[1:]] == in_service


def test_the_promoted_router_scores_as_well_as_it_can(played: tuple[Path, Replay]) -> None:
    """It scores 0.8 on stories and 0.9 on code; the best single model scores 0.65 on average."""
    _, result = played
    routed, single, oracle = (
        [getattr(day, name) for day in result.days[2:]] for name in ("routed", "best_single", "oracle")
    )
    for day in range(len(routed)):
        assert routed[day] == pytest.approx(0.85, abs=0.06)
        assert single[day] == pytest.approx(0.65, abs=0.08)
        assert oracle[day] >= routed[day]
    assert result.days[1].routed == result.days[1].best_single


def test_the_summary_counts_the_days_that_a_router_served(played: tuple[Path, Replay]) -> None:
    summary = played[1].summary()
    assert summary is not None
    assert (summary.days, summary.questions, summary.promotions) == (DAYS - 1, (DAYS - 1) * PER_DAY, 1)
    assert summary.gain == pytest.approx(summary.routed - summary.best_single)
    assert summary.gain_low < summary.gain < summary.gain_high


def test_costs_are_of_the_same_questions_as_the_scores(played: tuple[Path, Replay]) -> None:
    _, result = played
    summary = result.summary()
    assert summary is not None
    assert summary.cost is not None and summary.cost_single is not None
    served = result.days[1:]
    assert [day.priced for day in served] == [day.questions for day in served]
    assert summary.cost == pytest.approx(sum(day.paid for day in served) / (PER_DAY * len(served)))
    assert served[0].paid == pytest.approx(served[0].paid_single), (
        "the best single model serves the first day"
    )
    assert summary.cost != summary.cost_single


def test_no_day_is_written_before_its_time(recorded: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def look(_: DayResult, number: int, total: int) -> None:
        seen.append((number, len(Layout(tmp_path / "data").raw_days())))
        assert total == DAYS

    replay([recorded], tmp_path, Config(), toy.CRAFT, on_day=look)
    assert seen == [(day, day) for day in range(1, DAYS + 1)]


@pytest.mark.parametrize("before", [b"", BYTE_ORDER_MARK], ids=["plain", "after a byte order mark"])
def test_lines_that_import_rejected_for_their_time_are_not_played(tmp_path: Path, before: bytes) -> None:
    """Such a line would get the time of the replay itself, and no two replays would be alike."""
    lines = toy.points(toy.FIRST, 3)
    untimed = re.sub(rb'"timestamp":\d+', b'"timestamp":null', lines[1])
    untimed = re.sub(rb'"received_at":[^,]+', b'"received_at":null', untimed)
    file = tmp_path / "outcomes.jsonl"
    file.write_bytes(b"\n".join([before + untimed, lines[0], lines[2]]))
    source, target = Layout(tmp_path / "source"), Layout(tmp_path / "target")
    assert import_files(source, [file]).rejected_by_code == {"timestamp_invalid": 1}
    hand_out(source, target, toy.FIRST, toy.MODELS)
    assert [json.loads(line)["id"][-1] for line in target.raw_file(toy.FIRST).read_bytes().splitlines()] == [
        "0",
        "2",
    ]


def test_two_processes_do_not_play_in_one_folder(recorded: Path, tmp_path: Path) -> None:
    """Each would judge its challengers against what the other promoted, on later days."""
    folder = tmp_path / "shared"

    def meanwhile(_: DayResult, number: int, __: int) -> None:
        if number == 1:
            with pytest.raises(UsageError, match="another process plays in"):
                replay([recorded], folder, Config(), toy.CRAFT)

    assert len(replay([recorded], folder, Config(), toy.CRAFT, on_day=meanwhile).days) == DAYS
    assert len(replay([recorded], folder, Config(), toy.CRAFT).days) == DAYS


class Stop(Exception):  # noqa: N818  # it stands for a kill and is not an error
    """Interrupts a replay."""


@pytest.mark.parametrize("last", [1, 2, 3])
def test_a_replay_that_is_broken_off_goes_on_and_ends_the_same(
    recorded: Path, tmp_path: Path, played: tuple[Path, Replay], last: int
) -> None:
    def stop(_: DayResult, number: int, __: int) -> None:
        if number == last:
            raise Stop

    with pytest.raises(Stop):
        replay([recorded], tmp_path, Config(), toy.CRAFT, on_day=stop)
    assert replay([recorded], tmp_path, Config(), toy.CRAFT) == played[1]


def test_a_replay_that_was_stopped_between_serving_and_learning_is_served_by_the_old_router(
    recorded: Path, tmp_path: Path, played: tuple[Path, Replay]
) -> None:
    """The day was played and recorded, but training stopped before it had a challenger."""
    trained = 0

    def train(layout: Layout, dataset: str, config: Config) -> str:
        nonlocal trained
        trained += 1
        if trained == 3:
            raise Stop
        return toy.train(layout, dataset, config)

    craft = Craft(train, toy.best_single, toy.verify, toy.load, toy.CRAFT.evaluate)
    with pytest.raises(Stop):
        replay([recorded], tmp_path, Config(), craft)
    assert replay([recorded], tmp_path, Config(), toy.CRAFT) == played[1]


def test_a_promotion_that_a_broken_off_replay_did_not_note_is_noted_by_the_next_call(
    recorded: Path, tmp_path: Path, played: tuple[Path, Replay]
) -> None:
    replay([recorded], tmp_path, Config(), toy.CRAFT)
    state = tmp_path / "replay.json"
    found = msgspec.json.decode(state.read_bytes(), type=Replay)
    del found.days[2:]
    found.days[1].verdict, found.days[1].reason = None, ""
    state.write_bytes(msgspec.json.encode(found))
    assert replay([recorded], tmp_path, Config(), toy.CRAFT).days[1] == played[1].days[1]


def test_files_staged_by_a_refused_call_are_not_played_in_place_of_others(
    recorded: Path, tmp_path: Path
) -> None:
    other, folder = tmp_path / "other.jsonl", tmp_path / "replay"
    other.write_bytes(b"".join(line + b"\n" for line in toy.points(toy.FIRST, 60, seed=1)))
    with pytest.raises(UsageError, match="no recorded outcome"):
        replay([other], folder, Config(), toy.CRAFT, pool=["coder", "gpt"])
    with pytest.raises(UsageError, match="other files"):
        replay([recorded], folder, Config(), toy.CRAFT)
    assert replay([other], folder, Config(), toy.CRAFT).days[0].questions == 60


def test_a_pool_leaves_the_other_models_out_of_everything(tmp_path: Path) -> None:
    lines = [line.replace(b'"coder"', b'"coder-2"', 1) for line in toy.points(toy.FIRST, 50)]
    path = tmp_path / "outcomes.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in [*toy.points(toy.FIRST, 60, seed=1), *lines]))
    result = replay([path], tmp_path / "replay", Config(), toy.CRAFT, pool=["coder", "all-round"])
    assert result.models == ["coder", "all-round"]
    raw = Layout(tmp_path / "replay" / "data").raw_file(toy.FIRST).read_bytes()
    assert b"coder" in raw and b"coder-2" not in raw


def test_an_unknown_model_in_the_pool_is_named(recorded: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no recorded outcome of gpt") as caught:
        replay([recorded], tmp_path, Config(), toy.CRAFT, pool=["coder", "gpt"])
    assert caught.value.hint == "recorded are all-round, coder"


def test_one_model_is_no_pool(recorded: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two or more"):
        replay([recorded], tmp_path, Config(), toy.CRAFT, pool=["coder"])


def test_another_replay_in_the_folder_is_not_mixed_with(recorded: Path, played: tuple[Path, Replay]) -> None:
    with pytest.raises(UsageError, match=r"another replay lies in .*, or another version"):
        replay([recorded], played[0], Config(), toy.CRAFT, pool=["coder", "all-round"])


@pytest.mark.parametrize("name", ["replay.json", "source/files.json", "source/models.json"])
@pytest.mark.parametrize("damage", [b"{torn", b'["\xff"]', b"7"], ids=["torn", "no UTF-8", "another shape"])
def test_a_damaged_state_file_is_named(tmp_path: Path, name: str, damage: bytes) -> None:
    path, folder = tmp_path / "outcomes.jsonl", tmp_path / "replay"
    path.write_bytes(b"".join(line + b"\n" for line in toy.points(toy.FIRST, 60)))
    replay([path], folder, Config(), toy.CRAFT)
    (folder / name).write_bytes(damage)
    with pytest.raises(StorageError, match=f"{name} is damaged") as caught:
        replay([path], folder, Config(), toy.CRAFT)
    assert caught.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match=r"nothing\.jsonl"):
        replay([tmp_path / "nothing.jsonl"], tmp_path / "replay", Config(), toy.CRAFT)
