"""Fine-tuning examples: the paper's two tasks, of the training part alone."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from recommend.shop import TITLES, frame, items_table

from reviewllm.errors import InputError
from reviewllm.recommend.names import item_names
from reviewllm.recommend.profiles import Profiles
from reviewllm.recommend.tuning import Tuned, TuningConfig, write_tuning_examples
from reviewllm.table_files import read_table
from reviewllm.tables import EXAMPLES

NAMES = item_names(list(TITLES), list(TITLES.values()), ids="ambiguous", max_chars=100)


def shop(users: int = 60) -> dict[str, list[str]]:
    draw = random.Random(0)
    return {f"u{number}": draw.sample(list(TITLES), draw.randint(3, 8)) for number in range(users)}


def made(tmp_path: Path, sequences: dict[str, list[str]], **config: Any) -> tuple[list[dict[str, Any]], Tuned]:
    folder = tmp_path / "examples" / "train"
    config = {"users_fraction": 1.0, "count": 3, "num_candidates": 6, **config}
    profiles = Profiles(pl.DataFrame({"user_id": ["u1"], "keywords": [["garden"]]}))
    items = pl.DataFrame(items_table()).select("item_id", "category")
    tuned = write_tuning_examples(frame(sequences), items, NAMES, profiles, folder, TuningConfig(**config))
    assert not list(folder.parent.glob(".*"))
    return read_table(folder, EXAMPLES).to_pylist(), tuned


def test_tuning_cuts_the_training_part_in_two(tmp_path: Path) -> None:
    rows, tuned = made(tmp_path, {"u1": ["i0", "i1", "i2", "i4"]}, enrich_to=0, swap_rate=0)
    plain, chosen = rows
    assert tuned == Tuned(recommend=1, retrieval=1, users=1, too_short=0, enriched=0, swapped=0)
    assert [entry["title"] for entry in plain["history"]] == ["Steel rake"]
    assert plain["reference"] == chosen["reference"] == '["Garden hose"]'
    assert json.loads(plain["attributes"]) == {"profile": ["garden"], "count": 1}
    asked = json.loads(chosen["attributes"])
    others = {
        NAMES.names[item] for item in ("i1", "i3", "i5", "i6", "i7", "i8", "i9")
    }  # i0 is the history, i2 and i4 held out
    assert set(asked["candidates"]) < others
    assert len(set(asked["candidates"])) == len(asked["candidates"]) == 6
    assert "Garden hose" in asked["candidates"]


@pytest.mark.parametrize("palr", ["v1", "v2"])
def test_tuning_never_shows_a_validation_or_test_item(tmp_path: Path, palr: str) -> None:
    sequences = shop()
    rows, tuned = made(tmp_path, sequences, palr=palr, swap_rate=0.5, cuts=3)
    held_out = {user: {NAMES.names[item] for item in items[-2:]} for user, items in sequences.items()}
    for row in rows:
        asked = json.loads(row["attributes"])
        shown = {entry["title"] for entry in row["history"]} | set(asked.get("candidates", []))
        shown |= set(json.loads(row["reference"]))
        assert not shown & held_out[row["user_id"]], row
    assert tuned.users == sum(len(items) > 3 for items in sequences.values())
    assert tuned.too_short == sum(len(items) == 3 for items in sequences.values())
    assert tuned.retrieval == (tuned.recommend if palr == "v2" else 0)
    assert len({row["example_id"] for row in rows}) == len(rows) == tuned.recommend + tuned.retrieval


def test_tuning_candidates_hold_every_target_once_and_no_purchase(tmp_path: Path) -> None:
    rows, tuned = made(tmp_path, shop(), cuts=2)
    chosen = [row for row in rows if row["example_id"].endswith("/retrieval")]
    places: set[int] = set()
    for row in chosen:
        asked, answer = json.loads(row["attributes"]), json.loads(row["reference"])
        assert asked["count"] == len(answer) <= 3
        assert len(set(asked["candidates"])) == len(asked["candidates"]) <= 6
        assert set(answer) <= set(asked["candidates"])
        assert not {entry["title"] for entry in row["history"]} & {*asked["candidates"]}
        places.add(asked["candidates"].index(answer[0]))
    assert len(places) > 2  # they are shuffled
    assert tuned.enriched > 0


def test_tuning_enriches_short_lists_from_three_hops(tmp_path: Path) -> None:
    # u1 shares i0 with u2, who trained on i4 too; i5 is u1's own test item, whatever u3 bought with i0.
    sequences = {
        "u1": ["i0", "i1", "i2", "i5"],
        "u2": ["i0", "i4", "i6", "i7"],
        "u3": ["i0", "i5", "i6", "i7"],
    }
    rows, tuned = made(tmp_path, sequences, palr="v1", enrich_to=2, swap_rate=0)
    answers = {row["user_id"]: json.loads(row["reference"]) for row in rows}
    assert answers == {
        "u1": ["Garden hose", "Desk lamp"],
        "u2": ["Desk lamp", "Garden hose"],
        "u3": ["i5 (Gel pens)", "Garden hose"],
    }
    assert tuned.enriched == 3


def test_tuning_swaps_between_history_and_targets(tmp_path: Path) -> None:
    rows, tuned = made(tmp_path, {"u1": ["i0", "i1", "i2", "i4"]}, palr="v1", enrich_to=0, swap_rate=1)
    assert tuned.swapped == 1
    assert [entry["title"] for entry in rows[0]["history"]] == ["Garden hose"]
    assert rows[0]["reference"] == '["Steel rake"]'


def test_tuning_is_the_same_whatever_the_order_of_the_rows(tmp_path: Path) -> None:
    sequences = shop()
    one = made(tmp_path / "a", sequences, users_fraction=0.5, cuts=2)
    other = made(tmp_path / "b", dict(reversed(sequences.items())), users_fraction=0.5, cuts=2)
    assert one == other
    assert one != made(tmp_path / "c", sequences, users_fraction=0.5, cuts=2, tuning_seed=1)
    assert 0 < one[1].users < 60


def test_tuning_without_a_long_enough_sequence_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 of 1 chosen users have fewer than 4 items"):
        made(tmp_path, {"u1": ["i0", "i1", "i2"]})
    assert not (tmp_path / "examples" / "train").exists()
