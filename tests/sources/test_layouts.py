"""Layouts and formats that mean what reading their files would not give."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest

from reviewllm.errors import SourceError
from reviewllm.sources.layouts import refuse_other_format, refuse_within_table, sort_names

pytestmark = pytest.mark.filterwarnings("error")


def test_sort_names_of_a_spark_folder_are_its_part_files() -> None:
    names = ["part-1.snappy.parquet", "part-0.snappy.parquet", ".part-0.snappy.parquet.crc", "_SUCCESS", "._SUCCESS.crc"]
    assert sort_names("f", names) == (["part-0.snappy.parquet", "part-1.snappy.parquet"], [])


def test_sort_names_names_what_is_no_data() -> None:
    assert sort_names("f", ["a.json", "README", "docs/notes.txt"]) == (["a.json"], ["README", "docs/notes.txt"])


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (["category=Toys/part-0.snappy.parquet", "_SUCCESS"], "category"),
        (["year=2026/month=11/a.json.gz"], "year, month"),
        (["_year=2026/a.parquet"], "_year"),
        (["x/category=__HIVE_DEFAULT_PARTITION__/a.parquet"], "category"),
    ],
)
def test_sort_names_refuses_partitions_by_their_columns(names: list[str], columns: str) -> None:
    with pytest.raises(SourceError, match=rf"f: is partitioned by {columns} \(.*hive_partitioning=True"):
        sort_names("f", names)


def test_sort_names_takes_a_sign_in_the_name_of_a_file() -> None:
    assert sort_names("f", ["a=b.parquet"]).data == ["a=b.parquet"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("_delta_log/00000000000000000000.json", "a Delta"),
        ("deep/_delta_log/00000000000000000000.json", "a Delta"),
        ("metadata/00001-8f3c.metadata.json", "an Iceberg"),
        ("orders/metadata/v1.metadata.json.gz", "an Iceberg"),
        (".hoodie/hoodie.properties", "a Hudi"),
    ],
)
def test_sort_names_refuses_tables_with_a_log(name: str, kind: str) -> None:
    with pytest.raises(SourceError, match=rf"f: is {kind} table \({name}\); .*write.parquet"):
        sort_names("f", ["part-0.parquet", name])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("orders.csv", "CSV and not read; write it as Parquet"),
        ("orders.CSV.gz", "CSV"),
        ("orders.tsv", "CSV"),
        ("orders.xlsx", "Excel"),
        ("orders.orc", "ORC"),
        ("orders.avro", "Avro"),
        ("orders.jsonl.zst", "Zstandard and not read; unpack it"),
        ("orders.zip", "a ZIP archive"),
        ("part-00000", r"rename it so, name the file itself, or take it out"),
    ],
)
def test_sort_names_refuses_other_data_beside_parquet(name: str, said: str) -> None:
    with pytest.raises(SourceError, match=rf"f: holds {name}, which .*{said}"):
        sort_names("f", ["orders.parquet", name])


def test_refuse_within_table_looks_above_the_path(tmp_path: Path) -> None:
    (tmp_path / "delta" / "_delta_log").mkdir(parents=True)
    (tmp_path / "ice" / "metadata").mkdir(parents=True)
    (tmp_path / "ice" / "metadata" / "v1.metadata.json").touch()
    for within, kind in (("delta/part-0.parquet", "a Delta"), ("delta/x/y", "a Delta"), ("ice/data", "an Iceberg")):
        with pytest.raises(SourceError, match=f"is {kind} table"):
            refuse_within_table(tmp_path / within, ())
    refuse_within_table(tmp_path / "plain" / "part-0.parquet", ())


def test_refuse_within_table_refuses_the_partition_of_a_column_that_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "category=Toys" / "dt=2026-11-21"
    folder.mkdir(parents=True)
    for path in (folder, folder / "a.parquet"):
        with pytest.raises(SourceError, match="'category=Toys', whose name holds the column 'category'"):
            refuse_within_table(path, {"category"})
        refuse_within_table(path, {"item_id"})


def rows(*values: object) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode()


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b'[{"a": 1}, {"a": 2}]\n', "one JSON array, .*json.load"),
        (b'[\n  {"a": 1},\n  {"a": 2}\n]\n', "one JSON array"),
        (b'\xef\xbb\xbf [{"a": 1},\n {"a": 2}]', "one JSON array"),
        (b'[{"a": "' + b"x" * 1000, "one JSON array"),
        (b"{'asin': '0001', 'title': \"Rake's\"}\n", "Python literals .*ast.literal_eval"),
        (b"{u'asin': '0001'}\n", "Python literals"),
        ('{"a": "é"}\n'.encode("utf-16"), "UTF-16 or UTF-32, .*iconv"),
        ('{"a": 1}\n'.encode("utf-16-le"), "UTF-16"),
        ('{"a": 1}\n'.encode("utf-16-be"), "UTF-16"),
        ('{"a": 1}\n'.encode("utf-32"), "UTF-16 or UTF-32"),
        (b"user_id,item_id,rating,purchased_at\nU1,I1,5,2014-02-28\n", "CSV, .*read_csv"),
        (b'"user_id";"item_id";"rating"\n', "CSV"),
        (b"user_id\titem_id\trating\n", "CSV"),
        (b"A1,0001,5.0,1393545600\n", "CSV"),
        (b"PK\x03\x04rest", "a ZIP archive"),
        (b"PAR1rest", "gzipped Parquet"),  # as it is once unzipped
        (b"\x28\xb5\x2f\xfdrest", "Zstandard"),
        (b"BZh91AY", "bzip2"),
        (b"ORC\x0a", "ORC"),
        (b"Obj\x01\x04", "Avro"),
        (b"ARROW1\x00\x00", "Arrow or Feather"),
    ],
)
def test_refuse_other_format_says_what_it_is_and_what_to_do(head: bytes, said: str) -> None:
    with pytest.raises(SourceError, match=rf"a\.json: (is|holds) {said}"):
        refuse_other_format(Path("a.json"), head)


@pytest.mark.parametrize(
    ("name", "kind"), [("a.xlsx", "Excel, .*write it as Parquet"), ("a.zip", "a ZIP archive, .*unpack")]
)
def test_refuse_other_format_tells_by_the_name_what_bytes_leave_open(name: str, kind: str) -> None:
    with pytest.raises(SourceError, match=rf"{name}: is {kind}"):
        refuse_other_format(Path(name), b"PK\x03\x04rest")


@pytest.mark.parametrize(
    "head",
    [
        rows({"a": 1}, {"a": 2}),
        rows([1], {"a": 1}),  # a bad line among good ones
        b"\n\r\n" + rows({"a": "['x'], {'y': 1}"}),
        b"{bad\n" + rows({"a": 1}),
        b"bad, bad, bad\n{'a': 1}\n" + rows({"a": 1}),
        b"no table, but nothing that is known\n",
        b'{"a": "' + b"x" * 100,
        b"",
        b"\x00" * 100,
    ],
)
def test_refuse_other_format_leaves_json_lines_and_what_it_does_not_know(head: bytes) -> None:
    refuse_other_format(Path("a.json"), head)


def follow(command: str, *, given: Path, made: Path) -> None:
    """Do in this process what a refusal says."""
    code = re.sub(r"IN(\.csv)?(?=[/'])", str(given), command.partition('python -c "')[2].partition('"')[0])
    exec(code.replace("OUT.parquet", str(made)))  # our own words


def test_way_out_of_partitions_keeps_their_columns(tmp_path: Path) -> None:
    for category, item in (("Toys", "0001"), ("Games", "0002")):
        folder = tmp_path / "in" / f"category={category}"
        folder.mkdir(parents=True)
        (folder / ".part-0.crc").touch()
        pl.DataFrame({"item_id": [item]}).write_parquet(folder / "part-0.parquet")
    with pytest.raises(SourceError) as refused:
        sort_names("in", ["category=Toys/part-0.parquet"])
    follow(str(refused.value), given=tmp_path / "in", made=tmp_path / "out.parquet")
    assert pl.read_parquet(tmp_path / "out.parquet").sort("item_id").rows() == [("0001", "Toys"), ("0002", "Games")]


def test_way_out_of_csv_keeps_ids_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("user_id,item_id,rating\nU1,0001,5.0\n")
    with pytest.raises(SourceError) as refused:
        refuse_other_format(tmp_path / "in.csv", (tmp_path / "in.csv").read_bytes())
    follow(str(refused.value), given=tmp_path / "in.csv", made=tmp_path / "out.parquet")
    assert pl.read_parquet(tmp_path / "out.parquet").rows() == [("U1", "0001", "5.0")]
