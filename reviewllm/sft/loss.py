"""Next-token loss on the response only (Review-LLM, equation 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from reviewllm.sft.samples import Batch


def response_loss(model: Any, batch: Batch) -> tuple[torch.Tensor, int]:
    """Sum of -log p(w_i | w_<i) over the response tokens of a batch, and their number.

    The output layer runs only where some sample of the batch predicts a response token: with a prompt of 1,500 tokens,
    a response of 60 and a vocabulary of 128,256, logits for the prompt would be most of the memory.
    """
    import torch
    from torch.nn.functional import cross_entropy

    predicts_BT = torch.zeros_like(batch.loss_mask_BT)
    predicts_BT[:, :-1] = batch.loss_mask_BT[:, 1:]  # position t predicts token t + 1
    positions = predicts_BT.any(dim=0).nonzero().squeeze(1)
    logits_BPV = model(
        input_ids=batch.input_ids_BT,
        attention_mask=batch.attention_mask_BT,
        logits_to_keep=positions,
        use_cache=False,
    ).logits
    chosen_BP = predicts_BT[:, positions]
    labels = batch.input_ids_BT[:, positions + 1][chosen_BP]
    return cross_entropy(logits_BPV[chosen_BP].float(), labels, reduction="sum"), int(labels.numel())
