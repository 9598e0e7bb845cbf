"""docs/collector.md, /docs and /openapi.json agree with the code."""

import re
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

from collector_api.metrics import CollectorMetrics
from flywheel_core.config import Collector
from flywheel_core.errors import POINT_CODES, REQUEST_CODES

from .conftest import Process, body_of, point

DOCUMENT = (Path(__file__).parents[2] / "docs" / "collector.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading, one list for each row."""
    section = DOCUMENT.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_code_of_a_refused_request_is_documented() -> None:
    found = [
        (code.strip("`"), int(status), meaning) for code, status, meaning in rows("Codes of refused requests")
    ]
    assert found == [(code, *rest) for code, rest in REQUEST_CODES.items()]


def test_every_code_of_a_data_point_is_documented() -> None:
    found = [(code.strip("`"), meaning) for code, meaning in rows("Codes of data points set aside")]
    assert found == list(POINT_CODES.items())


def test_every_metric_is_documented() -> None:
    families = CollectorMetrics().registry.collect()
    expected = [
        (family.name + ("_total" if family.type == "counter" else ""), family.documentation)
        for family in families
    ]
    assert [(name.strip("`"), meaning) for name, _, meaning in rows("Metrics")] == expected


def test_the_labels_of_every_metric_are_documented() -> None:
    """The registry does not tell the labels of a metric that has no series yet; the metrics themselves do."""
    metrics = [one for one in vars(CollectorMetrics()).values() if isinstance(one, MetricWrapperBase)]
    labels = {
        family.name: list(one._labelnames)
        for one in metrics
        if not one._labelvalues
        for family in one.describe()
    }
    for name, label, _ in rows("Metrics"):
        assert re.findall(r"\w+", label) == labels[name.strip("`").removesuffix("_total")], name


def test_the_settings_that_are_named_exist() -> None:
    named = re.findall(
        r"`(?:collector\.)?([a-z]+_[a-z_]+)`", DOCUMENT.split("## Limits\n")[1].split("\n## ")[0]
    )
    assert {"max_body_bytes", "max_queue_bytes", "idle_timeout"} <= set(named)
    assert set(named) <= set(Collector.model_fields)


def test_the_example_of_the_document_is_answered_as_it_says(collector: Process) -> None:
    example = re.search(r"-d '(\{.*?\})'\n\n    (\{.*?\})\n", DOCUMENT, re.S)
    assert example
    answer = collector.collect(content=example[1].encode())
    assert (answer.status_code, answer.text) == (200, example[2])


def test_the_openapi_description_names_what_is_served(collector: Process) -> None:
    description = collector.client.get("/openapi.json").json()
    assert set(description["paths"]) == {"/collect", "/health", "/ready", "/metrics"}
    schemas = description["components"]["schemas"]
    assert schemas["Refused"]["properties"]["code"]["enum"] == sorted(REQUEST_CODES)
    answer = collector.collect(content=body_of(point(1), None)).json()
    assert set(answer) == set(schemas["Stored"]["required"])


def test_the_docs_page_loads_nothing_from_elsewhere(collector: Process) -> None:
    page = collector.client.get("/docs").text
    assert "://" not in page
    assert '<main id="swagger-ui">' in page
    assert 'name="viewport"' in page, "a telephone would show it in the size of a desk's screen"
    for name in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert collector.client.get(f"/{name}").status_code == 200
