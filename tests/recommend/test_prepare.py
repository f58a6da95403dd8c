"""The folders that a source becomes."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from reviewllm.errors import InputError, RejectedBudgetError
from reviewllm.recommend.prepare import read_all_sequences, write_sequences
from reviewllm.recommend.sources import Source, read_sequences
from reviewllm.recommend.tables import SEQUENCES
from reviewllm.table_files import read_table, write_table
from reviewllm.tables import ITEMS, REJECTED


def source(folder: Path, text: str) -> Source:
    """A source of sequences with a name for item a and for one that nobody buys."""
    (folder / "s.txt").write_text(text)
    (folder / "names.txt").write_text("a Apple\nnobody Buys\n")
    return read_sequences(folder / "s.txt", item_names=folder / "names.txt")


def test_write_sequences_lists_every_item_bought(tmp_path: Path) -> None:
    made = write_sequences(
        source(tmp_path, "u2 c a b\nu1 a b d\n"), tmp_path, core=1, max_rejected_fraction=0, keep_items=False
    )
    assert read_all_sequences(tmp_path).rows() == made.rows.rows() == [("u1", ["a", "b", "d"]), ("u2", ["c", "a", "b"])]
    items = pl.DataFrame(read_table(tmp_path / "items", ITEMS))
    assert items.select("item_id", "title").rows() == [("a", "Apple"), ("b", None), ("c", None), ("d", None)]


def test_write_sequences_over_the_budget_writes_what_was_rejected_alone(tmp_path: Path) -> None:
    with pytest.raises(RejectedBudgetError):
        write_sequences(source(tmp_path, "u1 a b c\nbad\n"), tmp_path, core=1, max_rejected_fraction=0, keep_items=False)
    assert read_table(tmp_path / "rejected", REJECTED).num_rows == 1
    assert not (tmp_path / "sequences").exists()


def test_write_sequences_says_where_everybody_went(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="of 3 interactions no user is left: 0 repeats, 3 of users or items with fewer than 5"
    ):
        write_sequences(source(tmp_path, "u1 a b c\n"), tmp_path, core=5, max_rejected_fraction=0, keep_items=False)


def test_read_all_sequences_refuses_none_and_users_or_items_twice(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="prepare"):
        read_all_sequences(tmp_path)
    rows = pl.DataFrame({"user_id": ["u", "u"], "item_ids": [["a"], ["b"]]})
    write_table(rows.to_arrow(), tmp_path / "sequences" / "s.parquet", SEQUENCES)
    with pytest.raises(InputError, match="two rows"):
        read_all_sequences(tmp_path)
    rows = pl.DataFrame({"user_id": ["u", "v"], "item_ids": [["a"], ["b", "c", "b"]]})
    write_table(rows.to_arrow(), tmp_path / "sequences" / "s.parquet", SEQUENCES)
    with pytest.raises(InputError, match="'v', have an item twice"):
        read_all_sequences(tmp_path)
    rows = pl.DataFrame({"user_id": ["u", "v"], "item_ids": [["a"], ["b", None]]})
    pq.write_table(rows.to_arrow(), tmp_path / "sequences" / "s.parquet")
    with pytest.raises(InputError, match="'v', have a null among the items"):
        read_all_sequences(tmp_path)
    pq.write_table(SEQUENCES.schema.empty_table(), tmp_path / "sequences" / "s.parquet")
    with pytest.raises(InputError, match="holds no user"):
        read_all_sequences(tmp_path)


def test_write_sequences_leaves_the_items_of_another_job_alone(tmp_path: Path) -> None:
    write_table(ITEMS.schema.empty_table(), tmp_path / "items" / "part-00000.parquet", ITEMS)
    given = source(tmp_path, "u1 a b c\n")
    with pytest.raises(
        InputError, match=r"items: has part-00000.parquet, which another job wrote; .* --items .* to keep them"
    ):
        write_sequences(given, tmp_path, core=1, max_rejected_fraction=0, keep_items=False)
    assert not (tmp_path / "rejected").exists()
    write_sequences(given, tmp_path, core=1, max_rejected_fraction=0, keep_items=True)
    write_sequences(given, tmp_path, core=1, max_rejected_fraction=0, keep_items=True)
    assert [file.name for file in (tmp_path / "items").iterdir()] == ["part-00000.parquet"]
    assert read_all_sequences(tmp_path).height == 1


def test_write_sequences_takes_the_first_name_of_an_item(tmp_path: Path) -> None:
    given = source(tmp_path, "u1 a b c\n")
    again = given.items.filter(item_id="a").with_columns(title=pl.lit("Pear"))
    given = given._replace(items=pl.concat([given.items, again]))
    write_sequences(given, tmp_path, core=1, max_rejected_fraction=0, keep_items=False)
    assert pl.DataFrame(read_table(tmp_path / "items", ITEMS)).filter(item_id="a")["title"].to_list() == ["Apple"]
