"""What several adapters of one command are called."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from conftest import example

from jobs.train import TrainJob, _forms, _repeats
from reviewllm.errors import InputError
from reviewllm.place import Place, below
from reviewllm.tables import EXAMPLES


def test_train_each_serialisation_and_repeat_has_its_own_names_and_seed() -> None:
    job = TrainJob(
        base_model="x",
        out=Path("out"),
        task="attributes",
        serialisations=["json", "tsv"],
        rating=False,
        repeats=2,
        seed=3,
        run_name="night",
        adapter_copy="s3://b/a?region=x",
    )
    made = [one for form in _forms(job) for one in _repeats(form)]
    assert [(one.serialisation, one.seed, str(one.adapter_folder()), one.run_name, one.adapter_copy) for one in made] == [
        (form, seed, f"out/adapter-no-rating-{name}", f"night-{name}", f"s3://b/a-{name}?region=x")
        for form in ("json", "tsv")
        for seed in (3, 4)
        for name in (f"{form}-seed{seed}",)
    ]
    assert all((one.serialisations, one.repeats) == ([], 1) for one in made)


def test_train_examples_of_a_bucket_are_refused_before_they_are_copied(s3_server: str, tmp_path: Path) -> None:
    examples = below(s3_server, "trained/examples")
    for split in ("train", "simple"):
        rows = pa.Table.from_pylist([example(split=split)], schema=EXAMPLES.schema)
        Place(examples).write_table(f"{split}/a.parquet", rows, EXAMPLES)
    with TrainJob(base_model="x", out=tmp_path, examples=below(examples, "train")).examples_folder() as folder:
        assert [file.name for file in folder.iterdir()] == ["a.parquet"]
    refused = r"^s3://bucket/runs/trained/examples: .* 1 simple, 1 train; name s3://bucket/runs/trained/examples/train$"
    with (
        pytest.raises(InputError, match=refused),
        TrainJob(base_model="x", out=tmp_path / "none", examples=examples).examples_folder(),
    ):
        pass
    assert not (tmp_path / "none").exists()


def test_train_repeats_with_a_copy_in_a_local_folder_keep_its_name_whole() -> None:
    job = TrainJob(base_model="x", repeats=2, adapter_copy="/copies/why?/a")
    assert [one.adapter_copy for one in _repeats(job)] == ["/copies/why?/a-seed0", "/copies/why?/a-seed1"]


def test_train_one_adapter_keeps_its_name() -> None:
    job = TrainJob(base_model="x", out=Path("out"))
    assert [one for form in _forms(job) for one in _repeats(form)] == [job]
