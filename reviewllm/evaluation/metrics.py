"""Rows of an evaluation -> metrics: every figure with its interval for each model, split and slice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import polars as pl
import pyarrow as pa

from reviewllm.evaluation.bootstrap import RESAMPLES, bootstrap
from reviewllm.evaluation.figures import BY_ROW, is_unread
from reviewllm.evaluation.rows import SPLITS
from reviewllm.scoring.distinct import distinct
from reviewllm.tables import METRICS

ALL = "all"  # the slice and group that stand for every row

_RANGES = {  # lower ends of the groups; counts at which prompts and texts begin to look otherwise
    "history": ("reviews_of_user", (0, 1, 2, 3, 5, 10, 20)),  # most of a shop's users have none, one or two
    "age": ("days_of_history", (0, 30, 180, 365, 1095)),
    "reference": ("words_of_reference", (0, 2, 20, 50, 100)),
}


def summarise(rows: pl.DataFrame, *, run: str, repeat: int, resamples: int = RESAMPLES, seed: int = 0) -> pa.Table:
    """Average the figures of one repetition of an evaluation.

    Reads what `evaluated_rows` gives. Gives METRICS rows: each split, model and with_rating in their order, for all rows and
    for each slice, in the order all, category, rating, history, age, reference. A figure to which no row of a group counts has
    no line, and no value where too many rows cannot be read (`figures.is_unread`). distinct-n and the share of failed rows
    are given for all rows only. The same input and seed give the same bytes.
    """
    records: list[dict[str, Any]] = []
    for split in SPLITS:
        for part in rows.filter(pl.col("split") == split).partition_by("model", "with_rating", maintain_order=True):
            key = {"run": run, "repeat": repeat, "split": split}
            key |= {"model": part["model"][0], "with_rating": part["with_rating"][0]}
            for name, group, members in _groups(part):
                place = {**key, "slice": name, "group": group}
                records += [{**place, **line} for line in _by_row(members, resamples, seed)]
                records += [{**place, **line} for line in _together(members)] if name == ALL else []
    return METRICS.check(pa.Table.from_pylist(records, schema=METRICS.schema), where="metrics")


def ranges(lower_ends: Sequence[int]) -> list[str]:
    """Names of the groups that begin at these counts.

    >>> ranges([0, 1, 5])
    ['0', '1-4', '5+']
    """
    return [
        *(str(low) if high == low + 1 else f"{low}-{high - 1}" for low, high in pairwise(lower_ends)),
        f"{lower_ends[-1]}+",
    ]


def _groups(part: pl.DataFrame) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """Yield the name of each slice and of its group with the group's rows; groups without any are left out."""
    yield ALL, ALL, part
    for category in sorted(set(part["category"])):
        yield "category", category, part.filter(pl.col("category") == category)
    for stars in sorted(set(part["rating"])):
        yield "rating", f"{stars:g}", part.filter(pl.col("rating") == stars)
    for name, (column, ends) in _RANGES.items():
        for group, low, high in zip(ranges(ends), ends, [*ends[1:], None], strict=True):
            within = pl.col(column) >= low if high is None else pl.col(column).is_between(low, high, closed="left")
            members = part.filter(within)
            if len(members):
                yield name, group, members


def _by_row(rows: pl.DataFrame, resamples: int, seed: int) -> list[dict[str, Any]]:
    names = [figure.name for figure in BY_ROW]
    estimate = bootstrap(rows, names, resamples=resamples, seed=seed)
    lines = []
    for name, value, low, high, n in zip(names, *estimate, strict=True):
        told = rows[f"unread {name}"].drop_nulls() if f"unread {name}" in rows.columns else None
        unread, asked = (None, None) if told is None else (int(told.sum()), len(told))
        line = {"metric": name, "n": int(n), "unread": unread, "asked": asked}
        if is_unread(unread or 0, asked or 0):
            lines.append(line)
        elif n:
            lines.append({**line, "value": value, "ci_low": low, "ci_high": high})
    return lines


def _together(rows: pl.DataFrame) -> list[dict[str, Any]]:
    texts = rows["review"].drop_nulls().to_list()
    found: list[tuple[str, float | None, int]] = [(f"distinct{n}", distinct(texts, n), len(texts)) for n in (1, 2)]
    found.append(("failed", 100 * rows["review"].null_count() / len(rows), len(rows)))
    return [{"metric": name, "value": value, "n": n} for name, value, n in found if value is not None]
