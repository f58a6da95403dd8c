"""A night's files -> counts, means and a capped sample of every column of figures. Texts are not read."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable
from functools import reduce
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from reviewllm.backfill.night import Manifest, published_files
from reviewllm.evaluation.figures import is_unread
from reviewllm.place import Place
from reviewllm.tables import GENERATIONS, SCORES

# Of a night at most, for its distributions. Two samples of this size differ by chance by less than 0.02 (drift.py), a fifth of
# what counts as drift; fourteen nights of a dozen columns are 30 MB.
SAMPLE_ROWS = 20_000

PURCHASE_COLUMNS = ("rating", "history_kept", "prompt_tokens")  # what the night was given
TEXT_COLUMNS = (  # what it made of that
    "completion_tokens",
    *(column.name for column in SCORES if pa.types.is_floating(column.type) or pa.types.is_integer(column.type)),
)
COLUMNS = (*PURCHASE_COLUMNS, *TEXT_COLUMNS)
ENGLISH_COLUMNS = ("sentiment", "claims", "hallucination")  # of scores that read nothing else
_OTHERS = ("user_id", "finish_reason", "with_rating")

Floats = NDArray[np.float64]


class Sum(NamedTuple):
    """Of some values: how many, their sum, and the sum of their squares."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    def plus(self, other: Sum) -> Sum:
        """Of the values of both."""
        return Sum(self.n + other.n, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        """Of at least one value."""
        return self.total / self.n

    @property
    def variance_of_mean(self) -> float:
        """Squared standard error of the mean; of at least one value."""
        return max(0.0, self.squares / self.n - self.mean**2) / self.n


class Measures(NamedTuple):
    """What was measured of the rows that a night wrote.

    `users`: distinct users, as the rows are sorted by user. `sums` are of all rows, `sample` of every k-th one; null and what
    is not finite is left out of both, and a column that the night lacks, or that is null throughout, is in neither; nor is one of
    `ENGLISH_COLUMNS` where too many texts are not English: `unread` of the `scored` ones.
    `sentiment`: by stars, rounded to 1 to 5. `stopped`: rows by finish_reason. `with_rating`: rows by it.
    """

    rows: int
    users: int
    sums: dict[str, Sum]
    sample: dict[str, Floats]
    sentiment: dict[int, Sum]
    stopped: Counter[str]
    with_rating: Counter[bool]
    scored: int = 0
    unread: int = 0


def measure(data: Place, day: datetime.date, manifest: Manifest) -> Measures:
    """Read the columns of figures of a night, a row group at a time.

    The sample is every k-th row in the order of the files, so it is the same each time and spread over all users; k is such
    that at most SAMPLE_ROWS are taken. Columns that a file lacks, as of an earlier version, are left out.

    Raises:
        SchemaError: a file is missing or damaged.
    """
    measuring = _Measuring(every=max(1, -(-sum(file.rows for file in manifest.files) // SAMPLE_ROWS)))
    for name in published_files(data, day, manifest):
        there = set(data.parquet(name).schema_arrow.names)
        for rows in data.batches(name, GENERATIONS, [column for column in (*COLUMNS, *_OTHERS) if column in there]):
            measuring.add(rows)
    return measuring.measures()


class _Measuring:
    """Adds batches up."""

    def __init__(self, *, every: int) -> None:
        self.every = every
        self.rows = self.users = self.scored = self.unread = 0
        self.last_user: str | None = None
        self.sums: dict[str, Sum] = {}
        self.samples: dict[str, list[Floats]] = {}
        self.sentiment: dict[int, Sum] = {}
        self.stopped: Counter[str] = Counter()
        self.with_rating: Counter[bool] = Counter()

    def add(self, rows: pl.DataFrame) -> None:
        """Take one batch, in the order of the file."""
        sampled = rows.gather_every(self.every, offset=-self.rows % self.every)
        for name in COLUMNS:
            if name in rows.columns:
                self.sums[name] = self.sums.get(name, Sum()).plus(_sum(_values(rows[name])))
                self.samples.setdefault(name, []).append(_values(sampled[name]))
        for name, counter in (("finish_reason", self.stopped), ("with_rating", self.with_rating)):
            if name in rows.columns:
                counter.update(dict(rows[name].drop_nulls().value_counts().rows()))
        if {"words", "sentiment"} <= set(rows.columns):
            scored = rows["words"].is_not_null()
            self.scored += int(scored.sum())
            self.unread += int((scored & rows["sentiment"].is_null()).sum())
        self._add_users(rows)
        self._add_sentiment(rows)
        self.rows += rows.height

    def measures(self) -> Measures:
        """What was added; columns without any value, or of too few texts that can be read, are left out."""
        says_nothing = ENGLISH_COLUMNS if is_unread(self.unread, self.scored) else ()
        sums = {name: its for name, its in self.sums.items() if its.n and name not in says_nothing}
        sample = {name: np.concatenate(self.samples[name]) for name in sums}
        sentiment = {} if says_nothing else self.sentiment
        rows = Measures(self.rows, self.users, sums, sample, sentiment, self.stopped, self.with_rating)
        return rows._replace(scored=self.scored, unread=self.unread)

    def _add_users(self, rows: pl.DataFrame) -> None:
        if "user_id" in rows.columns:
            users = rows["user_id"]
            self.users += int((users != users.shift(1, fill_value=self.last_user)).fill_null(True).sum())
            self.last_user = users[-1]

    def _add_sentiment(self, rows: pl.DataFrame) -> None:
        if {"rating", "sentiment"} <= set(rows.columns):
            known = rows.filter(pl.col("sentiment").is_finite())
            by_stars = known.select("sentiment", stars=pl.col("rating").round().clip(1, 5).cast(pl.Int64))
            for (stars,), part in by_stars.group_by("stars"):
                self.sentiment[stars] = self.sentiment.get(stars, Sum()).plus(_sum(_values(part["sentiment"])))


def add_up(sums: Iterable[Sum]) -> Sum:
    """One sum of several; of nothing where there are none."""
    return reduce(Sum.plus, sums, Sum())


def _values(column: pl.Series) -> Floats:
    return column.cast(pl.Float64).filter(column.is_finite()).to_numpy()


def _sum(values: Floats) -> Sum:
    return Sum(len(values), float(values.sum()), float(np.square(values).sum()))
