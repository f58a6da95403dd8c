"""Items -> the same items with the attributes that their titles and descriptions state.

What the source has stays as it is; a model only adds what is missing. Which values were added, and whether their words stand in
the item's own text, is in the side table `filled`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from reviewllm.attributes.normalise import normalise
from reviewllm.attributes.serialise import value_text
from reviewllm.attributes.values import Attributes, Value, read_attributes, write_attributes
from reviewllm.errors import AttributesError
from reviewllm.extraction.answers import Answer, read_answer
from reviewllm.extraction.benchmarks import Product, one_line
from reviewllm.extraction.candidates import stands_in
from reviewllm.extraction.examples import DESCRIPTION
from reviewllm.extraction.results import unreadable_rows
from reviewllm.extraction.schemas import Schemas, attributes_of
from reviewllm.tables import FILLED, ITEMS, UNREADABLE

NO_TITLE = "without a title"
NO_SCHEMA = "of a category without a schema"
COMPLETE = "have all attributes already"
WRONG = "with attributes that cannot be read"
ASKED = "asked"
UNREAD = "answers unreadable"
NOT_IN_TEXT = "values not in the text"
DROPPED = "values outside the schema"

_TEXTS = ("features", DESCRIPTION)  # what an item says about itself, beside its title


class Filled(NamedTuple):
    """A file of items with what was missing, the added values, and the answers that could not be read."""

    items: pa.Table
    filled: pa.Table
    unreadable: pa.Table


def items_to_ask(items: pa.Table, schemas: Schemas, counts: Counter[str]) -> Iterator[Product]:
    """The items that lack an attribute of their category's schema, as products without values; others are counted.

    Reads item_id, title, brand, category and attributes.
    """
    for row in items.select(["item_id", "title", "brand", "category", "attributes"]).to_pylist():
        attributes = attributes_of(schemas, row["category"])
        known = _known(row)
        if row["title"] is None:
            counts[NO_TITLE] += 1
        elif attributes is None:
            counts[NO_SCHEMA] += 1
        elif known is None:
            counts[WRONG] += 1
        elif all(name in known for name in attributes):
            counts[COMPLETE] += 1
        else:
            counts[ASKED] += 1
            yield Product(row["item_id"], row["category"] or "", row["title"], _description(known), {})


def fill_items(
    items: pa.Table, answers: Sequence[Mapping[str, Any]], schemas: Schemas, counts: Counter[str], *, only_in_text: bool
) -> Filled:
    """Add the values of the answers to their items; an item without a readable answer stays as it is.

    Args:
        answers: rows of generations, whose `example_id` is an item's.
        counts: gets what happened.
        only_in_text: leave out values whose words do not stand in title or description.
    """
    by_item = {row["example_id"]: row for row in answers}
    rows, filled = [], []
    read: list[tuple[dict[str, Any], Answer]] = []
    for item in items.to_pylist():
        row = by_item.get(item["item_id"])
        if row is not None:
            answer = read_answer(row["review"], attributes_of(schemas, item["category"]) or {})
            read.append((dict(row), answer))
            counts[DROPPED] += answer.dropped
            added = _added(item, answer, counts, only_in_text=only_in_text)
            filled += [_filled_row(item, name, value, in_text, row) for name, (value, in_text) in added.items()]
            if added:
                values = {name: value for name, (value, _) in added.items()}
                item["attributes"] = write_attributes({**read_attributes(item["attributes"]), **values})
        rows.append(item)
    unreadable = unreadable_rows(read)
    counts[UNREAD] += len(unreadable)
    return Filled(
        pa.Table.from_pylist(rows, schema=ITEMS.schema),
        pa.Table.from_pylist(filled, schema=FILLED.schema),
        pa.Table.from_pylist(unreadable, schema=UNREADABLE.schema),
    )


def _added(
    item: Mapping[str, Any], answer: Answer, counts: Counter[str], *, only_in_text: bool
) -> dict[str, tuple[Value, bool]]:
    """What the answer adds to the item: normalised values, and whether each stands in the text."""
    known = _known(item)
    if known is None:
        return {}
    text = f"{item['title'] or ''} \n {_description(known) or ''}"
    added = {}
    for name, found in answer.values.items():
        in_text = stands_in(found, text)
        counts[NOT_IN_TEXT] += not in_text
        if only_in_text and not in_text:
            continue
        for spelled, value in normalise({name: found}).attributes.items():
            if spelled not in known:
                added[spelled] = value, in_text
    return added


def _filled_row(item: Mapping[str, Any], name: str, value: Value, in_text: bool, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "item_id": item["item_id"],
        "attribute": name,
        "value": json.dumps(value, ensure_ascii=False),
        "in_text": in_text,
        "model": row["model"],
        "adapter": row["adapter"],
        "fingerprint": row["fingerprint"],
    }


def _known(item: Mapping[str, Any]) -> Attributes | None:
    """The attributes of the source, its brand among them; None where they cannot be read."""
    brand: Attributes = {"brand": item["brand"]} if item["brand"] else {}
    try:
        return brand | read_attributes(item["attributes"])
    except AttributesError:
        return None


def _description(known: Attributes) -> str | None:
    return one_line(" ".join(value_text(known[name]) for name in _TEXTS if name in known)) or None
