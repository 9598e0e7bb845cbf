"""Edits of the configuration file take effect while the gateway runs; a bad edit is refused and changes nothing."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from flywheel_core.config import Config
from flywheel_core.config_file import load_config
from flywheel_core.learn.decision import Decision
from flywheel_gateway.service import Service
from tests.core.collect import outside as outside_world
from tests.gateway.scripted import DONE, STREAM_END, STREAM_HEAD, Script, chunk, event
from tests.gateway.world import Outside, RunningGateway, until

Start = Callable[..., RunningGateway]


def test_an_edit_takes_effect_without_a_restart(outside: Outside, start: Start) -> None:
    gateway = start(outside.config())
    assert gateway.chat().headers["x-flywheel-model"] == "big"
    config = outside.config(routing__default_model="math", data_collection__mode="production")
    del config["models"]["code"]
    config["data_collection"]["training"]["candidate_models"] = ["big", "math"]
    gateway.write_config(config)
    until(lambda: gateway.chat().headers["x-flywheel-model"] == "math")
    assert [entry["id"] for entry in gateway.get("/v1/models").json()["data"]] == ["auto", "big", "math"]
    collected = gateway.metric("flywheel_gateway_collection_points_total")
    gateway.chat()
    assert gateway.metric('flywheel_gateway_collection_skipped_total{reason="sampled_out"}') >= 1
    assert gateway.metric("flywheel_gateway_collection_points_total") == collected


def test_a_bad_edit_is_refused_and_reported(outside: Outside, start: Start) -> None:
    gateway = start(outside.config())
    gateway.config_file.write_text("routing: {default_model: nobody}\n", encoding="utf-8")
    until(lambda: gateway.metric('flywheel_gateway_reloads_total{result="refused"}') == 1)
    assert gateway.metric("flywheel_gateway_configuration_refused") == 1
    assert "routing.default_model" in gateway.log()
    assert gateway.chat().headers["x-flywheel-model"] == "big"
    gateway.write_config(outside.config(routing__default_model="code"))
    until(lambda: gateway.chat().headers["x-flywheel-model"] == "code")
    assert gateway.metric("flywheel_gateway_configuration_refused") == 0


def test_a_deleted_file_is_logged_and_its_configuration_stays_in_force(
    outside: Outside, start: Start
) -> None:
    gateway = start(outside.config())
    gateway.config_file.unlink()
    until(lambda: "file_gone" in gateway.log())
    assert gateway.chat().headers["x-flywheel-model"] == "big"
    gateway.write_config(outside.config(routing__default_model="math"))
    until(lambda: gateway.chat().headers["x-flywheel-model"] == "math")
    assert gateway.log().count("file_gone") == 1


def test_an_edit_that_leaves_collection_incomplete_changes_nothing(outside: Outside, start: Start) -> None:
    gateway = start(outside.config())
    config = outside.config(routing__default_model="math")
    del config["data_collection"]["training"]["evaluate_endpoint"]
    gateway.write_config(config)
    until(lambda: gateway.metric('flywheel_gateway_reloads_total{result="refused"}') == 1)
    assert gateway.chat().headers["x-flywheel-model"] == "big"
    until(lambda: outside.points)


def test_an_edit_that_names_a_missing_key_changes_nothing(outside: Outside, start: Start) -> None:
    gateway = start(outside.config())
    config = outside.config(routing__default_model="math", data_collection__api_key_env="NOT_SET_ANYWHERE")
    config["data_collection"]["training"]["candidate_models"] = ["math"]
    gateway.write_config(config)
    until(lambda: gateway.metric('flywheel_gateway_reloads_total{result="refused"}') == 1)
    assert gateway.chat().headers["x-flywheel-model"] == "big"
    assert set(until(lambda: outside.points)[0]["responses"]) == {"big", "math", "code"}


def test_collection_can_be_switched_on_later(outside: Outside, start: Start) -> None:
    gateway = start(outside.config(data_collection__enabled=False))
    gateway.chat()
    gateway.write_config(outside.config())
    until(lambda: gateway.metric('flywheel_gateway_reloads_total{result="taken"}') == 1)
    gateway.chat()
    until(lambda: len(outside.points) == 1)


def test_uploads_follow_a_new_address_and_nothing_is_lost(outside: Outside, start: Start) -> None:
    config = outside.config(data_collection__storage_endpoint="http://127.0.0.1:1/collect")
    gateway = start(config)
    for _ in range(3):
        gateway.chat()
    until(lambda: gateway.metric("flywheel_upload_offered_total") == 3)
    gateway.write_config(outside.config())
    until(lambda: len(outside.points) == 3)
    until(lambda: gateway.metric("flywheel_upload_acknowledged_total") == 3)
    assert gateway.metric("flywheel_upload_offered_total") == 3
    assert gateway.metric("flywheel_upload_spooled") == 0


def test_settings_that_need_a_restart_are_logged(outside: Outside, start: Start) -> None:
    gateway = start(outside.config())
    gateway.write_config(outside.config(gateway__max_body_bytes=4096))
    until(lambda: gateway.metric('flywheel_gateway_reloads_total{result="taken"}') == 1)
    gateway.write_config(outside.config(gateway__max_body_bytes=4096, routing__default_model="math"))
    until(lambda: gateway.metric('flywheel_gateway_reloads_total{result="taken"}') == 2)
    logged = gateway.logged("configuration_taken")
    assert [line["needs_restart"] for line in logged] == [["gateway.max_body_bytes"]] * 2


def test_a_data_folder_that_an_edit_names_needs_a_restart(
    outside: Outside, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "flywheel.yaml"

    async def act() -> None:
        file.write_text(json.dumps(outside.config(storage__data_dir=str(tmp_path / "old"))), encoding="utf-8")
        service = Service(lambda: load_config(file, {}), file)
        async with service.running():
            file.write_text(
                json.dumps(outside.config(storage__data_dir=str(tmp_path / "new"))), encoding="utf-8"
            )
            await outside_world.until(lambda: "configuration_taken" in caplog.messages)

    with caplog.at_level("INFO"):
        asyncio.run(act())
    (taken,) = [record for record in caplog.records if record.message == "configuration_taken"]
    assert vars(taken)["needs_restart"] == ["storage.data_dir"]
    assert not (tmp_path / "new").exists()


def test_a_secret_for_users_is_used_after_an_edit(outside: Outside, start: Start) -> None:
    gateway = start(outside.config(), {"USER_SECRET": "pepper"})
    gateway.chat(user="ann")
    gateway.write_config(outside.config(gateway__user_secret_env="USER_SECRET"))
    until(lambda: gateway.metric('flywheel_gateway_reloads_total{result="taken"}') == 1)
    with_user = gateway.chat(user="ann").headers["x-flywheel-decision"]
    gateway.chat(user=7)
    until(lambda: len(outside.points) == 3)
    assert [point["id"] for point in outside.points if point["user"] is not None] == [with_user]
    assert gateway.logged("configuration_taken")[0]["needs_restart"] == []


def test_a_model_that_an_edit_adds_has_its_counter_before_its_first_answer(
    outside: Outside, start: Start
) -> None:
    gateway = start(outside.config())
    gateway.write_config(outside.config(models__new={"base_url": outside.address}))
    until(lambda: gateway.metric('flywheel_gateway_reloads_total{result="taken"}') == 1)
    assert 'semantic_router_requests_total{model="new"} 0.0' in gateway.get("/metrics").text


def test_a_running_request_ends_with_the_configuration_it_began_with(outside: Outside, start: Start) -> None:
    go_on: list[bool] = []
    first = outside.chat

    def slow() -> Script:
        yield STREAM_HEAD + chunk(event("a"))
        until(lambda: go_on)
        yield chunk(event("b") + DONE) + STREAM_END

    outside.chat = lambda asked: slow() if asked.json.get("stream") else first(asked)
    gateway = start(outside.config())
    body = {"messages": [{"role": "user", "content": "1 + 1?"}], "stream": True}
    with httpx.stream("POST", f"{gateway.address}/v1/chat/completions", json=body, timeout=30) as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == event("a")
        config = outside.config(routing__default_model="math", data_collection__enabled=False)
        config["models"]["big"]["base_url"] = "http://127.0.0.1:1"
        gateway.write_config(config)
        until(lambda: gateway.metric('flywheel_gateway_reloads_total{result="taken"}') == 1)
        go_on.append(True)
        assert b"".join(pieces) == event("b") + DONE


def test_a_request_whose_decision_begins_as_an_edit_is_taken_is_routed(
    tmp_path: Path, outside: Outside
) -> None:
    """It has the configuration from before, whose router must still take its question."""
    config = Config.model_validate(outside.config(storage__data_dir=str(tmp_path)))

    class Choosing:
        version = "v1"

        def decide(self, _prompt: str) -> Decision:
            return Decision("math", "math", 0.9, "router", self.version)

    async def main() -> set[str]:
        service = Service(lambda: config)
        async with service.running():
            service.gateway.setup.decider.take_up(Choosing())
            deciding: list[asyncio.Task[Decision]] = []
            for _ in range(5):
                taking = asyncio.create_task(service._reload())
                while not taking.done():
                    decider = service.gateway.setup.decider
                    deciding.append(asyncio.create_task(decider.decide(f"question {len(deciding)}")))
                    await asyncio.sleep(0)
            return {decision.reason for decision in await asyncio.gather(*deciding)}

    assert asyncio.run(main()) == {"router"}
