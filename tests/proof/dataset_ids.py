"""Turn a data folder's raw files into a dataset, and list the ids in it."""

from collections import Counter
from dataclasses import dataclass

import polars as pl

from flywheel_core.config import Config
from flywheel_core.lake.dataset import build_dataset
from flywheel_core.lake.ingest import IngestResult, ingest_day
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.tables import build_table
from tests.core.lake.lakes import CONFIG


@dataclass(frozen=True)
class Found:
    """What became of the raw files. days: the counts of each ingest. ids: how often each data point is in the dataset."""

    days: list[IngestResult]
    ids: Counter[str]

    @property
    def twice(self) -> list[str]:
        """Ids that are in the dataset more than once."""
        return [name for name, times in self.ids.items() if times > 1]

    @property
    def rejected(self) -> int:
        """Number of lines that ingest rejected, and kept with their reason."""
        return sum(day.rejected for day in self.days)


def dataset_of(layout: Layout) -> Found:
    """Ingest every raw day as a closed day, and build the dataset of all of them."""
    days = layout.raw_days()
    after = days[-1].replace(year=days[-1].year + 2)
    window = {**CONFIG.model_dump(mode="json"), "dataset": {"window_days": (days[-1] - days[0]).days + 1}}
    config = Config.model_validate(window)
    results = []
    for day in days:
        results.append(ingest_day(layout, day, config, today=after))
        assert results[-1].lines == results[-1].accepted + results[-1].duplicates + results[-1].rejected
        build_table(layout, "training_examples", day, config)
    version = build_dataset(layout, days[-1], config).version
    examples = pl.read_parquet(layout.dataset(version) / "examples.parquet", columns=["data_point_ids"])
    return Found(results, Counter(examples["data_point_ids"].explode().to_list()))
