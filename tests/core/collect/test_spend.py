"""What collection costs: counted, saved over restarts, and limited by the day."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flywheel_core.collect import Fanout, Plan
from flywheel_core.collect.spend import Spend
from flywheel_core.errors import SkippedError, StorageError
from flywheel_core.lake.atomic import write_atomically
from tests.core.collect.asking import run
from tests.core.collect.outside import CANDIDATES, Outside, chat, until


def test_a_day_s_cost_stops_collection_in_every_mode() -> None:
    """Model calls and scorings both count, the limit is shown, and collection goes on the next day."""

    async def act(world: Outside) -> None:
        now = [1_000_000.0]
        spend = Spend(None, now=lambda: now[0])
        config = world.config(max_cost_per_day=0.4, score_cost=0.1)
        async with Fanout(config, spend=spend) as fanout:
            await fanout.collect("q1")
            assert fanout.stats()["spend_today"] == pytest.approx(0.3 + 150 / 1e6)
            await fanout.collect("q2")
            with pytest.raises(SkippedError) as caught:
                await fanout.collect("q3", plan=Plan(CANDIDATES, "header"))
            assert caught.value.code == "cost_limit"
            assert fanout.stats()["max_cost_per_day"] == 0.4
            now[0] += 86_400
            await fanout.collect("q4")

    run(act)


def test_a_cost_that_cannot_be_saved_costs_no_data_point(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, because it is wrong only after a restart, and not tried again at each data point."""
    folder = tmp_path / "state"
    folder.write_text("where the folder should be", encoding="utf-8")

    async def act(world: Outside) -> None:
        spend = Spend(None, folder / "spend.json")
        async with Fanout(world.config(["general"], score_cost=0.1), spend=spend) as fanout:
            assert (await fanout.collect("q1")).scores == {"general": 0.5}
            await until(lambda: caplog.messages == ["spend_not_saved"])
            await fanout.collect("q2")
            folder.unlink()
        assert caplog.messages == ["spend_not_saved"]
        assert Spend(None, folder / "spend.json").today == spend.today > 0.2

    run(act)


def test_each_repeated_scoring_is_paid_for_and_a_changed_limit_holds_at_once() -> None:
    async def act(world: Outside) -> None:
        async with Fanout(world.config(["general"], score_cost=0.1, score_repeats=3)) as fanout:
            await fanout.collect("q1")
            assert fanout.spend.today == pytest.approx(0.3 + 50 / 1e6)
            fanout.use(world.config(["general"], max_cost_per_day=0.2))
            with pytest.raises(SkippedError, match="max_cost_per_day"):
                await fanout.collect("q2")

    run(act)


def test_the_day_s_limit_is_logged_once_when_it_is_reached(caplog: pytest.LogCaptureFixture) -> None:
    """Collection then stops, and because nobody waits for it, nobody would see why."""
    now = [1_000_000.0]
    spend = Spend(0.5, now=lambda: now[0])
    for _ in range(3):
        spend.add(0.3)
    (said,) = caplog.records
    assert (said.message, vars(said)["max_cost_per_day"]) == ("max_cost_per_day_spent", 0.5)
    now[0] += 86_400
    spend.add(0.6)
    assert len(caplog.messages) == 2


@pytest.mark.parametrize("limit", [0.0, 0.5])
def test_a_limit_set_below_what_was_spent_is_logged_once_when_a_request_is_skipped(
    limit: float, caplog: pytest.LogCaptureFixture
) -> None:
    """No cost crosses it: collection is off from the change on, or from a restart."""
    spend = Spend(None)
    spend.add(0.6)
    assert not spend.exhausted
    spend.limit = limit
    assert spend.exhausted
    assert spend.exhausted
    spend.add(0.1)
    (said,) = caplog.records
    assert (said.message, vars(said)["max_cost_per_day"]) == ("max_cost_per_day_spent", limit)


def test_a_raised_limit_is_logged_again_when_it_is_reached(caplog: pytest.LogCaptureFixture) -> None:
    spend = Spend(0.5)
    spend.add(0.6)
    spend.limit = 1.0
    assert not spend.exhausted
    spend.add(0.6)
    assert [vars(said)["max_cost_per_day"] for said in caplog.records] == [0.5, 1.0]


def test_the_limit_is_what_a_day_may_cost_and_each_day_begins_at_0(tmp_path: Path) -> None:
    """A day ends at midnight UTC."""
    now = [datetime(2026, 11, 30, tzinfo=UTC).timestamp()]
    spend = Spend(0.5, tmp_path / "spend.json", now=lambda: now[0])
    spend.add(0.25)
    assert not spend.exhausted
    spend.add(0.25)
    assert spend.exhausted
    spend.save()
    now[0] += 86_399
    assert spend.exhausted
    now[0] += 1
    assert (spend.today, Spend(0.5, tmp_path / "spend.json", now=lambda: now[0]).today) == (0.0, 0.0)


def test_a_spend_that_could_not_be_saved_is_still_to_be_saved(tmp_path: Path) -> None:
    """A disk that is full for a while must not let the day's limit begin again at the next start."""
    folder = tmp_path / "spool"
    folder.write_text("no folder yet")
    spend = Spend(1.0, folder / "spend.json")
    spend.add(0.25)
    with pytest.raises(StorageError):
        spend.save()
    assert spend.unsaved
    folder.unlink()
    spend.save()
    assert not spend.unsaved
    assert Spend(1.0, folder / "spend.json").today == 0.25


def test_of_two_that_save_at_once_the_older_count_does_not_end_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing saves while the save before may still wait for the disk."""
    spend = Spend(None, tmp_path / "spend.json")
    first, go_on = threading.Event(), threading.Event()

    def slow(path: Path, content: bytes) -> None:
        if not first.is_set():
            first.set()
            go_on.wait(30)
        write_atomically(path, content)

    monkeypatch.setattr("flywheel_core.collect.spend.write_atomically", slow)
    with ThreadPoolExecutor(2) as threads:
        spend.add(0.25)
        early = threads.submit(spend.save)
        first.wait(30)
        spend.add(0.25)
        late = threads.submit(spend.save)
        wait([late], 0.2)
        go_on.set()
        early.result()
        late.result()
    assert Spend(None, tmp_path / "spend.json").today == 0.5


def test_a_spend_is_saved_though_no_further_request_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the request that reaches the limit none is collected; a kill must not let the limit begin again."""
    monkeypatch.setattr("flywheel_core.collect.spend.SAVE_SECONDS", 0.01)
    file, folder = tmp_path / "spool" / "spend.json", tmp_path / "spool"
    folder.write_text("no folder yet")

    async def act(world: Outside) -> None:
        async with Fanout(world.config(["general"], score_cost=0.1), spend=Spend(0.1, file)) as fanout:
            await fanout.collect("q1")
            await asyncio.sleep(0.1)  # tries that fail
            folder.unlink()
            await until(file.exists)
            assert Spend(0.1, file).exhausted

    run(act)


def test_what_was_spent_outlives_a_restart(tmp_path: Path) -> None:
    """The sum spent in the day is kept in a file."""

    async def act(world: Outside) -> None:
        file = tmp_path / "spend.json"
        config = world.config(score_cost=0.1)
        async with Fanout(config, spend=Spend(1.0, file)) as fanout:
            await fanout.collect("q1")
        again = Spend(1.0, file)
        assert again.today == pytest.approx(0.3 + 150 / 1e6)
        file.write_text("{")
        with pytest.raises(StorageError, match="remove the file"):
            Spend(1.0, file)

    run(act)


def test_answers_without_usage_have_no_cost_and_are_counted() -> None:
    """What cannot be priced is null and is counted; it is not 0."""

    async def act(world: Outside) -> None:
        world.model("general", lambda _: chat("42", tokens=None))
        async with Fanout(world.config(["general"])) as fanout:
            point = await fanout.collect("q")
            assert fanout.stats()["unpriced"] == 1
        assert point.responses["general"].cost is None

    run(act)


def test_an_answer_of_no_tokens_at_all_is_not_free() -> None:
    """A proxy in between fills in zeros where the model told no counts; no call is without any token."""

    async def act(world: Outside) -> None:
        world.model("general", lambda _: chat("42", tokens=(0, 0)))
        async with Fanout(world.config(["general"])) as fanout:
            point = await fanout.collect("q")
            assert fanout.stats()["unpriced"] == 1
        assert point.responses["general"].cost is None

    run(act)


@pytest.mark.parametrize(
    "tokens", [10**10, 10**25, 10**308, 10**400], ids=["many", "more", "huge", "no float"]
)
def test_impossible_token_counts_are_ignored(tmp_path: Path, tokens: int) -> None:
    """Reporting them neither stops collection for the day nor keeps the gateway from starting again."""

    async def act(world: Outside) -> None:
        world.model("general", lambda _: chat("42", tokens=(tokens, 1)))
        file = tmp_path / "spend.json"
        async with Fanout(world.config(["general"]), spend=Spend(1.0, file)) as fanout:
            for _ in range(2):
                point = await fanout.collect("q")
                assert point.responses["general"].cost is None
            assert fanout.stats()["unpriced"] == 2
        assert Spend(1.0, file).today == 0

    run(act)


def test_a_file_that_cannot_be_looked_for_is_an_error_with_its_path(tmp_path: Path) -> None:
    """As in a folder of another user; root may read all folders, so here the name is one that no file can have."""
    with pytest.raises(StorageError, match=r"cannot read the spend of collection from /.*xxx") as caught:
        Spend(1.0, tmp_path / ("x" * 300))
    assert caught.value.hint == "give it to the user that the gateway runs as"
