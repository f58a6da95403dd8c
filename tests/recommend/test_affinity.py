"""Counts of what is bought together, against sums by hand."""

from __future__ import annotations

import numpy as np
import polars as pl

from reviewllm.recommend.affinity import NONE, bought_with, purchase_matrix, three_hops

ITEMS = pl.Series(["a", "b", "c", "d", "e"])
BOUGHT = pl.Series([["a", "b"], ["a", "b", "c"], ["c", "d"], []], dtype=pl.List(pl.String))


def test_purchase_matrix_has_a_row_for_every_user() -> None:
    matrix = purchase_matrix(BOUGHT, ITEMS)
    assert matrix.toarray().tolist() == [[1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0] * 5]


def test_bought_with_counts_users_and_leaves_the_item_itself_out() -> None:
    found = bought_with(purchase_matrix(BOUGHT, ITEMS), np.array([0, 2, 4]), most=3)
    # a: with b twice, with c once. c: with a, b, d once each, by number. e: never bought.
    assert found.tolist() == [[1, 2, NONE], [0, 1, 3], [NONE, NONE, NONE]]
    assert bought_with(purchase_matrix(BOUGHT, ITEMS), np.array([2]), most=1).tolist() == [[0]]


def test_three_hops_counts_paths_and_leaves_out_what_the_user_has() -> None:
    found = three_hops(purchase_matrix(BOUGHT, ITEMS), np.array([0, 2, 3]), most=2)
    # User 0 reaches c by a and by b through user 1; d is five hops away. User 2 (c, d) reaches a and b by c.
    assert found.tolist() == [[2, NONE], [0, 1], [NONE, NONE]]
