"""What is finished is not written again."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from evaluated import generation, generations

from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.failures import EMPTY_OUTPUT, ENGINE_FAILED, HUNG_ENGINE
from reviewllm.generation.model import Variant
from reviewllm.generation.pipeline import RunCounts
from reviewllm.generation.tasks import GenerationSpec, Piece, Task
from reviewllm.generation.unfinished import is_finished, write_unfinished
from reviewllm.place import Place
from reviewllm.prompts.config import PromptConfig
from reviewllm.table_files import write_table
from reviewllm.tables import GENERATIONS


class NeededError(Exception):
    """A cluster is entered."""


def cluster() -> AbstractContextManager[None]:
    raise NeededError


def write(file: Path, *error_classes: str | None) -> None:
    """An output with a row for each class of error; None for one that is written."""
    rows = [
        generation(f"e{number}", **({"review": None, "error": "why", "error_class": error} if error else {}))
        for number, error in enumerate(error_classes)
    ]
    write_table(generations(rows), file, GENERATIONS)


def test_is_finished_looks_at_the_rows(tmp_path: Path) -> None:
    place, file = Place(str(tmp_path)), tmp_path / "a.parquet"
    assert not is_finished(place, "a.parquet")
    for transient in (ENGINE_FAILED, HUNG_ENGINE):
        write(file, None, transient)
        assert not is_finished(place, "a.parquet")
        assert is_finished(place, "a.parquet", accept_transient=True)
    write(file, None, EMPTY_OUTPUT)
    assert is_finished(place, "a.parquet")
    assert is_finished(place, "a.parquet", rows=2)
    assert not is_finished(place, "a.parquet", rows=3)
    file.write_bytes(file.read_bytes()[:-20])
    assert not is_finished(place, "a.parquet", accept_transient=True)


def test_write_unfinished_enters_the_cluster_only_where_an_output_is_not_finished(tmp_path: Path) -> None:
    variant = Variant(model="m", base=tmp_path, adapter=None, prompt=PromptConfig(), fingerprint="f")
    spec = GenerationSpec(
        generation=GenerationConfig(engine="rule"),
        model=tmp_path,
        live_adapters=True,
        variants=[variant],
        source=str(tmp_path),
        target=str(tmp_path / "out"),
    )
    tasks = [Task([Piece(name)], 0, name) for name in ("a.parquet", "b.parquet")]
    write(tmp_path / "out" / "a.parquet", None)
    with pytest.raises(NeededError):
        write_unfinished(tasks, spec, cluster=cluster)
    write(tmp_path / "out" / "b.parquet", ENGINE_FAILED)
    with pytest.raises(NeededError):
        write_unfinished(tasks, spec, cluster=cluster)
    write(tmp_path / "out" / "b.parquet", EMPTY_OUTPUT)
    assert write_unfinished(tasks, spec, cluster=cluster) == RunCounts()
