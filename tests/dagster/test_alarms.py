"""Failed runs reach a webhook: a real HTTP server on loopback, a real failed run, the real sensor."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, TCPServer, ThreadingTCPServer
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._grpc.impl import core_execute_run  # what the process of a run calls

from flywheel_core.config import Config, Operations
from flywheel_core.errors import ConfigError, ConfigIncompleteError, DatasetError, UpstreamError
from flywheel_dagster import alarms
from flywheel_dagster.alarms import post_alarm
from flywheel_dagster.definitions import build_defs
from flywheel_dagster.jobs import DAY_TABLES_JOB
from flywheel_dagster.partitions import range_tags
from flywheel_dagster.resources import Lake
from flywheel_dagster.sensors import alarm

VARIABLE = "FLYWHEEL_TEST_WEBHOOK"


class Hook(HTTPServer):
    """A webhook that keeps alarms in `taken`, and answers with each of `statuses` in turn, repeating the last one."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taker)
        self.statuses = [204]
        self.taken: list[dict[str, Any]] = []

    @property
    def address(self) -> str:
        """Its URL; the path stands for a secret."""
        return f"http://127.0.0.1:{self.server_port}/s3cret"


class _Taker(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        self.server.taken.append(json.loads(self.rfile.read(size)))
        statuses = self.server.statuses
        self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the log of requests off the terminal."""


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    """A running webhook, and no pause between attempts to reach it."""
    monkeypatch.setattr(alarms, "PAUSE", 0.0)
    server = Hook()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def trickle(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Start webhooks that send some bytes of their answer at once and the others one by one; returns their addresses."""
    monkeypatch.setattr(alarms, "PAUSE", 0.0)
    monkeypatch.setattr(alarms, "TIMEOUT", 0.3)
    servers: list[TCPServer] = []

    def serve(at_once: bytes, slowly: bytes, pause: float = 0.1) -> str:
        class Slow(StreamRequestHandler):
            def handle(self) -> None:
                self.connection.recv(65_536)
                with suppress(OSError):  # the client leaves before the end
                    self.wfile.write(at_once)
                    for one in slowly:
                        time.sleep(pause)
                        self.wfile.write(bytes([one]))

        server = ThreadingTCPServer(("127.0.0.1", 0), Slow)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        return f"http://127.0.0.1:{server.server_address[1]}/"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in memory."""
    with dg.DagsterInstance.ephemeral() as made:
        yield made


ONE_DAY = {"dagster/partition": "2026-01-03"}
GONE = dg.Failure("1 of 1 days failed; 2026-01-03: responses: storage_failed: gone")


def _failed_run(
    instance: dg.DagsterInstance,
    config: Config,
    error: Exception = GONE,
    tags: Mapping[str, str] = ONE_DAY,
) -> dg.RunFailureSensorContext:
    @dg.op
    def fails() -> None:
        raise error

    @dg.job(executor_def=dg.in_process_executor)
    def training_set() -> None:
        fails()

    ran = training_set.execute_in_process(
        {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        instance,
        raise_on_error=False,
        tags=tags,
    )
    (failure,) = [event for event in ran.all_events if event.is_run_failure]
    return _context(instance, failure, ran.dagster_run, config)


def _context(
    instance: dg.DagsterInstance, failure: dg.DagsterEvent, run: dg.DagsterRun, config: Config
) -> dg.RunFailureSensorContext:
    return dg.build_run_status_sensor_context(
        sensor_name="run_failed",
        dagster_event=failure,
        dagster_instance=instance,
        dagster_run=run,
        resources={"lake": Lake(config)},
    ).for_run_failure()


def _tick(instance: dg.DagsterInstance, config: Config, error: Exception = GONE) -> object:
    sensor = build_defs(config).resolve_sensor_def("run_failed")
    return sensor(_failed_run(instance, config, error))


def test_a_failed_run_is_posted(
    hook: Hook, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alarm is JSON that says which run failed, of which day, and why."""
    monkeypatch.setenv(VARIABLE, hook.address)
    assert _tick(instance, Config(operations=Operations(failure_webhook_env=VARIABLE))) is None
    (posted,) = hook.taken
    assert posted["event"] == "run_failed"
    assert (posted["job"], posted["first_day"], posted["last_day"]) == (
        "training_set",
        "2026-01-03",
        "2026-01-03",
    )
    assert posted["message"] == "1 of 1 days failed; 2026-01-03: responses: storage_failed: gone"
    assert posted["run_id"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            DatasetError("there is no dataset of 2026-01-03 to train on", hint="make it first"),
            "fails: there is no dataset of 2026-01-03 to train on; make it first",
        ),
        (ValueError("What is the capital of France?"), "fails: ValueError; the run's log has the details"),
    ],
)
def test_an_alarm_says_what_a_step_raised(
    hook: Hook, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    """Not Dagster's wrapper: an error of Flywheel's gives its message; others, which may quote a prompt, their type."""
    monkeypatch.setenv(VARIABLE, hook.address)
    _tick(instance, Config(operations=Operations(failure_webhook_env=VARIABLE)), error)
    assert [posted["message"] for posted in hook.taken] == [message]


def test_an_alarm_of_a_range_names_its_first_and_its_last_day(instance: dg.DagsterInstance) -> None:
    posted = alarm(_failed_run(instance, Config(), tags=range_tags(date(2026, 1, 3), date(2026, 1, 9))))
    assert (posted["first_day"], posted["last_day"]) == ("2026-01-03", "2026-01-09")


def test_an_alarm_of_a_run_that_failed_in_no_step_says_what_dagster_says(
    instance: dg.DagsterInstance,
) -> None:
    """As when its process was killed."""
    run = instance.create_run_for_job(
        build_defs(Config()).resolve_job_def(DAY_TABLES_JOB), status=dg.DagsterRunStatus.STARTED
    )
    failure = instance.report_run_failed(run, "the process of the run is gone")
    assert alarm(_context(instance, failure, run, Config()))["message"] == "the process of the run is gone"


def test_an_alarm_of_a_run_that_could_not_begin_says_why(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A run reads the configuration when it starts; if that is wrong by then, the alarm names the setting."""
    file = tmp_path / "flywheel.yaml"
    file.write_text("data_collection:\n  sampling_rate: 9\n")
    monkeypatch.setenv("FLYWHEEL_CONFIG", str(file))
    run = instance.create_run_for_job(build_defs(Config()).resolve_job_def(DAY_TABLES_JOB))
    job = ReconstructableRepository.for_module(
        "flywheel_dagster.definitions", "defs", str(tmp_path)
    ).get_reconstructable_job(DAY_TABLES_JOB)
    with pytest.raises(ConfigError):
        list(core_execute_run(job, run, instance, inject_env_vars=False))
    (failed,) = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    says = alarm(_context(instance, failed.get_dagster_event(), run, Config()))["message"]
    assert says.startswith("the configuration has 1 problem:")
    assert "data_collection.sampling_rate: must be a number, 0..1; the file has 9" in says


def test_without_a_webhook_the_tick_is_skipped(hook: Hook, instance: dg.DagsterInstance) -> None:
    """The tick says why it was skipped, so that alarms are never missing silently."""
    result = _tick(instance, Config())
    assert isinstance(result, dg.SkipReason)
    assert "failure_webhook_env is not set" in str(result.skip_message)
    assert hook.taken == []


def test_a_webhook_that_refuses_fails_the_tick(
    hook: Hook, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster logs and counts a failed tick; the message does not contain the address, which is a secret."""
    monkeypatch.setenv(VARIABLE, hook.address)
    hook.statuses = [403]
    with pytest.raises(UpstreamError, match="it answered 403") as caught:
        _tick(instance, Config(operations=Operations(failure_webhook_env=VARIABLE)))
    assert "s3cret" not in str(caught.value)
    assert "operations.failure_webhook_env" in str(caught.value.hint)
    assert len(hook.taken) == 1, "a refusal is not repeated"


def test_an_unset_variable_fails_the_tick(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A configured webhook without an address is a mistake, not a choice."""
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(ConfigIncompleteError, match=VARIABLE):
        _tick(instance, Config(operations=Operations(failure_webhook_env=VARIABLE)))


def test_a_server_error_is_tried_again(hook: Hook) -> None:
    """The first attempt is answered with 500, the second with 204."""
    hook.statuses = [500, 204]
    post_alarm(hook.address, {"run_id": "r"})
    assert len(hook.taken) == 2


def test_a_webhook_that_is_down_is_reported(hook: Hook) -> None:
    """Whether it answers 503, does not listen or is no URL: the attempts end, and the error names the run."""
    hook.statuses = [503]
    with pytest.raises(UpstreamError, match="alarm of run r: it answered 503"):
        post_alarm(hook.address, {"run_id": "r"})
    assert len(hook.taken) == 2
    with pytest.raises(UpstreamError, match="there was no answer"):
        post_alarm("http://127.0.0.1:9/", {"run_id": "r"})
    with pytest.raises(UpstreamError, match="alarm of run r"):
        post_alarm("no address at all", {"run_id": "r"})


def test_a_webhook_gets_a_moment_to_come_back(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers 503 until the pause between the attempts."""
    hook.statuses = [503]
    monkeypatch.setattr(time, "sleep", lambda _: setattr(hook, "statuses", [204]))
    post_alarm(hook.address, {"run_id": "r"})


def test_all_attempts_end_before_dagster_ends_the_sensor() -> None:
    """Dagster gives a sensor 60 s, and then has the same alarm posted again and again."""
    assert alarms.ATTEMPTS * (alarms.TIMEOUT + alarms.PAUSE) < 60


def test_an_address_that_is_no_url_is_reported_without_naming_it() -> None:
    with pytest.raises(UpstreamError, match="its address is not a URL") as caught:
        post_alarm("http://secret:port/", {"run_id": "r"})
    assert "secret" not in str(caught.value)


def test_an_answer_that_trickles_in_counts_as_none(trickle: Callable[..., str]) -> None:
    """Sent byte by byte it could take hours, and the sensor has 60 s."""
    address = trickle(b"HTTP/1.1 200", b" OK\r\nA: b\r\n\r\n")
    with pytest.raises(UpstreamError, match=r"there was no answer \(TimeoutError\)"):
        post_alarm(address, {"run_id": "r"})


def test_the_body_of_the_answer_is_not_waited_for(trickle: Callable[..., str]) -> None:
    post_alarm(trickle(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n", b"x" * 20, 0.5), {"run_id": "r"})
