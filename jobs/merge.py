"""Base + adapter -> one Hugging Face model, for engines that are to run at the base's speed.

    python jobs/merge.py --base-model meta-llama/Meta-Llama-3-8B --adapter out/run/adapter --merged out/run/merged

Reads the adapter's folder and the base, writes a complete model folder in place of an earlier one. Needs memory for the
base, and no GPU.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import Field

if __package__ in (None, ""):  # run as a file: `python jobs/merge.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.entry import run_job
from reviewllm.base_model import check_vocabulary, local_model_folder, refuse_quantized
from reviewllm.config import Command, Commands, JobConfig, ModelWhere
from reviewllm.progress import step
from reviewllm.prompts.tokenizer import load_tokenizer
from reviewllm.sft.adapter import check_base, check_merge_target, merge_adapter, merged_folder
from reviewllm.sft.model import check_target_modules


class MergeJob(JobConfig):
    """Merge an adapter into its base."""

    base_model: ModelWhere = Field(description="base: a Hugging Face folder or hub name")
    adapter: Path = Field(Path("out/run/adapter"), description="folder of the adapter")
    merged: Path | None = Field(None, description="where the model goes; default: merged, beside the adapter")


def main(config: MergeJob) -> Path:
    """Merge; returns the model's folder.

    Raises:
        AdapterError: adapter and base do not belong together.
        ConfigError: the base cannot be read or is quantized, or something else than a merged model is where it should go.
    """
    merged = config.merged or merged_folder(config.adapter)
    base = local_model_folder(config.base_model)
    description = check_base(config.adapter, base)
    check_merge_target(merged, base=base, adapter=config.adapter)
    refuse_quantized(base)
    check_vocabulary(base, load_tokenizer(str(base)))
    check_target_modules(base, description.sft.target_modules)
    with step("merge") as running:
        merge_adapter(base, config.adapter, merged)
        size = sum(file.stat().st_size for file in merged.glob("*.safetensors"))
        running.result = f"{config.base_model} + {config.adapter} -> {merged} ({size / 1e9:.2f} GB)"
    return merged


COMMANDS: Commands = {"": Command(main, MergeJob)}


if __name__ == "__main__":
    run_job(COMMANDS, __doc__)
