"""Scored generations of one evaluation -> metrics: a mean and its interval for each model, split and category."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from reviewllm.errors import SchemaError
from reviewllm.report.names import Pair
from reviewllm.tables import GENERATIONS, METRICS, SCORES

SPLITS = ("simple", "hard")
ALL = "all"  # the category that stands for every category
RESAMPLES = 1_000  # the usual number for a percentile interval; the ends move by about 0.1 standard errors between seeds
DRAWS_AT_ONCE = 4_000_000  # users times resamples held at a time: 32 MB for each array of them
SCORE_NAMES = [column.name for column in SCORES]

Floats = NDArray[np.float64]


class Estimate(NamedTuple):
    """Means with the ends of their 95 % intervals, one entry for each score."""

    value: Floats
    ci_low: Floats
    ci_high: Floats


def summarise(
    generations: pa.Table,
    *,
    run: str,
    repeat: int,
    names: Mapping[Pair, str],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pa.Table:
    """Average the scores of one repetition of an evaluation, row by row first.

    Reads a GENERATIONS table with the rows of every model, with and without rating, of the splits simple and hard.
    Gives METRICS rows: each split, model (in the order of `names`), with_rating, category ('all' first) and score. A row
    that failed (null review) counts as 0 and is never dropped. A category that is itself named 'all' has no rows of its
    own. The same input and seed give the same bytes.

    Args:
        run: name of the evaluation.
        repeat: number of the repetition, from 0.
        names: what each (model, adapter) is called. Two pairs may share a name where one ran with ratings and the other
            without, as with an adapter that was trained for each.

    Raises:
        SchemaError: a column is missing; there is no row; a model has no name; a row has another split, lacks a score
            although it has a review, or is there twice; the models of a split did not answer the same examples.
    """
    frame = _named(pl.DataFrame(GENERATIONS.check(generations, where="generations of the evaluation")), names)
    _check_rows(frame)
    counted = [pl.when(pl.col("review").is_null()).then(0.0).otherwise(pl.col(name)).alias(name) for name in SCORE_NAMES]
    records = []
    for key, part in _groups(frame.with_columns(counted)):
        estimate = bootstrap(part, resamples=resamples, seed=seed)
        for metric, value, low, high in zip(SCORE_NAMES, *estimate, strict=True):
            figures = {"value": value, "ci_low": low, "ci_high": high, "n": len(part)}
            records.append({"run": run, "repeat": repeat, **key, "metric": metric, **figures})
    return METRICS.check(pa.Table.from_pylist(records, schema=METRICS.schema), where="metrics")


def bootstrap(rows: pl.DataFrame, *, resamples: int, seed: int) -> Estimate:
    """Estimate the mean of each score column, with a 95 % percentile interval from resampling users.

    Reads user_id and the score columns, without nulls. Users, not rows, are drawn with replacement, because the rows of
    one user are alike: the cluster bootstrap (Efron and Tibshirani 1993, chapters 8 and 13; Field and Welsh 2007). Groups
    with the same number of users see the same draws, whatever else is in the table. With few users the interval is too
    narrow, and with one it has no width.
    """
    totals = pl.col(SCORE_NAMES).sum()
    users = rows.group_by("user_id").agg(totals, pl.len().alias("rows")).sort("user_id")
    sums = users.select(SCORE_NAMES).to_numpy()  # of each user (rows) and score (columns)
    sizes = users["rows"].to_numpy()
    draws = _draws(len(users), resamples, seed)
    means = np.concatenate([(drawn @ sums) / (drawn @ sizes)[:, None] for drawn in draws])
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return Estimate(sums.sum(axis=0) / sizes.sum(), low, high)


def _draws(users: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield how often each resample (rows) draws each user (columns), some resamples at a time to bound memory."""
    generator = np.random.default_rng(seed)
    block = max(1, DRAWS_AT_ONCE // users)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = generator.integers(users, size=(size, users)) + np.arange(size)[:, None] * users
        yield np.bincount(drawn.ravel(), minlength=size * users).reshape(size, users).astype(np.float64)


def _named(frame: pl.DataFrame, names: Mapping[Pair, str]) -> pl.DataFrame:
    """Replace `model` by the name of the pair, and add its place in the order of `names`."""
    rows = [(model, adapter, name, place) for place, ((model, adapter), name) in enumerate(names.items())]
    schema = {"model": pl.String, "adapter": pl.String, "name": pl.String, "place": pl.Int64}
    known = pl.DataFrame(rows, schema=schema, orient="row")
    frame = frame.join(known, on=["model", "adapter"], how="left", nulls_equal=True, maintain_order="left")
    nameless = frame.filter(pl.col("name").is_null()).select("model", "adapter").unique(maintain_order=True).rows()
    if nameless:
        raise SchemaError(f"generations of the evaluation: no name was given for (model, adapter) {nameless[:3]}")
    return frame.drop("model").rename({"name": "model"})


def _groups(frame: pl.DataFrame) -> Iterator[tuple[dict[str, str | bool], pl.DataFrame]]:
    """Yield each split, model, with_rating and category with its rows."""
    for split in SPLITS:
        rows = frame.filter(pl.col("split") == split).sort("place", ~pl.col("with_rating"), maintain_order=True)
        for part in rows.partition_by("model", "with_rating", maintain_order=True):
            key = {"model": part["model"][0], "split": split, "with_rating": part["with_rating"][0]}
            yield {**key, "category": ALL}, part
            for category in sorted(set(part["category"]) - {ALL}):
                yield {**key, "category": category}, part.filter(pl.col("category") == category)


def _check_rows(frame: pl.DataFrame) -> None:
    where = "generations of the evaluation"
    if frame.is_empty():
        raise SchemaError(f"{where}: there is no row; run jobs/evaluate.py on examples of the simple or the hard split")
    strange = sorted(set(frame["split"]) - set(SPLITS))
    if strange:
        raise SchemaError(f"{where}: split {', '.join(strange)} is not evaluated; expected {' or '.join(SPLITS)}")
    unscored = pl.any_horizontal(~pl.col(name).is_finite().fill_null(False) for name in SCORE_NAMES)
    _refuse(frame.filter(pl.col("review").is_not_null() & unscored), f"{where}: a review without all of its scores")
    row = pl.struct("example_id", "model", "with_rating")
    _refuse(frame.filter(row.is_duplicated()), f"{where}: an example twice for one model and one with_rating")
    _check_same_examples(frame, where)


def _check_same_examples(frame: pl.DataFrame, where: str) -> None:
    """Refuse models that were asked different questions: their means cannot be compared."""
    for (split,), rows in frame.group_by("split", maintain_order=True):
        asked = rows["example_id"].n_unique()
        for (model, with_rating), part in rows.group_by("model", "with_rating", maintain_order=True):
            if len(part) != asked:
                raise SchemaError(
                    f"{where}: {model} (with_rating {with_rating}) has {len(part)} of the {asked} examples of split "
                    f"{split}; every model must answer all of them: run jobs/evaluate.py again"
                )


def _refuse(rows: pl.DataFrame, problem: str) -> None:
    if len(rows):
        ids = rows["example_id"].unique(maintain_order=True).to_list()
        raise SchemaError(f"{problem}, in {len(rows)} row(s), first of them {', '.join(ids[:3])}; score the rows again")
