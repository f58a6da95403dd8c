"""One optimizer step and one validation, over all workers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from reviewllm.errors import NotANumberError, PackingError
from reviewllm.sft.inspection import visible
from reviewllm.sft.loss import response_loss
from reviewllm.sft.model import gradients_kept_local, trainable
from reviewllm.sft.sequences import pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from reviewllm.sft.config import SFTConfig
    from reviewllm.sft.schedule import WorkerShare
    from reviewllm.sft.sequences import PackedSequence, Sample

_IDS_IN_MESSAGE = 20
_MOST_DIFFERENCE, _MOST_DIFFERENCE_ROUNDED = 1e-3, 0.1  # nats a token, in float32 and in bfloat16


class StepResult(NamedTuple):
    """Mean loss of the step's response tokens (nats), and the norm of its gradient before clipping."""

    loss: float
    grad_norm: float


def make_optimizer(model: Any, sft: SFTConfig, *, steps: int) -> tuple[Any, Any]:
    """The optimizer of the LoRA weights, and the scheduler of its learning rate over `steps` steps."""
    import torch
    from transformers import get_scheduler

    weights = list(trainable(model).values())
    if sft.optimizer == "adamw":
        optimizer: Any = torch.optim.AdamW(weights, lr=sft.learning_rate, weight_decay=sft.weight_decay)
    else:
        optimizer = torch.optim.Adam(weights, lr=sft.learning_rate)
    name = "constant_with_warmup" if sft.lr_scheduler_type == "constant" else sft.lr_scheduler_type
    return optimizer, get_scheduler(name, optimizer, num_warmup_steps=sft.warmup_steps, num_training_steps=steps)


def optimizer_step(
    parallel: Any,
    optimizer: Any,
    share: WorkerShare,
    *,
    max_grad_norm: float,
    device: Any,
    world_size: int = 1,
) -> StepResult:
    """Train on one step's samples: this worker's share of them, in as many forward passes as it has sequences.

    Every response token of the step has the same weight: summed losses are divided by the step's response tokens over
    all workers, so how samples are packed and shared out changes nothing but rounding.

    Raises:
        NotANumberError: loss or gradient is not a number; on all workers alike, with the ids of the examples, before the
            weights are touched.
    """
    import torch

    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    losses: list[torch.Tensor] = []
    for place, sequence in enumerate(share.sequences, start=1):
        with gradients_kept_local(parallel, local=place < len(share.sequences)):
            loss = response_loss(parallel, sequence, device=device)
            # DDP and FSDP average gradients over the workers; times world_size turns that into a sum.
            (loss * (world_size / share.response_tokens)).backward()  # type: ignore[no-untyped-call]
        losses.append(loss.detach())
    total = float(_sum_over_workers(torch.stack(losses).sum(), world_size))
    norm = torch.nn.utils.clip_grad_norm_(weights, max_grad_norm or math.inf)
    grad_norm = float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
    if not (math.isfinite(total) and math.isfinite(grad_norm)):
        raise NotANumberError(_not_a_number(share.sequences, losses, total, world_size))
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return StepResult(total / share.response_tokens, grad_norm)


def check_packing(parallel: Any, samples: Sequence[Sample], *, device: Any) -> None:
    """Compare the loss of samples in one forward pass with their losses alone, on the device that trains them.

    All workers must call this, with the same samples.

    Raises:
        PackingError: they differ by more than the rounding of the base's type.
    """
    import torch

    parallel.eval()
    with torch.no_grad():
        packed, *alone = [
            float(response_loss(parallel, pack(passed), device=device)) for passed in (samples, *([one] for one in samples))
        ]
    parallel.train()
    tokens = sum(len(one.token_ids) - one.prompt_tokens for one in samples)
    most = _MOST_DIFFERENCE if next(parallel.parameters()).dtype == torch.float32 else _MOST_DIFFERENCE_ROUNDED
    if not abs(packed - sum(alone)) <= most * tokens and math.isfinite(sum(alone)):
        raise PackingError(
            f"before the first step: samples that share a forward pass have a loss of {packed / tokens:.4f} nats a token, alone "
            f"{sum(alone) / tokens:.4f}: {device} computes the attention that keeps them apart wrongly; set --no-packing"
        )


def validation_loss(parallel: Any, share: WorkerShare, *, device: Any, world_size: int = 1) -> float:
    """Mean loss (nats) of the response tokens of the validation samples, without dropout.

    Raises:
        NotANumberError: it is not a number; on all workers alike.
    """
    import torch

    parallel.eval()
    with torch.no_grad():
        losses = [response_loss(parallel, sequence, device=device) for sequence in share.sequences]
    parallel.train()
    total = float(_sum_over_workers(torch.stack(losses).sum(), world_size))
    if not math.isfinite(total):
        raise NotANumberError(_not_a_number(share.sequences, losses, total, world_size))
    return total / share.response_tokens


def _not_a_number(sequences: list[PackedSequence], losses: list[torch.Tensor], total: float, world_size: int) -> str:
    """Says what is not a number, and the examples of the forward passes where it began; the same on all workers."""
    import torch

    bad = [
        example
        for sequence, loss in zip(sequences, losses, strict=True)
        if not math.isfinite(float(loss))
        for example in map(visible, sequence.example_ids)
    ]
    if world_size > 1:
        gathered: list[list[str]] = [[] for _ in range(world_size)]
        torch.distributed.all_gather_object(gathered, bad)
        bad = [example for examples in gathered for example in examples]
    if math.isfinite(total):
        return "the gradient is not a number, though the loss is; lower --learning-rate or use --dtype float32"
    more = f" and {len(bad) - _IDS_IN_MESSAGE} more" if len(bad) > _IDS_IN_MESSAGE else ""
    return (
        f"the loss is not a number; it comes from the examples {', '.join(bad[:_IDS_IN_MESSAGE])}{more}; lower "
        "--learning-rate, use --dtype float32, or look at them with --inspect"
    )


def _sum_over_workers(value: torch.Tensor, world_size: int) -> torch.Tensor:
    import torch.distributed

    if world_size > 1:
        torch.distributed.all_reduce(value)
    return value
