"""Files of sequences, MovieLens' files and our own tables, with all that can be wrong in them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from conftest import example

from reviewllm.errors import RejectedBudgetError, SchemaError, SourceError
from reviewllm.recommend.protocol import make_sequences
from reviewllm.recommend.sources import check_rejected, read_interactions, read_movielens, read_sequences
from reviewllm.sources.ingest import ingest
from reviewllm.table_files import write_table
from reviewllm.tables import EXAMPLES


def test_read_sequences_keeps_the_order_and_rejects_what_is_no_line(tmp_path: Path) -> None:
    file = tmp_path / "s.txt"
    file.write_bytes(b"u1 b a c\n\nu2\nu1 z\n\xff\xfe x\nu3 a\tb\r\n")
    source = read_sequences(file)
    assert source.interactions.rows() == [("u1", "b", 0), ("u1", "a", 1), ("u1", "c", 2), ("u3", "a", 0), ("u3", "b", 1)]
    assert source.rejected.rows() == [
        ("s.txt", 3, "expected a user and items, found one word"),
        ("s.txt", 4, "the user 'u1' has a line already"),
        ("s.txt", 5, "not UTF-8"),
    ]


def test_read_sequences_translates_ids_and_names(tmp_path: Path) -> None:
    (tmp_path / "s.txt.gz").write_bytes(gzip.compress(b"1 1 2\n2 9 1\n"))
    (tmp_path / "maps.json").write_text(
        json.dumps({"id2user": {"1": "ann", "2": "bo"}, "id2item": {"1": "X", "2": "Y"}, "n": 3})
    )
    (tmp_path / "names.txt").write_text("X <b>Fine</b> rake\nY\nX second\n")
    source = read_sequences(tmp_path / "s.txt.gz", datamaps=tmp_path / "maps.json", item_names=tmp_path / "names.txt")
    assert source.interactions.rows() == [("ann", "X", 0), ("ann", "Y", 1)]
    assert source.items.select("item_id", "title", "category").rows() == [("X", "Fine rake", None), ("Y", None, None)]
    assert source.rejected.rows() == [("s.txt.gz", 2, "the data maps lack 1 id(s) of the line, as '9'")]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("s.txt.gz", gzip.compress(b"u a b c\n" * 99, mtime=0)[:-6], "fetch it again"),
        ("missing", None, "no such file"),
    ],
)
def test_read_sequences_refuses_a_file_that_cannot_be_read(
    tmp_path: Path, name: str, content: bytes | None, problem: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=problem):
        read_sequences(tmp_path / name)


def test_read_sequences_refuses_maps_of_another_form(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("1 1\n")
    (tmp_path / "maps.json").write_text('{"id2user": []}')
    with pytest.raises(SourceError, match=r"ids to ids; id2user: .*object \(2 problem\(s\) in all\)"):
        read_sequences(tmp_path / "s.txt", datamaps=tmp_path / "maps.json")
    (tmp_path / "maps.json").write_bytes(b"\xff{")
    with pytest.raises(SourceError, match="ids to ids; the whole file: Invalid JSON") as found:
        read_sequences(tmp_path / "s.txt", datamaps=tmp_path / "maps.json")
    assert "pydantic" not in str(found.value)


def test_read_movielens_reads_latin_1_and_rejects_bad_lines(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text(
        "1::10::5::978300760\n1::11::3.5::978300761\n2::10::x::3\n2::10::4\n\n3::11::1::5\n ::11::1::5\n"
    )
    (tmp_path / "movies.dat").write_bytes(
        "10::Amélie (2001)::Comedy|Romance\n11::Heat (1995)::Action\n12::Lost\n".encode("latin-1")
    )
    source = read_movielens(tmp_path)
    assert source.interactions.rows() == [("1", "10", 978300760), ("1", "11", 978300761), ("3", "11", 5)]
    assert source.items.select("item_id", "title", "category").rows() == [
        ("10", "Amélie (2001)", "Comedy"),
        ("11", "Heat (1995)", "Action"),
    ]
    assert [row[:2] for row in source.rejected.rows()] == [
        ("ratings.dat", 3),
        ("ratings.dat", 4),
        ("ratings.dat", 7),
        ("movies.dat", 3),
    ]


def test_check_rejected_holds_the_budget(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("u1 a b c\nu2\n")
    source = read_sequences(tmp_path / "s.txt")
    check_rejected(source, 0.25)  # one of four
    with pytest.raises(RejectedBudgetError, match=r"1 lines cannot be used beside 3 .*s\.txt, line 2"):
        check_rejected(source, 0.24)
    (tmp_path / "s.txt").write_text("u2\n")
    empty = read_sequences(tmp_path / "s.txt")
    with pytest.raises(SourceError, match=r"holds no interaction; s\.txt, line 1"):
        check_rejected(empty, 1.0)


def test_read_interactions_examples_are_none(tmp_path: Path) -> None:
    write_table(pa.Table.from_pylist([example()], schema=EXAMPLES.schema), tmp_path / "examples" / "a.parquet", EXAMPLES)
    with pytest.raises(SchemaError, match=r"a.parquet: table 'interactions' lacks the column\(s\) purchase_id"):
        read_interactions(tmp_path / "examples", None)


def test_read_interactions_of_musical_instruments(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    ingest(reviews=[shared_data("data/amazon_2014/reviews_Musical_Instruments_5.json.gz")], items=[], out=tmp_path)
    source = read_interactions(tmp_path / "interactions", tmp_path / "items")
    made = make_sequences(source.interactions, core=5)
    assert (made.rows_in, made.rows.height, made.items, made.interactions) == (10_261, 1_429, 900, 10_261)
    assert source.items.schema["title"] == pl.String
