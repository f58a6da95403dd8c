"""Next-token loss on the response only (Review-LLM, equation 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reviewllm.sft.attention import Tree
from reviewllm.sft.model import computing

if TYPE_CHECKING:
    import torch

    from reviewllm.sft.sequences import PackedSequence


_LENGTHS = 512  # on a GPU lengths are multiples of this: FlexAttention's kernels are compiled for each new one


def response_loss(model: Any, sequence: PackedSequence, *, device: Any) -> torch.Tensor:
    """Sum of -log p(w_i | w_<i) over the response tokens of a packed sequence.

    The output layer runs only at the places that predict a response token: with a prompt of 1,500 tokens, a response of 60
    and a vocabulary of 128,256, logits for the prompt would be most of the memory.

    Args:
        model: a causal language model of transformers, with the attention that `model.load_base` chose.
        sequence: what to run.
        device: where the model is.
    """
    import torch
    from torch.nn.functional import cross_entropy

    inputs = _inputs(sequence, device)
    predicts = torch.from_numpy(sequence.predicts).to(device)
    with computing(model, device):
        logits_RV = model(**inputs, logits_to_keep=predicts, use_cache=False).logits[0]
    loss: torch.Tensor = cross_entropy(logits_RV.float(), torch.from_numpy(sequence.labels).to(device), reduction="sum")
    return loss


def _inputs(sequence: PackedSequence, device: Any) -> dict[str, Any]:
    """The model's arguments: ids and positions [1, L], and who sees whom."""
    import numpy as np
    import torch

    padding = -len(sequence.input_ids) % _LENGTHS if torch.device(device).type == "cuda" else 0
    on_device = {
        name: torch.from_numpy(np.pad(array, (0, padding)))[None].to(device)
        for name, array in (("input_ids", sequence.input_ids), ("position_ids", sequence.position_ids))
    }
    return {**on_device, "tree": Tree(sequence, device, padding=padding)}
