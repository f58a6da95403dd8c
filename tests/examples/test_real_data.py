"""The paper's protocol on real reviews."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from jobs import prepare
from reviewllm.examples.build import build_examples
from reviewllm.examples.protocol import ExamplesConfig
from reviewllm.table_files import read_table
from reviewllm.tables import EXAMPLES


def test_musical_instruments_2014(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    prepare.main(prepare.PrepareJob(reviews=[shared_data("data/amazon_2014")], out=tmp_path))
    built = build_examples(
        interactions=tmp_path / "interactions", items=tmp_path / "items", out=tmp_path / "again", config=ExamplesConfig()
    )
    (quota,) = built.quotas
    # 138 users have 11 to 29 reviews; 7 of the 10,261 purchases have no text.
    assert (quota.category, quota.candidates) == ("Musical Instruments", 138)
    assert quota.train + quota.simple + quota.hard == 138
    assert (built.purchases, built.examples["backfill"]) == (10_261, 7)
    rows = pl.DataFrame(read_table(tmp_path / "examples" / "train", EXAMPLES))
    assert (rows["title"] == rows["item_id"]).all()  # no item has a title, and the name of a file is none
    assert rows["history"].list.len().max() <= 28


def test_amazon_2023_all_categories_together(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    prepare.main(
        prepare.PrepareJob(reviews=[shared_data("data/amazon_2023")], out=tmp_path, hide_fraction=0.1, targets="all")
    )
    splits = {
        split: read_table(tmp_path / "examples" / split, EXAMPLES) for split in ("train", "simple", "hard", "backfill")
    }
    evaluated = {*splits["simple"]["user_id"].to_pylist(), *splits["hard"]["user_id"].to_pylist()}
    assert evaluated
    assert not evaluated & set(splits["train"]["user_id"].to_pylist())
    assert max(splits["hard"]["rating"].to_pylist()) <= 2
    hidden = [reference for reference in splits["backfill"]["reference"].to_pylist() if reference is not None]
    assert 250 < len(hidden) < 450  # a tenth of 3,453 reviews, give or take
