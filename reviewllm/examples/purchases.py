"""One part of the interactions in order of time, with the place of every purchase's history."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import pyarrow as pa

from reviewllm.table_files import read_table
from reviewllm.tables import INTERACTIONS, NO_CATEGORY
from reviewllm.texts import are_blank

# What of a user's purchases at one time is history: those before the target in the table's order, or none of them.
SameTime = Literal["before", "leave-out"]

# Of a path as ["Musical Instruments", "Guitars", "Strings"] the last, and the last of several such paths.
_LAST_CATEGORY = "$.categories[-1:]"


def read_part(path: Path) -> pl.DataFrame:
    """Read one Parquet file of interactions, sorted by user and time; purchases of one time stay in the file's order.

    A user is never split over files, so all that a history needs is here.

    Raises:
        SchemaError: the file does not fit the table.
    """
    frame = pl.DataFrame(read_table([path], INTERACTIONS))
    written = pl.when(~are_blank(pl.col("review"))).then(pl.col("review"))
    return frame.with_columns(review=written).sort("user_id", "purchased_at", maintain_order=True)


def hide_reviews(part: pl.DataFrame, *, fraction: float, seed: int) -> pl.DataFrame:
    """Add `hidden`: reviews that play rating-only purchases, with the real text kept as their reference.

    Draws each review with probability `fraction`, from `seed` and the purchase's place in the sorted part, so the same
    input gives the same choice. What was written once for several purchases of an item at one time is hidden in all of them.
    """
    if not fraction:
        return part.with_columns(hidden=pl.lit(False))
    drawn = pl.Series(np.random.default_rng(seed).random(len(part)) < fraction)
    hidden = part.with_columns(hidden=drawn & pl.col("review").is_not_null())
    return hidden.with_columns(pl.col("hidden").any().over("user_id", "item_id", "purchased_at", "review"))


def place_histories(part: pl.DataFrame, *, same_time: SameTime) -> pl.DataFrame:
    """Add where each purchase's history lies among the part's reviews.

    Reads user_id, purchased_at, review and hidden of a sorted part. Adds `is_review` (has a text that may be shown), and
    positions in `part.filter("is_review")`: `history_start` (the user's first review), `history_end` (behind the last one
    that stands before this purchase, or with "leave-out" is strictly earlier), `user_end` (behind the user's last review);
    and `left_out`, how many reviews of the same time "leave-out" cost.

    >>> part = pl.DataFrame({"user_id": ["u", "u", "u"], "purchased_at": [1, 2, 2], "review": ["a", "b", "c"],
    ...                      "hidden": [False, False, False]})
    >>> place_histories(part, same_time="before")["history_end"].to_list()
    [0, 1, 2]
    >>> place_histories(part, same_time="leave-out")["history_end"].to_list()  # the two of time 2 see only the one of time 1
    [0, 1, 1]
    """
    is_review = pl.col("review").is_not_null() & ~pl.col("hidden")
    before = pl.col("is_review").cum_sum() - pl.col("is_review").cast(pl.Int64)
    end = pl.col("before").min().over("user_id", "purchased_at") if same_time == "leave-out" else pl.col("before")
    return (
        part.with_columns(is_review=is_review)
        .with_columns(before=before)
        .with_columns(
            history_start=pl.col("before").min().over("user_id"),
            history_end=end,
            user_end=(pl.col("before").max() + pl.col("is_review").last().cast(pl.Int64)).over("user_id"),
        )
        .with_columns(left_out=pl.col("before") - pl.col("history_end"))
        .drop("before")
    )


def label_items(part: pl.DataFrame, items: pl.LazyFrame, *, file_categories: frozenset[str] = frozenset()) -> pl.DataFrame:
    """Add `title`, `attributes`, `stands_in` and `is_known` to each purchase.

    Where the item has no title, brand and category stand in together, or the one that says all that both say, or else the
    item id, and `stands_in` says which; null for a title. The category is the last of the item's own categories, else the
    purchase's, unless it is one of the `file_categories`, else the item's main one. `is_known` tells whether the item is among
    `items` at all.
    """
    last = pl.when(pl.col("title").is_null()).then("attributes").str.json_path_match(_LAST_CATEGORY)
    wanted = items.select(
        *("item_id", "title", "brand", "attributes"),
        pl.col("category").alias("item_category"),
        last.alias("last_category"),
        pl.lit(True).alias("is_known"),
    )
    known = wanted.join(part.lazy().select("item_id").unique(), on="item_id", how="semi").collect()
    joined = part.join(known, on="item_id", how="left", maintain_order="left")
    own = pl.col("category").replace(sorted({"", NO_CATEGORY, *file_categories}), None)
    named = joined.with_columns(
        kind=pl.coalesce("last_category", own, "item_category"), is_known=pl.col("is_known").fill_null(False)
    )
    return _name_untitled(named).drop("brand", "item_category", "last_category", "kind")


def _name_untitled(named: pl.DataFrame) -> pl.DataFrame:
    """Fill `title` from brand and kind, or item_id, and add `stands_in`."""
    has_none = pl.col("title").is_null()
    brand, kind = (pl.when(has_none).then(name) for name in ("brand", "kind"))  # a null costs nothing below
    says_brand, says_kind = brand.is_null() | _is_said(brand, by=kind), kind.is_null() | _is_said(kind, by=brand)
    name = pl.when(says_brand).then(kind).when(says_kind).then(brand).otherwise(brand + " " + kind)
    what = (
        pl.when(brand.is_null() & kind.is_null())
        .then(pl.lit("the item id"))
        .when(says_brand)
        .then(pl.lit("the category"))
        .when(says_kind)
        .then(pl.lit("the brand"))
        .otherwise(pl.lit("brand and category"))
    )
    return named.with_columns(title=pl.coalesce("title", name, "item_id"), stands_in=pl.when(has_none).then(what))


def _is_said(words: pl.Expr, *, by: pl.Expr) -> pl.Expr:
    """Whether a name holds the words of another, in whatever case."""
    padded, inner = (pl.lit(" ") + text.str.to_lowercase() + pl.lit(" ") for text in (by, words))
    return padded.str.contains(inner, literal=True).fill_null(False)


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
