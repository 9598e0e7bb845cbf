"""DuckDB with less memory than a query needs: it spills to disk, and cleans up afterwards."""

import tempfile
from pathlib import Path

import pytest

from flywheel_core.lake.engine import engine
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.views import connect
from tests.core.lake.lakes import CONFIG

SMALL = CONFIG.model_copy(update={"storage": CONFIG.storage.model_copy(update={"memory_limit_mb": 64})})
LARGE_SORT = """
    select count(*) from (
        select row_number() over (order by md5(number::varchar)) as place from range(3000000) numbers(number)
    ) where place > 0
"""


def test_a_step_spills_into_the_data_folder_and_leaves_nothing(tmp_path: Path) -> None:
    with engine(Layout(tmp_path / "data"), SMALL) as connection:
        assert connection.execute(LARGE_SORT).fetchall() == [(3_000_000,)]
    assert not list(tmp_path.rglob(".scratch/*"))


def test_a_query_spills_outside_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(outside))
    with connect(Layout(tmp_path / "data"), SMALL) as connection:
        connection.execute("create table texts as select md5(number::varchar) from range(3000000) n(number)")
        (scratch,) = outside.iterdir()
        assert list(scratch.iterdir()), "nothing was spilled"
        assert scratch.stat().st_mode & 0o077 == 0, "others could read the texts in it"
    assert not list(outside.iterdir())
    assert not (tmp_path / "data").exists()
