"""The synthetic shop: the same bytes twice, flaws included, wording that depends on the rating."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

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
    rows = reviews_in(reviews)
    rated = [row for row in rows if row["rating"] <= 5 and row["text"]]
    assert 0.05 < sum(not row["text"] for row in rows) / len(rows) < 0.4
    for row in rated:
        mood = 0 if row["rating"] <= 2 else 1 if row["rating"] == 3 else 2
        text = row["text"].lower()
        assert any(text.startswith(opening[mood].lower()) for opening in OPENINGS)
        assert any(text.endswith(closing[mood].lower()) for closing in CLOSINGS)


def reviews_in(folder: Path) -> list[dict[str, Any]]:
    rows = []
    for path in sorted(folder.iterdir()):
        lines = gzip.decompress(path.read_bytes()).decode().splitlines()
        rows += [json.loads(line) for line in lines if line.endswith("}")]  # one line of each file is cut short
    return rows


def test_write_shop_without_facts_writes_the_reviews_that_it_always_wrote(tmp_path: Path) -> None:
    reviews, _ = write_shop(tmp_path, ShopConfig(shop_users=20, shop_items=12))
    contents = b"".join(gzip.decompress(path.read_bytes()) for path in sorted(reviews.iterdir()))
    assert hashlib.sha256(contents).hexdigest() == "89d60d2c498210de79f43c0c8b307b39c971f4f5a81b1c0c2650b025f084e6ca"


def test_write_shop_with_facts_changes_only_texts(tmp_path: Path) -> None:
    without, items = write_shop(tmp_path / "a", ShopConfig(shop_users=30))
    with_facts, same_items = write_shop(tmp_path / "b", ShopConfig(shop_users=30, shop_facts=0.5))
    plain, factual = reviews_in(without), reviews_in(with_facts)
    assert [row | {"text": ""} for row in plain] == [row | {"text": ""} for row in factual]
    changed = sum(one["text"] != other["text"] for one, other in zip(plain, factual, strict=True))
    assert 0.5 < changed / sum(bool(row["text"]) for row in plain) < 0.9
    assert [path.read_bytes() for path in sorted(items.iterdir())] == [
        path.read_bytes() for path in sorted(same_items.iterdir())
    ]
