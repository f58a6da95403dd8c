"""Answers into items: what the source has stays."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pyarrow as pa

from reviewllm.extraction import fill
from reviewllm.extraction.fill import fill_items, items_to_ask
from reviewllm.extraction.schemas import ValueSchema
from reviewllm.tables import ITEMS

SCHEMAS = {"Shoes": {"brand": ValueSchema(), "color": ValueSchema(), "weight": ValueSchema()}}


def item(item_id: str, title: str | None = "Diesel Sneaker, red", **attributes: Any) -> dict[str, Any]:
    text = json.dumps(attributes) if attributes else None
    return {"item_id": item_id, "title": title, "brand": None, "category": "Shoes", "price": 9.5, "attributes": text}


ITEMS_ = [
    item("bare"),
    item("described", "Sneaker", description=["Weighs 1.2 kg.", "By Diesel"]),
    item("known", color="blue"),
    {**item("branded"), "brand": "Fila"},
    item("complete", brand="a", color="b", weight={"value": 1, "unit": "kg"}),
    item("untitled", None),
    {**item("other"), "category": "Lamps"},
    {**item("broken"), "attributes": "[1]"},
]
TABLE = pa.Table.from_pylist(ITEMS_, schema=ITEMS.schema)


def answer(item_id: str, text: str | None) -> dict[str, Any]:
    return {
        "example_id": item_id,
        "category": "Shoes",
        "review": text,
        "error": None if text else "told to fail",
        "model": "tiny",
        "adapter": None,
        "fingerprint": "f",
    }


def test_items_to_ask_are_those_that_lack_something_and_can_be_asked_of() -> None:
    counts: Counter[str] = Counter()
    asked = list(items_to_ask(TABLE, SCHEMAS, counts))
    assert [(one.product_id, one.description) for one in asked] == [
        ("bare", None),
        ("described", "Weighs 1.2 kg., By Diesel"),
        ("known", None),
        ("branded", None),
    ]
    assert counts == {fill.ASKED: 4, fill.COMPLETE: 1, fill.NO_TITLE: 1, fill.NO_SCHEMA: 1, fill.WRONG: 1}


def filled(*answers: dict[str, Any], only_in_text: bool = True) -> tuple[dict[str, Any], fill.Filled, Counter[str]]:
    counts: Counter[str] = Counter()
    found = fill_items(TABLE, answers, SCHEMAS, counts, only_in_text=only_in_text)
    assert found.items.num_rows == len(ITEMS_)
    read = {row["item_id"]: row["attributes"] and json.loads(row["attributes"]) for row in found.items.to_pylist()}
    return read, found, counts


def test_fill_items_adds_normalised_values_and_keeps_the_source() -> None:
    read, found, counts = filled(
        answer("bare", '{"brand":"Diesel","color":"gold","price":"5"}'),
        answer("described", '{"weight":"1.2 kg"}'),
        answer("known", '{"color":"red","brand":"Diesel"}'),
        answer("branded", '{"brand":"Diesel"}'),
    )
    assert read["bare"] == {"brand": "Diesel"}  # no word of the text says gold
    assert read["described"]["weight"] == {"value": 1.2, "unit": "kg"}
    assert read["described"]["description"] == ["Weighs 1.2 kg.", "By Diesel"]
    assert read["known"] == {"color": "blue", "brand": "Diesel"}
    assert read["branded"] is None  # the source has its brand, in the column of that name
    assert read["broken"] == [1]
    rows = [(row["item_id"], row["attribute"], row["value"], row["in_text"]) for row in found.filled.to_pylist()]
    assert rows == [
        ("bare", "brand", '"Diesel"', True),
        ("described", "weight", '{"value": 1.2, "unit": "kg"}', True),
        ("known", "brand", '"Diesel"', True),
    ]
    assert (counts[fill.NOT_IN_TEXT], counts[fill.DROPPED], counts[fill.UNREAD]) == (1, 1, 0)


def test_fill_items_values_outside_the_text_are_kept_and_marked_on_demand() -> None:
    read, found, _ = filled(answer("bare", '{"color":"gold"}'), only_in_text=False)
    assert read["bare"] == {"color": "gold"}
    assert found.filled["in_text"].to_pylist() == [False]


def test_fill_items_unreadable_answers_are_kept_apart() -> None:
    read, found, counts = filled(answer("bare", '{"brand":"Die'), answer("known", None))
    assert read["bare"] is None
    assert read["known"] == {"color": "blue"}
    (cut, failed) = found.unreadable.to_pylist()
    assert (cut["example_id"], cut["answer"]) == ("bare", '{"brand":"Die')
    assert "is not JSON" in cut["problem"]
    assert (failed["answer"], failed["problem"]) == (None, "told to fail")
    assert counts[fill.UNREAD] == 2
