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


# A step with the reviews of one or two users learns worse (docs/notes/2026-11-21-one-pass-per-user.md).
_RUNS_IN_A_STEP = 4


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
        """Take the samples; nothing is read of them yet but their users and lengths."""
        self._samples = samples
        self._sft = sft
        self._per_step = samples_per_step
        self._world_size = world_size
        longest = max(1, samples_per_step // _RUNS_IN_A_STEP)
        self._runs = cut_runs(samples.runs(), longest=longest) if sft.one_pass_per_user else np.arange(len(samples))
        self._steps_per_epoch = -(-len(samples) // samples_per_step)
        self._order: tuple[int, Ints, Ints] | None = None

    @property
    def steps(self) -> int:
        """Optimizer steps of the run: whole epochs, or `max_steps` where that is fewer."""
        steps = self._steps_per_epoch * self._sft.num_train_epochs
        return min(steps, self._sft.max_steps or steps)

    def epoch(self, step: int) -> float:
        """Epochs that are done after `step` steps."""
        return step / self._steps_per_epoch

    def samples(self, step: int) -> list[Sample]:
        """The samples of a step, counted from 0; each epoch has every sample once, and its last step may be short.

        With runs of several samples a step has as many as are asked for on average: no run is cut.
        """
        epoch, place = divmod(step, self._steps_per_epoch)
        if self._order is None or self._order[0] != epoch:
            order = epoch_order(self._runs, seed=self._sft.seed, epoch=epoch)
            self._order = epoch, order, step_starts(self._runs[order], per_step=self._per_step)
        _, order, starts = self._order
        return [self._samples[int(number)] for number in order[starts[place] : starts[place + 1]]]

    def share(self, step: int, rank: int) -> WorkerShare:
        """What worker `rank` runs in a step."""
        return share(self.samples(step), rank=rank, world_size=self._world_size, sft=self._sft)


def cut_runs(runs: Ints, *, longest: int) -> Ints:
    """The runs of neighbours, cut into even parts of at most `longest` samples.

    >>> cut_runs(np.array([0, 0, 0, 0, 0, 1, 2, 2]), longest=3).tolist()
    [0, 0, 0, 1, 1, 2, 3, 3]
    """
    counts = np.bincount(runs)
    sizes = -(-counts // -(-counts // longest))
    places = np.arange(len(runs)) - np.repeat(np.cumsum(counts) - counts, counts)  # of each sample in its run
    return np.cumsum(places % np.repeat(sizes, counts) == 0) - 1


def step_starts(runs: Ints, *, per_step: int) -> Ints:
    """Where the steps of an epoch begin, and its end: each with the run that has its first sample, or with that sample.

    >>> step_starts(np.array([3, 3, 0, 0, 1, 2, 2]), per_step=3).tolist()   # the fourth sample's run begins at the third
    [0, 2, 5, 7]
    """
    begins = np.flatnonzero(np.diff(runs, prepend=-1))
    wanted = np.arange(0, len(runs), per_step)
    return np.append(begins[np.searchsorted(begins, wanted, side="right") - 1], len(runs))


def epoch_order(users: Ints, *, seed: int, epoch: int) -> Ints:
    """The places of all samples in the order of an epoch: users or runs shuffled, the samples of each in their own order.

    >>> epoch_order(np.array([0, 0, 1, 2, 2]), seed=0, epoch=0).tolist()
    [3, 4, 0, 1, 2]
    """
    order = np.random.default_rng([seed, epoch]).permutation(int(users.max(initial=-1)) + 1)
    return np.argsort(np.argsort(order)[users], kind="stable")


def share(samples: Sequence[Sample], *, rank: int, world_size: int, sft: SFTConfig) -> WorkerShare:
    """Cut samples into one consecutive part for each worker, of about equal numbers of tokens, and pack this worker's."""
    assert sft.max_sequence_tokens is not None  # `with_defaults` has filled it in
    max_tokens = sft.max_sequence_tokens
    added = added_tokens(samples)
    cuts = _even_cuts(added, world_size)
    passes = []
    for start, end in itertools.pairwise(cuts):
        lengths = np.array([len(sample.token_ids) for sample in samples[start:end]], dtype=np.int64)
        bounds = (
            _bounds(added[start:end], lengths, max_tokens) if sft.packing else itertools.pairwise(range(len(lengths) + 1))
        )
        passes.append([(start + one, start + two) for one, two in bounds])
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
    """Cut samples into sequences of at most `max_tokens`, so that all together run the fewest tokens, in the fewest sequences.

    The first sample of a sequence has no prefix to share, so a cut is cheap between two users and dear within one. A sample
    longer than `max_tokens` has a sequence of its own, with those that it goes on from: they add nothing to it.

    >>> _bounds(np.array([6, 2, 2, 3]), np.array([6, 7, 8, 9]), 10)
    [(0, 3), (3, 4)]
    >>> _bounds(np.array([6, 2, 4, 3]), np.array([6, 8, 12, 3]), 10)   # of a dialogue, and another user
    [(0, 3), (3, 4)]
    >>> _bounds(np.array([6, 2, 6, 3]), np.array([6, 8, 7, 10]), 14)   # (0, 3) and (3, 4) would run 24 tokens
    [(0, 2), (2, 4)]
    """
    best = [(0, 0, 0)]  # for the samples before each place: tokens, sequences, and where the last sequence begins
    for end in range(1, len(lengths) + 1):
        choices, inside, longest = [], 0, 0
        for start in range(end - 1, -1, -1):
            tokens, longest = int(lengths[start]) + inside, max(longest, int(lengths[start]))
            if tokens > max(max_tokens, longest):
                break
            inside += int(added[start])
            choices.append((best[start][0] + tokens, best[start][1] + 1, start))
        best.append(min(choices))
    bounds: list[tuple[int, int]] = []
    end = len(lengths)
    while end:
        bounds.append((best[end][2], end))
        end = best[end][2]
    return bounds[::-1]
