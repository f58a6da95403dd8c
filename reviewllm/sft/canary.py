"""Fixed prompts that tell whether an adapter acts: rows once came silently from the base (Ray pull request 62609)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reviewllm.errors import AdapterError
from reviewllm.sft.adapter import Canary

CANARY_TOKENS = 16  # far enough that base and adapter part, short enough to cost nothing


def record_canaries(model: Any, prompts: Sequence[list[int]], *, end_token: int) -> list[Canary]:
    """Write after each prompt greedily, with the adapter and without; keep the prompts where the two differ."""
    canaries = []
    for prompt in prompts:
        adapted = _greedy(model, prompt, end_token)
        with model.disable_adapter():
            base = _greedy(model, prompt, end_token)
        if base != adapted:
            canaries.append(Canary(prompt=prompt, base=base, adapter=adapted))
    return canaries


def check_canaries(canaries: Sequence[Canary], written: Sequence[Sequence[int]], *, adapter: str) -> None:
    """Refuse to go on when an engine writes after the canaries what the base would write.

    Engines round differently, so not every id must agree: it is enough that one canary follows the adapter further than
    the base.

    Raises:
        AdapterError: the adapter does not act.
    """
    acts = any(
        _common(ids, canary.adapter) > _common(ids, canary.base) for canary, ids in zip(canaries, written, strict=True)
    )
    if canaries and not acts:
        raise AdapterError(
            f"adapter {adapter} does not act: the engine wrote the base's text after all {len(canaries)} canary prompts; "
            "nothing was generated; check that the engine loads the adapter, and that it was trained on this base"
        )


def _greedy(model: Any, prompt: list[int], end_token: int) -> list[int]:
    import torch

    ids = torch.tensor([prompt], device=model.device)
    with torch.no_grad():
        output = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=CANARY_TOKENS,
            do_sample=False,
            eos_token_id=end_token,
            pad_token_id=end_token,
        )
    return [int(token) for token in output[0, len(prompt) :]]


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    """Length of the common prefix."""
    for place, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return place
    return min(len(left), len(right))
