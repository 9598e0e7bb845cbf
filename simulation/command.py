"""The command that serves the simulated services: `flywheel simulate` and `python -m simulation serve`."""

import contextlib
from pathlib import Path

import click

from flywheel_core.serve.lifecycle import address_of, listen
from simulation.backend import QuestionSet, Simulated
from simulation.bank import DEFAULT_SEED
from simulation.faults import parse_faults
from simulation.recorded import Recorded
from simulation.server import serve
from simulation.service import Service, create_app


def _fault(option: str, field: str, sentence: str, kind: type = float) -> click.Option:
    return click.Option([option, f"fault_{field}"], type=kind, metavar="NUMBER", help=sentence)


_FAULT_OPTIONS = (
    _fault("--error-rate", "error_rate", "Share (0..1) of chat calls answered with a 5xx."),
    _fault("--error-status", "error_status", "Status of those; 500 by default.", int),
    _fault("--rate-limit-rate", "rate_limit_rate", "Share of chat calls answered with 429 and Retry-After."),
    _fault("--retry-after", "retry_after_s", "Seconds in Retry-After."),
    _fault("--hang-rate", "hang_rate", "Share of chat calls that stay silent before they answer."),
    _fault("--hang-seconds", "hang_s", "Seconds of that silence."),
    _fault("--cut-rate", "cut_rate", "Share of chat calls cut off in the middle of the answer."),
    _fault("--malformed-rate", "malformed_rate", "Share of chat calls with a body that is not a completion."),
    _fault("--empty-rate", "empty_rate", "Share of chat calls with an empty answer."),
    _fault("--score-delay", "score_delay_ms", "Milliseconds before every score."),
    _fault("--score-error-rate", "score_error_rate", "Share of scores answered with 500."),
    _fault(
        "--score-malformed-rate", "score_malformed_rate", "Share of scores that are missing or out of range."
    ),
    _fault("--score-invalid-rate", "score_invalid_rate", "Share of scores that are -1."),
)


@click.command()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. There are no keys: keep it on loopback.",
)
@click.option(
    "--port", default=8090, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 takes a free one."
)
@click.option(
    "--speed",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="How many times faster than in reality answers come; 0 means no waiting.",
)
@click.option(
    "--seed", default=DEFAULT_SEED, show_default=True, help="Decides questions, answers and scores."
)
@click.option(
    "--questions",
    "question_set",
    default="training",
    show_default=True,
    type=click.Choice(["training", "validation"]),
    help="What GET /questions serves without ?set=.",
)
@click.option(
    "--recorded", type=click.Path(path_type=Path, dir_okay=False, exists=True), metavar="FILE",
    help="Serve answers and scores of real models from this file of data points (.jsonl, .jsonl.gz).",
)  # fmt: skip
def simulate(
    host: str,
    port: int,
    speed: float,
    seed: int,
    question_set: QuestionSet,
    recorded: Path | None,
    **fault_numbers: float | None,
) -> None:
    """Serve stand-ins for the model and scoring services.

    Nothing here is a real model: questions, answers, scores, latency and cost are made up, the same for the same seed.
    Faults given as options can be changed while it runs with POST /admin/faults; GET /admin/stats counts what was asked.
    """
    faults = parse_faults(
        {name.removeprefix("fault_"): number for name, number in fault_numbers.items() if number is not None}
    )
    backend = Recorded(recorded) if recorded is not None else Simulated(seed)
    service = Service(backend, speed=speed, question_set=question_set, faults=faults, fault_seed=seed)
    with contextlib.closing(listen(host, port)) as listener:
        kind = "recorded" if recorded is not None else "simulated"
        greeting = (
            f"simulation on {address_of(listener)}; {kind} models: {len(backend.models())}; questions: "
            f"{len(backend.questions('training'))} for training, {len(backend.questions('validation'))} for validation"
        )
        serve(create_app(service), listener, greeting)


simulate.params += _FAULT_OPTIONS
