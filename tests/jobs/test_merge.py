"""A merge that cannot come to its end is refused before the base is loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from jobs.merge import MergeJob, main
from reviewllm.errors import ConfigError
from reviewllm.prompts.config import PromptConfig
from reviewllm.sft.adapter import AdapterDescription, model_digest
from reviewllm.sft.config import SFTConfig, TrainingConfig


def adapter_of(base: Path, folder: Path) -> Path:
    """An adapter without weights that says it was trained on the base."""
    description = AdapterDescription(
        base_model="tiny",
        base_digest=model_digest(base),
        examples_digest="e" * 64,
        samples_digest="f" * 64,
        with_rating=True,
        instruction=PromptConfig().instruction(),
        max_prompt_tokens=512,
        samples=3,
        optimizer_steps=2,
        first_loss=5.0,
        last_loss=4.0,
        sft=SFTConfig(base_model="tiny"),
        training=TrainingConfig(),
    )
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    save_file({}, folder / "adapter_model.safetensors")
    (folder / "reviewllm.json").write_text(description.model_dump_json())
    return folder


def _quantize(base: Path) -> None:
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "gptq"}}))


def _rename_architecture(base: Path) -> None:
    (base / "config.json").write_text(json.dumps({"model_type": "lama", "vocab_size": 300}))


def _lose_tokenizer(base: Path) -> None:
    for file in base.glob("tokenizer*"):
        file.unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_quantize, "quantization_config .*name the base that it was made from"),
        (_rename_architecture, "transformers knows no such causal language model"),
        (_lose_tokenizer, "no tokenizer can be read there"),
    ],
)
def test_merge_with_a_base_that_cannot_be_merged_into_is_refused(
    random_base: Path, tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    base = shutil.copytree(random_base, tmp_path / "base")
    spoil(base)
    adapter = adapter_of(base, tmp_path / "adapter")
    with pytest.raises(ConfigError, match=message):
        main(MergeJob(base_model=str(base), adapter=adapter))
    assert not (tmp_path / "merged").exists()
