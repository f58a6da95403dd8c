"""What every Ray Train worker runs: LoRA on its share of the samples, data-parallel."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

from reviewllm.config import StageConfig
from reviewllm.errors import TrainingError
from reviewllm.prompts.renderer import PromptConfig, PromptRenderer, load_tokenizer
from reviewllm.sft.adapter import AdapterDescription, examples_digest, model_digest, write_adapter
from reviewllm.sft.canary import record_canaries
from reviewllm.sft.config import SFTConfig
from reviewllm.sft.loss import response_loss
from reviewllm.sft.samples import Sample, SampleCounts, collate, load_samples, worker_batches
from reviewllm.tables import EXAMPLES, table_files

LOSSES_FILE = "losses.json"
_CANARIES = 4


class LoopConfig(StageConfig):
    """All that a worker is sent."""

    sft: SFTConfig
    prompt: PromptConfig
    base: str
    examples: str


def train_worker(config: dict[str, Any]) -> None:
    """Train on this worker's share; rank 0 reports the adapter as the run's checkpoint.

    Every optimizer step weighs each response token of all workers equally: the summed losses are divided by the number
    of response tokens of the whole step, not by the number of samples, so how samples are split changes nothing.

    Args:
        config: a `LoopConfig`, as `model_dump` gives it, and `board`, the actor that shows progress.

    Raises:
        TrainingError: there is nothing to train on, or the loss is not a number.
    """
    import ray.train
    import ray.train.torch
    import torch

    loop = LoopConfig.model_validate({name: config[name] for name in LoopConfig.model_fields})
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    tokenizer = load_tokenizer(loop.base)
    renderer = PromptRenderer(tokenizer, loop.prompt)
    samples, counts = load_samples(Path(loop.examples), renderer, max_response_tokens=loop.sft.max_response_tokens)
    torch.manual_seed(loop.sft.seed)
    model = _lora_model(loop)
    parallel = ray.train.torch.prepare_model(model)
    optimizer = _optimizer(model, loop.sft)
    losses: list[float] = []
    steps = count_steps(len(samples), loop.sft)
    for batches in _steps(samples, loop.sft, rank, world_size, steps):
        loss, tokens = _optimizer_step(parallel, optimizer, batches, renderer.eos, world_size)
        if not loss == loss:
            raise TrainingError(f"the loss is not a number at step {len(losses) + 1} of {steps}; lower --learning-rate")
        losses.append(loss)
        if rank == 0 and config.get("board") is not None:
            config["board"].show.remote(len(losses), steps, f"loss {loss:.3f}, {tokens} response tokens")
    _report(model, tokenizer, loop, samples, counts, losses, rank, renderer.eos)


def count_steps(samples: int, sft: SFTConfig) -> int:
    """Optimizer steps of a run: whole epochs, or `max_steps` where that is fewer."""
    per_step = sft.per_device_train_batch_size * sft.gradient_accumulation_steps * sft.num_workers
    steps = -(-samples // per_step) * sft.num_train_epochs
    return min(steps, sft.max_steps or steps)


def _steps(samples: list[Sample], sft: SFTConfig, rank: int, world_size: int, steps: int) -> Any:
    done = 0
    for epoch in range(sft.num_train_epochs):
        for batches in worker_batches(
            samples,
            batch_size=sft.per_device_train_batch_size,
            accumulation=sft.gradient_accumulation_steps,
            rank=rank,
            world_size=world_size,
            seed=sft.seed,
            epoch=epoch,
        ):
            if done == steps:
                return
            done += 1
            yield batches


def _lora_model(loop: LoopConfig) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    dtype = torch.bfloat16 if loop.sft.use_gpu else torch.float32
    base = AutoModelForCausalLM.from_pretrained(loop.base, dtype=dtype, trust_remote_code=False, use_safetensors=True)
    lora = LoraConfig(
        r=loop.sft.lora_r,
        lora_alpha=loop.sft.lora_alpha,
        lora_dropout=loop.sft.lora_dropout,
        target_modules=loop.sft.target_modules,
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(base, lora).train()
    except ValueError as error:
        raise TrainingError(f"--target-modules {' '.join(loop.sft.target_modules)}: {error}") from error


def _optimizer(model: Any, sft: SFTConfig) -> Any:
    import torch

    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    return kinds[sft.optimizer]((weight for weight in model.parameters() if weight.requires_grad), lr=sft.learning_rate)


def _optimizer_step(
    parallel: Any, optimizer: Any, batches: list[list[Sample]], pad_token_id: int, world_size: int
) -> tuple[float, int]:
    """One step over this worker's micro-batches; returns the mean loss of all workers' response tokens, and their number."""
    import torch

    device = next(parallel.parameters()).device
    in_loss = sum(len(sample.token_ids) - sample.prompt_tokens for batch in batches for sample in batch)
    all_tokens = _sum_over_workers(torch.tensor(float(in_loss), device=device), world_size)
    total = torch.zeros((), device=device)
    for place, samples in enumerate(batches):
        batch = collate(samples, pad_token_id=pad_token_id)
        batch = type(batch)(*(tensor.to(device) for tensor in batch))
        last = place == len(batches) - 1
        with contextlib.nullcontext() if last or world_size == 1 else parallel.no_sync():
            loss, _ = response_loss(parallel, batch)
            # DDP averages gradients over the workers; times world_size turns that into a sum.
            (loss * world_size / all_tokens).backward()
        total += loss.detach()
    if not batches:
        _join_without_samples(parallel, device)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(_sum_over_workers(total, world_size) / all_tokens), int(all_tokens)


def _join_without_samples(parallel: Any, device: Any) -> None:
    """Take part in the last, short step with a loss of zero, so that no worker waits for this one for ever."""
    import torch

    (parallel(input_ids=torch.zeros((1, 1), dtype=torch.long, device=device)).logits.sum() * 0.0).backward()


def _sum_over_workers(value: Any, world_size: int) -> Any:
    import torch.distributed

    if world_size > 1:
        torch.distributed.all_reduce(value)
    return value


def _report(
    model: Any,
    tokenizer: Any,
    loop: LoopConfig,
    samples: list[Sample],
    counts: SampleCounts,
    losses: list[float],
    rank: int,
    end_token: int,
) -> None:
    import ray.train

    metrics = {**counts._asdict(), "optimizer_steps": len(losses), "first_loss": losses[0], "last_loss": losses[-1]}
    if rank != 0:
        ray.train.report(metrics)
        return
    model.eval()
    prompts = [sample.token_ids[: sample.prompt_tokens] for sample in samples[:_CANARIES]]
    description = AdapterDescription(
        base_model=loop.sft.base_model,
        base_digest=model_digest(Path(loop.base)),
        examples_digest=examples_digest(table_files(Path(loop.examples), EXAMPLES)),
        with_rating=loop.prompt.rating,
        instruction=loop.prompt.instruction(),
        max_prompt_tokens=loop.prompt.max_prompt_tokens,
        samples=len(samples),
        optimizer_steps=len(losses),
        first_loss=losses[0],
        last_loss=losses[-1],
        canaries=record_canaries(model, prompts, end_token=end_token),
    )
    with tempfile.TemporaryDirectory() as folder:
        write_adapter(model, tokenizer, Path(folder), description)
        (Path(folder) / LOSSES_FILE).write_text(json.dumps(losses) + "\n", encoding="utf-8")
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))
