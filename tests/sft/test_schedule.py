"""Every sample once an epoch, whoever runs it; users together; workers in step."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import sample, sample_file

from reviewllm.sft.config import SFTConfig
from reviewllm.sft.schedule import Schedule, epoch_order, share


def schedule(folder: Path, sizes: list[int], *, per_step: int, workers: int = 1, **options: Any) -> Schedule:
    """Users with so many samples each; the prompt grows with each, and the response is one token and the end."""
    samples = [
        sample(f"{user}-{number}", [1, *range(user * 100 + 10, user * 100 + 12 + number), 5, 2], number + 3, user=f"u{user}")
        for user, size in enumerate(sizes)
        for number in range(size)
    ]
    sft = SFTConfig(**{"base_model": "x", "max_sequence_tokens": 4096, **options})
    return Schedule(sample_file(folder / "samples", samples), sft, samples_per_step=per_step, world_size=workers)


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("options", [{}, {"packing": False}, {"one_pass_per_user": True}, {"max_sequence_tokens": 64}])
def test_schedule_all_workers_together_run_every_sample_once_an_epoch(
    tmp_path: Path, workers: int, options: dict[str, Any]
) -> None:
    plan = schedule(tmp_path, [4, 1, 7, 2, 9], per_step=5, workers=workers, num_train_epochs=2, **options)
    assert plan.steps == 2 * 5  # 23 samples, 5 a step
    for epoch in range(2):
        seen: Counter[str] = Counter()
        for step in range(5):
            shares = [plan.share(epoch * 5 + step, rank) for rank in range(workers)]
            assert len({len(part.sequences) for part in shares}) == 1  # all run as many forward passes
            ids = [one for part in shares for packed in part.sequences for one in packed.example_ids]
            labels = sum(len(packed.labels) for part in shares for packed in part.sequences)
            assert all(part.response_tokens == labels for part in shares)
            seen.update(ids)
        assert len(seen) == 23
        assert set(seen.values()) == {1}


def test_schedule_is_a_function_of_seed_and_step(tmp_path: Path) -> None:
    first, again = (schedule(tmp_path, [4, 1, 7, 2, 9], per_step=5, num_train_epochs=2, seed=3) for _ in range(2))
    last_first = [[one.example_id for one in first.samples(step)] for step in reversed(range(first.steps))]
    assert list(reversed(last_first)) == [[one.example_id for one in again.samples(step)] for step in range(again.steps)]
    other = schedule(tmp_path, [4, 1, 7, 2, 9], per_step=5, seed=4)
    assert [one.example_id for one in first.samples(0)] != [one.example_id for one in other.samples(0)]


def test_schedule_of_runs_mixes_users_and_has_the_samples_of_a_step_on_average(tmp_path: Path) -> None:
    sizes = [40, 3, 1, 7, 9, 2, 5, 5, 1, 1, 12, 6, 4, 8, 2, 30]  # 136 samples
    plan = schedule(tmp_path, sizes, per_step=16, one_pass_per_user=True)
    steps = [plan.samples(step) for step in range(plan.steps)]
    assert plan.steps == 9  # 136 / 16, rounded up
    assert sorted(one.example_id for step in steps for one in step) == sorted(
        f"{user}-{number}" for user, size in enumerate(sizes) for number in range(size)
    )
    for step in steps[:-1]:
        assert 16 - 3 <= len(step) <= 16 + 3  # the longest run is a quarter of a step
        assert len({one.user_id for one in step}) >= 3
    for step in steps:
        names = [tuple(map(int, one.example_id.split("-"))) for one in step]
        follow = sum(two == (one[0], one[1] + 1) for one, two in itertools.pairwise(names))
        assert follow >= len(step) // 2  # a user's samples in their own order, side by side


def test_sample_file_runs_end_with_a_user_and_where_a_history_begins_anew(tmp_path: Path) -> None:
    ids = list(range(50))
    samples = [
        sample("a", ids[:10], 8),
        sample("b", ids[:20], 15),
        sample("c", [0, *ids[9:25]], 12),  # behind a shorter history
        sample("d", [0, *ids[9:30]], 19),
        sample("e", ids[:40], 30, user="v"),
    ]
    assert sample_file(tmp_path / "samples", samples).runs().tolist() == [0, 0, 1, 1, 2]


def test_schedule_max_steps_ends_it_and_epochs_are_counted(tmp_path: Path) -> None:
    plan = schedule(tmp_path, [10], per_step=4, num_train_epochs=5, max_steps=7)
    assert plan.steps == 7
    assert plan.epoch(3) == 1.0
    assert len(plan.samples(2)) == 2  # what is left of the first epoch


def test_epoch_order_keeps_users_together_in_their_own_order() -> None:
    users = np.repeat(np.arange(6), 4)
    order = epoch_order(users, seed=0, epoch=0)
    assert sorted(order.tolist()) == list(range(24))
    assert (users[order][::4] == users[order].reshape(6, 4).T).all()
    assert (np.diff(order.reshape(6, 4)) == 1).all()
    assert order.tolist() != epoch_order(users, seed=0, epoch=1).tolist()


def test_share_one_pass_per_user_is_one_sequence_and_without_packing_one_each() -> None:
    samples = [sample(str(n), [1, *range(10, 20 + n), 5, 2], 11 + n) for n in range(4)]
    packed = share(samples, rank=0, world_size=1, sft=SFTConfig(base_model="x", max_sequence_tokens=4096)).sequences
    alone = share(
        samples, rank=0, world_size=1, sft=SFTConfig(base_model="x", packing=False, max_sequence_tokens=4096)
    ).sequences
    assert [len(one.example_ids) for one in packed] == [4]
    assert [len(one.example_ids) for one in alone] == [1, 1, 1, 1]


def test_share_keeps_sequences_within_the_tokens_of_a_pass() -> None:
    samples = [sample(str(n), np.random.default_rng(n).integers(3, 99, 40).tolist(), 30) for n in range(9)]
    sft = SFTConfig(base_model="x", max_sequence_tokens=100)
    lengths = [len(one.input_ids) for one in share(samples, rank=0, world_size=1, sft=sft).sequences]
    assert max(lengths) <= 100
    assert sum(lengths) == 9 * 40


def test_share_cuts_passes_between_users_and_not_within_one() -> None:
    def dialogue(user: int, size: int) -> list[Any]:
        ids = [1, *range(100 * user, 100 * user + 10 * size)]
        return [sample(f"{user}-{n}", ids[: 11 + 10 * n], 8 + 10 * n, user=f"u{user}") for n in range(size)]

    samples = [*dialogue(1, 3), *dialogue(2, 4), *dialogue(3, 2)]  # 31, 41 and 21 tokens
    passes = share(samples, rank=0, world_size=1, sft=SFTConfig(base_model="x", max_sequence_tokens=70)).sequences
    assert [{name[0] for name in one.example_ids} for one in passes] == [{"1"}, {"2", "3"}]
    assert [len(one.input_ids) for one in passes] == [31, 41 + 21]


def test_share_workers_have_about_equal_tokens_and_fewer_samples_than_workers_is_no_harm() -> None:
    samples = [sample(str(n), np.random.default_rng(n).integers(3, 99, 10 + 5 * n).tolist(), 5) for n in range(16)]
    parts = [
        share(samples, rank=rank, world_size=4, sft=SFTConfig(base_model="x", max_sequence_tokens=4096)).sequences
        for rank in range(4)
    ]
    tokens = [sum(len(one.input_ids) for one in part if one.example_ids) for part in parts]
    assert max(tokens) < 1.4 * min(tokens)
    few = [
        share(samples[:1], rank=rank, world_size=4, sft=SFTConfig(base_model="x", max_sequence_tokens=4096)).sequences
        for rank in range(4)
    ]
    assert sorted(len(one.example_ids) for part in few for one in part) == [0, 0, 0, 1]
