"""What the demo starts with: its own folder, a readable and reusable configuration, and the services."""

import json
import shlex
import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flywheel_cli.processes import Service, Services, free_port
from flywheel_core.config import Config
from flywheel_core.config_file import load_config
from flywheel_core.errors import UsageError
from flywheel_core.lake.atomic import write_atomically

CONFIG_NAME = "flywheel.yaml"
MARK = "# Written by `flywheel demo`"
SIMULATION_SPEED = 20
"""Factor by which the simulated models answer faster than real time."""

_CONFIG = """{mark}: five simulated models behind the gateway, everything on loopback.
# It is a configuration as any other; `flywheel --config {file} status` works with it.
data_collection:
  enabled: true
  mode: training
  sampling_rate: 1.0
  storage_endpoint: {collector}/collect
  training:
    candidate_models: [qwen-max, qwen-math-7b, qwen-code-7b, qwen-medicine-7b, qwen-writing-7b]
    evaluate_endpoint: {simulation}/v1/evaluate
    evaluate_timeout: 5000
    batch_size: 10
    flush_interval: 1
routing:
  default_model: qwen-max
models:
  qwen-max: {{category: general, base_url: "{simulation}", input_price: 1.6, output_price: 6.4}}
  qwen-math-7b: {{category: math, base_url: "{simulation}", input_price: 0.06, output_price: 0.18}}
  qwen-code-7b: {{category: code, base_url: "{simulation}", input_price: 0.06, output_price: 0.18}}
  qwen-medicine-7b: {{category: medicine, base_url: "{simulation}", input_price: 0.06, output_price: 0.18}}
  qwen-writing-7b: {{category: writing, base_url: "{simulation}", input_price: 0.06, output_price: 0.18}}
storage:
  data_dir: {data}
  first_day: {first_day}
collector:
  port: {collector_port}
gateway:
  port: {gateway_port}
"""


@dataclass(frozen=True)
class Stage:
    """The setting of the demo: its folders, addresses and configuration."""

    folder: Path
    config_file: Path
    config: Config
    dagster_home: Path
    logs: Path
    simulation: str
    collector: str
    gateway: str
    dagster: str


def prepare(folder: Path, *, earlier_days: int = 0, usual_ports: bool = True) -> Stage:
    """Prepare a fresh stage in `folder`; what an earlier demo left there is removed.

    earlier_days: number of days before today that will have data; Dagster's partitions start with the first
    of them. usual_ports: prefer the services' default ports where they are free.

    Raises UsageError when the folder holds anything that no demo wrote.
    """
    folder = folder.resolve()  # rmtree refuses a link
    config_file = folder / CONFIG_NAME
    if folder.exists():
        if any(folder.iterdir()) and not _is_ours(config_file):
            raise UsageError(
                f"{folder} holds files that no demo wrote", hint="name an empty folder with --folder"
            )
        shutil.rmtree(folder)
    ports = {"simulation": 8090, "collector": 8080, "gateway": 8001, "dagster": 3000}
    free = {name: free_port(port if usual_ports else 0) for name, port in ports.items()}
    address = {name: f"http://127.0.0.1:{port}" for name, port in free.items()}
    text = _CONFIG.format(
        mark=MARK,
        file=shlex.quote(str(config_file)),
        data=json.dumps(str(folder), ensure_ascii=False),
        first_day=datetime.now(UTC).date() - timedelta(days=earlier_days),
        collector=address["collector"],
        simulation=address["simulation"],
        collector_port=free["collector"],
        gateway_port=free["gateway"],
    )
    write_atomically(config_file, text.encode())
    return Stage(
        folder=folder,
        config_file=config_file,
        config=load_config(config_file, {}),
        dagster_home=folder / "dagster",
        logs=folder / "logs",
        **address,
    )


def start_simulation(services: Services, stage: Stage) -> Service:
    """Start the simulated models and scorer."""
    command = _flywheel("simulate", "--port", _port(stage.simulation), "--speed", str(SIMULATION_SPEED))
    return services.start("simulation", command, address=stage.simulation, ready="/health")


def start_collector(services: Services, stage: Stage) -> Service:
    """Start the collector."""
    command = _flywheel("collector", "--config", str(stage.config_file))
    return services.start("collector", command, address=stage.collector, ready="/ready")


def start_gateway(services: Services, stage: Stage) -> Service:
    """Start the gateway in training mode."""
    command = _flywheel("gateway", "--config", str(stage.config_file))
    return services.start("gateway", command, address=stage.gateway, ready="/ready")


def start_dagster(services: Services, stage: Stage) -> Service:
    """Start the Dagster UI and daemon."""
    command = _flywheel(
        *("dagster", "dev", "--config", str(stage.config_file)),
        *("--port", _port(stage.dagster), "--home", str(stage.dagster_home)),
    )
    return services.start("dagster", command, address=stage.dagster, ready="/server_info", timeout=120)


def _flywheel(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).parent / "flywheel"), *arguments]


def _port(address: str) -> str:
    return address.rpartition(":")[2]


def _is_ours(config_file: Path) -> bool:
    return config_file.is_file() and config_file.read_bytes().startswith(MARK.encode())
