"""Training on sequences whose rule is known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest
import torch

from reviewllm.errors import ConfigError, InputError, NotANumberError
from reviewllm.recommend.histories import make_histories
from reviewllm.recommend.metrics import hit_ratio
from reviewllm.recommend.ranks import target_ranks
from reviewllm.recommend.sasrec_retriever import SasrecConfig
from reviewllm.recommend.train_sasrec import make_batches, train_sasrec


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices this small are slower on two threads, and many times so where cores are shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


SMALL = SasrecConfig(hidden_size=16, num_layers=1, attention_heads=2, max_items=8, dropout=0.1, batch_places=64, epochs=1)


def circle(users: int = 60, items: int = 30) -> pl.DataFrame:
    """Users who go around a circle of items, one step at a time, from places of their own."""
    draw = np.random.default_rng(0)
    first, lengths = draw.integers(items, size=users), draw.integers(4, 12, size=users)
    walks = [[f"i{(start + n) % items:02d}" for n in range(length)] for start, length in zip(first, lengths, strict=True)]
    return pl.DataFrame({"user_id": [f"u{n}" for n in range(users)], "item_ids": walks})


@pytest.mark.parametrize("loss", ["softmax", "sampled", "bce"])
def test_train_sasrec_learns_what_comes_next(loss: str) -> None:
    config = SMALL.model_copy(
        update={"loss": loss, "epochs": 24, "learning_rate": 3e-2, "negatives": 20, "evaluate_every": 8, "patience": 9}
    )
    retriever, epochs = train_sasrec(circle(), config)
    ranks = target_ranks(retriever, make_histories(circle(), retriever.item_ids, "test"))
    assert hit_ratio(ranks, 3).mean() > 0.8  # by chance 3 of some 23 items that are left: 0.13
    assert epochs[-1].loss < epochs[0].loss / 2
    assert [epoch.number for epoch in epochs if epoch.ndcg10 is not None] == [8, 16, 24]


def test_train_sasrec_gives_the_same_weights_for_the_same_seed() -> None:
    one, other, third = (
        train_sasrec(circle(), SMALL.model_copy(update={"seed": seed}))[0].model.items.weight for seed in (1, 1, 2)
    )
    assert torch.equal(one, other)
    assert not torch.equal(one, third)


def test_train_sasrec_does_not_learn_from_the_items_held_out() -> None:
    rows = circle()
    swapped = rows.with_columns(
        pl.concat_list(pl.col("item_ids").list.head(pl.col("item_ids").list.len() - 1), pl.lit(["i00"])).alias("item_ids")
    )
    one, other = (train_sasrec(some, SMALL)[0].model.items.weight for some in (rows, swapped))
    assert torch.equal(one, other)


def test_train_sasrec_stops_and_keeps_the_best() -> None:
    config = SMALL.model_copy(update={"epochs": 30, "evaluate_every": 1, "patience": 2, "learning_rate": 0.1})
    retriever, epochs = train_sasrec(circle(), config)
    figures = [epoch.ndcg10 or 0.0 for epoch in epochs]
    best = int(np.argmax(figures))
    assert len(epochs) == min(best + 1 + 2, 30)
    histories = make_histories(circle(), retriever.item_ids, "validation")
    ranks = target_ranks(retriever, histories)
    assert np.where(ranks <= 10, 1 / np.log2(ranks + 1), 0).mean() == pytest.approx(figures[best])


def test_train_sasrec_refuses_what_cannot_be_trained() -> None:
    with pytest.raises(ConfigError, match="no multiple"):
        train_sasrec(circle(), SMALL.model_copy(update={"attention_heads": 3}))
    with pytest.raises(InputError, match="nothing to learn from"):
        train_sasrec(pl.DataFrame({"user_id": ["u"], "item_ids": [["a", "b", "c"]]}), SMALL)
    with pytest.raises(NotANumberError, match="lower --learning-rate"):
        train_sasrec(circle(), SMALL.model_copy(update={"learning_rate": float("inf"), "epochs": 3}))


def test_make_batches_has_every_user_with_a_target_once_and_like_lengths_together() -> None:
    lengths = np.array([0, 1, 2, 30, 2, 9, 9, 30, 2, 300])
    batches = make_batches(lengths, SMALL.model_copy(update={"batch_places": 10}), np.random.default_rng(0))
    assert sorted(np.concatenate(batches).tolist()) == [2, 3, 4, 5, 6, 7, 8, 9]
    # One target each of the users with two items, 8 of each other: at most 8 + 8 in a batch that is closed beyond 10.
    assert all(np.minimum(lengths[batch] - 1, 8).sum() <= 10 + 8 for batch in batches)
