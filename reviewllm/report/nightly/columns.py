"""Columns of figures of a night, and shares of its rows, beside those of the nights that it is compared with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reviewllm.report.nightly.content import Column, Histogram, Share
from reviewllm.report.nightly.drift import distribution_drift, share_drift
from reviewllm.report.nightly.measure import COLUMNS, PURCHASE_COLUMNS, Floats, Measures, add_up
from reviewllm.tables import GENERATIONS

_MOST_BINS = 24  # more do not show on a phone
_WHOLE_BINS = 40  # whole numbers over a range of so many have a bin each
_TAIL = 0.5  # percent of rows beyond the outer bins on either side, which would leave the others narrow
_MEANINGS = {column.name: column.meaning.partition(";")[0] for column in GENERATIONS.columns}


def columns_of(tonight: Measures, before: Sequence[Measures]) -> tuple[Column, ...]:
    """Every column that the night has, in the order of the table."""
    return tuple(_column(name, tonight, before) for name in COLUMNS if name in tonight.sums)


def share_of(
    name: str,
    meaning: str,
    tonight: tuple[int, int],
    before: Sequence[tuple[int, int]],
    measured: Measures,
    measured_before: Sequence[Measures],
) -> Share:
    """A share of rows, given as (how many, of how many) of tonight and of each night before."""
    count, of = tonight
    count_before, of_before = sum(one for one, _ in before), sum(all_ for _, all_ in before)
    drift = share_drift(
        count / of if of else 0.0,
        count_before / of_before if of_before else 0.0,
        independent=_independent(of, measured),
        independent_before=sum(_independent(rows, its) for (_, rows), its in zip(before, measured_before, strict=True)),
    )
    there = bool(before)
    return Share(
        name=name,
        meaning=meaning,
        count=count,
        of=of,
        count_before=count_before if there else None,
        of_before=of_before if there else None,
        drift=drift,
    )


def histogram(tonight: Floats, before: Sequence[Floats]) -> Histogram:
    """Shares of rows in common bins: of tonight, and the least and most of the nights before. No sample may be empty."""
    edges = _edges(np.concatenate([tonight, *before]))
    shares = [_shares(sample, edges) for sample in before]
    return Histogram(
        edges=tuple(edges.tolist()),
        tonight=tuple(_shares(tonight, edges).tolist()),
        low=tuple(np.min(shares, axis=0).tolist()) if shares else (),
        high=tuple(np.max(shares, axis=0).tolist()) if shares else (),
    )


def _column(name: str, tonight: Measures, before: Sequence[Measures]) -> Column:
    having = [night for night in before if name in night.sums]
    samples = [night.sample[name] for night in having if len(night.sample[name])]
    sample, summed, earlier = tonight.sample[name], tonight.sums[name], add_up(night.sums[name] for night in having)
    some = sample if len(sample) else np.array([summed.mean])  # a night of millions with a handful of values
    low, middle, high = np.quantile(some, [0.05, 0.5, 0.95]).tolist()
    return Column(
        name=name,
        meaning=_MEANINGS[name],
        given=name in PURCHASE_COLUMNS,
        rows=summed.n,
        mean=summed.mean,
        quantiles=(low, middle, high),
        mean_before=earlier.mean if earlier.n else None,
        drift=distribution_drift(
            sample,
            np.concatenate([*samples, sample[:0]]),
            independent=_independent(len(sample), tonight),
            independent_before=sum(_independent(len(night.sample[name]), night) for night in having),
        ),
        histogram=histogram(some, samples),
    )


def _independent(rows: int, measured: Measures) -> float:
    """How many independent values some rows of a night are worth, at least: its users, who have several rows each."""
    return rows if not measured.users else min(rows, measured.users)


def _edges(values: Floats) -> Floats:
    low, high = np.percentile(values, [_TAIL, 100 - _TAIL])
    if (values == np.round(values)).all():
        low, high = np.floor(low), np.ceil(high)
        width = 1.0 if high - low < _WHOLE_BINS else np.ceil((high - low + 1) / _MOST_BINS)
        return np.arange(low, high + width + 0.5, width) - 0.5
    if high <= low:
        return np.array([low - 0.5, low + 0.5])
    return np.linspace(low, high, _MOST_BINS + 1)


def _shares(values: Floats, edges: Floats) -> Floats:
    """Shares in bins; what lies beyond the edges is counted in the outer bins, and what lies on an edge above it."""
    bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return np.bincount(bins, minlength=len(edges) - 1) / len(values)
