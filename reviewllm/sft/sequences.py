"""Samples -> packed sequences: what samples share at their start is run once, and no sample sees another.

Samples in order are laid out as a prefix tree. Each one adds only the tokens after the prefix that it shares with the
sample before it, so the samples of one user, whose histories grow by appending, become branches (new item, rating,
response) off one trunk (instruction, history). Any samples may be packed so: those that share nothing just lie side by
side. In a dialogue each sample of a user is how the next one begins, so the tree is one path and the pass a plain causal one
that trains all reviews where they stand. Two facts per token say all that attention and positions need (token j is seen by
token i if j <= i < until[j]).

    sample 1   a b c | x x          tokens   a b c x x d y y
    sample 2   a b c d | y y        depth    0 1 2 3 4 3 4 5
                                    until    8 8 8 5 5 8 8 8
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]


# Behind the tokens of another sample a segment attends under a mask, of which PyTorch computes all pairs and not half of them: on
# one core, forwards and backwards, 60 tokens before 300, 1,000 and 2,000 own ones make it 0.9, 1.2 and 2.4 times as long. Running
# the 60 tokens again costs less from about 1,000 on.
_WORTH_SHARING = 1 / 16


class Sample(NamedTuple):
    """One training sample: prompt and response ids; the loss is on `token_ids[prompt_tokens:]` alone.

    evidence_tokens: of the prompt, those of reviews by others, with which no other prompt goes on.
    """

    example_id: str
    user_id: str
    token_ids: NDArray[np.int32]
    prompt_tokens: int
    evidence_tokens: int = 0


class Segment(NamedTuple):
    """The tokens `start:end` of one stretch of a path, and the places of the tokens before them on it (ascending)."""

    start: int
    end: int
    before: Ints


class PackedSequence(NamedTuple):
    """L tokens of one or more samples, with R response tokens that are predicted.

    input_ids: [L]. position_ids: [L], the depth of each token in its own sample. until: [L], token j is seen by the tokens
    i with j <= i < until[j]. predicts: [R], the places whose output predicts a response token. labels: [R], those tokens.
    segments: what the samples added, in order; what goes on where the sample before ended is one with it. example_ids: of the
    samples.
    """

    input_ids: Ints
    position_ids: Ints
    until: Ints
    predicts: Ints
    labels: Ints
    segments: list[Segment]
    example_ids: list[str]


_NONE = np.empty(0, dtype=np.int64)
# One token that predicts nothing: a forward pass without samples, with a loss of 0 and gradients of 0.
EMPTY = PackedSequence(
    np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones(1, np.int64), _NONE, _NONE, [Segment(0, 1, _NONE)], []
)


def added_tokens(samples: Sequence[Sample]) -> Ints:
    """Tokens that each sample adds when all are packed in this order: its length less the prefix taken from the one before."""
    return np.array([len(sample.token_ids) for sample in samples], dtype=np.int64) - _taken(samples)


def _taken(samples: Sequence[Sample]) -> Ints:
    """Tokens that each sample takes from the one before: what they share at their start, where it is worth it.

    It always is where a sample goes on from the whole one before, for then both are one segment.
    """
    lengths = np.array([len(sample.token_ids) for sample in samples], dtype=np.int64)
    pairs = itertools.pairwise(samples)
    shared = np.array([0, *(shared_prefix(one.token_ids, two.token_ids) for one, two in pairs)], dtype=np.int64)[
        : len(lengths)
    ]
    goes_on = np.append(False, shared[1:] == lengths[:-1])
    sizes = lengths.copy()  # of the segment that each sample begins or goes on with, to its end
    for place in range(len(sizes) - 1, 0, -1):
        if goes_on[place]:
            sizes[place - 1] = sizes[place]
    return np.where(goes_on[: len(lengths)] | (shared >= _WORTH_SHARING * sizes), shared, 0)


def pack(samples: Sequence[Sample]) -> PackedSequence:
    """Lay samples out as one prefix tree, in their order."""
    ids: list[Ints] = []
    depths: list[Ints] = []
    predicts: list[Ints] = []
    segments: list[Segment] = []
    taken = _taken(samples)
    until = np.empty(sum(len(sample.token_ids) for sample in samples) - int(taken.sum()), dtype=np.int64)
    path = np.empty(0, dtype=np.int64)  # where the tokens of the last sample lie
    length = 0
    for sample, shared in zip(samples, taken.tolist(), strict=True):
        until[path[shared:]] = length
        added = len(sample.token_ids) - shared
        if added and 0 < shared == len(path) and path[-1] == length - 1:
            segments[-1] = segments[-1]._replace(end=length + added)
        elif added:
            segments.append(Segment(length, length + added, path[:shared]))
        path = np.concatenate([path[:shared], np.arange(length, length + added)])
        ids.append(sample.token_ids[shared:].astype(np.int64))
        depths.append(np.arange(shared, shared + added))
        predicts.append(path[sample.prompt_tokens - 1 : -1])
        length += added
    until[path] = length
    return PackedSequence(
        input_ids=np.concatenate(ids),
        position_ids=np.concatenate(depths),
        until=until,
        predicts=np.concatenate(predicts),
        labels=np.concatenate([sample.token_ids[sample.prompt_tokens :] for sample in samples]).astype(np.int64),
        segments=segments,
        example_ids=[sample.example_id for sample in samples],
    )


def shared_prefix(one: NDArray[np.integer], other: NDArray[np.integer]) -> int:
    """Number of tokens that two samples have in common at their start."""
    size = min(len(one), len(other))
    differs = np.flatnonzero(one[:size] != other[:size])
    return int(differs[0]) if len(differs) else size
