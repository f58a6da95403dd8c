"""One part of the interactions in order of time, with the place of every purchase's history."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from reviewllm.table_files import read_table
from reviewllm.tables import INTERACTIONS

ORDER = ["user_id", "purchased_at", "item_id", "purchase_id"]


def read_part(path: Path) -> pl.DataFrame:
    """Read one Parquet file of interactions, sorted by user, time, item id and purchase id.

    A user is never split over files, so all that a history needs is here.

    Raises:
        SchemaError: the file does not fit the table.
    """
    frame = pl.DataFrame(read_table([path], INTERACTIONS))
    return frame.with_columns(review=pl.when(~is_blank("review")).then(pl.col("review"))).sort(ORDER)


def is_blank(column: str) -> pl.Expr:
    """Whether a text is white space, marks, and nothing to read; null for null."""
    return pl.col(column).str.replace_all(r"[\p{C}\p{Z}\s]", "") == ""


def hide_reviews(part: pl.DataFrame, *, fraction: float, seed: int) -> pl.DataFrame:
    """Add `hidden`: reviews that play rating-only purchases, with the real text kept as their reference.

    Draws each review with probability `fraction`, from `seed` and the purchase's place in the sorted part, so the same
    input gives the same choice.
    """
    draws = np.random.default_rng(seed).random(len(part))
    return part.with_columns(hidden=pl.Series(draws < fraction) & pl.col("review").is_not_null())


def place_histories(part: pl.DataFrame) -> pl.DataFrame:
    """Add where each purchase's history lies among the part's reviews.

    Reads user_id, purchased_at, review and hidden of a sorted part. Adds `is_review` (has a text that may be shown), and
    positions in `part.filter("is_review")`: `history_start` (the user's first review), `history_end` (the first one that
    is not strictly earlier than this purchase; equal times are not earlier), `user_end` (behind the user's last review).

    >>> part = pl.DataFrame({"user_id": ["u", "u", "u"], "purchased_at": [1, 2, 2], "review": ["a", "b", "c"],
    ...                      "hidden": [False, False, False]})
    >>> place_histories(part)["history_end"].to_list()      # the two of time 2 see only the one of time 1
    [0, 1, 1]
    """
    is_review = pl.col("review").is_not_null() & ~pl.col("hidden")
    before = pl.col("is_review").cum_sum() - pl.col("is_review").cast(pl.Int64)
    return (
        part.with_columns(is_review=is_review)
        .with_columns(before=before)
        .with_columns(
            history_start=pl.col("before").min().over("user_id"),
            history_end=pl.col("before").min().over("user_id", "purchased_at"),
            user_end=(pl.col("before").max() + pl.col("is_review").last().cast(pl.Int64)).over("user_id"),
        )
        .drop("before")
    )


def label_items(part: pl.DataFrame, items: pl.LazyFrame) -> pl.DataFrame:
    """Add `title` (the item's title, else brand, else category, else item id) and `attributes` to each purchase."""
    wanted = items.select("item_id", "title", "brand", pl.col("category").alias("item_category"), "attributes")
    known = wanted.join(part.lazy().select("item_id").unique(), on="item_id", how="semi").collect()
    fall_back = pl.coalesce("title", "brand", pl.col("category").replace("", None), "item_category", "item_id")
    joined = part.join(known, on="item_id", how="left", maintain_order="left")
    return joined.with_columns(title=fall_back).drop("brand", "item_category")


def gather_histories(reviews: pa.Table, starts: np.ndarray, ends: np.ndarray) -> pa.ListArray:
    """Build the history column for purchases whose history is `reviews[start:end]`, oldest first."""
    lengths = ends - starts
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    # Position j of history i is starts[i] + (j - offsets[i]): one take for all histories.
    places = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
    entries = reviews.take(pa.array(places)).combine_chunks().to_struct_array()
    if isinstance(entries, pa.ChunkedArray):
        entries = pa.concat_arrays(entries.chunks) if entries.num_chunks else pa.array([], type=entries.type)
    return pa.ListArray.from_arrays(pa.array(offsets, type=pa.int32()), entries)
