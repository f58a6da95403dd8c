"""A folder of examples of other splits than the one that is meant is refused, with the folder that was."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import example

from reviewllm.errors import InputError, SchemaError
from reviewllm.examples.splits import example_files, split_files
from reviewllm.place import Place, below
from reviewllm.tables import EXAMPLES

COUNTS = {"train": 3, "simple": 2, "hard": 1}


def write_examples(where: str) -> Place:
    """A run's examples, one file of each split."""
    examples = Place(below(where, "examples"))
    for split, count in COUNTS.items():
        rows = pa.Table.from_pylist([example(split=split)] * count, schema=EXAMPLES.schema)
        examples.write_table(f"{split}/a.parquet", rows, EXAMPLES)
    return examples


def test_example_files_of_one_split_are_listed_from_a_folder_or_a_file(tmp_path: Path) -> None:
    write_examples(str(tmp_path))
    file = tmp_path / "examples" / "train" / "a.parquet"
    assert example_files(file.parent, "train") == example_files(file, "train") == [file]


@pytest.mark.parametrize(
    ("named", "found"),
    [
        (".", "1 hard, 2 simple, 3 train"),
        ("examples", "1 hard, 2 simple, 3 train"),
        ("examples/simple", "2 simple"),
        ("examples/hard/a.parquet", "1 hard"),
    ],
)
def test_example_files_of_other_splits_are_refused_with_counts_and_what_was_meant(
    tmp_path: Path, named: str, found: str
) -> None:
    write_examples(str(tmp_path))
    with pytest.raises(InputError) as refused:
        example_files(tmp_path / named, "train")
    assert str(refused.value) == (
        f"{tmp_path / named}: holds examples of other splits than train: {found}; name {tmp_path}/examples/train"
    )


def test_example_files_of_a_whole_run_name_what_was_meant(tmp_path: Path) -> None:
    write_examples(str(tmp_path))
    pq.write_table(pa.table({"item_id": ["i"]}), tmp_path / "items.parquet")
    with pytest.raises(SchemaError, match=rf"items.parquet: table 'examples' lacks .*; name {tmp_path}/examples/train$"):
        example_files(tmp_path, "train")


def test_example_files_where_nothing_tells_what_was_meant(tmp_path: Path) -> None:
    write_examples(str(tmp_path))
    (tmp_path / "examples" / "hard").rename(tmp_path / "mine")
    with pytest.raises(InputError, match="than train: 1 hard; name the folder of that split, as it was prepared"):
        example_files(tmp_path / "mine", "train")


def test_split_files_of_a_bucket_are_refused_by_its_uri(s3_server: str) -> None:
    examples = write_examples(below(s3_server, "splits"))
    assert [file.name for file in split_files(Place(below(examples.uri, "train")), "train")] == ["a.parquet"]
    with pytest.raises(
        InputError, match=r"^s3://bucket/runs/splits/examples: .*; name s3://bucket/runs/splits/examples/train$"
    ):
        split_files(examples, "train")
