"""Finding data files and what their names and first bytes say."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from reviewllm.errors import SourceError
from reviewllm.sources.files import DataFile, find_files

pytestmark = pytest.mark.filterwarnings("error")


def touch(path: Path, content: bytes = b"{}\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_find_files_in_folder_is_recursive_and_sorted(tmp_path: Path) -> None:
    for name in ("b.jsonl", "deep/down/a.json.gz", "c.parquet", "README.md", ".hidden.json", "_SUCCESS", "_tmp/x.json"):
        touch(tmp_path / name)
    found = find_files([tmp_path])
    assert [file.name for file in found.data] == ["b.jsonl", "c.parquet", "deep/down/a.json.gz"]
    assert found.others == ["README.md"]


def test_find_files_takes_a_named_file_whatever_its_name(tmp_path: Path) -> None:
    assert [file.name for file in find_files([touch(tmp_path / "_odd.txt")]).data] == ["_odd.txt"]


def test_find_files_lists_a_file_once_in_any_order_of_paths(tmp_path: Path) -> None:
    file = touch(tmp_path / "sub" / "a.json")
    names = [[found.name for found in find_files(paths).data] for paths in ([tmp_path, file], [file, tmp_path])]
    assert names == [["sub/a.json"], ["sub/a.json"]]


def test_find_files_passes_over_an_earlier_output(tmp_path: Path) -> None:
    touch(tmp_path / "a.json")
    touch(tmp_path / "out" / "items" / "part.parquet")
    assert [file.name for file in find_files([tmp_path], except_below=[tmp_path / "out" / "items"]).data] == ["a.json"]


def test_find_files_missing_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nowhere\.json: no such file or folder"):
        find_files([tmp_path / "nowhere.json"])


def test_find_files_folder_without_data_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path / "notes.txt")
    with pytest.raises(SourceError, match="holds no data file"):
        find_files([tmp_path])


def test_find_files_empty_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"a\.json: the file is empty"):
        find_files([touch(tmp_path / "a.json", b"")])


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("reviews_Musical_Instruments_5.json.gz", "Musical Instruments"),
        ("Musical_Instruments_5.json", "Musical Instruments"),
        ("Arts_Crafts_and_Sewing.jsonl.gz", "Arts Crafts and Sewing"),
        ("CDs_and_Vinyl.parquet", "CDs and Vinyl"),
        ("AMAZON_FASHION_5.json.gz", "AMAZON FASHION"),
        ("All_Amazon_Review_5.json.gz", None),
        ("purchases.parquet", None),
        ("part-0.snappy.parquet", None),
        ("part-00000-8f3c2a-c000.json.gz", None),
        ("odd.name", None),
        ("_5.json", None),
    ],
)
def test_category_is_read_from_a_name_of_amazons_only(name: str, category: str | None) -> None:
    assert DataFile(name, Path(name)).category == category


def test_is_gzip_is_told_by_content_not_name(tmp_path: Path) -> None:
    zipped, plain = touch(tmp_path / "a.json", gzip.compress(b"{}")), touch(tmp_path / "b.json.gz")
    assert [file.is_gzip for file in find_files([zipped, plain]).data] == [True, False]


def test_read_head_unzips(tmp_path: Path) -> None:
    file = touch(tmp_path / "a.json", gzip.compress(b"[1, 2]\n"))
    assert DataFile(file.name, file).read_head(3) == b"[1,"


def test_read_head_of_a_truncated_file_is_an_error(tmp_path: Path) -> None:
    file = touch(tmp_path / "a.json.gz", gzip.compress(b"x" * 1000)[:11])
    with pytest.raises(SourceError, match=r"a\.json\.gz: truncated or corrupt"):
        DataFile(file.name, file).read_head(3)
