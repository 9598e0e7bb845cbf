"""The sample in data/sample: the generator writes these bytes, and they hold what data/README.md says."""

import gzip
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flywheel_core.errors import PointError
from flywheel_core.wire import decode_point
from simulation.bank import build
from simulation.dirt import OUTAGE_MODEL, UNKNOWN_MODEL
from simulation.models import DEFAULT_FIVE
from simulation.sample import NEWEST_NAME, sample_files, write_sample

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
FILES = dict(sample_files())
DAYS = sorted(name for name in FILES if name != NEWEST_NAME)


def _content(name: str) -> bytes:
    content = (SAMPLE / name).read_bytes()
    return gzip.decompress(content) if name.endswith(".gz") else content


def _points(name: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the points that the collector's decoder accepts, as JSON objects, and the codes of the lines it refuses."""
    points, codes = [], []
    for line in _content(name).removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        if not line.strip():
            continue
        try:
            decode_point(line)
        except PointError as error:
            codes.append(error.code)
        else:
            points.append(json.loads(line))
    return points, codes


def test_regeneration_gives_the_same_content(tmp_path: Path) -> None:
    """Writing the sample again gives the files of the repository, which holds no others.

    The contents of gzip files are compared, because compressed bytes may differ between versions of zlib.
    """
    written = write_sample(tmp_path)
    assert sorted(path.name for path in written) == sorted(path.name for path in SAMPLE.iterdir())
    for path in written:
        fresh = path.read_bytes()
        assert (gzip.decompress(fresh) if path.suffix == ".gz" else fresh) == _content(path.name), path.name
        assert fresh == FILES[path.name]


def test_sample_is_small() -> None:
    """The folder stays below 2.5 MB."""
    assert sum(path.stat().st_size for path in SAMPLE.iterdir()) < 2_500_000


def test_points_lie_in_their_day() -> None:
    """There are six earlier days and the newest one, all in January 2026, and each point is in the file of its day."""
    assert len(DAYS) == 6
    for name in [*DAYS, NEWEST_NAME]:
        points, _ = _points(name)
        days = {
            datetime.fromtimestamp(p["timestamp" if "timestamp" in p else "Timestamp"], UTC).strftime(
                "%Y%m%d"
            )
            for p in points
        }
        assert len(days) == 1
        assert days == {name[14:22]} if name != NEWEST_NAME else {"20260111"}


def test_newest_part_is_clean_and_canonical() -> None:
    """Every line is accepted, has the five models, a unique id, and no field that the collector sets."""
    points, codes = _points(NEWEST_NAME)
    assert codes == []
    assert len({point["id"] for point in points}) == len(points) > 300
    for point in points:
        assert set(point["responses"]) == set(point["scores"]) == set(DEFAULT_FIVE)
        assert not {"source", "received_at", "schema_version"} & set(point)


def test_questions_come_from_the_training_set() -> None:
    """The sample has questions in both languages, and none of the validation set."""
    asked = {
        p["question" if "question" in p else "Question"]
        for name in [*DAYS, NEWEST_NAME]
        for p in _points(name)[0]
    }
    assert not asked & {q.text for q in build().validation}
    training = {q.text: q.language for q in build().training}
    languages = [training[text] for text in asked]
    assert languages.count("zh") > 300
    assert languages.count("en") > 300


def test_each_kind_of_dirt_is_in_its_file() -> None:
    """Each kind of defect that data/README.md names is in the file that it names."""
    text = {name: _content(name) for name in DAYS}
    codes = {name: _points(name)[1] for name in DAYS}
    first, second, third, fourth, fifth, sixth = DAYS
    assert text[first].startswith(b"\xef\xbb\xbf{")
    assert text[first].count(b"\n\n") == 2
    assert codes[first] == []
    assert sorted(codes[second]) == sorted(
        ["point_not_object"] * 2 + ["point_not_utf8"] + ["point_not_json"] * 2
    )
    go = [point for point in _points(third)[0] if "Question" in point]
    assert len(go) == 118
    assert any(response["Error"] == {} for point in go for response in point["Responses"].values())
    assert any(score == -1 for point in go for score in point["Scores"].values())
    assert len(codes[fourth]) == 5
    ids = [point["id"] for point in _points(fourth)[0]]
    assert len(ids) - len(set(ids)) >= 25
    points, _ = _points(fifth)
    assert sum(point["responses"][OUTAGE_MODEL]["error"] is not None for point in points) > 15
    assert sum(all(score is None for score in point["scores"].values()) for point in points) > 5
    assert sum(UNKNOWN_MODEL in point["scores"] for point in _points(sixth)[0]) == 20
    assert codes[sixth] == ["question_empty", "point_not_json"]
    assert not text[sixth].endswith(b"\n")


@pytest.mark.parametrize("name", [*DAYS, NEWEST_NAME])
def test_readme_lists_every_file_with_its_points(name: str) -> None:
    """The table in data/README.md gives the number of points generated for each file."""
    readme = (SAMPLE.parent / "README.md").read_text(encoding="utf-8")
    row = re.search(rf"`{re.escape(name)}` \| (\d+) \|", readme)
    assert row is not None
    newest = {"sample-20260111"} if name == NEWEST_NAME else {f"sample-{name[14:22]}"}
    content = _content(name).decode("utf-8", "replace")
    named = {match for day in newest for match in re.findall(rf'"id":"({day}-\d+)"', content)}
    go = content.count('"Question":')
    assert int(row.group(1)) == len(named) + go
