"""Product attributes from metadata: the cells of an item -> one flat JSON object in text."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import polars as pl

from reviewllm.attributes.normalise import normalise
from reviewllm.attributes.salience import FREE_TEXT
from reviewllm.attributes.values import write_attributes
from reviewllm.sources.html_tables import table_rows
from reviewllm.sources.text import clean

# Specifications nest three deep; what lies below this is no specification, and Python's own stack is finite.
_MAX_DEPTH = 12
_MARKUP = re.compile(r"[<&]|\\u00")  # JSON may write '<' as \u003c
_DECODER = json.JSONDecoder(strict=False)


def attributes(cells: Mapping[str, pl.Series], noted: Counter[str]) -> pl.Series:
    """Join metadata columns into the attributes of each row, with clean text; null where every cell is empty.

    `cells` are columns of text by attribute name, in the order in which the attributes are to stand; a text that is a JSON
    list or object is read as such, and so are HTML tables of two columns. Members of the cells named in
    `attributes.names.CONTAINERS` ('attributes', 'details', 'tech1') stand at the top. What could not be taken as it stood
    is added to `noted`.

    >>> cells = {"features": pl.Series(['["<b>Loud</b>", ""]', "[]"]), "details": pl.Series(['{"Item Weight": "2 kg"}', None])}
    >>> attributes(cells, Counter()).to_list()
    ['{"features": ["Loud"], "weight": {"value": 2, "unit": "kg"}}', None]
    """
    names = list(cells)
    columns = [column.to_list() for column in cells.values()]
    rows = [{name: text for name, text in zip(names, row, strict=True) if text} for row in zip(*columns, strict=True)]
    records = [{name: _read(name, text) for name, text in row.items()} for row in rows]
    marked_up = [(at, name) for at, row in enumerate(rows) for name, text in row.items() if _MARKUP.search(text)]
    dirty: dict[str, None] = {}
    for at, name in marked_up:
        _collect(records[at][name], dirty)
    cleaned = dict(zip(dirty, clean(pl.Series(list(dirty), dtype=pl.String), noted).to_list(), strict=True))
    for at, name in marked_up:
        records[at][name] = _rebuild(records[at][name], cleaned)
    return pl.Series("attributes", [_to_text(record, noted) for record in records], dtype=pl.String)


def _to_text(record: dict[str, Any], noted: Counter[str]) -> str | None:
    found, counts = normalise(record)
    if counts:
        noted.update(counts)
    return write_attributes(found)


def _read(name: str, text: str) -> Any:
    """Read a JSON list or object, or an HTML table; any other text stands for itself.

    polars writes a nested value without escaping the quotes in its keys, so rare cells of objects are not quite JSON;
    they stay text, and nothing is lost.
    """
    value: Any = text
    if text.lstrip().startswith(("[", "{")):
        try:
            value = _DECODER.decode(text.lstrip())
        except (ValueError, RecursionError):
            return text
    has_table = name not in FREE_TEXT and ("<t" in text or "<T" in text)
    return _with_tables(value) if has_table else value


def _with_tables(value: Any, depth: int = 0) -> Any:
    if isinstance(value, str):
        return table_rows(value) or value
    if depth >= _MAX_DEPTH:
        return value
    if isinstance(value, dict):
        return {key: _with_tables(inner, depth + 1) for key, inner in value.items()}
    return [_with_tables(inner, depth + 1) for inner in value] if isinstance(value, list) else value


def _collect(value: Any, into: dict[str, None], depth: int = 0) -> None:
    """Add every string within a value, keys included, that may hold markup; the others need no cleaning."""
    if isinstance(value, str):
        if "<" in value or "&" in value:
            into[_whole(value)] = None
    elif depth < _MAX_DEPTH and isinstance(value, dict | list):
        for inner in (part for pair in value.items() for part in pair) if isinstance(value, dict) else value:
            _collect(inner, into, depth + 1)


def _rebuild(value: Any, cleaned: Mapping[str, str | None], depth: int = 0) -> Any:
    """Put clean strings in place of a value's own."""
    if isinstance(value, str):
        return cleaned.get(_whole(value)) if "<" in value or "&" in value else value
    if depth >= _MAX_DEPTH:
        return value
    if isinstance(value, dict):
        return {_rebuild(key, cleaned) or "": _rebuild(inner, cleaned, depth + 1) for key, inner in value.items()}
    return [_rebuild(inner, cleaned, depth + 1) for inner in value] if isinstance(value, list) else value


def _whole(text: str) -> str:
    """A text without half surrogate pairs, which fit in no file and no column."""
    return text.encode("utf-8", "ignore").decode("utf-8")
