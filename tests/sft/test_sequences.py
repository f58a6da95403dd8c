"""A packed sequence shows each of its samples exactly what that sample alone would be shown."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import sample

from reviewllm.sft.sequences import added_tokens, pack, shared_prefix

USER = [sample("a", [1, 2, 3, 9, 9], 3), sample("b", [1, 2, 3, 4, 8, 8], 4)]


def test_pack_lays_out_branches_off_one_trunk() -> None:
    packed = pack(USER)
    assert packed.input_ids.tolist() == [1, 2, 3, 9, 9, 4, 8, 8]
    assert packed.position_ids.tolist() == [0, 1, 2, 3, 4, 3, 4, 5]
    assert packed.until.tolist() == [8, 8, 8, 5, 5, 8, 8, 8]
    assert packed.predicts.tolist() == [2, 3, 5, 6]  # the token before each of the response tokens
    assert packed.labels.tolist() == [9, 9, 8, 8]
    assert [(start, end, before.tolist()) for start, end, before in packed.segments] == [(0, 5, []), (5, 8, [0, 1, 2])]
    assert packed.example_ids == ["a", "b"]


def test_pack_samples_of_a_dialogue_are_one_plain_sequence() -> None:
    """Each sample is how the next one begins: no token twice, one causal segment, a loss on every response."""
    packed = pack(
        [
            sample("a", [1, 2, 3, 9, 8], 3),
            sample("b", [1, 2, 3, 9, 8, 4, 7, 8], 6),
            sample("c", [1, 2, 3, 9, 8, 4, 7, 8, 5, 5, 6, 8], 10),
        ]
    )
    assert packed.input_ids.tolist() == [1, 2, 3, 9, 8, 4, 7, 8, 5, 5, 6, 8]
    assert packed.position_ids.tolist() == list(range(12))
    assert packed.until.tolist() == [12] * 12
    assert packed.predicts.tolist() == [2, 3, 5, 6, 9, 10]
    assert packed.labels.tolist() == [9, 8, 7, 8, 6, 8]
    assert [(start, end, before.tolist()) for start, end, before in packed.segments] == [(0, 12, [])]


def test_pack_dialogues_of_several_users_are_a_segment_each() -> None:
    first = [sample("a", [1, 2, 3], 2), sample("b", [1, 2, 3, 4, 5], 4)]
    second = [sample("c", [1, 6, 7], 2, user="v"), sample("d", [1, 6, 7, 8, 9], 4, user="v")]
    packed = pack([*first, *second])
    assert [(start, end, before.tolist()) for start, end, before in packed.segments] == [(0, 5, []), (5, 9, [0])]
    assert packed.until.tolist() == [9, 5, 5, 5, 5, 9, 9, 9, 9]


def test_pack_short_prefix_of_a_long_sample_is_run_again() -> None:
    long = [1, *range(20, 40)]
    packed = pack([sample("a", [1, 2, 3], 2), sample("b", long, 15, user="v")])
    assert packed.input_ids.tolist() == [1, 2, 3, *long]
    assert [(start, end, before.tolist()) for start, end, before in packed.segments] == [(0, 3, []), (3, 24, [])]
    assert packed.position_ids.tolist() == [0, 1, 2, *range(21)]
    assert packed.until.tolist() == [3] * 3 + [24] * 21
    grows = [sample("b", long[:8], 5, user="v"), sample("c", long, 15, user="v")]  # long in the end
    assert pack([sample("a", [1, 2, 3], 2), *grows])._replace(example_ids=[]).segments[1].end == 24
    assert pack([sample("a", [1, 2, 3], 2), *grows]).input_ids.tolist() == [1, 2, 3, *long]


def test_pack_equal_samples_are_both_in_the_loss() -> None:
    packed = pack([USER[0], USER[0]])
    assert packed.input_ids.tolist() == [1, 2, 3, 9, 9]
    assert packed.labels.tolist() == [9, 9, 9, 9]
    assert packed.predicts.tolist() == [2, 3, 2, 3]


def test_pack_sample_that_is_the_start_of_another() -> None:
    packed = pack([sample("a", [1, 2, 3, 4, 5], 4), sample("b", [1, 2, 3], 2)])
    assert packed.input_ids.tolist() == [1, 2, 3, 4, 5]
    assert packed.labels.tolist() == [5, 3]
    assert packed.predicts.tolist() == [3, 1]


def random_samples(seed: int) -> list[object]:
    """Samples of several users that share prefixes of random lengths, in an order that also goes back and forth."""
    random = np.random.default_rng(seed)
    trunks = [random.integers(1, 9, 12) for _ in range(3)]
    made = []
    for number in range(10):
        trunk = trunks[random.integers(3)][: random.integers(1, 13)]
        if made and random.random() < 0.4:  # goes on from the sample before
            trunk = made[-1].token_ids
        prompt = [*trunk, *random.integers(1, 9, random.integers(0, 4))]
        made.append(sample(str(number), [*prompt, *random.integers(1, 9, random.integers(1, 5))], len(prompt)))
    return made


@pytest.mark.parametrize("seed", range(20))
def test_pack_every_token_sees_its_own_path_and_nothing_else(seed: int) -> None:
    samples = random_samples(seed)
    packed = pack(samples)
    seen = (np.arange(len(packed.until)) >= np.arange(len(packed.until))[:, None]).T & (
        np.arange(len(packed.until))[:, None] < packed.until
    )
    place = 0
    for one in samples:
        count = len(one.token_ids) - one.prompt_tokens
        for label in range(count):
            keys = np.flatnonzero(seen[packed.predicts[place + label]])
            assert packed.input_ids[keys].tolist() == one.token_ids[: one.prompt_tokens + label].tolist()
            assert packed.position_ids[keys].tolist() == list(range(len(keys)))
            assert packed.labels[place + label] == one.token_ids[one.prompt_tokens + label]
        place += count
    assert place == len(packed.labels)
    assert len(packed.input_ids) == added_tokens(samples).sum()


def test_shared_prefix_lengths() -> None:
    assert shared_prefix(np.array([1, 2, 3]), np.array([1, 2, 4, 5])) == 2
    assert shared_prefix(np.array([1, 2]), np.array([1, 2, 4])) == 2
    assert shared_prefix(np.array([], dtype=np.int32), np.array([1])) == 0
