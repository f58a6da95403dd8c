"""HR and NDCG of ranks: one figure for each user first, means second.

With one item to be found, the ideal DCG is 1, so NDCG@k is 1 / log2(rank + 1) up to rank k, and HR@k equals recall@k.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

CUTOFFS = (1, 5, 10, 20, 50)
MEASURES = tuple(f"{measure}@{k}" for measure in ("HR", "NDCG") for k in CUTOFFS)


def hit_ratio(ranks: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """1 for each rank from 1 to k, else 0; rank 0 is a miss.

    >>> hit_ratio(np.array([1, 10, 11, 0]), 10).tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    hits: NDArray[np.float64] = ((ranks > 0) & (ranks <= k)).astype(np.float64)
    return hits


def ndcg(ranks: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """The gain of each rank from 1 to k, 0 beyond; rank 0 is a miss.

    >>> ndcg(np.array([1, 3, 11, 0]), 10).tolist()
    [1.0, 0.5, 0.0, 0.0]
    """
    gains: NDArray[np.float64] = hit_ratio(ranks, k) / np.log2(np.maximum(ranks, 1) + 1.0)
    return gains


def by_user(ranks: NDArray[np.int64]) -> pl.DataFrame:
    """Every one of `MEASURES` as a column, with a row for each rank."""
    columns = {f"HR@{k}": hit_ratio(ranks, k) for k in CUTOFFS} | {f"NDCG@{k}": ndcg(ranks, k) for k in CUTOFFS}
    return pl.DataFrame({name: columns[name] for name in MEASURES})
