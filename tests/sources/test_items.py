"""Raw metadata -> items."""

from __future__ import annotations

from collections import Counter

import polars as pl
import pytest

from reviewllm.sources.items import parse_items, parse_price
from reviewllm.sources.text import PICTURES

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("$9.99", 9.99),
        ("9.99", 9.99),
        ("24", 24.0),
        ("$1,299.00", 1299.0),
        ("1,234,567", 1234567.0),
        (" € 5.5 ", 5.5),
        ("USD 7", 7.0),
        ("", None),
        ("9,99", None),
        ("$5.00 - $9.00", None),
        ("from 5", None),
        ("-3", None),
        (".a-box{color:#fff}", None),
        ("NaN", None),
        ("true", None),
        (None, None),
    ],
)
def test_parse_price_of_one_text(text: str | None, price: float | None) -> None:
    assert parse_price(pl.Series([text], dtype=pl.String)).to_list() == [price]


def test_parse_items_cleans_every_column() -> None:
    raw = pl.DataFrame(
        {
            "item_id": ["I1"],
            "title": ['Red <b>Guitar</b> <span class="a-size'],
            "brand": ["Fender &amp; Sons"],
            "category": ['<img src="x.png" alt="Fashion"/>'],
            "price": ["$9.99"],
            "features": ['["Loud"]'],
            "line": [7],
        }
    )
    noted: Counter[str] = Counter()
    good, bad = parse_items(raw, noted)
    assert +noted == {PICTURES: 1}
    attributes = '{"brand": "Fender & Sons", "features": ["Loud"]}'
    assert good.rows() == [(7, "I1", "Red Guitar", "Fender & Sons", "Fashion", 9.99, attributes)]
    assert bad.is_empty()


def test_parse_items_without_an_id_is_rejected() -> None:
    good, bad = parse_items(pl.DataFrame({"item_id": ["I1", " ", None, "\u2060"], "line": [1, 2, 3, 4]}), Counter())
    assert good.rows() == [(1, "I1", None, None, None, None, None)]
    assert bad.rows() == [(line, "item id missing") for line in (2, 3, 4)]
