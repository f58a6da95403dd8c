"""Products and items as rows of the examples table: one row type goes through training, evaluation and filling.

example_id, item_id, user_id  the product's or item's id: each is drawn, held out and shuffled by itself
attributes                    {"description": [...], "wanted": [...]}: what a prompt shows beside title and category
reference                     the answer as JSON, in the order of the schema; null where none is known
history, rating               empty and 0: nobody has bought it
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from reviewllm.extraction.answers import shown
from reviewllm.extraction.benchmarks import Product
from reviewllm.extraction.schemas import Attributes, Schemas, attributes_of
from reviewllm.table_files import read_table
from reviewllm.tables import EXAMPLES, PRODUCTS

WANTED = "wanted"
DESCRIPTION = "description"
_NO_TIME = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MAX_CHARS = 20_000  # of a description: no prompt has room for more


def example_row(
    product: Product, attributes: Attributes, *, split: str, answer: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """A product as a row of the examples table; `answer` is what a model is to learn to give."""
    shown: dict[str, list[str]] = {DESCRIPTION: [product.description[:_MAX_CHARS]]} if product.description else {}
    return {
        "example_id": product.product_id,
        "user_id": product.product_id,
        "item_id": product.product_id,
        "category": product.category,
        "rating": 0.0,
        "title": product.title,
        "attributes": json.dumps({**shown, WANTED: list(attributes)}, ensure_ascii=False),
        "purchased_at": _NO_TIME,
        "history": [],
        "reference": None if answer is None else answer_text(answer, attributes),
        "split": split,
    }


def answer_text(answer: Mapping[str, str], attributes: Attributes) -> str:
    """An answer as a model is to write it: compact, in the order of the schema, absent attributes left out.

    >>> answer_text({"size": "10 D US", "brand": "Diesel"}, {"brand": ..., "color": ..., "size": ...})
    '{"brand":"Diesel","size":"10 D US"}'
    """
    return json.dumps(
        {name: answer[name] for name in attributes if name in answer}, ensure_ascii=False, separators=(",", ":")
    )


def training_examples(products: Sequence[Product], schemas: Schemas) -> pa.Table:
    """Products with their values as the label: of several that people accept, the one that is commonest in training.

    A product without any value teaches to find none, and stays.
    """
    common: Counter[tuple[str, str, str]] = Counter()
    for product in products:
        common.update((product.category, name, value) for name, several in product.values.items() for value in several)
    rows = []
    for product in products:
        answer = {
            name: shown(max(several, key=lambda value: common[product.category, name, value]))
            for name, several in product.values.items()
            if several
        }
        rows.append(example_row(product, attributes_of(schemas, product.category) or {}, split="train", answer=answer))
    return pa.Table.from_pylist(rows, schema=EXAMPLES.schema)


def asked_examples(products: Iterable[Product], schemas: Schemas, *, split: str) -> pa.Table:
    """Products without labels, by category, so that prompts which begin alike follow each other."""
    ordered = sorted(products, key=lambda product: product.category)
    rows = [example_row(product, attributes_of(schemas, product.category) or {}, split=split) for product in ordered]
    return pa.Table.from_pylist(rows, schema=EXAMPLES.schema)


def product_table(products: Iterable[Product], *, split: str) -> pa.Table:
    """Products as rows of the products table."""
    rows = [
        {**product._asdict(), "split": split, "values": json.dumps(product.values, ensure_ascii=False)}
        for product in products
    ]
    return pa.Table.from_pylist(rows, schema=PRODUCTS.schema)


def read_products(folder: Path) -> list[Product]:
    """The products of a folder.

    Raises:
        SchemaError: it has none, or they do not fit the table.
    """
    rows = read_table(folder, PRODUCTS).drop_columns(["split"]).to_pylist()
    return [
        Product(**{**row, "values": {name: tuple(several) for name, several in json.loads(row["values"]).items()}})
        for row in rows
    ]
