"""Examples as arrays: what a part of them keeps."""

from dataclasses import fields

import numpy as np
import polars as pl

from flywheel_core.learn.examples import Examples


def test_a_part_of_the_examples_keeps_all_that_is_known_of_them() -> None:
    numbers = np.arange(8.0).reshape(4, 2)
    whole = Examples(
        texts=["a", "b", "c", "d"],
        models=("big", "small"),
        scores=numbers / 8,
        costs=numbers,
        waits=numbers + 1,
        weights=np.arange(4.0),
        groups=np.array(["ga", "gb", "gc", "gd"]),
        labels=["math", None, "code", "math"],
        days=np.arange(4),
        answers=["1", "2", "3", "4"],
        asked=(numbers + 1) / 8,
        ids=pl.Series(["i", "j", "k", "l"]),
    )
    part = whole.pick(np.array([3, 1]))
    for of in (whole, part):
        assert [one.name for one in fields(Examples) if getattr(of, one.name) is None] == []
    assert (part.texts, part.models, part.labels) == (["d", "b"], ("big", "small"), ["math", None])
    for table in ("scores", "costs", "waits", "asked", "weights", "groups", "days"):
        assert getattr(part, table).tolist() == getattr(whole, table)[[3, 1]].tolist(), table
    assert part.answers == ["4", "2"]
    assert part.ids is not None and part.ids.to_list() == ["l", "j"]
