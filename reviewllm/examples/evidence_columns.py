"""The columns of examples that hold what others wrote, as a configuration asks for them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import TracebackType

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from reviewllm.examples.evidence import Evidence
from reviewllm.examples.protocol import ExamplesConfig
from reviewllm.examples.purchases import label_items
from reviewllm.tables import EVIDENCE_COLUMNS, EVIDENCE_ENTRY

ITEM, NEIGHBOUR = EVIDENCE_COLUMNS["both"]


class EvidenceColumns:
    """What others wrote, from all parts of the interactions, for the targets of each; null in columns that are not asked for.

    A context manager: texts lie in a folder beside the examples as long as it is open.
    """

    def __init__(
        self, config: ExamplesConfig, items: pl.LazyFrame, file_categories: frozenset[str], *, beside: Path
    ) -> None:
        """Take what `purchases.label_items` needs for the titles of neighbours' items."""
        self._asked, self._most = EVIDENCE_COLUMNS[config.evidence], config.max_evidence
        self._items, self._file_categories = items, file_categories
        self._beside = beside

    def __enter__(self) -> EvidenceColumns:
        """Make the folder, where anything is asked for."""
        self._evidence: Evidence | None = None
        if self._asked:
            self._beside.parent.mkdir(parents=True, exist_ok=True)
            self._folder = tempfile.TemporaryDirectory(dir=self._beside.parent, prefix=f".{self._beside.name}-evidence-")
            self._evidence = Evidence(Path(self._folder.name), neighbours=NEIGHBOUR in self._asked)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Remove it."""
        if self._evidence:
            self._evidence = None
            self._folder.cleanup()

    def add_part(self, part: pl.DataFrame) -> None:
        """Take the next part's reviews, with `is_review`."""
        if self._evidence:
            self._evidence.add_part(part)

    def close(self, splits: pl.DataFrame) -> None:
        """All parts are there; the words of evaluated purchases of `assign_splits` are shown to nobody."""
        if self._evidence:
            self._evidence.close(splits.filter(pl.col("split") != "train")["purchase_id"])

    def choose(self, targets: pl.DataFrame, part: int) -> pl.DataFrame:
        """Add to targets of a part both columns as lists of places, for `column`."""
        chosen = {
            name: pl.Series([None], dtype=pl.List(pl.Int64)).new_from_index(0, len(targets)) for name in (ITEM, NEIGHBOUR)
        }
        if self._evidence and ITEM in self._asked:
            chosen[ITEM] = self._evidence.of_items(targets, most=self._most)
        if self._evidence and NEIGHBOUR in self._asked:
            chosen[NEIGHBOUR] = self._evidence.of_neighbours(targets, part, most=self._most)
            # Titles of all items at once: each look reads the items table.
            found = self._evidence.items_of(chosen[NEIGHBOUR])
            labels = label_items(found, self._items, file_categories=self._file_categories)
            self._titles = labels.select("item_id", "title").to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
        return targets.with_columns(values.alias(name) for name, values in chosen.items())

    def column(self, name: str, targets: pl.DataFrame) -> pa.Array:
        """One of the columns for some of these targets, as the examples have it."""
        if self._evidence is None or name not in self._asked:
            return pa.nulls(len(targets), pa.list_(EVIDENCE_ENTRY))
        if name == ITEM:
            own = targets["title"].to_arrow(compat_level=pl.CompatLevel.oldest())
            return self._evidence.gather(targets[name], lambda rows, _: pa.chunked_array([own.take(pa.array(rows))]))
        return self._evidence.gather(targets[name], lambda _, items: self._titles_of(items))

    def _titles_of(self, items: pa.ChunkedArray) -> pa.ChunkedArray:
        places = pc.index_in(items, value_set=self._titles["item_id"].combine_chunks())
        return self._titles["title"].take(places)
