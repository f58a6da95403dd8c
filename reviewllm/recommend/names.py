"""Items by name: what prompts show, and what is found again in what a model writes.

A name is the item's title as one clean line. Where two items share it, or on demand for all, the shop's id stands before it, as in
the paper: `B000142FVW (Opi Nail Lacquer)`; where there is no title, the id alone. Quotation marks and backslashes are replaced, so
that a name stands in JSON as it is.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field

from reviewllm.config import StageConfig
from reviewllm.errors import SchemaError
from reviewllm.prompts.text import neutralise
from reviewllm.table_files import read_table, table_files
from reviewllm.tables import ITEMS

Ids = Literal["ambiguous", "always"]

_ID_CHARS = 80
_PLAIN = str.maketrans({'"': "''", "\\": "/"})


class NameConfig(StageConfig):
    """How prompts name items: the same in examples, profiles and ranking, or a model is asked for what it never saw."""

    ids: Ids = Field("ambiguous", description="put the item's id before its title: where titles are not unique, or always")
    max_name_chars: int = Field(100, ge=10, le=500, description="longer titles are cut here")


class Names(NamedTuple):
    """The name of every item, the item of every name, and of every `name_key`: each once."""

    names: Mapping[str, str]
    items: Mapping[str, str]
    keys: Mapping[str, str]

    def of(self, item_ids: Iterable[str], *, where: str) -> list[str]:
        """The names of items.

        Raises:
            SchemaError: the items table lacks one; `where` is the table that the message names.
        """
        try:
            return [self.names[item] for item in item_ids]
        except KeyError as error:
            raise SchemaError(
                f"{where}: item {str(error.args[0])[:80]!r} is not in the items table, which names it; make both in one run of "
                "`jobs/recommend.py prepare`, or add the item (its title may be null)"
            ) from None

    def item(self, text: str) -> str | None:
        """The item that a model names, None for none: exactly, or but for case, spaces and punctuation."""
        return self.items.get(text) or self.keys.get(name_key(text))


def read_names(items: Path, *, ids: Ids, max_chars: int) -> Names:
    """The names of all items of an items table.

    Raises:
        SchemaError: it is not there or does not fit, or has an item twice.
    """
    rows = read_table(table_files(items, ITEMS), ITEMS.only(("item_id", "title")))
    item_ids = rows["item_id"].to_pylist()
    twice = next((item for item, count in Counter(item_ids).items() if count > 1), None)
    if twice is not None:
        raise SchemaError(f"{items}: item {twice[:80]!r} stands there twice; expected one row for each item")
    return item_names(item_ids, rows["title"].to_pylist(), ids=ids, max_chars=max_chars)


def item_names(item_ids: Sequence[str], titles: Sequence[str | None], *, ids: Ids, max_chars: int) -> Names:
    """Name items so that no two names differ by case, spaces or punctuation alone.

    Args:
        titles: aligned with the distinct ids; None for no title.
        ids: `always` puts the id before every title, `ambiguous` only where the title alone would not be unique.
        max_chars: longer titles are cut.

    >>> item_names(["a1", "a2", "a3"], ["Lamp", "lamp!", None], ids="ambiguous", max_chars=100).names
    {'a1': 'a1 (Lamp)', 'a2': 'a2 (lamp!)', 'a3': 'a3'}
    """
    clean = [neutralise(title or "", max_chars=max_chars).translate(_PLAIN) for title in titles]
    full = [_with_id(item, title) for item, title in zip(item_ids, clean, strict=True)]
    names = full if ids == "always" else _unless_shared(clean, full)
    if _shared(names):  # as where one item's title is another one's id
        names = _unless_shared(names, full)
    if _shared(names):  # ids that differ in nothing that can be shown
        names = _unless_shared(names, [f"{name} {_digest(item)}" for item, name in zip(item_ids, full, strict=True)])
    return Names(
        dict(zip(item_ids, names, strict=True)),
        dict(zip(names, item_ids, strict=True)),
        dict(zip(map(name_key, names), item_ids, strict=True)),
    )


def name_key(name: str) -> str:
    """A name without case and punctuation, and without what only some characters' form tells apart, as in "m²" and "m2".

    >>> name_key("B01 (Corvo  Desk-Lamp, 12'')")
    'b01 corvo desk lamp 12'
    """
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", name).casefold()))


def _with_id(item_id: str, title: str) -> str:
    shown = neutralise(item_id, max_chars=_ID_CHARS).translate(_PLAIN)
    return f"{shown} ({title})" if title else shown


def _shared(names: Sequence[str]) -> set[str]:
    """The keys that more than one of the names have, or that say nothing."""
    return {key for key, count in Counter(map(name_key, names)).items() if count > 1 or not key}


def _unless_shared(names: Sequence[str], others: Sequence[str]) -> list[str]:
    """The names, with `others` in the place of those that are not unique."""
    shared = _shared(names)
    return [other if name_key(name) in shared else name for name, other in zip(names, others, strict=True)]


def _digest(item_id: str) -> str:
    return hashlib.sha256(item_id.encode()).hexdigest()[:12]
