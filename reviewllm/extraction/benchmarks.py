"""OA-Mine and WDC PAVE: product titles and descriptions with the attribute values that people found in them.

Both are JSON lines (plain or gzipped) with `category` and `target_scores`, an object of attribute -> {value: ...}. OA-Mine
(Zhang et al. 2022) has the title in `input`, values as they stand in it, and leaves absent attributes out. WDC PAVE (Baumann,
Brinkmann and Bizer 2024) has `input_title` and `input_description`, normalised values, several where people accept several,
and "n/a" for an attribute that is not there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from reviewllm.errors import RejectedBudgetError, SourceError
from reviewllm.sources.files import read_lines
from reviewllm.texts import is_blank

NOT_THERE = "n/a"
_MAX_LINE = 4_000_000  # bytes; a product page has a hundred times less
_DESCRIPTION = ("input_description", "description")
_TITLE = ("input", "input_title", "title")


class Product(NamedTuple):
    """One product: `values` has for each attribute that people looked for what they accept; none where it is not there."""

    product_id: str
    category: str
    title: str
    description: str | None
    values: Mapping[str, tuple[str, ...]]


class Rejected(NamedTuple):
    """A line that could not be used."""

    file: str
    line: int
    reason: str


def attribute_name(name: str) -> str:
    """An attribute's name as this project writes names.

    >>> attribute_name("Color(s)"), attribute_name("Size/Weight")
    ('colors', 'size_weight')
    """
    return re.sub(r"[^0-9a-z]+", "_", name.lower().replace("(s)", "s")).strip("_")


def read_benchmark(file: Path, *, max_rejected_fraction: float = 0.01) -> tuple[list[Product], list[Rejected]]:
    """Read the products of a file, in its order, and the lines that are none.

    A product's id is its line's `id`, else `<file>-<line>`.

    Raises:
        SourceError: the file cannot be read, is cut off, or holds no product.
        RejectedBudgetError: more lines than the budget allows are none.
    """
    products: list[Product] = []
    rejected: list[Rejected] = []
    known: set[str] = set()
    for number, line in enumerate(read_lines(file, max_bytes=_MAX_LINE), start=1):
        if not line.strip():
            continue
        try:
            place = f"{file.name.partition('.')[0]}-{number}"
            product = _product(_parse(line), place)
            if product.product_id in known:  # ids of benchmarks are theirs, and a row needs one of its own
                product = product._replace(product_id=f"{product.product_id}-{place}")
            known.add(product.product_id)
            products.append(product)
        except (ValueError, RecursionError) as error:
            rejected.append(Rejected(file.name, number, str(error)))
    if not products:
        why = f"; line {rejected[0].line}: {rejected[0].reason}" if rejected else ""
        raise SourceError(f"{file}: holds no product of OA-Mine's or WDC PAVE's form{why}")
    if len(rejected) > max_rejected_fraction * (len(products) + len(rejected)):
        raise RejectedBudgetError(
            f"{file}: {len(rejected)} of {len(products) + len(rejected)} lines are no products, more than "
            f"--max-rejected-fraction {max_rejected_fraction:g}; line {rejected[0].line}: {rejected[0].reason}"
        )
    return products, rejected


def _parse(line: bytes) -> dict[str, Any]:
    if len(line) > _MAX_LINE:
        raise ValueError(f"the line is longer than {_MAX_LINE} bytes")
    try:
        loaded = json.loads(line)
    except RecursionError:
        raise ValueError("the line nests too deeply") from None
    except ValueError as error:
        raise ValueError(f"the line is not JSON: {error}") from None
    if not isinstance(loaded, dict):
        raise ValueError(f"expected a JSON object, found a {type(loaded).__name__}")
    return loaded


def _product(line: dict[str, Any], fallback: str) -> Product:
    title = _text(line, _TITLE, needed=True)
    category = _text(line, ("category",), needed=True)
    scores = line.get("target_scores")
    if not isinstance(scores, dict):
        raise ValueError("target_scores is missing, or no object of attribute to values")
    values: dict[str, tuple[str, ...]] = {}
    for name, found in scores.items():
        slug = attribute_name(name)
        if not slug or slug in values:
            raise ValueError(f"target_scores: the attribute {name[:80]!r} is blank or there twice")
        if not isinstance(found, dict):
            raise ValueError(f"target_scores: {name[:80]!r} is no object of values")
        values[slug] = tuple(text for value in found if (text := one_line(value)) and text != NOT_THERE)
    return Product(str(line.get("id", fallback)), str(category), str(title), _text(line, _DESCRIPTION), values)


def _text(line: dict[str, Any], names: tuple[str, ...], *, needed: bool = False) -> str | None:
    text = next((line[name] for name in names if line.get(name) is not None), None)
    if text is not None and not isinstance(text, str):
        raise ValueError(f"{' or '.join(names)}: expected text, found a {type(text).__name__}")
    text = one_line(text or "")
    if not is_blank(text):
        return text
    if needed:
        raise ValueError(f"{' or '.join(names)} is missing or blank")
    return None


def one_line(text: str) -> str:
    """Text without line ends, runs of white space, and half surrogate pairs, which fit in no file."""
    return " ".join(text.encode("utf-8", "ignore").decode("utf-8").split())
