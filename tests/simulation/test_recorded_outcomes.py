"""Recorded outcomes: answers and scores of real models from a file of data points."""

import gzip
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from flywheel_core.errors import NoDataError, StorageError
from simulation.answers import Answer
from simulation.backend import NO_SCORE
from simulation.recorded import Recorded
from simulation.server import running
from simulation.service import Service

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
POINTS: list[dict[str, Any]] = [
    {
        "id": "r-1",
        "question": "Which planet is red?",
        "responses": {
            "alpha": {"answer": "Mars", "latency_ms": 120},
            "beta": {"answer": "Venus", "latency_ms": None},
            "gamma": {"answer": None, "latency_ms": 7, "error": "http_503"},
        },
        "scores": {"alpha": 1.0, "beta": 0.0, "gamma": None},
        "timestamp": 1767225600,
        "subject": "astronomy",
    },
    {
        "id": "r-2",
        "question": "Say B.",
        "responses": {"alpha": {"answer": "B"}, "beta": {"answer": "B"}, "gamma": {"answer": None}},
        "scores": {"alpha": 1.0, "beta": 0.25, "gamma": 0.75},
    },
    {
        "id": "r-3",
        "question": "which  planet IS red?",
        "responses": {"alpha": {"answer": "again"}},
        "scores": {"alpha": 0.5},
    },
]


@pytest.fixture(params=["points.jsonl", "points.jsonl.gz"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    content = b"".join(json.dumps(point).encode() + b"\n" for point in POINTS) + b"\n"
    path = tmp_path / str(request.param)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def test_recorded_answers_and_scores_are_served(file: Path) -> None:
    """Over HTTP, each model gives its recorded answer, and the scorer that answer's recorded score."""
    with running(Service(Recorded(file), speed=0)) as url, httpx.Client(base_url=url) as http:
        assert [model["id"] for model in http.get("/v1/models").json()["data"]] == ["alpha", "beta", "gamma"]
        sets = [http.get(f"/questions?set={name}").json()["questions"] for name in ("training", "validation")]
        assert sorted(entry["question"] for entries in sets for entry in entries) == [
            "Say B.",
            "Which planet is red?",
        ]
        for point in POINTS[:2]:
            for model, score in point["scores"].items():
                body = {"model": model, "messages": [{"role": "user", "content": point["question"]}]}
                reply = http.post("/v1/chat/completions", json=body)
                if point["responses"][model].get("error"):
                    assert reply.status_code == 500
                    assert "http_503" in reply.text
                    continue
                answer = reply.json()["choices"][0]["message"]["content"]
                asked = {"question": point["question"], "answer": answer}
                assert http.post("/v1/evaluate", json=asked).json() == {"score": score}
        unknown = {"model": "alpha", "messages": [{"role": "user", "content": "Never asked"}]}
        assert http.post("/v1/chat/completions", json=unknown).status_code == 404


def test_answer_texts(file: Path) -> None:
    """Texts are served as recorded; a missing one gets a stand-in, equal ones with different scores get a suffix.

    The suffix is the model's name: the scorer sees only the text, and has to tell them apart.
    """
    recorded = Recorded(file)

    def text(model: str, question: str) -> str:
        answer = recorded.answer(model, question, None)
        assert isinstance(answer, Answer)
        return answer.text

    assert text("alpha", "Which planet is red?") == "Mars"
    assert text("alpha", "Say B.") == "B\n[alpha]"
    assert "gamma" in text("gamma", "Say B.")
    assert recorded.evaluate("Which planet is red?", "Jupiter") == NO_SCORE


def test_an_answer_longer_than_asked_for_is_cut(tmp_path: Path) -> None:
    """What is left ends as a real model's answer does that reached max_tokens."""
    path = tmp_path / "points.jsonl"
    long = {
        "id": "r",
        "question": "Count.",
        "responses": {"alpha": {"answer": "one two three four"}},
        "scores": {},
    }
    path.write_text(json.dumps(long), encoding="utf-8")
    for most, text, finish, tokens in ((5, "one two three four", "stop", 5), (2, "one two", "length", 2)):
        found = Recorded(path).answer("alpha", "Count.", most)
        assert isinstance(found, Answer)
        assert (found.text, found.finish_reason, found.completion_tokens) == (text, finish, tokens)


def test_a_recorded_latency_is_kept_and_a_missing_one_simulated(file: Path) -> None:
    """A recorded latency is kept; a missing one is simulated, the same every time."""
    answers = [
        Recorded(file).answer(model, "Which planet is red?", None) for model in ("alpha", "beta", "beta")
    ]
    latencies = [answer.latency_ms for answer in answers if isinstance(answer, Answer)]
    assert latencies[0] == 120
    assert latencies[1] == latencies[2] > 0


def test_byte_order_marks_are_skipped_as_by_import(tmp_path: Path) -> None:
    """Windows programs write one at the start of a file, so concatenated files also have them further down."""
    plain, marked = tmp_path / "plain.jsonl", tmp_path / "marked.jsonl"
    lines = [json.dumps(point).encode() + b"\n" for point in POINTS]
    plain.write_bytes(b"".join(lines))
    marked.write_bytes(b"".join(b"\xef\xbb\xbf" + line for line in lines))
    assert Recorded(marked).questions("training") == Recorded(plain).questions("training") != []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"question": "a", "responses": {}}\nnot json\n', "line 2"),
        (b'{"question": 3, "responses": {}}\n', "line 1"),
        (b"\xff\n", "line 1"),
    ],
)
def test_unusable_line_is_named(tmp_path: Path, content: bytes, told: str) -> None:
    """The message names file and line."""
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    with pytest.raises(StorageError, match=f"bad.jsonl {told}"):
        Recorded(path)


def test_a_file_that_is_not_gzip_and_one_without_points_are_refused(tmp_path: Path) -> None:
    """The first is a StorageError, the second a NoDataError."""
    broken, empty = tmp_path / "broken.jsonl.gz", tmp_path / "empty.jsonl"
    broken.write_bytes(b"plain text")
    empty.write_bytes(b"\n")
    with pytest.raises(StorageError, match="cannot be read"):
        Recorded(broken)
    with pytest.raises(NoDataError):
        Recorded(empty)


@pytest.mark.parametrize("name", ["mmlu_pro.jsonl.gz", "routellm.jsonl.gz"])
def test_real_outcomes_are_served(name: str) -> None:
    """With the real files at hand, each answer to the first questions gets its recorded score back."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not there")
    recorded = Recorded(path)
    with gzip.open(path, "rb") as lines:
        points = [json.loads(line) for _, line in zip(range(300), lines, strict=False)]
    seen: set[str] = set()
    found = 0
    for point in points:
        if point["question"] in seen:
            continue
        seen.add(point["question"])
        for model, score in point["scores"].items():
            answer = recorded.answer(model, point["question"], None)
            if isinstance(answer, Answer) and answer.text.strip() and score is not None:
                assert recorded.evaluate(point["question"], answer.text) == score
                found += 1
    assert found > 300
    assert len(recorded.questions("validation")) > 500
