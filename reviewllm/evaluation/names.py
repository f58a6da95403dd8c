"""What the report calls a model: one name for each pair of base and adapter."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, TypeAdapter

from reviewllm.files import read_json, write_text

Pair = tuple[str, str | None]  # (model, adapter) of a generation; the adapter is None for the bare base


class _Named(BaseModel):
    model: str
    adapter: str | None
    name: str


_FILE = TypeAdapter(list[_Named])


def model_names(pairs: Iterable[Pair]) -> dict[Pair, str]:
    """Name each pair by the last part of its paths or hub names, and by all of them where that would clash.

    The names come in the order of `pairs`, and depend on which pairs are there: name all that are compared in one call.

    >>> model_names([("org/tiny", None), ("org/tiny", "out/adapter")])
    {('org/tiny', None): 'tiny', ('org/tiny', 'out/adapter'): 'tiny + adapter'}
    >>> model_names([("a/tiny", None), ("b/tiny", None)])
    {('a/tiny', None): 'a/tiny', ('b/tiny', None): 'b/tiny'}
    """
    distinct = list(dict.fromkeys(pairs))
    short = {pair: _joined(*(part and (PurePosixPath(part).name or part) for part in pair)) for pair in distinct}
    taken = Counter(short.values())
    return {pair: short[pair] if taken[short[pair]] == 1 else _joined(*pair) for pair in distinct}


def write_names(names: Mapping[Pair, str], path: Path) -> None:
    """Keep the names, in order, for the report: a list of {"model", "adapter", "name"} as JSON."""
    rows = [{"model": model, "adapter": adapter, "name": name} for (model, adapter), name in names.items()]
    write_text(json.dumps(rows, indent=1, ensure_ascii=False), path)


def read_names(path: Path) -> dict[Pair, str]:
    """Read what `write_names` wrote.

    Raises:
        SchemaError: the file cannot be read or is of another form.
    """
    return {(row.model, row.adapter): row.name for row in read_json(path, _FILE)}


def _joined(model: str | None, adapter: str | None) -> str:
    return " + ".join(part for part in (model, adapter) if part)
