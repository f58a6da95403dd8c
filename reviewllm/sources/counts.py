"""What became of the rows that were read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TableCounts:
    """Rows of one table: every row read was written, rejected, the repeat of another, or another state of its purchase.

    `reasons` counts the rejected rows by reason; `noted` counts values within the rows that were read which could not be
    taken as they stood, by what happened to them; `changed` counts rows whose purchase was written with another rating or
    review.

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

    def __post_init__(self) -> None:
        accounted = self.written + self.rejected + self.duplicates + self.changed
        if self.rows_in != accounted or self.rejected != sum(self.reasons.values()):
            raise AssertionError(f"internal error: rows were lost or made up: {self}; please report this")


@dataclass(frozen=True)
class IngestCounts:
    """What an `ingest` read and wrote."""

    interactions: TableCounts
    items: TableCounts


@dataclass
class Tally:
    """Counts on their way; each field is counted where its rows pass, so that `freeze` can prove the sum.

    `first_rejected` is 'file:line'.
    """

    rows_in: int = 0
    written: int = 0
    duplicates: int = 0
    changed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    first_rejected: str | None = None

    def freeze(self) -> TableCounts:
        """Return the counts as they stand.

        Raises:
            AssertionError: the sum does not hold.
        """
        rejected = self.reasons.total()
        reasons, noted = (dict((+counts).most_common()) for counts in (self.reasons, self.noted))
        return TableCounts(self.rows_in, self.written, rejected, self.duplicates, reasons, noted, self.changed)
