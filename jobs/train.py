"""Training examples + base -> LoRA adapter, on Ray Train.

    python jobs/train.py --base-model meta-llama/Meta-Llama-3-8B --use-gpu --num-workers 16 --out out/run
    python jobs/train.py --base-model <folder> --no-rating --out out/run       # the paper's ablation

Reads `<out>/examples/train`, writes `<out>/adapter` (or `<out>/adapter-no-rating`), and with `--merged` also
`<out>/merged`. One GPU per worker, or CPUs; two CPU workers by default. On a cluster `<out>` lies on shared storage.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pydantic import Field

if __package__ in (None, ""):  # run as a file: `python jobs/train.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.entry import run
from reviewllm.cluster import ClusterConfig, ray_session
from reviewllm.config import JobConfig, part, save
from reviewllm.progress import step
from reviewllm.prompts.renderer import PromptConfig
from reviewllm.sft.adapter import local_model_folder, merge_adapter
from reviewllm.sft.config import SFTConfig
from reviewllm.sft.fit import train_adapter
from reviewllm.summary import record_step


class TrainJob(JobConfig, ClusterConfig, PromptConfig, SFTConfig):
    """Fine-tune a LoRA adapter that writes reviews in each user's manner."""

    out: Path = Field(Path("out/run"), description="folder of the run")
    examples: Path | None = Field(None, description="training examples; default <out>/examples/train")
    adapter: Path | None = Field(None, description="where the adapter goes; default <out>/adapter[-no-rating]")
    merged: bool = Field(False, description="also write base and adapter as one model to <out>/merged[-no-rating]")


def main(config: TrainJob) -> dict[str, Any]:
    """Train, and put the adapter in place; returns the run's counts."""
    suffix = "" if config.rating else "-no-rating"
    adapter = config.adapter or config.out / f"adapter{suffix}"
    name = f"train{suffix}"
    with step(name) as running, ray_session(part(config, ClusterConfig)):
        counts = train_adapter(
            examples=config.examples or config.out / "examples" / "train",
            out=adapter,
            sft=part(config, SFTConfig),
            prompt=part(config, PromptConfig),
            on_step=running.show,
        )
        save(config, config.out / "config" / f"{name}.yaml")
        if config.merged:
            merge_adapter(local_model_folder(config.base_model), adapter, config.out / f"merged{suffix}")
        trained = counts["samples"]
        record_step(
            config.out,
            name,
            config,
            rows_in=trained + counts["refused"],
            rows_out=trained,
            seconds=running.seconds,
            counts={key: value for key, value in counts.items() if isinstance(value, int)},
        )
        running.result = (
            f"{trained} samples, {counts['refused']} refused, {counts['tokens']} tokens ({counts['response_tokens']} in the "
            f"loss); {counts['optimizer_steps']} steps, loss {counts['first_loss']:.3f} -> {counts['last_loss']:.3f} -> {adapter}"
        )
    return counts


if __name__ == "__main__":
    run(main, TrainJob)
