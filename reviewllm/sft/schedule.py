"""Which samples an optimizer step trains on, and which worker runs them in which forward pass.

A pure function of the seed and the step: a checkpoint needs to hold no more than the step's number, and every worker
knows what all the others do.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from reviewllm.sft.sequences import EMPTY, PackedSequence, Sample, added_tokens, pack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reviewllm.sft.config import SFTConfig
    from reviewllm.sft.samples import SampleFile

    Ints = NDArray[np.int64]


class WorkerShare(NamedTuple):
    """One worker's part of an optimizer step (or of a validation).

    sequences: its forward passes, filled up with `EMPTY`: every worker runs as many as the busiest one, or collective
    operations would wait for ever. response_tokens and tokens: of the whole step, over all workers.
    """

    sequences: list[PackedSequence]
    response_tokens: int
    tokens: int


class Schedule:
    """The optimizer steps of a run over its training samples."""

    def __init__(self, samples: SampleFile, sft: SFTConfig, *, samples_per_step: int, world_size: int) -> None:
        """Take the samples; nothing is read of them yet but their users."""
        self._samples = samples
        self._sft = sft
        self._per_step = samples_per_step
        self._world_size = world_size
        users = samples.users()
        self._users = users if sft.one_pass_per_user else np.arange(len(users))
        self._steps_per_epoch = -(-len(samples) // samples_per_step)
        self._order: tuple[int, Ints] | None = None

    @property
    def steps(self) -> int:
        """Optimizer steps of the run: whole epochs, or `max_steps` where that is fewer."""
        steps = self._steps_per_epoch * self._sft.num_train_epochs
        return min(steps, self._sft.max_steps or steps)

    def epoch(self, step: int) -> float:
        """Epochs that are done after `step` steps."""
        return step / self._steps_per_epoch

    def samples(self, step: int) -> list[Sample]:
        """The samples of a step, counted from 0; each epoch has every sample once, and its last step may be short."""
        epoch, place = divmod(step, self._steps_per_epoch)
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, epoch_order(self._users, seed=self._sft.seed, epoch=epoch)
        chosen = self._order[1][place * self._per_step : (place + 1) * self._per_step]
        return [self._samples[int(number)] for number in chosen]

    def share(self, step: int, rank: int) -> WorkerShare:
        """What worker `rank` runs in a step."""
        return share(self.samples(step), rank=rank, world_size=self._world_size, sft=self._sft)


def epoch_order(users: Ints, *, seed: int, epoch: int) -> Ints:
    """The places of all samples in the order of an epoch: users shuffled, a user's samples in their own order.

    >>> epoch_order(np.array([0, 0, 1, 2, 2]), seed=0, epoch=0).tolist()
    [3, 4, 0, 1, 2]
    """
    order = np.random.default_rng([seed, epoch]).permutation(int(users.max(initial=-1)) + 1)
    return np.argsort(np.argsort(order)[users], kind="stable")


def share(samples: Sequence[Sample], *, rank: int, world_size: int, sft: SFTConfig) -> WorkerShare:
    """Cut samples into one consecutive part for each worker, of about equal numbers of tokens, and pack this worker's."""
    assert sft.max_sequence_tokens is not None  # `with_sequence_tokens` has filled it in
    max_tokens = sft.max_sequence_tokens if sft.packing else 0
    added = added_tokens(samples)
    cuts = _even_cuts(added, world_size)
    passes = []
    for start, end in itertools.pairwise(cuts):
        lengths = np.array([len(sample.token_ids) for sample in samples[start:end]], dtype=np.int64)
        passes.append([(start + one, start + two) for one, two in _bounds(added[start:end], lengths, max_tokens)])
    mine = [pack(samples[start:end]) for start, end in passes[rank]]
    mine += [EMPTY] * (max(map(len, passes)) - len(mine))
    in_loss = sum(len(sample.token_ids) - sample.prompt_tokens for sample in samples)
    return WorkerShare(mine, in_loss, sum(len(sample.token_ids) for sample in samples))


def _even_cuts(added: Ints, parts: int) -> list[int]:
    """Where to cut so that the parts have about equal sums.

    >>> _even_cuts(np.array([5, 1, 1, 1, 4]), 2)
    [0, 2, 5]
    """
    middles = np.cumsum(added) - added / 2
    return [int(np.searchsorted(middles, added.sum() * part / parts)) for part in range(parts)] + [len(added)]


def _bounds(added: Ints, lengths: Ints, max_tokens: int) -> list[tuple[int, int]]:
    """Cut samples into sequences of at most `max_tokens`; the first of each has no prefix to share.

    A sample longer than `max_tokens` has a sequence of its own.

    >>> _bounds(np.array([6, 2, 2, 3]), np.array([6, 7, 8, 9]), 10)
    [(0, 3), (3, 4)]
    """
    bounds: list[tuple[int, int]] = []
    start = used = 0
    for place in range(len(lengths)):
        if place > start and used + added[place] <= max_tokens:
            used += int(added[place])
            continue
        if place > start:
            bounds.append((start, place))
        start, used = place, int(lengths[place])
    return [*bounds, (start, len(lengths))] if len(lengths) else []
