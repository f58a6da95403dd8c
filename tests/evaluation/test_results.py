"""The head of an evaluation's folder: what is not there, too old or damaged is said so; staging of what is under way."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from evaluated import example, generation, generations

from reviewllm.errors import InputError, SchemaError
from reviewllm.evaluation.baselines import REAL
from reviewllm.evaluation.comparisons import Side
from reviewllm.evaluation.contenders import Contender
from reviewllm.evaluation.results import EVALUATION, describe, read_evaluation, repeat_folders, write_evaluation
from reviewllm.evaluation.staging import Staging
from reviewllm.generation.failures import ENGINE_FAILED
from reviewllm.generation.model import Variant
from reviewllm.prompts.config import PromptConfig
from reviewllm.table_files import write_table
from reviewllm.tables import EXAMPLES, GENERATIONS


def contender(kind: str, name: str, repeat: int = 0, *, rating: bool = True) -> Contender:
    fingerprint = f"{name} {repeat} {rating}"
    variant = Variant(
        model=name, base=Path("b"), adapter=None, prompt=PromptConfig(rating=rating), fingerprint=fingerprint, repeat=repeat
    )
    return Contender(kind, name, variant)


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    files = []
    for split, count in (("simple", 3), ("hard", 2)):
        rows = [example(f"{split}-{number}", split) for number in range(count)]
        file = tmp_path / "examples" / split / "shard-0.parquet"
        write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), file, EXAMPLES)
        files.append(file)
    return files


def test_describe_groups_repetitions(shards: list[Path], tmp_path: Path) -> None:
    everyone = [
        contender("base", "tiny"),
        *(contender("adapter", "ours", repeat) for repeat in range(2)),
        contender("baseline", REAL.name),
    ]
    head = describe(everyone, Side("ours", True), shards, run="r", protocol=None, costs={})
    assert (head.rows, head.repeats) == ({"simple": 3, "hard": 2}, 2)
    assert [(one.name, len(one.fingerprints)) for one in head.models] == [("tiny", 1), ("ours", 2), (REAL.name, 1)]
    assert abs((head.created_at - datetime.now(UTC)).total_seconds()) < 60
    write_evaluation(head, tmp_path / "metrics")
    assert read_evaluation(tmp_path / "metrics") == head


def test_read_evaluation_says_what_is_wrong(shards: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    with pytest.raises(InputError, match=r"evaluation\.json: is not there; run jobs/evaluate\.py"):
        read_evaluation(folder)
    folder.mkdir()
    (folder / "metrics.parquet").write_bytes(b"old")
    with pytest.raises(InputError, match="was written by an earlier version of reviewllm"):
        read_evaluation(folder)
    write_evaluation(
        describe([contender("base", "tiny")], Side("tiny", True), shards, run="r", protocol=None, costs={}), folder
    )
    head = json.loads((folder / EVALUATION).read_text())
    (folder / EVALUATION).write_text(json.dumps(head | {"schema_version": 99}))
    with pytest.raises(SchemaError, match="is of schema version 99, and this reviewllm reads version 6"):
        read_evaluation(folder)
    (folder / EVALUATION).write_text(json.dumps(head | {"repeats": "many"}))
    with pytest.raises(SchemaError, match="repeats: Input should be a valid integer"):
        read_evaluation(folder)
    (folder / EVALUATION).write_text("{")
    with pytest.raises(SchemaError, match="cannot be read as JSON"):
        read_evaluation(folder)


def test_repeat_folders_are_in_order_of_number(tmp_path: Path) -> None:
    for name in ("10", "2", "0", "notes"):
        (tmp_path / "generations" / name).mkdir(parents=True)
    assert [folder.name for folder in repeat_folders(tmp_path)] == ["0", "2", "10"]


def test_staging_keeps_what_is_written_and_drops_other_work(shards: list[Path], tmp_path: Path) -> None:
    everyone = [contender("base", "tiny"), contender("endpoint", "gpt"), contender("adapter", "ours", 1)]
    staging = Staging(tmp_path, shards, everyone)
    tasks = staging.tasks(everyone, ["base", "adapter"])
    assert [(task.variant, task.output) for task in tasks] == [
        (0, "generations/0/0-simple-shard-0.parquet"),
        (0, "generations/0/0-hard-shard-0.parquet"),
        (2, "generations/1/2-simple-shard-0.parquet"),
        (2, "generations/1/2-hard-shard-0.parquet"),
    ]
    for output in (tasks[0].output, "generations/0/1-simple-shard-0.parquet"):
        write_table(generations([generation("e1")]), staging.folder / output, GENERATIONS)
    failed = generation("e1", review=None, error="died", error_class=ENGINE_FAILED)
    write_table(generations([failed]), staging.folder / tasks[1].output, GENERATIONS)
    again = Staging(tmp_path, shards, everyone)
    assert again.folder == staging.folder
    assert len(again.tasks(everyone, ["base", "adapter"])) == 3
    assert len(again.tasks(everyone, ["endpoint"])) == 2  # its journal knows what was answered
    other = Staging(tmp_path, shards, everyone[:1])
    assert not staging.folder.exists()
    assert len(other.tasks(everyone[:1], ["base"])) == 2
