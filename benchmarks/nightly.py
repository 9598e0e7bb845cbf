"""Run one day's nightly steps without any other imports: `python -m benchmarks.nightly FOLDER YYYY-MM-DD`."""

import sys
from datetime import date
from pathlib import Path

from flywheel_core.config import Config
from flywheel_core.lake.dataset import build_dataset
from flywheel_core.lake.ingest import ingest_day
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import build_table


def nightly(data: Path, day: date, window_days: int | None = None) -> None:
    """Ingest with answers, then make labelled examples, the label distribution and the dataset."""
    layout, config = Layout(data), Config()
    if window_days:
        config = config.model_copy(
            update={"dataset": config.dataset.model_copy(update={"window_days": window_days})}
        )
    ingest_day(layout, day, config)
    for name in ("training_examples", "label_distribution"):
        build_table(layout, name, day, config)
    build_dataset(layout, day, config)


if __name__ == "__main__":
    nightly(Path(sys.argv[1]), date.fromisoformat(sys.argv[2]))
