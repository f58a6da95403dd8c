"""Systems' rankings of the same users -> HR and NDCG with intervals, slices, and which system is ahead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from reviewllm.errors import ConfigError, InputError
from reviewllm.evaluation.bootstrap import bootstrap
from reviewllm.evaluation.comparisons import Pair, compare_pairs
from reviewllm.evaluation.metrics import ALL, ranges
from reviewllm.recommend.metrics import MEASURES, by_user
from reviewllm.recommend.rankings import Ranking
from reviewllm.recommend.split import LEFT_OUT, Target
from reviewllm.tables import COMPARISONS, METRICS

COMPARED = ("HR@10", "NDCG@10")  # what the paper compares
_SLICES = {  # lower ends of the groups: cold users have few items in their history, cold items few purchases to learn from
    "history": (1, 5, 10, 20, 50),
    "item_count": (0, 1, 5, 10, 50),
}


class Measured(NamedTuple):
    """What `measure` found; `about` has for each system users listed, users missing, its shortest list and dropped rows."""

    metrics: pa.Table
    comparisons: pa.Table
    about: Mapping[str, Mapping[str, Any]]
    users: int


def asked_users(sequences: pl.DataFrame, target: Target, only: Sequence[str] | None = None) -> pl.DataFrame:
    """The users of whom an item is held out: user_id, item_id (the target), history (its length), item_count.

    `item_count` says how often the target was bought before the last two items of each sequence: what could be learned from.

    Args:
        only: measure on these users; None for all.

    Raises:
        ConfigError: the target is 'next', of which nothing is known.
        InputError: one of `only` is in no sequence, or no user is left.
    """
    left_out = LEFT_OUT[target]
    if left_out == 0:
        raise ConfigError("--target next holds nothing out, so nothing can be measured; choose test or validation")
    length = pl.col("item_ids").list.len().cast(pl.Int64)
    train = sequences.select(pl.col("item_ids").list.head((length - LEFT_OUT["validation"]).clip(0)).alias("item_id"))
    counts = (
        train.explode("item_id", empty_as_null=False).group_by("item_id").agg(pl.len().cast(pl.Int64).alias("item_count"))
    )
    held = sequences.filter(length > left_out)
    asked = held.select("user_id", pl.col("item_ids").list.get(-left_out).alias("item_id"), history=length - left_out)
    asked = asked.join(counts, on="item_id", how="left", maintain_order="left").with_columns(
        pl.col("item_count").fill_null(0)
    )
    if only is not None:
        wanted = pl.Series("user_id", only, dtype=pl.String).unique()
        lacking = wanted.filter(~wanted.is_in(asked["user_id"].implode()))
        if len(lacking):
            raise InputError(
                f"--users: {len(lacking)} of {len(wanted)} have no item held out, as {lacking[0]!r}; name users of the sequences"
            )
        asked = asked.filter(pl.col("user_id").is_in(wanted.implode()))
    if asked.is_empty():
        raise InputError(f"of no user an item is held out for --target {target}; the sequences are too short")
    return asked


def measure(
    systems: Mapping[str, Ranking], asked: pl.DataFrame, *, run: str, target: Target, candidate: str, seed: int = 0
) -> Measured:
    """Measure every system on the same users, and compare the candidate with each other one.

    A user without a row, or whose target is not in the list, is a miss: at every cut-off, those beyond the list too.
    `asked` is what `asked_users` gives. Figures are times 100, with 95 % bootstrap intervals by user.
    """
    rows = {name: _figures(ranking, asked) for name, ranking in systems.items()}
    records = []
    for name, figures in rows.items():
        for slice_name, group, members in _groups(figures):
            key = {"run": run, "split": target, "model": name, "with_rating": False, "repeat": 0}
            key |= {"slice": slice_name, "group": group}
            records += [{**key, **line} for line in _lines(members, MEASURES if slice_name == ALL else COMPARED, seed)]
    comparable = {name: figures.rename({"item_id": "example_id"}) for name, figures in rows.items()}
    pairs = [
        Pair(_pair_key(run, target, candidate, name), comparable[candidate], other)
        for name, other in comparable.items()
        if name != candidate
    ]
    compared = compare_pairs(pairs, figures=COMPARED, seed=seed)
    return Measured(
        METRICS.check(pa.Table.from_pylist(records, schema=METRICS.schema), where="metrics"),
        COMPARISONS.check(pa.Table.from_pylist(compared, schema=COMPARISONS.schema), where="comparisons"),
        {name: _about(ranking, asked) for name, ranking in systems.items()},
        asked.height,
    )


def _figures(ranking: Ranking, asked: pl.DataFrame) -> pl.DataFrame:
    """Every measure of every user, times 100."""
    found = asked.join(ranking.rows, on=["user_id", "item_id"], how="left", maintain_order="left")
    ranks = found["rank"].fill_null(0).to_numpy().astype(np.int64)
    return pl.concat([asked, by_user(ranks) * 100.0], how="horizontal")


def _groups(figures: pl.DataFrame) -> Iterator[tuple[str, str, pl.DataFrame]]:
    yield ALL, ALL, figures
    for name, ends in _SLICES.items():
        for group, low, high in zip(ranges(ends), ends, [*ends[1:], None], strict=True):
            members = figures.filter((pl.col(name) >= low) & (pl.lit(high is None) | (pl.col(name) < (high or 0))))
            if members.height:
                yield name, group, members


def _lines(figures: pl.DataFrame, names: Sequence[str], seed: int) -> list[dict[str, Any]]:
    estimate = bootstrap(figures, names, seed=seed)
    return [
        {"metric": name, "value": value, "ci_low": low, "ci_high": high, "n": int(n)}
        for name, value, low, high, n in zip(names, *estimate, strict=True)
    ]


def _pair_key(run: str, target: str, candidate: str, other: str) -> dict[str, object]:
    key = {"run": run, "split": target, "model": candidate, "with_rating": False}
    return {**key, "other": other, "other_with_rating": False}


def _about(ranking: Ranking, asked: pl.DataFrame) -> dict[str, Any]:
    lists = ranking.rows.join(asked, on="user_id", how="semi").group_by("user_id").len()
    not_asked = ranking.rows.join(asked, on="user_id", how="anti")["user_id"].n_unique()
    return {
        "users_listed": lists.height,
        "users_missing": asked.height - lists.height,
        "users_not_asked": not_asked,
        "shortest_list": lists["len"].min() if lists.height else 0,
        "longest_list": lists["len"].max() if lists.height else 0,
        "dropped_rows": dict(ranking.dropped),
    }
