"""Product attributes from metadata, as a JSON object in text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from reviewllm.sources.text import clean

# Specifications nest three deep; what lies below this is no specification, and Python's own stack is finite.
_MAX_DEPTH = 12


def attributes(cells: Mapping[str, pl.Series]) -> pl.Series:
    """Join metadata columns into one JSON object a row, with clean text; null where every cell is empty.

    `cells` are columns of text by attribute name; a text that is a JSON list or object is read as such. The cell
    named 'attributes', if any, is an object already and its members stand at the top.

    >>> attributes({"features": pl.Series(['["<b>Loud</b>", ""]', "[]"]), "details": pl.Series(["{}", None])}).to_list()
    ['{"features": ["Loud"]}', None]
    """
    names = list(cells)
    records = [_record(dict(zip(names, row, strict=True))) for row in zip(*cells.values(), strict=True)]
    dirty = [text for record in records for text in _texts(record)]
    cleaned = iter(clean(pl.Series(dirty, dtype=pl.String)).to_list())
    return pl.Series("attributes", [_to_json(_rebuild(record, cleaned)) for record in records], dtype=pl.String)


def _record(cells: dict[str, str | None]) -> dict[str, Any]:
    record = {name: _read(text) for name, text in cells.items() if text}
    own = record.pop("attributes", {})
    return {**(own if isinstance(own, dict) else {"attributes": own}), **record}


def _read(text: str) -> Any:
    """Read a JSON list or object; any other text stands for itself.

    polars writes a nested value without escaping the quotes in its keys, so rare cells of objects are not quite JSON;
    they stay text, and nothing is lost.
    """
    if not text.lstrip().startswith(("[", "{")):
        return text
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return text


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield every string within a value, keys included, in the order in which `_rebuild` takes them back."""
    if isinstance(value, str):
        yield value.encode("utf-8", "ignore").decode("utf-8")  # half surrogate pairs fit in no file
    elif isinstance(value, list | dict) and depth < _MAX_DEPTH:
        for inner in value if isinstance(value, list) else (part for pair in value.items() for part in pair):
            yield from _texts(inner, depth + 1)


def _rebuild(value: Any, cleaned: Iterator[str | None], depth: int = 0) -> Any:
    """Put clean strings in place of a value's own and leave out what is empty; None where nothing is left."""
    if isinstance(value, str):
        return next(cleaned)
    if isinstance(value, list | dict):
        if depth >= _MAX_DEPTH:
            return None
        if isinstance(value, list):
            return [new for inner in value if (new := _rebuild(inner, cleaned, depth + 1)) is not None] or None
        pairs = [(next(cleaned), _rebuild(inner, cleaned, depth + 1)) for inner in value.values()]
        return {key: inner for key, inner in pairs if key is not None and inner is not None} or None
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _to_json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)
