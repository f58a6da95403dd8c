"""What became of the rows that were read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TableCounts:
    """Rows of one table: every row read was written, rejected, the repeat of another, or another state of its purchase.

    `reasons` counts the rejected rows by reason; `noted` counts values within the rows that were read which could not be
    taken as they stood, by what happened to them; `changed` counts rows whose purchase was written with another rating or
    review. `empty` are the columns that no row that was written has a value in.

    Raises:
        AssertionError: the sum does not hold, which is an error in this program.
    """

    rows_in: int
    written: int
    rejected: int
    duplicates: int
    reasons: Mapping[str, int] = field(default_factory=dict)
    noted: Mapping[str, int] = field(default_factory=dict)
    changed: int = 0
    empty: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        accounted = self.written + self.rejected + self.duplicates + self.changed
        if self.rows_in != accounted or self.rejected != sum(self.reasons.values()):
            raise AssertionError(f"internal error: rows were lost or made up: {self}; please report this")


@dataclass(frozen=True)
class IngestCounts:
    """What an `ingest` read and wrote, and what is to be said of its files, a line each.

    `file_categories` are the categories that purchases have of their file's name.
    """

    interactions: TableCounts
    items: TableCounts
    notes: Sequence[str] = ()
    file_categories: frozenset[str] = frozenset()


@dataclass
class Tally:
    """Counts on their way; each field is counted where its rows pass, so that `freeze` can prove the sum.

    `filled` counts the values of the columns that may be empty; `first_rejected` is 'file:line'.
    """

    rows_in: int = 0
    written: int = 0
    duplicates: int = 0
    changed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    filled: Counter[str] = field(default_factory=Counter)
    first_rejected: str | None = None

    def freeze(self) -> TableCounts:
        """Return the counts as they stand.

        Raises:
            AssertionError: the sum does not hold.
        """
        rejected = self.reasons.total()
        reasons, noted = (dict((+counts).most_common()) for counts in (self.reasons, self.noted))
        empty = tuple(name for name, count in self.filled.items() if not count) if self.written else ()
        return TableCounts(self.rows_in, self.written, rejected, self.duplicates, reasons, noted, self.changed, empty)
