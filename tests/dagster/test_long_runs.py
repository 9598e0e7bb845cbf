"""The alarm of a run that Dagster's daemon ended because it took too long."""

import dagster as dg
from dagster._core.events import EngineEventData
from dagster_shared.error import SerializableErrorInfo

from flywheel_core.config import Config
from flywheel_dagster.definitions import build_defs
from flywheel_dagster.jobs import DAY_TABLES_JOB
from flywheel_dagster.resources import Lake
from flywheel_dagster.sensors import alarm

TOO_LONG = "Canceling due to exceeding maximum runtime of 21600 seconds."


def test_the_alarm_says_that_the_run_took_too_long() -> None:
    """A process that does not answer any more leaves an error of the connection to it as the last one of the run."""
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(
            build_defs(Config()).resolve_job_def(DAY_TABLES_JOB), status=dg.DagsterRunStatus.STARTED
        )
        instance.report_run_canceling(run, message=TOO_LONG)
        instance.report_run_canceling(run)
        instance.report_engine_event(
            "Exception while attempting to terminate run.",
            run,
            EngineEventData.engine_error(SerializableErrorInfo("unreachable", [], "RpcError")),
        )
        failure = instance.report_run_failed(run, "This job is being forcibly marked as failed.")
        context = dg.build_run_status_sensor_context(
            sensor_name="run_failed",
            dagster_event=failure,
            dagster_instance=instance,
            dagster_run=run,
            resources={"lake": Lake(Config())},
        ).for_run_failure()
        assert alarm(context)["message"] == TOO_LONG
