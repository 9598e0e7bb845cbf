"""Caps on groups and balance between labels: they change only the training split, the same way each time."""

from collections import Counter
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel_core.config import Config
from flywheel_core.lake.dataset import DatasetResult, build_dataset
from flywheel_core.lake.dataset_files import EXAMPLES_FILE
from flywheel_core.lake.layout import Layout
from flywheel_core.lake.selection import largest_even_limit
from flywheel_core.learn.example_rows import for_scores
from tests.core.lake.lakes import CONFIG, DAY, build_day, point, write_raw

WINNERS = {"general": "big", "math": "algebra", "code": "coder"}


def build(layout: Layout, **dataset: Any) -> DatasetResult:
    """Build the dataset of the day with these dataset settings."""
    return build_dataset(
        layout, DAY, Config.model_validate({**CONFIG.model_dump(mode="json"), "dataset": dataset})
    )


def kept(result: DatasetResult, *columns: str, split: str = "train") -> Counter[Any]:
    """Count the copies of examples in a split, grouped by the values of `columns`."""
    rows = pl.read_parquet(result.path / "examples.parquet").filter(pl.col("split") == split).to_dicts()
    counts: Counter[Any] = Counter()
    for row in rows:
        if row["copies"]:
            counts[tuple(row[name] for name in columns)] += row["copies"]
    return counts


def write_labelled(layout: Layout, groups: dict[tuple[str, str | None, str | None], int]) -> None:
    """Write and build a day of points from (label, source, tenant) -> number; no two questions are alike."""
    values: list[dict[str, Any]] = []
    for (label, source, tenant), count in groups.items():
        for _ in range(count):
            number = len(values)
            letters = "".join("abcdefghij"[int(digit)] for digit in str(number))
            scores = {model: 0.9 if model == WINNERS[label] else 0.25 for model in WINNERS.values()}
            values.append(
                point(f"p{number}", scores, question=f"question {letters}", source=source, tenant=tenant)
            )
    write_raw(layout, values)
    build_day(layout)


def test_downsampling_brings_every_label_to_the_smallest(layout: Layout) -> None:
    write_labelled(layout, {("general", "g", None): 90, ("math", "g", None): 40, ("code", "g", None): 60})
    plain, even = build(layout), build(layout, balance="downsample")
    smallest = min(kept(plain, "label").values())
    assert set(kept(even, "label").values()) == {smallest}
    for split in ("validation", "test"):
        assert kept(even, "label", split=split) == kept(plain, "label", split=split)
    left_out = even.manifest["counts"]["left_out"]["balance"]
    assert left_out == sum(kept(plain, "label").values()) - 3 * smallest


def test_upsampling_repeats_examples_up_to_the_largest(layout: Layout) -> None:
    write_labelled(layout, {("general", "g", None): 90, ("math", "g", None): 20, ("code", "g", None): 33})
    plain, even = build(layout), build(layout, balance="upsample")
    largest = max(kept(plain, "label").values())
    assert set(kept(even, "label").values()) == {largest}
    copies = kept(even, "label", "id")
    of_math = [count for (label, _), count in copies.items() if label == "math"]
    assert max(of_math) - min(of_math) <= 1 and len(of_math) == kept(plain, "label")[("math",)]
    assert len((even.path / "train.jsonl").read_bytes().splitlines()) == 3 * largest
    assert even.manifest["counts"]["train"] == 3 * largest


def test_the_draw_depends_on_the_seed(layout: Layout) -> None:
    write_labelled(layout, {("general", "g", None): 90, ("math", "g", None): 20})
    first, same, other = (build(layout, balance="downsample", seed=seed) for seed in (1, 1, 2))
    assert kept(first, "id") == kept(same, "id") != kept(other, "id")


@pytest.mark.parametrize("group", ["source", "tenant"])
def test_a_group_that_floods_a_label_is_capped_and_reported(layout: Layout, group: str) -> None:
    def where(name: str) -> tuple[str | None, str | None]:
        return (name, None) if group == "source" else ("g", name)

    write_labelled(
        layout,
        {
            ("math", *where("flood")): 200,
            ("math", *where("quiet")): 25,
            ("math", *where("calm")): 25,
            ("general", *where("quiet")): 60,
            ("general", *where("calm")): 60,
        },
    )
    plain, capped = build(layout), build(layout, max_group_share=0.6, group_floor=0)
    before, after = kept(plain, "label", group), kept(capped, "label", group)
    others = before[("math", "quiet")] + before[("math", "calm")]
    limit = others * 6 // 4
    assert after[("math", "flood")] == limit
    assert {key: count for key, count in after.items() if key != ("math", "flood")} == {
        key: count for key, count in before.items() if key != ("math", "flood")
    }
    assert capped.manifest["group_caps"] == [
        {
            "group": group,
            "name": "flood",
            "label": "math",
            "examples": before[("math", "flood")],
            "kept": limit,
        }
    ]
    assert capped.manifest["counts"]["left_out"]["group_cap"] == before[("math", "flood")] - limit
    assert kept(capped, "label", split="test") == kept(plain, "label", split="test")


def test_a_flood_of_questions_without_a_label_is_capped_too(layout: Layout) -> None:
    """Routers learn from their scores: a source could lower a model with questions that nobody answers well."""
    values = [
        point(
            f"p{number}",
            {"big": 0.1, "coder": 0.4},
            question=f"question {'x' * number}",
            source="flood" if number < 200 else "calm",
        )
        for number in range(240)
    ]
    write_raw(layout, values)
    build_day(layout)
    capped = build(layout, max_group_share=0.5, group_floor=0)
    (cap,) = capped.manifest["group_caps"]
    assert (cap["name"], cap["label"]) == ("flood", None)
    used = for_scores(pl.read_parquet(capped.path / EXAMPLES_FILE)).filter(pl.col("split") == "train")
    assert used.height == 2 * cap["kept"]


def test_a_dataset_of_an_earlier_format_keeps_its_cap_on_scores() -> None:
    """It has no `for_scores`; what its caps left out must not be learned from after an upgrade."""
    reasons = [None, "unlabelled", "balance", "group_cap"]
    earlier = pl.DataFrame({"left_out": reasons}, schema={"left_out": pl.String})
    assert for_scores(earlier)["left_out"].to_list() == reasons[:3]


def test_balancing_does_not_bring_back_what_a_cap_left_out(layout: Layout) -> None:
    write_labelled(
        layout, {("math", "flood", None): 200, ("math", "calm", None): 25, ("general", "calm", None): 60}
    )
    caps = {"max_group_share": 0.5, "group_floor": 0}
    capped, even = build(layout, **caps), build(layout, **caps, balance="upsample")
    assert capped.manifest["counts"]["left_out"]["group_cap"] > 100
    assert even.manifest["counts"]["left_out"] == capped.manifest["counts"]["left_out"]
    assert set(kept(even, "id")) == set(kept(capped, "id"))


def test_a_label_that_one_group_gives_alone_is_left_as_it_is(layout: Layout) -> None:
    write_labelled(layout, {("math", "only", None): 30, ("general", "only", None): 20})
    assert kept(build(layout, max_group_share=0.1, group_floor=0), "label") == kept(build(layout), "label")


def test_the_floor_is_free_to_every_group(layout: Layout) -> None:
    """Below the floor, a large gateway loses nothing when a small one joins."""
    write_labelled(layout, {("math", "large", None): 150, ("math", "small", None): 10})
    before = kept(build(layout, max_group_share=1.0), "label", "source")
    assert kept(build(layout, group_floor=0), "label", "source") != before
    assert kept(build(layout), "label", "source") == before
    capped = build(layout, group_floor=60)
    assert kept(capped, "label", "source")[("math", "large")] == 60
    assert [(cap["name"], cap["label"], cap["kept"]) for cap in capped.manifest["group_caps"]] == [
        ("large", "math", 60),
        ("large", None, 60),
    ]


def test_imported_points_are_not_capped_but_count(layout: Layout) -> None:
    """After an import of its history, a gateway's first days and the imported points are all kept."""
    groups: dict[tuple[str, str | None, str | None], int] = {
        ("math", "import", None): 150,
        ("math", "gateway", None): 10,
    }
    write_labelled(layout, groups)
    capped = build(layout, max_group_share=0.5, group_floor=0)
    assert capped.manifest["group_caps"] == []
    write_labelled(layout, {**groups, ("math", "second", None): 400})
    capped = build(layout, max_group_share=0.5, group_floor=0)
    counts = kept(capped, "label", "source")
    assert {cap["name"] for cap in capped.manifest["group_caps"]} == {"second"}
    assert counts[("math", "second")] == counts[("math", "import")] + counts[("math", "gateway")]


@given(
    st.lists(st.integers(1, 200), min_size=1, max_size=6),
    st.integers(0, 50),
    st.floats(0.01, 0.99),
)
def test_the_limit_is_the_largest_that_keeps_below_the_share(
    counts: list[int], ungrouped: int, share: float
) -> None:
    limit = largest_even_limit(counts, ungrouped, share)
    groups = len(counts) + (ungrouped > 0)

    def holds(each: int) -> bool:
        kept_ = [min(count, each) for count in counts]
        return max(kept_) <= max(share, 1 / groups) * (sum(kept_) + ungrouped) + 1e-9

    assert limit >= 1 and holds(limit)
    assert limit == max(counts) or not holds(limit + 1)
