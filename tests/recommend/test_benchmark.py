"""The figures that benchmarks/recommend.py makes of its measurements."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.recommend import made_up_sequences, seconds_to, summarise_courses, summarise_speed
from benchmarks.recommend_contenders import Clock, targets_of_epoch
from benchmarks.recommend_peer import candidates, check_lengths, item_codes, write_interactions
from reviewllm.errors import InputError
from reviewllm.recommend.tables import CANDIDATES, SEQUENCES

SHOP = pa.table(
    {"user_id": ["u2", "u1"], "item_ids": [["pan", "a\tb", "lid"], ["lid", "pan", "egg", "cup"]]}, schema=SEQUENCES.schema
)


def speed(targets_per_s: float, evaluation_s: float) -> dict[str, float]:
    return {"targets_per_s": targets_per_s, "evaluation_s": evaluation_s}


def test_summarise_speed_takes_ratios_within_a_round_and_the_faster_peer() -> None:
    rounds = [
        {"ours": speed(600, 1), "rectools": speed(100, 4), "recbole": speed(50, 3)},
        {"ours": speed(200, 2), "rectools": speed(100, 6), "recbole": speed(20, 10)},
        {"ours": speed(400, 1), "rectools": speed(100, 5), "recbole": speed(40, 2)},
    ]
    found = summarise_speed(rounds, targets_per_epoch=1200)
    assert found["train_speed_vs_rectools"] == np.median([6, 2, 4])
    assert found["train_speed_vs_recbole"] == np.median([12, 10, 10])
    assert found["train_speed_vs_peer"] == 4
    assert found["eval_speed_vs_peer"] == min(np.median([4, 3, 5]), np.median([3, 5, 2]))
    assert found["ours"]["epochs_per_minute"] == 60 * 400 / 1200


def test_summarise_courses_says_when_ours_reached_what_a_peer_reached() -> None:
    courses = {
        "ours": {"course": [(10, 0.01), (20, 0.03), (30, 0.02)], "test_hr10": 0.025},
        "recbole": {"course": [(100, 0.02)], "test_hr10": 0.015},
        "rectools": {"course": [(40, 0.01), (80, 0.05), (120, 0.04)], "test_hr10": 0.045},
    }
    found = summarise_courses(courses)
    assert (found["recbole"]["reached_after_s"], found["recbole"]["ours_reached_it_after_s"]) == (100, 20)
    assert (found["rectools"]["reached_after_s"], found["rectools"]["ours_reached_it_after_s"]) == (80, None)
    assert (found["ours"]["validation_hr10"], found["ours"]["reached_after_s"]) == (0.03, 20)


def test_seconds_to_without_an_epoch_is_none() -> None:
    assert seconds_to([], 0.0) is None


def test_targets_of_epoch_leaves_out_first_and_last_two() -> None:
    assert targets_of_epoch(SHOP) == (3 - 3) + (4 - 3)


def test_made_up_sequences_hold_each_item_once_and_are_the_same_for_a_seed() -> None:
    found = made_up_sequences(3)
    assert found.equals(made_up_sequences(3))
    assert all(len(set(row)) == len(row) >= 3 for row in found["item_ids"].to_pylist())


def test_clock_batches_ends_after_the_limit() -> None:
    clock = Clock()
    clock.limit_s = 0.0
    assert list(clock.batches([3, 4, 5], lambda batch: batch)) == [3]
    assert clock.over
    clock.limit_s = 60.0
    assert list(clock.batches([3, 4, 5], lambda batch: batch)) == [3, 4, 5]
    assert clock.targets == 3 + 3 + 4 + 5


def test_write_interactions_numbers_ids_that_hold_tabs(tmp_path: Path) -> None:
    assert write_interactions(SHOP, tmp_path / "shop" / "shop.inter") == (2, 5)
    lines = (tmp_path / "shop" / "shop.inter").read_text().splitlines()
    codes = {item: str(code) for code, item in enumerate(["a\tb", "cup", "egg", "lid", "pan"])}
    assert lines[1:4] == [f"0\t{codes[item]}\t{place}" for place, item in enumerate(["pan", "a\tb", "lid"])]
    assert [line.split("\t")[0] for line in lines[4:]] == ["1"] * 4
    assert item_codes(SHOP).tolist() == [4, 0, 3, 3, 4, 2, 1]


def test_candidates_names_items_and_leaves_out_places_without_one() -> None:
    items = np.array([[1, 2], [0, 4]])
    scores = np.array([[2.5, 1.5], [0.5, -np.inf]], dtype=np.float32)
    found = CANDIDATES.check(candidates(SHOP, (items, scores), "bpr"), where="test").to_pylist()
    assert [tuple(row.values()) for row in found] == [
        ("u2", "cup", 1, 2.5, "bpr"),
        ("u2", "egg", 2, 1.5, "bpr"),
        ("u1", "a\tb", 1, 0.5, "bpr"),
    ]


@pytest.mark.parametrize("left_out", [1, 2])
def test_targets_of_epoch_of_short_sequences_is_none(left_out: int) -> None:
    rows = pa.table({"user_id": ["u"], "item_ids": [["pan", "lid"][:left_out]]}, schema=SEQUENCES.schema)
    assert targets_of_epoch(rows) == 0


def test_check_lengths_names_the_user_with_too_few_items() -> None:
    check_lengths(SHOP)
    short = pa.table({"user_id": ["u1", "u2"], "item_ids": [["a", "b", "c"], ["a", "b"]]}, schema=SEQUENCES.schema)
    with pytest.raises(InputError, match="user 'u2' has 2 item"):
        check_lengths(short)
