"""Who bought what with what: counts over sparse matrices, in blocks that bound memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

Numbers = NDArray[np.int64]

NONE = -1  # pads a row that has fewer
_BLOCK_ROWS = 512  # of counts that are in memory at once


def purchase_matrix(item_ids: pl.Series, items: pl.Series) -> Any:
    """A sparse matrix (users, items) with 1 where the user bought the item.

    Args:
        item_ids: a list of each user, of which each item is among `items`.
        items: every item once; its place is its number.
    """
    from scipy.sparse import csr_matrix

    lengths = item_ids.list.len().to_numpy()
    flat = pl.DataFrame({"item_id": item_ids.explode(empty_as_null=False)})
    numbers = flat.join(items.to_frame("item_id").with_row_index("number"), on="item_id", how="left", maintain_order="left")
    ends = np.concatenate([[0], np.cumsum(lengths)])
    data = np.ones(flat.height, dtype=np.float32)
    return csr_matrix((data, numbers["number"].to_numpy().astype(np.int64), ends), shape=(len(lengths), len(items)))


def bought_with(matrix: Any, items: Numbers, *, most: int) -> Numbers:
    """The items that most users bought together with each of some items (items, most), the commonest first.

    Equal ones stand in the order of their numbers; `NONE` where there are fewer.
    """
    by_item = matrix.T.tocsr()

    def counts(block: Numbers) -> Any:
        together = (by_item[block] @ matrix).tocoo()
        together.data[together.col == block[together.row]] = 0  # the item itself
        return together

    return _by_blocks(items, counts, most)


def three_hops(matrix: Any, users: Numbers, *, most: int) -> Numbers:
    """The items that are nearest to each of some users (users, most) by user -> items -> users -> items, the nearest first.

    Counts the paths; what a user bought is left out. Equal ones and `NONE` as in `bought_with`.
    """
    transposed = matrix.T.tocsr()

    def counts(block: Numbers) -> Any:
        own = matrix[block]
        paths = (own @ transposed) @ matrix
        return paths - paths.multiply(own)

    return _by_blocks(users, counts, most)


def _by_blocks(rows: Numbers, counts: Callable[[Numbers], Any], most: int) -> Numbers:
    found = [largest(counts(rows[start : start + _BLOCK_ROWS]).tocoo(), most) for start in range(0, len(rows), _BLOCK_ROWS)]
    return np.concatenate(found) if found else np.empty((0, most), dtype=np.int64)


def largest(counts: Any, most: int) -> Numbers:
    """The columns of the largest positive entries of every row of a sparse matrix."""
    there = counts.data > 0
    rows, columns, data = counts.row[there], counts.col[there], counts.data[there]
    order = np.lexsort((columns, -data, rows))
    rows, columns = rows[order], columns[order]
    places = np.arange(len(rows)) - np.searchsorted(rows, rows)
    first = places < most
    found = np.full((counts.shape[0], most), NONE, dtype=np.int64)
    found[rows[first], places[first]] = columns[first]
    return found
