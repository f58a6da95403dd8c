"""The exact judge: nothing invented in the shop's own reviews, every wrong value found."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from reviewllm.attributes.values import Value, read_attributes
from reviewllm.sources.ingest import ingest
from reviewllm.sources.shop import ShopConfig, write_shop
from reviewllm.sources.shop_facts import invented_facts
from reviewllm.table_files import read_table
from reviewllm.tables import INTERACTIONS, ITEMS

KETTLE: dict[str, Value] = {
    "brand": "Corvo",
    "color": "red",
    "material": "steel",
    "product_type": "tea kettle",
    "weight": {"value": 1.2, "unit": "kg"},
    "capacity": {"value": 2, "unit": "l"},
    "dishwasher_safe": False,
    "warranty": {"value": 1, "unit": "year"},
}


@pytest.mark.parametrize(
    ("review", "invented"),
    [
        ("What a find! The price of the kettle is quite good. For a Corvo it is just good. Go for it.", []),
        ("It weighs 1.2 kg, it holds 2 l. The warranty of 1 year is good. It is not dishwasher safe, quite good.", []),
        ("the red colour is good. the steel lid is good.", []),
        ("Colour and steel and 5 stars, it has shrunk; I shrugged.", []),
        ("The blue colour is good. The blue lid too.", ["color blue"]),
        ("For a fenwick it is fine. The bamboo lid of the bowl.", ["brand fenwick", "material bamboo", "product_type bowl"]),
        ("It weighs 2 l.", ["weight 2 l"]),
        ("It weighs 1.3 kg. At 1.2 kg it is fine.", ["weight 1.3 kg", "length 1.2 kg"]),
        ("2 l are enough, 3 l would be better, 30 cm too.", ["quantity 3 l", "quantity 30 cm"]),
        ("The warranty of 2 years is good.", ["warranty 2 years"]),
        ("It is dishwasher safe, waterproof and not waterproof.", ["dishwasher safe", "waterproof", "not waterproof"]),
        ("", []),
    ],
)
def test_invented_facts(review: str, invented: list[str]) -> None:
    assert invented_facts(review, KETTLE) == invented


def test_invented_facts_of_the_shops_own_reviews_are_none_and_those_of_other_items_many(tmp_path: Path) -> None:
    reviews, items = write_shop(tmp_path / "raw", ShopConfig(shop_users=60, shop_items=60, shop_facts=0.8))
    ingest(reviews=[reviews], items=[items], out=tmp_path / "out", max_rejected_fraction=0.1)
    read = pl.DataFrame(read_table(tmp_path / "out" / "items", ITEMS))
    attributes = {item: read_attributes(text) for item, text in read.select("item_id", "attributes").iter_rows()}
    assert all({"weight", "warranty", "product_type"} <= set(one) for one in attributes.values())
    assert all(isinstance(one["weight"], dict) and isinstance(one["warranty"], dict) for one in attributes.values())
    assert {name for one in attributes.values() for name in one} >= {"length", "capacity", "waterproof", "dishwasher_safe"}
    bought = pl.DataFrame(read_table(tmp_path / "out" / "interactions", INTERACTIONS)).drop_nulls("review")
    rows = bought.select("item_id", "review").rows()
    assert [review for item, review in rows if invented_facts(review, attributes[item])] == []
    others = dict(zip(attributes, [*list(attributes)[1:], next(iter(attributes))], strict=True))
    wrong = [review for item, review in rows if invented_facts(review, attributes[others[item]])]
    assert len(wrong) / len(rows) > 0.8
    texts = " ".join(review for _, review in rows).lower()
    phrases = ("weighs", "holds", "at ", "warranty of", "waterproof", "not dishwasher safe", "colour is", "for a corvo")
    assert all(phrase in texts for phrase in phrases)
