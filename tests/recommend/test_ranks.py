"""Ranks and best items against a sort of all scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from reviewllm.recommend import ranks
from reviewllm.recommend.histories import Histories, Ints, make_histories
from reviewllm.recommend.ranks import Floats, rank_all, target_ranks


class Fixed:
    """A retriever with scores that are given, users x items."""

    name = "fixed"
    needs_history = True

    def __init__(self, scores: Floats) -> None:
        self.scores = scores
        self.item_ids: Sequence[str] = [f"i{n:03d}" for n in range(scores.shape[1])]

    def score(self, histories: Histories, users: Ints) -> Floats:
        return self.scores[users].copy()


def drawn(users: int, items: int) -> tuple[Fixed, Histories]:
    """Random scores, and sequences of 0 to 9 different items."""
    draw = np.random.default_rng(0)
    retriever = Fixed(draw.normal(size=(users, items)).astype(np.float32))
    taken = [[f"i{n:03d}" for n in draw.permutation(items)[: draw.integers(10)]] for _ in range(users)]
    rows = pl.DataFrame(
        {"user_id": [f"u{n}" for n in range(users)], "item_ids": taken},
        schema={"user_id": pl.String, "item_ids": pl.List(pl.String)},
    )
    return retriever, make_histories(rows, retriever.item_ids, "test")


@pytest.mark.parametrize("at_once", [3, 1000])
def test_rank_all_finds_what_a_sort_finds(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(ranks, "_USERS_AT_ONCE", at_once)
    monkeypatch.setattr(ranks, "_LEAST_USERS", 1)
    retriever, histories = drawn(users=40, items=60)
    found = {
        user: (items, rank)
        for one in rank_all(retriever, histories, k=7)
        for user, items, rank in zip(one.users, one.items, one.ranks, strict=True)
    }
    assert set(found) == set(np.nonzero(histories.lengths)[0])
    for user, (items, rank) in found.items():
        seen = histories.items[histories.starts[user] : histories.starts[user + 1]]
        order = [item for item in np.argsort(-retriever.scores[user]) if item not in seen]
        assert items.tolist() == order[:7]
        assert rank == order.index(histories.targets[user]) + 1


def test_rank_all_ranks_the_target_as_the_list_has_it_where_scores_are_equal() -> None:
    scores = np.random.default_rng(1).integers(3, size=(40, 9)).astype(np.float32)
    retriever = Fixed(scores)
    rows = pl.DataFrame(
        {"user_id": [f"u{n}" for n in range(40)], "item_ids": [["i004", f"i{n % 9:03d}"] for n in range(40)]}
    )
    histories = make_histories(rows, retriever.item_ids, "test")
    for k in (2, 9):
        for found in rank_all(retriever, histories, k=k):
            for items, target, rank in zip(found.items.tolist(), histories.targets[found.users], found.ranks, strict=True):
                assert rank == items.index(target) + 1 if target in items else rank == 0 or rank > k
    assert target_ranks(retriever, histories).tolist()[4] == 0  # what is in the history is in no list


def test_target_ranks_makes_a_target_without_a_score_a_miss() -> None:
    rows = pl.DataFrame({"user_id": ["a"], "item_ids": [["i000", "i001"]]})
    retriever = Fixed(np.array([[1.0, np.nan, 0.0]], dtype=np.float32))
    assert target_ranks(retriever, make_histories(rows, retriever.item_ids, "test")).tolist() == [0]


def test_rank_all_lists_fewer_where_the_history_leaves_fewer() -> None:
    rows = pl.DataFrame({"user_id": ["u"], "item_ids": [["i000", "i001"]]})
    retriever = Fixed(np.array([[3.0, 2.0, 1.0]], dtype=np.float32))
    (found,) = rank_all(retriever, make_histories(rows, retriever.item_ids, "next"), k=3)
    assert found.items.tolist() == [[2, -1, -1]]
    assert found.ranks.tolist() == [0]
