"""Raw rows of metadata -> rows of the items table, and the rows that cannot be."""

from __future__ import annotations

from collections import Counter

import polars as pl

from reviewllm.sources.attributes import attributes
from reviewllm.sources.formats import ATTRIBUTE_FIELDS, ITEM_FIELDS
from reviewllm.sources.interactions import NO_ITEM
from reviewllm.sources.text import clean_names
from reviewllm.texts import are_blank

_PRICE = r"^\s*(?:\p{Sc}|USD)?\s*([0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?)\s*$"


def parse_items(raw: pl.DataFrame, noted: Counter[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Parse raw text into (good rows, bad rows).

    Reads `line` and, as text, the columns of the items table and the `formats.ATTRIBUTE_FIELDS`, of which all but
    `item_id` may be absent. The good rows have `line` and every column of the items table; the bad rows have `line`
    and `reason`. What happened to names and attributes that could not be taken as they stood is added to `noted`.
    """
    absent = [name for name in ITEM_FIELDS if name not in raw.columns]
    raw = raw.with_columns(pl.lit(None, pl.String).alias(name) for name in absent)
    is_blank = are_blank(raw["item_id"])
    rows = raw.filter(~is_blank)
    brand = clean_names(rows["brand"], noted)
    cells = {name: rows[name] for name in ("attributes", *ATTRIBUTE_FIELDS) if name in rows.columns}
    rows = rows.select(
        "line",
        "item_id",
        clean_names(rows["title"], noted),
        brand,
        clean_names(rows["category"], noted),
        parse_price(rows["price"]),
        attributes({"brand": brand, **cells}, noted),
    )
    return rows, raw.filter(is_blank).select("line", pl.lit(NO_ITEM).alias("reason"))


def parse_price(texts: pl.Series) -> pl.Series:
    """Read prices such as '$1,299.00' or '9.99'; null where there is none or more than one (a range).

    >>> parse_price(pl.Series(["$1,299.00", "", "$5 - $9"])).to_list()
    [1299.0, None, None]
    """
    return texts.str.extract(_PRICE, 1).str.replace_all(",", "", literal=True).cast(pl.Float64)
