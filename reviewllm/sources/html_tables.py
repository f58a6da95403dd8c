"""HTML tables of two columns, as older metadata keeps technical details: rows -> names and values."""

from __future__ import annotations

import re
from typing import Any

# No sign of one tag can begin another, so the time is linear in the text, whatever it holds.
_TAG = re.compile(r"<(/?)(table|tr|th|td)\b[^<>]*>", re.IGNORECASE)
_HAS_ROW = re.compile(r"<tr\b", re.IGNORECASE)
_TAGS = re.compile(r"<[^<>]*>|&nbsp;")


def table_rows(text: str) -> list[Any] | None:
    """Read the rows of the tables in a text as {"name", "value"}, markup within the cells left in; None without a table.

    Text outside of rows of two cells follows as it is, so that nothing is lost.

    >>> table_rows("<table><tr><th>Item Weight</th><td>2 <b>kg</b></td></tr></table>")
    [{'name': 'Item Weight', 'value': '2 <b>kg</b>'}]
    """
    if not _HAS_ROW.search(text):
        return None
    rows: list[Any] = []
    others: list[str] = []
    cells: list[str] = []
    is_within = False  # a cell
    before, *parts = _TAG.split(text)
    others.append(before)
    for end, tag, content in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if tag.lower() in ("tr", "table"):
            _close(cells, rows, others)
            cells, is_within = [], False
        else:
            is_within = not end
            if is_within:
                cells.append("")
        if is_within:
            cells[-1] += content
        else:
            others.append(content)
    _close(cells, rows, others)
    return [*rows, *(other for other in others if _TAGS.sub("", other).strip())]


def _close(cells: list[str], rows: list[Any], others: list[str]) -> None:
    if len(cells) > 1:
        rows.append({"name": cells[0], "value": cells[1] if len(cells) == 2 else cells[1:]})
    else:
        others.extend(cells)
