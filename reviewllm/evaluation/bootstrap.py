"""Intervals from resampling users: the rows of one user are alike, so users are drawn, not rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

RESAMPLES = 1_000  # the usual number for a percentile interval; the ends move by about 0.1 standard errors between seeds
DRAWS_AT_ONCE = 4_000_000  # users times resamples held at a time: 32 MB for each array of them

Floats = NDArray[np.float64]


class Estimate(NamedTuple):
    """Means with the ends of their 95 % intervals and the rows that count, one entry for each column; NaN where none does."""

    value: Floats
    ci_low: Floats
    ci_high: Floats
    n: NDArray[np.int64]


def bootstrap(rows: pl.DataFrame, columns: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """Estimate the mean of each column over its rows that are not null, with a 95 % percentile interval.

    Reads user_id and the columns. Users are drawn with replacement: the cluster bootstrap (Efron and Tibshirani 1993,
    chapters 8 and 13; Field and Welsh 2007). Groups with the same number of users see the same draws, whatever else is in
    the table. With few users the interval is too narrow, and with one it has no width.
    """
    sums = [pl.col(name).cast(pl.Float64).sum().alias(f"sum {name}") for name in columns]
    counts = [pl.col(name).count().alias(f"rows {name}") for name in columns]
    users = rows.group_by("user_id").agg(*sums, *counts).sort("user_id")
    sums_of, rows_of = (
        users.select(f"{kind} {name}" for name in columns).to_numpy().astype(np.float64) for kind in ("sum", "rows")
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.concatenate([(drawn @ sums_of) / (drawn @ rows_of) for drawn in _draws(len(users), resamples, seed)])
        value = sums_of.sum(axis=0) / rows_of.sum(axis=0)
    n = rows_of.sum(axis=0).astype(np.int64)
    ends = np.full((2, len(columns)), np.nan)
    counted = n > 0
    ends[:, counted] = np.nanpercentile(means[:, counted], [2.5, 97.5], axis=0)
    return Estimate(value, ends[0], ends[1], n)


def _draws(users: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield how often each resample (rows) draws each user (columns), some resamples at a time to bound memory."""
    generator = np.random.default_rng(seed)
    block = max(1, DRAWS_AT_ONCE // users)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = generator.integers(users, size=(size, users)) + np.arange(size)[:, None] * users
        yield np.bincount(drawn.ravel(), minlength=size * users).reshape(size, users).astype(np.float64)
