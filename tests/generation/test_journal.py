"""A row that engines die of is found by halving, and no other is blamed."""

from __future__ import annotations

from pathlib import Path

import pytest

from reviewllm.generation.engine import Completion, Draft
from reviewllm.generation.failures import HUNG_ENGINE, KILLED_ENGINE, Failure
from reviewllm.generation.journal import Journal, Result, journal_name
from reviewllm.place import Place

DONE = Completion("Fine.", [1, 2], "stop")


class LostError(Exception):
    """The engine is lost."""


def work(place: Place, rows: int, run: str, *, deadly: set[int], saved: bool = False) -> dict[int, Result]:
    """What an engine's process does with a shard; a deadly row ends it, with a note where the process survives (`saved`)."""
    journal = Journal(place, "_shard.journal", rows=rows, run=run)
    for group in list(journal.groups):
        journal.start(group)
        if deadly & set(group):
            if saved:
                journal.give_up({row: DONE for row in group if row not in deadly}, hung=True)
            raise LostError
        journal.finish(dict.fromkeys(group, DONE))
    return journal.done


def until_done(place: Place, rows: int, *, deadly: set[int], saved: bool = False) -> tuple[dict[int, Result], int]:
    """All results, and how many engines they took."""
    for engines in range(1, 100):
        try:
            return work(place, rows, "run", deadly=deadly, saved=saved), engines
        except LostError:
            continue
    raise AssertionError


@pytest.mark.parametrize("deadly", [set(), {0}, {19}, {7, 8}, {3, 12, 13}])
def test_journal_gives_up_the_deadly_rows_and_only_them(tmp_path: Path, deadly: set[int]) -> None:
    results, _ = until_done(Place(str(tmp_path)), 20, deadly=deadly)
    assert sorted(results) == list(range(20))
    failed = {row: result for row, result in results.items() if isinstance(result, Failure)}
    assert set(failed) == deadly
    assert {result.error_class for result in failed.values()} <= {KILLED_ENGINE}


def test_journal_finds_one_row_of_many_by_halving(tmp_path: Path) -> None:
    _, engines = until_done(Place(str(tmp_path)), 64, deadly={41})
    assert engines == 2 + 6 + 2  # together, alone, six halvings, twice by itself with the first of those the last halving's


def test_journal_a_hang_that_is_noted_costs_three_engines(tmp_path: Path) -> None:
    results, engines = until_done(Place(str(tmp_path)), 64, deadly={41}, saved=True)
    failure = results[41]
    assert isinstance(failure, Failure)
    assert (failure.error_class, engines) == (HUNG_ENGINE, 4)  # among others, twice alone; the fourth has nothing to do


def test_journal_losses_of_other_runs_do_not_count(tmp_path: Path) -> None:
    place = Place(str(tmp_path))
    for number in range(12):
        with pytest.raises(LostError):
            work(place, 4, f"run {number}", deadly={2})
    journal = Journal(place, "_shard.journal", rows=4, run="another")
    assert (journal.losses, journal.suspicious, journal.groups) == (0, False, [[0, 1, 2, 3]])


def test_journal_that_cannot_be_read_or_is_of_another_shard_is_no_journal(tmp_path: Path) -> None:
    place = Place(str(tmp_path))
    place.write("_shard.journal", b"{")
    assert Journal(place, "_shard.journal", rows=3, run="r").groups == [[0, 1, 2]]
    with pytest.raises(LostError):
        work(place, 3, "r", deadly={1})
    assert Journal(place, "_shard.journal", rows=4, run="r").groups == [[0, 1, 2, 3]]


def test_journal_name_is_hidden_beside_its_output() -> None:
    assert journal_name("a/b/shard.parquet") == "a/b/_shard.parquet.journal"
    assert journal_name("shard.parquet") == "_shard.parquet.journal"


def test_journal_keeps_the_drafts_of_a_row(tmp_path: Path) -> None:
    place = Place(str(tmp_path))
    drafted = DONE._replace(token_ids=[], completion_tokens=5, drafts=[Draft("Fine.", "stop"), Draft("Fi", "length")])
    journal = Journal(place, "_shard.journal", rows=2, run="run")
    journal.start([0, 1])
    journal.give_up({0: drafted}, hung=False)
    assert Journal(place, "_shard.journal", rows=2, run="run").done == {0: drafted}
