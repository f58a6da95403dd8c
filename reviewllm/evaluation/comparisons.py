"""Two models on the same rows: by how much one is ahead, and whether the data carry it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from reviewllm.evaluation.bootstrap import RESAMPLES, bootstrap
from reviewllm.evaluation.figures import COMPARED, FIGURES, is_unread
from reviewllm.evaluation.rows import SPLITS
from reviewllm.tables import COMPARISONS

MIN_USERS = 20  # below about 20 clusters a percentile bootstrap interval is too narrow to decide anything
SIGNIFICANT = 0.05
PERMUTATIONS = 99_999  # so that the smallest p-value, 0.00001, is small enough to be corrected for hundreds of comparisons
_AT_ONCE = 8_000_000  # signs held in memory at a time, as bytes


class Side(NamedTuple):
    """One model with or without ratings."""

    model: str
    with_rating: bool


def compare(
    repeats: Sequence[pl.DataFrame], *, run: str, candidate: Side, resamples: int = RESAMPLES, seed: int = 0
) -> pa.Table:
    """Compare the candidate with every other model, and every model with itself without ratings, in pairs of rows.

    A row's figure is its mean over the repeats. The difference has a bootstrap interval by users. Its p-value comes from
    a permutation test that turns the signs of whole users (`sign_flip`), corrected by Holm's method (1979; `statsmodels`) over
    all comparisons of the table. The effect size is the mean over the standard deviation of
    the users' mean differences (Cohen's d_z; Lakens, 2013). The verdict is 'no difference' unless both the interval and the
    corrected p-value carry one, and 'too few users' below 20. A figure that cannot read too many of the rows is not compared.

    Args:
        repeats: what `evaluated_rows` gives, of each repetition. A model that is the same in all of them may be in one only.
        candidate: the model whose adoption is to be decided.

    Returns:
        COMPARISONS rows by split, in the order of the models.
    """
    means = mean_over_repeats(repeats)
    pairs = []
    for split in SPLITS:
        part = means.filter(pl.col("split") == split)
        sides = [Side(*row) for row in part.select("model", "with_rating").unique(maintain_order=True).rows()]
        for one, other in _pairs(sides, candidate):
            key = {"run": run, "split": split, "model": one.model, "with_rating": one.with_rating}
            key |= {"other": other.model, "other_with_rating": other.with_rating}
            pairs.append(Pair(key, _answers(part, one), _answers(part, other)))
    records = compare_pairs(pairs, resamples=resamples, seed=seed)
    return COMPARISONS.check(pa.Table.from_pylist(records, schema=COMPARISONS.schema), where="comparisons")


class Pair(NamedTuple):
    """Two sets of rows to compare, by example_id, user_id and the figures (`COMPARED`, say); `key` names them in the result.

    Where a figure cannot read every text, `unread <figure>` tells of each row whether it does.
    """

    key: dict[str, Any]
    rows: pl.DataFrame
    other: pl.DataFrame


def mean_over_repeats(repeats: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The figures of `COMPARED` of each row, as their mean over the repetitions that have it; unread where one is."""
    keys = ["split", "model", "with_rating", "example_id", "user_id"]
    unread = [f"unread {name}" for name in COMPARED if FIGURES[name].unread is not None]
    return pl.concat(repeats).group_by(keys, maintain_order=True).agg(pl.col(COMPARED).mean(), pl.col(unread).max())


def compare_pairs(
    pairs: Sequence[Pair], *, figures: Sequence[str] = COMPARED, resamples: int = RESAMPLES, seed: int = 0
) -> list[dict[str, Any]]:
    """Test every pair on every figure, as `compare` says; p-values are corrected over all of them together.

    Returns for each pair and figure with rows in common: the key, metric, difference, ci_low, ci_high, effect_size, p_value,
    p_corrected, users, n and verdict.
    """
    records = []
    for pair in pairs:
        both = pair.rows.join(pair.other, on=["example_id", "user_id"], suffix=" of other")
        records += [
            {**pair.key, "metric": name, **line} for name in figures for line in _tested(both, name, resamples, seed)
        ]
    return _judged(records)


def unread_in(both: pl.DataFrame, name: str) -> tuple[int, int]:
    """Of rows joined as `compare_pairs` joins them: how many a figure cannot read on one of the sides, and of how many."""
    if f"unread {name}" not in both.columns:
        return 0, len(both)
    unread = both.select(pl.col(f"unread {name}") | pl.col(f"unread {name} of other")).to_series().drop_nulls()
    return int(unread.sum()), len(unread)


def _pairs(sides: Sequence[Side], candidate: Side) -> list[tuple[Side, Side]]:
    pairs = [(candidate, other) for other in sides if other != candidate] if candidate in sides else []
    itself = [(Side(side.model, True), side) for side in sides if not side.with_rating and Side(side.model, True) in sides]
    return [*pairs, *(pair for pair in itself if pair not in pairs and pair[::-1] not in pairs)]


def _answers(rows: pl.DataFrame, side: Side) -> pl.DataFrame:
    chosen = (pl.col("model") == side.model) & (pl.col("with_rating") == side.with_rating)
    return rows.filter(chosen).drop("split", "model", "with_rating")


def _tested(pair: pl.DataFrame, name: str, resamples: int, seed: int) -> list[dict[str, Any]]:
    """The figures of one comparison; none where no row counts on both sides, or too many cannot be read on either."""
    if is_unread(*unread_in(pair, name)):
        return []
    rows = pair.select("user_id", difference=pl.col(name) - pl.col(f"{name} of other")).drop_nulls()
    if rows.is_empty():
        return []
    (value,), (low,), (high,), _ = bootstrap(rows, ["difference"], resamples=resamples, seed=seed)
    users = rows.group_by("user_id").agg(pl.col("difference").sum(), mean=pl.col("difference").mean()).sort("user_id")
    means = users["mean"].to_numpy()
    spread = float(means.std(ddof=1)) if len(means) > 1 else 0.0
    figures = {"difference": value, "ci_low": low, "ci_high": high, "users": len(users), "n": len(rows)}
    effect = float(means.mean()) / spread if spread else None
    return [{**figures, "effect_size": effect, "p_value": sign_flip(users["difference"].to_numpy(), seed=seed)}]


def sign_flip(differences: np.ndarray, *, permutations: int = PERMUTATIONS, seed: int = 0) -> float:
    """Two-sided p-value of differences that, if nothing is the matter, are as likely to be turned around.

    Signs are drawn anew `permutations` times; the one that was observed counts among them (Phipson and Smyth, 2010), so
    p is never 0. A difference of 0 is the same turned around, and gets no sign. Ours and not scipy's, whose `permutation_test`
    draws a float for each sign and takes 30 times as long.

    >>> round(sign_flip(np.array([1.0, 1.0, 1.0])), 2)   # of the 8 ways to set the signs, 2 are as far from 0
    0.25
    """
    if len(differences) < 2 or not differences.any():
        return 1.0
    differences = differences[differences != 0]
    generator = np.random.default_rng(seed)
    observed = abs(differences.sum()) * (1 - 1e-9)  # sums of the same numbers in another order differ by rounding
    extreme = 0
    block = max(8, _AT_ONCE // len(differences) // 8 * 8)
    for start in range(0, permutations, block):
        size = min(block, permutations - start)
        bits = np.unpackbits(np.frombuffer(generator.bytes(-(-size * len(differences) // 8)), dtype=np.uint8))
        turned = bits[: size * len(differences)].reshape(size, -1)
        extreme += int((np.abs(differences.sum() - 2 * (turned @ differences)) >= observed).sum())
    return (extreme + 1) / (permutations + 1)


def _judged(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    from statsmodels.stats.multitest import multipletests

    if not records:
        return []
    corrected = multipletests([record["p_value"] for record in records], method="holm")[1]
    return [
        {**record, "p_corrected": float(p), "verdict": _verdict(record, p)}
        for record, p in zip(records, corrected, strict=True)
    ]


def _verdict(record: dict[str, Any], p_corrected: float) -> str:
    if record["users"] < MIN_USERS:
        return "too few users"
    if p_corrected >= SIGNIFICANT or record["ci_low"] <= 0 <= record["ci_high"]:
        return "no difference"
    return "higher" if record["difference"] > 0 else "lower"
