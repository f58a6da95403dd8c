"""Start the workers, wait, and put the adapter in place."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reviewllm.cluster import own_error, require_resources
from reviewllm.errors import ConfigError, TrainingError
from reviewllm.progress import progress_board
from reviewllm.prompts.renderer import PromptConfig, load_tokenizer
from reviewllm.sft.adapter import DESCRIPTION_FILE, check_context, local_model_folder
from reviewllm.sft.config import SFTConfig
from reviewllm.sft.loop import LoopConfig, train_worker
from reviewllm.tables import EXAMPLES, replace_folder, table_files


def train_adapter(
    *,
    examples: Path,
    out: Path,
    sft: SFTConfig,
    prompt: PromptConfig,
    on_step: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """Train a LoRA adapter on the connected Ray cluster and put it at `out`, replacing an earlier one when done.

    `examples` (train split) and the folder of `out` must be visible to every node of the cluster.

    Args:
        on_step: called with (optimizer steps done, in all, a text) as the work goes on.

    Returns:
        The run's counts: samples, refused, tokens, response_tokens, optimizer_steps, first_loss, last_loss, ...

    Raises:
        ConfigError: base or instruction cannot be read, the base's context is too short, or `out` is something else.
        SchemaError: there are no training examples.
        TrainingError: a worker failed.
    """
    import ray.train
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    table_files(examples, EXAMPLES)
    _refuse_to_overwrite(out)
    base = local_model_folder(sft.base_model)
    check_context(base, prompt.max_prompt_tokens + sft.max_response_tokens)
    load_tokenizer(str(base))
    prompt.instruction()
    require_resources(
        cpus=sft.num_workers * sft.cpus_per_worker,
        gpus=sft.num_workers if sft.use_gpu else 0,
        flags="--num-workers, --cpus-per-worker, --use-gpu",
    )
    runs = out.parent / f".{out.name}.runs"
    loop = LoopConfig(sft=sft, prompt=prompt, base=str(base), examples=str(examples.resolve()))
    with progress_board(on_step) as board:
        trainer = TorchTrainer(
            train_worker,
            train_loop_config={**loop.model_dump(), "board": board},
            scaling_config=ray.train.ScalingConfig(
                num_workers=sft.num_workers,
                use_gpu=sft.use_gpu,
                resources_per_worker={"CPU": sft.cpus_per_worker, **({"GPU": 1} if sft.use_gpu else {})},
            ),
            run_config=ray.train.RunConfig(name=uuid.uuid4().hex[:8], storage_path=str(runs.resolve())),
        )
        try:
            result = trainer.fit()
        except TrainingFailedError as error:
            raise own_error(error, TrainingError) from error
    if result.checkpoint is None:
        raise TrainingError("training ended without an adapter; see the workers' logs in Ray's session folder")
    _put_in_place(result.checkpoint, out)
    shutil.rmtree(runs, ignore_errors=True)
    return dict(result.metrics or {})


def _refuse_to_overwrite(out: Path) -> None:
    """An adapter may replace an adapter, and nothing else."""
    if out.exists() and not (out / DESCRIPTION_FILE).is_file():
        raise ConfigError(
            f"--adapter {out}: is there and is no adapter of reviewllm; name a folder that may be made or replaced"
        )


def _put_in_place(checkpoint: Any, out: Path) -> None:
    aside = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        checkpoint.to_directory(str(aside))
        replace_folder(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
