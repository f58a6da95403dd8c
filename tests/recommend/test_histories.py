"""Sequences as arrays."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from reviewllm.recommend.histories import NO_TARGET, UNKNOWN, catalogue, make_histories
from reviewllm.recommend.split import Target, held_out

ITEMS = ["w", "x", "y", "z"]


def sequences(*item_ids: str) -> pl.DataFrame:
    """A sequence for each text, an item for each of its letters."""
    return pl.DataFrame(
        {"user_id": [f"u{n}" for n in range(len(item_ids))], "item_ids": [list(one) for one in item_ids]},
        schema={"user_id": pl.String, "item_ids": pl.List(pl.String)},
    )


@pytest.mark.parametrize("target", ["validation", "test", "next"])
def test_make_histories_splits_as_held_out_does(target: Target) -> None:
    texts = ["xyz", "zw", "y", "", "wxyz", "yx"]
    found = make_histories(sequences(*texts), ITEMS, target)
    for user, text in enumerate(texts):
        history, item = held_out(list(text), target)
        assert [ITEMS[n] for n in found.items[found.starts[user] : found.starts[user + 1]]] == history
        assert found.targets[user] == (NO_TARGET if item is None else ITEMS.index(item))


def test_make_histories_leaves_out_items_that_the_catalogue_lacks_after_the_split() -> None:
    found = make_histories(sequences("xqz", "xyq", "qq"), ITEMS, "test")
    assert found.items.tolist() == [1, 1, 2]
    assert found.lengths.tolist() == [1, 2, 0]
    assert found.targets.tolist() == [3, UNKNOWN, UNKNOWN]


def test_last_pads_at_the_end_and_keeps_the_newest() -> None:
    found = make_histories(sequences("wxyz", "z", ""), ITEMS, "next")
    rows, lengths = found.last(np.array([1, 0, 2]), 3)
    assert rows.tolist() == [[3, 0, 0], [1, 2, 3], [0, 0, 0]]
    assert lengths.tolist() == [1, 3, 0]


def test_seen_lists_every_item_of_the_users_asked_for() -> None:
    found = make_histories(sequences("wx", "z", "", "yw"), ITEMS, "next")
    owners, items = found.seen(np.array([3, 2, 0]))
    assert owners.tolist() == [0, 0, 2, 2]
    assert items.tolist() == [2, 0, 0, 1]


def test_catalogue_is_sorted_and_has_each_item_once() -> None:
    assert catalogue(sequences("zx", "", "xw")) == ["w", "x", "z"]
