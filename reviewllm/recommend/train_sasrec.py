"""Train SASRec on sequences, and keep the best by validation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from reviewllm.errors import ConfigError, InputError, NotANumberError
from reviewllm.recommend.histories import Histories, Ints, catalogue, make_histories
from reviewllm.recommend.metrics import hit_ratio, ndcg
from reviewllm.recommend.ranks import target_ranks
from reviewllm.recommend.sasrec_retriever import SasrecConfig, SasrecRetriever, new_model

if TYPE_CHECKING:
    import torch

    from reviewllm.recommend.sasrec import Sasrec

_LENGTH_NOISE = 3.0  # items; batches of like lengths, yet not of the same users in every epoch
_SAMPLING_POWER = 0.5  # of an item's count, as its chance to be a negative: between popular and uniform


class Epoch(NamedTuple):
    """What an epoch gave; HR@10 and NDCG@10 of the validation items by full ranking, None where it was not validated."""

    number: int
    loss: float
    seconds: float
    hr10: float | None
    ndcg10: float | None

    @property
    def told(self) -> str:
        """The epoch in a line."""
        found = "" if self.ndcg10 is None else f", validation HR@10 {self.hr10:.4f} NDCG@10 {self.ndcg10:.4f}"
        return f"epoch {self.number}: loss {self.loss:.4f}, {self.seconds:.1f} s{found}"


def train_sasrec(
    sequences: pl.DataFrame, config: SasrecConfig, *, on_epoch: Callable[[Epoch], None] | None = None
) -> tuple[SasrecRetriever, list[Epoch]]:
    """Train on all items before the two held out, and keep the weights of the best NDCG@10 on the validation items.

    Reads user_id and item_ids. Every place of a sequence is a target, of its newest `max_items` + 1. The same sequences,
    configuration, machine and number of threads give the same weights, unless `max_minutes` cut training short.

    Raises:
        ConfigError: the sizes do not fit.
        InputError: no sequence is long enough.
        NotANumberError: the loss is not a number.
    """
    import torch

    if config.hidden_size % config.attention_heads:
        raise ConfigError(f"--hidden-size {config.hidden_size} is no multiple of --attention-heads {config.attention_heads}")
    item_ids = catalogue(sequences)
    histories = make_histories(sequences, item_ids, "validation")
    if not (histories.lengths > 1).any() or not (histories.targets >= 0).any():
        raise InputError("no user has two items before the two that are held out; SASRec has nothing to learn from")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = new_model(config, items=len(item_ids))
        done = list(_epochs(model, histories, item_ids, config, on_epoch))
    return SasrecRetriever(model, item_ids), done


def _epochs(
    model: Sasrec,
    histories: Histories,
    item_ids: Sequence[str],
    config: SasrecConfig,
    on_epoch: Callable[[Epoch], None] | None,
) -> Iterator[Epoch]:
    import torch

    generator = np.random.default_rng(config.seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    loss_of = _Loss(config, histories, items=len(item_ids), generator=generator)
    best, best_weights, worse = -1.0, model.state_dict(), 0
    ends = time.monotonic() + 60 * config.max_minutes
    for number in range(1, config.epochs + 1):
        began = time.monotonic()
        loss = _train_epoch(model, optimizer, histories, loss_of, config, generator)
        epoch = Epoch(number, loss, time.monotonic() - began, None, None)
        is_last = number == config.epochs or time.monotonic() > ends
        if number % config.evaluate_every == 0 or is_last:
            hr10, ndcg10 = _validate(SasrecRetriever(model, item_ids), histories)
            epoch = epoch._replace(hr10=hr10, ndcg10=ndcg10)
            worse = worse + 1 if ndcg10 <= best else 0
            if ndcg10 > best:
                best, best_weights = ndcg10, {name: weight.clone() for name, weight in model.state_dict().items()}
        if on_epoch:
            on_epoch(epoch)
        yield epoch
        if is_last or worse >= config.patience:
            break
    model.load_state_dict(best_weights)


def _validate(retriever: SasrecRetriever, histories: Histories) -> tuple[float, float]:
    ranks = target_ranks(retriever, histories)
    asked = ranks[(histories.targets >= 0) & (histories.lengths > 0)]
    return float(hit_ratio(asked, 10).mean()), float(ndcg(asked, 10).mean())


def _train_epoch(
    model: Sasrec,
    optimizer: torch.optim.Optimizer,
    histories: Histories,
    loss_of: _Loss,
    config: SasrecConfig,
    generator: np.random.Generator,
) -> float:
    import torch

    model.train()
    sum_of_losses = 0.0
    batches = make_batches(histories.lengths, config, generator)
    for users in batches:
        rows, lengths = histories.last(users, config.max_items + 1)
        is_target = torch.from_numpy(np.arange(1, rows.shape[1]) < lengths[:, None])
        item_ids_BT = torch.from_numpy(rows)
        hidden_PH = model(item_ids_BT[:, :-1])[is_target]
        loss = loss_of(hidden_PH, model.items.weight, item_ids_BT[:, 1:][is_target])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        sum_of_losses += loss.item()
    mean = sum_of_losses / len(batches)
    if not np.isfinite(mean):
        raise NotANumberError(f"SASRec's loss is {mean}; lower --learning-rate {config.learning_rate:g}")
    return mean


def make_batches(lengths: Ints, config: SasrecConfig, generator: np.random.Generator) -> list[Ints]:
    """Batches of users with histories of like lengths and about `batch_places` targets, in random order.

    Users with fewer than two items have no target and are in none.
    """
    users = np.nonzero(lengths > 1)[0]
    order = users[np.argsort(lengths[users] + generator.uniform(0, _LENGTH_NOISE, len(users)), kind="stable")]
    places = np.cumsum(np.minimum(lengths[order] - 1, config.max_items))
    ends = np.searchsorted(places, np.arange(config.batch_places, places[-1], config.batch_places))
    batches = [batch for batch in np.split(order, np.unique(ends)) if len(batch)]
    return [batches[number] for number in generator.permutation(len(batches))]


class _Loss:
    """The loss that the configuration asks for, with the negatives that it draws."""

    def __init__(self, config: SasrecConfig, histories: Histories, *, items: int, generator: np.random.Generator) -> None:
        import torch

        self._config = config
        self._generator = generator
        self._items = items
        chances = (np.bincount(histories.items, minlength=items) + 1.0) ** _SAMPLING_POWER
        chances /= chances.sum()
        self._sums = np.cumsum(chances)
        self._log_q_N = torch.from_numpy(np.log(chances).astype(np.float32))

    def __call__(self, hidden_PH: torch.Tensor, items_NH: torch.Tensor, targets_P: torch.Tensor) -> torch.Tensor:
        import torch

        from reviewllm.recommend.sasrec_loss import binary, full_softmax, sampled_softmax

        if self._config.loss == "softmax":
            return full_softmax(hidden_PH, items_NH, targets_P)
        if self._config.loss == "bce":
            negatives_P = torch.from_numpy(self._generator.integers(self._items, size=len(targets_P)))
            return binary(hidden_PH, items_NH, targets_P, negatives_P)
        drawn = np.searchsorted(self._sums, self._generator.random(self._config.negatives))
        negatives_K = torch.from_numpy(np.minimum(drawn, self._items - 1))
        return sampled_softmax(hidden_PH, items_NH, targets_P, negatives_K, self._log_q_N)
