"""What is there is not written again."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.model import Variant
from reviewllm.generation.pipeline import RunCounts
from reviewllm.generation.tasks import GenerationSpec, Piece, Task
from reviewllm.generation.unfinished import write_unfinished
from reviewllm.prompts.config import PromptConfig


class NeededError(Exception):
    """A cluster is entered."""


def cluster() -> AbstractContextManager[None]:
    raise NeededError


def test_write_unfinished_enters_the_cluster_only_where_an_output_is_missing(tmp_path: Path) -> None:
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
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.parquet").touch()
    with pytest.raises(NeededError):
        write_unfinished(tasks, spec, cluster=cluster)
    (tmp_path / "out" / "b.parquet").touch()
    assert write_unfinished(tasks, spec, cluster=cluster) == RunCounts()
