"""Which purchase a row is of, and which of the rows of a purchase stays.

A purchase is the source's own purchase_id; where there is none it is who, what and when. Rating and review are its state,
which may change from one export to the next. Two rows of one file with the same user, item and time are two purchases, the
first and the second of the file; the same row in two files is one purchase with two states.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import polars as pl

ID_RULE = 2  # of the ids that are made here; raise it where a purchase would get another one
MADE_ID = r"^[0-9a-f]{32}-[0-9]+$"
EARLIER_ID = r"^[0-9a-f]{32}$"  # of rule 1, which hashed rating and review too; a source's own id may look so as well

_WHO_WHAT_WHEN = ("user_id", "item_id", "purchased_at")
_STATE = ("rating", "review")
_ID_STEM = 33  # characters of a made id before its number


class OneEach(NamedTuple):
    """Purchases as one row each; `conflicts` are rows whose purchase_id an earlier row has for another user, item or time.

    Of the other rows that went, `changed` gave another state of their purchase; the rest were repeats.
    """

    kept: pl.DataFrame
    conflicts: pl.DataFrame
    changed: int


def fill_ids(rows: pl.DataFrame) -> pl.DataFrame:
    """Give a purchase_id to each row that has none (null), and say in `has_own_id` which had one.

    Reads purchase_id, user_id, item_id and purchased_at. What is made is a hash of user, item and time in 32 hex digits, and
    '-1': equal on every machine and with every version of the libraries (polars' own hash is not), so it can be published.
    Rating and review are not in it, since they may come later.
    """
    missing = rows["purchase_id"].is_null()
    parts = rows.filter(missing).select(
        pl.concat_str(
            pl.col("purchased_at").dt.epoch("us"),
            pl.col("user_id").str.len_bytes(),  # keeps ('ab', 'c') apart from ('a', 'bc')
            pl.col("user_id") + pl.col("item_id"),
            separator=" ",
        )
    )
    # The one loop over rows: about a second for a million of them.
    made = [f"{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}-1" for text in parts.to_series().to_list()]
    ids = rows["purchase_id"].scatter(missing.arg_true(), pl.Series(made, dtype=pl.String))
    return rows.with_columns(ids, has_own_id=~missing)


def one_row_each(rows: pl.DataFrame) -> OneEach:
    """Keep of each purchase the newest row with a review, or where none has one the newest.

    Reads what `fill_ids` gives and `file`, a number: rows stand in the order of the files and, within one, of its lines, and a
    later one is newer. Where a file without own ids holds the same user, item and time more than once, the ids end in '-1',
    '-2' and so on in its order; of rows that are equal in rating and review too only the first is a purchase.
    """
    repeated = rows["purchase_id"].is_duplicated()
    if not repeated.any():
        return OneEach(rows, rows.clear(), 0)
    alone, several = rows.filter(~repeated), rows.filter(repeated)
    differs = [pl.col(name) != pl.col(name).first().over("purchase_id") for name in _WHO_WHAT_WHEN]
    conflicts = several.filter(pl.any_horizontal(differs))
    states = _number_ties(several.filter(~pl.any_horizontal(differs)))
    in_order = states.sort(pl.col("review").is_not_null(), maintain_order=True)
    newest = in_order.unique("purchase_id", keep="last", maintain_order=True)
    purchases = newest.filter(~pl.col("is_copy")).sort("number", maintain_order=True)
    kept = purchases.unique(["shared_id", *_STATE], keep="first", maintain_order=True)
    is_other = [pl.col(name).ne_missing(pl.col(name).last().over("purchase_id")) for name in _STATE]
    changed = in_order.select(pl.any_horizontal(is_other).sum()).item()
    return OneEach(pl.concat([alone, kept.select(alone.columns)]), conflicts, changed)


def _number_ties(rows: pl.DataFrame) -> pl.DataFrame:
    """Number the rows of one file that share a made id; adds `shared_id`, `number` and `is_copy` (of an earlier one of these).

    A copy has a number too, so that the rows behind it keep theirs when it gets a review of its own.
    """
    place = pl.int_range(1, pl.len() + 1).over("purchase_id", "file")
    is_first = pl.struct("purchase_id", "file", *_STATE).is_first_distinct()
    numbered = rows.with_columns(
        shared_id="purchase_id",
        number=pl.when("has_own_id").then(1).otherwise(place),
        is_copy=~is_first & ~pl.col("has_own_id"),
    )
    made = pl.format("{}{}", pl.col("purchase_id").str.slice(0, _ID_STEM), "number")
    return numbered.with_columns(purchase_id=pl.when("has_own_id").then("purchase_id").otherwise(made))


def made_by_earlier_rule(examples: pl.DataFrame) -> bool:
    """Whether an id of the examples was made by rule 1; reads example_id, user_id, item_id, rating, purchased_at, reference."""
    rows = examples.filter(pl.col("example_id").str.contains(EARLIER_ID))
    parts = rows.select(
        pl.concat_str(
            pl.col("purchased_at").dt.epoch("us"),
            (pl.col("rating") * 1_000_000).round().cast(pl.Int64),
            pl.col("user_id").str.len_bytes(),
            pl.col("item_id").str.len_bytes(),
            pl.col("user_id") + pl.col("item_id") + pl.col("reference").fill_null(""),
            separator=" ",
        )
    ).to_series()
    pairs = zip(rows["example_id"].to_list(), parts.to_list(), strict=True)
    return any(hashlib.blake2b(text.encode(), digest_size=16).hexdigest() == name for name, text in pairs)
