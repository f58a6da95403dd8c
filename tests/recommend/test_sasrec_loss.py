"""The losses against torch's own, and their gradients against autograd."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from reviewllm.recommend import sasrec_loss
from reviewllm.recommend.sasrec_loss import binary, full_softmax, sampled_softmax


def drawn() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hidden vectors of 9 places, embeddings of 7 items, and targets."""
    generator = torch.Generator().manual_seed(0)
    hidden, items = (torch.randn(n, 4, generator=generator, dtype=torch.float64).requires_grad_() for n in (9, 7))
    return hidden, items, torch.randint(7, (9,), generator=generator)


@pytest.mark.parametrize("logits_at_once", [1, 7 * 4, 10_000])
def test_full_softmax_equals_cross_entropy_and_its_gradients(monkeypatch: pytest.MonkeyPatch, logits_at_once: int) -> None:
    monkeypatch.setattr(sasrec_loss, "_LOGITS_AT_ONCE", logits_at_once)
    hidden, items, targets = drawn()
    expected = functional.cross_entropy(hidden @ items.T, targets)
    loss = full_softmax(hidden, items, targets)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(
        torch.autograd.grad(3 * loss, [hidden, items]), torch.autograd.grad(3 * expected, [hidden, items])
    )


def test_full_softmax_holds_large_logits() -> None:
    hidden, items = torch.tensor([[1000.0]], requires_grad=True), torch.tensor([[1.0], [-1.0]])
    assert full_softmax(hidden, items, torch.tensor([0])).item() == 0.0


def test_sampled_softmax_of_all_items_once_equals_the_full_one() -> None:
    hidden, items, targets = drawn()
    # Each of 7 items drawn once in 7 draws is expected once: log(7 / 7) = 0, and nothing is corrected.
    found = sampled_softmax(hidden, items, targets, torch.arange(7), torch.full((7,), 1 / 7, dtype=torch.float64).log())
    torch.testing.assert_close(found, functional.cross_entropy(hidden @ items.T, targets))


def test_sampled_softmax_estimates_the_full_one_whatever_is_drawn_often() -> None:
    hidden, items, targets = drawn()
    chances = torch.tensor([0.3, 0.3, 0.2, 0.05, 0.05, 0.05, 0.05], dtype=torch.float64)
    drawn_items = torch.multinomial(chances, 40_000, replacement=True, generator=torch.Generator().manual_seed(1))
    found = sampled_softmax(hidden, items, targets, drawn_items, chances.log())
    assert found.item() == pytest.approx(functional.cross_entropy(hidden @ items.T, targets).item(), rel=0.02)


def test_binary_equals_torch_s() -> None:
    hidden, items, targets = drawn()
    others = (targets + 1) % 7
    logits = torch.stack([(hidden * items[targets]).sum(1), (hidden * items[others]).sum(1)])
    wanted = torch.tensor([[1.0], [0.0]], dtype=torch.float64).expand_as(logits)
    expected = 2 * functional.binary_cross_entropy_with_logits(logits, wanted)  # ours is a sum over the two, per target
    torch.testing.assert_close(binary(hidden, items, targets, others), expected)
