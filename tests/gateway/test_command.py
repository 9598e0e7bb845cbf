"""`flywheel gateway` and `flywheel keys --gateway`, run as a person does."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.gateway.world import NotStartedError, Outside, RunningGateway, until

Start = Callable[..., RunningGateway]
FLYWHEEL = str(Path(sys.executable).parent / "flywheel")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([FLYWHEEL, *map(str, arguments)], capture_output=True, text=True, timeout=60)


def test_the_command_serves_until_sigterm(outside: Outside, tmp_path: Path) -> None:
    config = tmp_path / "flywheel.yaml"
    config.write_text(json.dumps(outside.config()), encoding="utf-8")
    command = [
        FLYWHEEL,
        "gateway",
        "--config",
        str(config),
        "--data-dir",
        str(tmp_path / "data"),
        "--port",
        "0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            line = json.loads(process.stdout.readline())
            assert line["event"] == "listening"
            assert httpx.get(f"{line['address']}/ready", timeout=20).json()["status"] == "ready"
        finally:
            process.terminate()
        assert process.wait(30) == 0
    assert (tmp_path / "data").is_dir()


def test_a_configuration_without_addresses_of_models_is_refused_with_a_hint(tmp_path: Path) -> None:
    config = tmp_path / "flywheel.yaml"
    config.write_text("gateway: {port: 0}\n", encoding="utf-8")
    done = run("gateway", "--config", config, "--data-dir", tmp_path)
    assert done.returncode == 2
    assert "error[config_incomplete]" in done.stderr
    for field in ("models.qwen-max.base_url", "models.qwen-code-7b.base_url", "training.evaluate_endpoint"):
        assert field in done.stderr, "all that is missing at once"
    assert "flywheel simulate" in done.stderr


def test_keys_of_clients_are_kept_apart_from_those_of_the_collector(outside: Outside, start: Start) -> None:
    gateway = start(outside.config())
    where = ("--data-dir", gateway.data)
    made = json.loads(run("keys", "create", "team-a", "--gateway", "--json", *where).stdout)
    assert json.loads(run("keys", "list", "--json", *where).stdout) == []
    (listed,) = json.loads(run("keys", "list", "--gateway", "--json", *where).stdout)
    assert listed["source"] == "team-a"
    headers = {"authorization": f"Bearer {made['key']}"}
    until(lambda: gateway.chat().status_code == 401)
    assert gateway.chat(headers=headers).status_code == 200
    assert run("keys", "revoke", listed["key_id"], "--gateway", *where).returncode == 0
    answer = until(lambda: (found := gateway.chat(headers=headers)).status_code == 403 and found)
    assert answer.json()["error"]["code"] == "key_revoked"


def test_listening_beyond_loopback_needs_a_key(outside: Outside, tmp_path: Path) -> None:
    config = tmp_path / "flywheel.yaml"
    config.write_text(json.dumps(outside.config()), encoding="utf-8")
    done = run("gateway", "--config", config, "--data-dir", tmp_path, "--host", "0.0.0.0")
    assert done.returncode == 2
    assert "no key is configured" in done.stderr


@pytest.mark.parametrize("key", ["schlüssel", "two\nlines"])
def test_a_key_that_no_header_can_carry_is_refused_at_the_start_and_not_shown(
    outside: Outside, start: Start, key: str
) -> None:
    with pytest.raises(NotStartedError, match=r"error\[config.*the key in BIG_KEY has characters") as caught:
        start(outside.config(models__big__api_key_env="BIG_KEY"), {"BIG_KEY": key})
    assert key[:3] not in str(caught.value)


def test_a_model_without_an_address_is_not_offered(outside: Outside, start: Start) -> None:
    """It may be one that another gateway asks; nothing here needs it."""
    gateway = start(outside.config(models__spare={"category": "general"}))
    assert "spare" not in [entry["id"] for entry in gateway.get("/v1/models").json()["data"]]
    assert gateway.chat(model="spare").status_code == 404
