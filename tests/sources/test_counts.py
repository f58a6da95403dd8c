"""The sum that must hold."""

from __future__ import annotations

import pickle
from collections import Counter

import pytest

from reviewllm.sources.counts import IngestCounts, TableCounts, Tally

pytestmark = pytest.mark.filterwarnings("error")


def test_freeze_sums_reasons() -> None:
    tally = Tally(rows_in=12, written=6, duplicates=1, changed=2, reasons=Counter(b=1, a=2))
    assert tally.freeze() == TableCounts(12, 6, 1 + 2, 1, {"a": 2, "b": 1}, changed=2)


def test_freeze_refuses_a_lost_row() -> None:
    with pytest.raises(AssertionError, match="internal error"):
        Tally(rows_in=10, written=8, duplicates=1).freeze()


def test_table_counts_refuses_a_rejected_row_without_reason() -> None:
    with pytest.raises(AssertionError, match="internal error"):
        TableCounts(rows_in=2, written=1, rejected=1, duplicates=0)


def test_ingest_counts_crosses_processes() -> None:
    counts = IngestCounts(TableCounts(1, 1, 0, 0), TableCounts(1, 0, 1, 0, {"a": 1}))
    assert pickle.loads(pickle.dumps(counts)) == counts  # noqa: S301 our own bytes


def test_freeze_notes_what_happened_commonest_first() -> None:
    tally = Tally(rows_in=1, written=1, noted=Counter(a=1, b=2, c=0))
    assert list(tally.freeze().noted.items()) == [("b", 2), ("a", 1)]


def test_freeze_names_columns_without_any_value() -> None:
    assert Tally(rows_in=1, written=1, filled=Counter({"review": 0, "title": 1})).freeze().empty == ("review",)
    assert Tally(filled=Counter({"review": 0})).freeze().empty == ()  # of a table without rows there is nothing to say
