"""What SASRec can be trained by: a softmax over all items, over a sample of them, or binary cross-entropy with one negative."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_LOGITS_AT_ONCE = 800_000  # 3 MB: they stay in the cache of one core, which is 2 to 3 times as fast as larger blocks


class _Softmax(torch.autograd.Function):
    """Mean cross-entropy of each place's own logit among itself and K others, with its gradients made on the way.

    A few places at a time: the logits of all (131,000 x 12,101 in an epoch of Beauty) are never held, and are made once, not once
    more in the backward pass. For 1,024 items it takes a third of the time of the same in torch's own functions.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden_PH: Tensor, own_P: Tensor, others_KH: Tensor, offset_K: Tensor | None, column_P: Tensor
    ) -> Tensor:
        """`offset_K` is taken off the others' logits; `column_P` is the other that is the own one of a place, -1 for none."""
        places, wide = hidden_PH.shape[0], others_KH.shape[0]
        hidden_gradient, own_gradient = torch.empty_like(hidden_PH), torch.empty_like(own_P)
        others_gradient = torch.zeros_like(others_KH)
        block = max(1, _LOGITS_AT_ONCE // wide)
        buffer = hidden_PH.new_empty(min(block, places), wide)
        loss = hidden_PH.new_zeros(())
        for start in range(0, places, block):
            now = slice(start, start + block)
            hidden, own, column = hidden_PH[now], own_P[now, None], column_P[now]
            logits = torch.mm(hidden, others_KH.T, out=buffer[: len(hidden)])
            if offset_K is not None:
                logits -= offset_K
            is_own = column >= 0
            logits[is_own, column[is_own]] = -torch.inf
            highest = torch.maximum(logits.amax(dim=1, keepdim=True), own)
            own = own - highest
            logits = logits.sub_(highest).exp_()
            sums = logits.sum(dim=1, keepdim=True) + own.exp()
            loss += (sums.log() - own).sum()
            own_gradient[now] = ((own.exp() / sums - 1.0) / places)[:, 0]
            logits /= sums * places
            torch.mm(logits, others_KH, out=hidden_gradient[now])
            others_gradient.addmm_(logits.T, hidden)
        ctx.save_for_backward(hidden_gradient, own_gradient, others_gradient)
        return loss / places

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return (*(gradient * gradients[0] for gradient in ctx.saved_tensors), None, None)


def full_softmax(hidden_PH: Tensor, items_NH: Tensor, targets_P: Tensor) -> Tensor:
    """Mean cross-entropy of the targets among all items."""
    own_P = (hidden_PH * items_NH[targets_P]).sum(dim=1)
    loss: Tensor = _Softmax.apply(hidden_PH, own_P, items_NH, None, targets_P)  # type: ignore[no-untyped-call]
    return loss


def sampled_softmax(hidden_PH: Tensor, items_NH: Tensor, targets_P: Tensor, drawn_K: Tensor, log_q_N: Tensor) -> Tensor:
    """Mean cross-entropy of the targets among themselves and items that were drawn for all places together.

    An item counts less the more often it is drawn: its logit is lowered by the log of how often it is expected among the
    draws (Bengio and Senecal 2008). The target's is not: it is always there. A drawn item that is the target of a place does
    not count there.

    Args:
        drawn_K: items, drawn with replacement.
        log_q_N: the natural logarithm of each item's chance in one draw.
    """
    others, counts = torch.unique(drawn_K, return_counts=True)
    offset = log_q_N[others] + math.log(len(drawn_K)) - counts.to(log_q_N.dtype).log()
    column_N = torch.full((len(items_NH),), -1)
    column_N[others] = torch.arange(len(others))
    own_P = (hidden_PH * items_NH[targets_P]).sum(dim=1)
    loss: Tensor = _Softmax.apply(hidden_PH, own_P, items_NH[others], offset, column_N[targets_P])  # type: ignore[no-untyped-call]
    return loss


def binary(hidden_PH: Tensor, items_NH: Tensor, targets_P: Tensor, negatives_P: Tensor) -> Tensor:
    """Binary cross-entropy of each target against one other item, as in the paper of SASRec."""
    own_P = (hidden_PH * items_NH[targets_P]).sum(dim=1)
    other_P = (hidden_PH * items_NH[negatives_P]).sum(dim=1)
    return (functional.softplus(-own_P) + functional.softplus(other_P)).mean()
