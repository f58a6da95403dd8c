"""The model: what a place may see, and its dropout."""

from __future__ import annotations

import torch

from reviewllm.recommend.sasrec import Sasrec, drop


def model() -> Sasrec:
    """A small model, not in training."""
    torch.manual_seed(0)
    return Sasrec(items=20, hidden=8, layers=2, heads=2, max_length=6, dropout=0.5).eval()


def test_forward_of_a_place_depends_on_nothing_after_it() -> None:
    one, other = torch.tensor([[1, 2, 3, 4]]), torch.tensor([[1, 2, 9, 0]])
    found, changed = model()(one), model()(other)
    torch.testing.assert_close(found[:, :2], changed[:, :2])
    assert not torch.allclose(found[:, 2:], changed[:, 2:])


def test_forward_is_the_same_with_padding_at_the_end() -> None:
    torch.testing.assert_close(model()(torch.tensor([[5, 6]])), model()(torch.tensor([[5, 6, 0, 0, 0]]))[:, :2])


def test_forward_knows_the_order() -> None:
    found = model()(torch.tensor([[1, 2, 3], [2, 1, 3]]))
    assert not torch.allclose(found[0, 2], found[1, 2])


def test_drop_keeps_the_mean_and_repeats_with_the_seed() -> None:
    ones = torch.ones(300, 401)
    torch.manual_seed(3)
    found = drop(ones, 0.4)
    share = round(256 * 0.4) / 256
    assert set(found.unique().tolist()) == {0.0, torch.tensor(1 / (1 - share)).item()}
    assert abs((found == 0).double().mean().item() - share) < 0.005
    torch.manual_seed(3)
    assert torch.equal(drop(ones, 0.4), found)
    assert torch.equal(drop(ones, 0.0), ones)
