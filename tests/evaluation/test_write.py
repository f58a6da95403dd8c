"""Which engine writes what of an evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest

from reviewllm.evaluation.write import by_engine
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.model import Variant
from reviewllm.generation.tasks import GenerationSpec, Piece, Task
from reviewllm.prompts.config import PromptConfig
from reviewllm.sft.adapter import model_digest


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """A base and two adapters of one file each, and a model of base and each adapter, merged already."""
    made = [tmp_path / name for name in ("base", "one", "two")]
    for folder in made:
        folder.mkdir()
        (folder / "config.json").write_text(f'"{folder.name}"')
    base, *adapters = made
    for adapter in adapters:
        (tmp_path / "merged" / f"{model_digest(base)[:12]}-{model_digest(adapter)[:12]}").mkdir(parents=True)
    return made


@pytest.fixture
def spec(folders: list[Path]) -> GenerationSpec:
    """Variants: the base, two of the first adapter, one of the second, the base again."""
    base, one, two = folders
    variants = [
        Variant(model="m", base=base, adapter=adapter, prompt=PromptConfig(), fingerprint=str(number))
        for number, adapter in enumerate([None, one, one, two, None])
    ]
    return GenerationSpec(
        generation=GenerationConfig(), model=base, live_adapters=True, variants=variants, source="s", target="t"
    )


TASKS = [Task([Piece("shard")], variant, f"output-{variant}") for variant in (0, 1, 2, 4)]


def test_by_engine_gives_all_to_one_where_adapters_are_live(spec: GenerationSpec) -> None:
    assert list(by_engine(TASKS, spec, None)) == [(TASKS, spec)]


def test_by_engine_gives_each_adapter_an_engine_of_its_own(
    spec: GenerationSpec, folders: list[Path], tmp_path: Path
) -> None:
    engines = list(by_engine(TASKS, spec, tmp_path / "merged"))
    base, one, _ = folders
    merged = tmp_path / "merged" / f"{model_digest(base)[:12]}-{model_digest(one)[:12]}"
    assert [own.model for _, own in engines] == [base, merged]  # the second adapter has written everything
    assert not any(own.live_adapters for _, own in engines)
    written = [[(own.variants[task.variant].fingerprint, task.output) for task in part] for part, own in engines]
    assert written == [[("0", "output-0"), ("4", "output-4")], [("1", "output-1"), ("2", "output-2")]]
    assert [len(own.variants) for _, own in engines] == [2, 2]  # an engine replays the canaries of what it serves alone
