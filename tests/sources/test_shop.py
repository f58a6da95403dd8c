"""The synthetic shop: the same bytes twice, flaws included, wording that depends on the rating."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from reviewllm.sources.shop import CLOSINGS, OPENINGS, ShopConfig, write_shop


def test_write_shop_same_seed_same_bytes(tmp_path: Path) -> None:
    config = ShopConfig(shop_users=20, shop_items=12)
    write_shop(tmp_path / "a", config)
    write_shop(tmp_path / "b", config)
    write_shop(tmp_path / "c", ShopConfig(shop_users=20, shop_items=12, shop_seed=1))
    contents = [
        {path.relative_to(tmp_path / run): path.read_bytes() for path in (tmp_path / run).rglob("*.gz")} for run in "abc"
    ]
    assert len(contents[0]) == 6
    assert contents[0] == contents[1] != contents[2]


def test_write_shop_wording_follows_the_rating_and_some_purchases_have_none(tmp_path: Path) -> None:
    reviews, _ = write_shop(tmp_path, ShopConfig(shop_users=40))
    rows = []
    for path in sorted(reviews.iterdir()):
        lines = gzip.decompress(path.read_bytes()).decode().splitlines()
        rows += [json.loads(line) for line in lines if line.endswith("}")]  # one line of each file is cut short
    rated = [row for row in rows if row["rating"] <= 5 and row["text"]]
    assert 0.05 < sum(not row["text"] for row in rows) / len(rows) < 0.4
    for row in rated:
        mood = 0 if row["rating"] <= 2 else 1 if row["rating"] == 3 else 2
        text = row["text"].lower()
        assert any(text.startswith(opening[mood].lower()) for opening in OPENINGS)
        assert any(text.endswith(closing[mood].lower()) for closing in CLOSINGS)
