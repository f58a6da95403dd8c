"""What SASRec can be trained by: a softmax over all items, over a sample of them, or binary cross-entropy with one negative."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_LOGITS_AT_ONCE = 800_000  # 3 MB: they stay in the cache of one core, which is 2 to 3 times as fast as larger blocks


class _FullSoftmax(torch.autograd.Function):
    """Cross-entropy over all items, a few places at a time, with its gradients made on the way.

    The logits of all places (131,000 times 12,101 in an epoch of Beauty) are never held, and are made once, not once more
    in the backward pass.
    """

    @staticmethod
    def forward(ctx: Any, hidden_PH: Tensor, items_NH: Tensor, targets_P: Tensor) -> Tensor:
        places, wide = hidden_PH.shape[0], items_NH.shape[0]
        hidden_gradient, items_gradient = torch.empty_like(hidden_PH), torch.zeros_like(items_NH)
        block = max(1, _LOGITS_AT_ONCE // wide)
        buffer = hidden_PH.new_empty(min(block, places), wide)
        loss = hidden_PH.new_zeros(())
        for start in range(0, places, block):
            hidden, targets = hidden_PH[start : start + block], targets_P[start : start + block, None]
            logits = torch.mm(hidden, items_NH.T, out=buffer[: len(hidden)])
            logits -= logits.amax(dim=1, keepdim=True)
            loss -= logits.gather(1, targets).sum()
            sums = logits.exp_().sum(dim=1, keepdim=True)
            loss += sums.log().sum()
            logits /= sums * places
            logits.scatter_add_(1, targets, logits.new_full(targets.shape, -1.0 / places))
            torch.mm(logits, items_NH, out=hidden_gradient[start : start + block])
            items_gradient.addmm_(logits.T, hidden)
        ctx.save_for_backward(hidden_gradient, items_gradient)
        return loss / places

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden_gradient, items_gradient = ctx.saved_tensors
        return hidden_gradient * gradients[0], items_gradient * gradients[0], None


def full_softmax(hidden_PH: Tensor, items_NH: Tensor, targets_P: Tensor) -> Tensor:
    """Mean cross-entropy of the targets among all items."""
    loss: Tensor = _FullSoftmax.apply(hidden_PH, items_NH, targets_P)  # type: ignore[no-untyped-call]
    return loss


def sampled_softmax(hidden_PH: Tensor, items_NH: Tensor, targets_P: Tensor, negatives_K: Tensor, log_q_N: Tensor) -> Tensor:
    """Mean cross-entropy of the targets among themselves and K items that all places share.

    A negative counts less the more often it is drawn: its logit is lowered by the log of how often it is expected
    among the K (Bengio and Senecal 2008; Yi et al. 2019); so is the target's. A negative that is the target of its place is none.

    Args:
        log_q_N: the natural logarithm of each item's chance in one draw.
    """
    offset_K = log_q_N[negatives_K] + torch.log(torch.tensor(float(len(negatives_K))))
    logits_PK = hidden_PH @ items_NH[negatives_K].T - offset_K
    logits_PK = logits_PK.masked_fill(negatives_K[None] == targets_P[:, None], -torch.inf)
    own_P = (hidden_PH * items_NH[targets_P]).sum(dim=1)
    return (torch.logsumexp(torch.cat([own_P[:, None], logits_PK], dim=1), dim=1) - own_P).mean()


def binary(hidden_PH: Tensor, items_NH: Tensor, targets_P: Tensor, negatives_P: Tensor) -> Tensor:
    """Binary cross-entropy of each target against one other item, as in the paper of SASRec."""
    own_P = (hidden_PH * items_NH[targets_P]).sum(dim=1)
    other_P = (hidden_PH * items_NH[negatives_P]).sum(dim=1)
    return (functional.softplus(-own_P) + functional.softplus(other_P)).mean()
