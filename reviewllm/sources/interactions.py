"""Raw rows of reviews and purchases -> rows of the interactions table, and the rows that cannot be."""

from __future__ import annotations

from collections import Counter

import polars as pl

from reviewllm.sources.formats import INTERACTION_FIELDS
from reviewllm.sources.identity import fill_ids
from reviewllm.sources.text import clean, clean_names
from reviewllm.texts import are_blank

NO_USER = "user id missing"
NO_ITEM = "item id missing"
NO_RATING = "rating missing"
RATING_NOT_A_NUMBER = "rating is not a number"
RATING_OUT_OF_RANGE = "rating outside 1 to 5"
NO_TIME = "time stamp missing"
BAD_TIME = "time stamp unreadable, or before 1990 or after 2100"
PURCHASE_ID_CONFLICT = "purchase_id repeats with another user, item or time"

_TIMESTAMP = pl.Datetime("us", "UTC")
_START_S = 631_152_000  # 1990-01-01, in seconds since 1970
_END_S = 4_133_980_800  # 2101-01-01
_ISO = (
    r"^\s*(?P<day>\d{4}-\d{2}-\d{2})"
    r"(?:[ T](?P<minute>\d{2}:\d{2})(?P<second>:\d{2}(?:\.\d+)?)?\s*(?:Z|UTC|(?P<zone>[+-]\d{2}(?::?\d{2})?))?)?\s*$"
)


def parse_interactions(raw: pl.DataFrame, noted: Counter[str], *, file_category: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Parse raw text into (good rows, bad rows).

    Reads `line` and, as text, the columns of the interactions table; `purchase_id`, `category` and `review` may be
    absent. The good rows have `line`, every column of the table, and `has_own_id`: whether the purchase_id is the source's,
    or was made by `fill_ids`. `category` is `file_category` where the row has none. The bad rows have `line` and `reason`. What
    was cut out of texts is added to `noted`.
    """
    absent = [name for name in ("purchase_id", "category", "review") if name not in raw.columns]
    raw = raw.with_columns(pl.lit(None, pl.String).alias(name) for name in absent)
    rating, time = parse_rating(raw["rating"]), parse_time(raw["purchased_at"])
    reasons = raw.select(_reason(rating, time)).to_series()
    rows = raw.with_columns(rating, time).filter(reasons.is_null())
    category = clean_names(rows["category"], noted).fill_null(file_category)
    rows = rows.with_columns(clean(rows["review"], noted), category)
    rows = fill_ids(rows.with_columns(pl.when(~are_blank(pl.col("purchase_id"))).then("purchase_id")))
    rows = rows.select("line", "has_own_id", *INTERACTION_FIELDS)  # in one order, whatever the format's was
    return rows, raw.select("line", reasons).filter(reasons.is_not_null())


def parse_rating(texts: pl.Series) -> pl.Series:
    """Read numbers from text; null where there is no finite one (a truth value is none)."""
    numbers = texts.str.strip_chars().cast(pl.Float64, strict=False)
    return numbers.set(~numbers.is_finite(), None)


def parse_time(texts: pl.Series) -> pl.Series:
    """Read time stamps (UTC, microseconds) from text; null where unreadable or outside the years 1990 to 2100.

    An epoch in seconds, milliseconds or microseconds is told by its size: within those years the three do not overlap.
    ISO 8601 may lack the time of day or the zone (then it is UTC).

    >>> parse_time(pl.Series(["1393545600", "1393545600000", "2014-02-28"])).dt.to_string("%Y-%m-%d").to_list()
    ['2014-02-28', '2014-02-28', '2014-02-28']
    """
    numbers = parse_rating(texts)
    iso = (numbers.is_null() & texts.is_not_null()).arg_true()
    if not iso.is_empty():
        numbers = numbers.scatter(iso, _iso_to_epoch_us(texts.gather(iso)))
    return _epoch_to_time(numbers).alias(texts.name)


def _epoch_to_time(numbers: pl.Series) -> pl.Series:
    epoch = pl.col("epoch")
    units = (
        pl.when(epoch.is_between(_START_S * per_s, _END_S * per_s, closed="left")).then(epoch * (1_000_000 // per_s))
        for per_s in (1, 1_000, 1_000_000)
    )
    # A float holds every whole microsecond up to the year 2255.
    microseconds = pl.coalesce(*units).round().cast(pl.Int64)
    return numbers.alias("epoch").to_frame().select(microseconds.cast(_TIMESTAMP)).to_series()


def _iso_to_epoch_us(texts: pl.Series) -> pl.Series:
    part = pl.col("text").str.extract_groups(_ISO).struct.field
    iso = pl.format(
        "{}T{}{}{}",
        part("day"),
        part("minute").fill_null("00:00"),
        part("second").fill_null(":00"),
        part("zone").fill_null("+00:00"),
    )
    time = iso.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", time_zone="UTC", strict=False)
    return texts.alias("text").to_frame().select(time.dt.epoch("us").cast(pl.Float64)).to_series()


def _reason(rating: pl.Series, time: pl.Series) -> pl.Expr:
    """The first thing wrong with a raw row, or null."""
    checks = (
        (are_blank(pl.col("user_id")), NO_USER),
        (are_blank(pl.col("item_id")), NO_ITEM),
        (are_blank(pl.col("rating")), NO_RATING),
        (pl.lit(rating.is_null()), RATING_NOT_A_NUMBER),
        (pl.lit(~rating.is_between(1, 5)), RATING_OUT_OF_RANGE),
        (are_blank(pl.col("purchased_at")), NO_TIME),
        (pl.lit(time.is_null()), BAD_TIME),
    )
    return pl.coalesce(*(pl.when(check).then(pl.lit(reason)) for check, reason in checks)).alias("reason")
