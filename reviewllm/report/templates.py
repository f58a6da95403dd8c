"""Templates -> pages in which whatever a text holds stays text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

if TYPE_CHECKING:
    from reviewllm.report.content import Doubt

# What HTML forbids or shows as nothing: control characters other than tab and line ends.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def page_environment(*folders: Path) -> Environment:
    """Templates of these folders, for pages in which every text is escaped and control characters become U+FFFD."""
    environment = Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = _count
    environment.filters["pieces"] = pieces
    return environment


def visible(text: str) -> str:
    """Replace control characters by U+FFFD."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def pieces(text: str, doubts: Sequence[Doubt]) -> Iterator[tuple[str, Doubt | None]]:
    """Yield a text in pieces, those that are a doubted claim with their doubt: whole, in order, nothing added."""
    end = 0
    for doubt in doubts:
        if doubt.start > end:
            yield text[end : doubt.start], None
        yield text[doubt.start : doubt.end], doubt
        end = doubt.end
    if end < len(text):
        yield text[end:], None


def _finalized(value: object) -> object:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"
