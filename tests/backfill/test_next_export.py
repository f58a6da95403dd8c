"""A purchase from one export of the shop to the next: rated, written for, published, and then reviewed by its user."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from reviewllm.backfill.finish import finish
from reviewllm.backfill.forget import forget_users
from reviewllm.backfill.night import Manifest, published_nights
from reviewllm.backfill.work import Work
from reviewllm.errors import InputError, PublishError
from reviewllm.examples.build import build_examples
from reviewllm.examples.protocol import ExamplesConfig
from reviewllm.place import Place, below
from reviewllm.sources.counts import TableCounts
from reviewllm.sources.ingest import ingest
from reviewllm.table_files import read_table
from reviewllm.tables import EXAMPLES, INTERACTIONS
from tests.backfill.conftest import NIGHT, Nights

OTHER = dt.date(2026, 11, 20)
AMAZON_2014 = ("reviewerID", "asin", "unixReviewTime", "overall", "reviewText")
RATED = [("u1", 1, 5.0, "Good."), ("u1", 2, 2.0, None), ("u2", 3, 4.0, None)]
REVIEWED = [("u1", 1, 5.0, "Good."), ("u1", 2, 1.0, "It broke."), ("u2", 3, 4.0, None)]


def bought_s(day: int) -> int:
    """A time stamp of a day, in seconds since 1970."""
    return 1_400_000_000 + day * 86_400


class Shop:
    """Exports of a shop, and the nights that are written for it."""

    def __init__(self, folder: Path) -> None:
        self.raw = folder / "raw"
        self.nights = Nights(str(folder / "data"))
        self.nights.examples = Place(below(self.nights.data.uri, "examples/backfill"), flag="--examples")
        self.out = folder / "data"

    def export(self, name: str, *purchases: tuple[str, int, float, str | None], own_ids: bool = False) -> Path:
        """Purchases (user, day, rating, review) as one file: of Amazon's format, or a table with a purchase_id."""
        self.raw.mkdir(exist_ok=True)
        path = self.raw / name
        names = ("user_id", "item_id", "purchased_at", "rating", "review") if own_ids else AMAZON_2014
        rows = []
        for user, day, rating, text in purchases:
            rows.append(dict(zip(names, (user, f"I{day}", bought_s(day), rating, text), strict=True)))
            rows[-1] |= {"purchase_id": f"{user}-{day}"} if own_ids else {}
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    def prepare(self, *files: Path) -> TableCounts:
        counts = ingest(reviews=files, items=[], out=self.out)
        config = ExamplesConfig(targets="all", first_target=1)
        build_examples(
            interactions=self.out / "interactions", items=self.out / "items", out=self.out / "examples", config=config
        )
        return counts.interactions

    def work(self, **more: Any) -> Work:
        return self.nights.work(interactions=Place(below(self.nights.data.uri, "interactions")), **more)

    def publish(self) -> Manifest:
        night, work = self.nights.night(OTHER), self.work()
        manifest = self.nights.publish(night, work, self.nights.stage(night, work))
        finish(night, manifest, work.superseded)
        return manifest

    def examples(self, split: str) -> pl.DataFrame:
        return pl.DataFrame(read_table(self.out / "examples" / split, EXAMPLES))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.mark.parametrize("own_ids", [False, True])
def test_a_rating_whose_review_comes_later_is_the_same_purchase(shop: Shop, own_ids: bool) -> None:
    shop.prepare(shop.export("2026-11-20.json", *RATED, own_ids=own_ids))
    assert shop.publish().written == 2
    (reviewed,) = shop.examples("backfill").filter(pl.col("user_id") == "u1")["example_id"]

    later = shop.export("2026-11-21.json", *REVIEWED, own_ids=own_ids)  # with another rating too
    shop.prepare(later)
    work = shop.work()
    assert work.superseded.select(["example_id", "night"]).to_pylist() == [{"example_id": reviewed, "night": OTHER}]
    assert (work.counts.read, work.counts.published, work.counts.pending) == (1, 1, 0)
    trained = shop.examples("train").filter(pl.col("example_id") == reviewed)
    assert trained.select("rating", "reference").rows() == [(1.0, "It broke.")]


@pytest.mark.parametrize("own_ids", [False, True])
def test_both_exports_in_one_folder_give_each_purchase_once_and_with_its_text(shop: Shop, own_ids: bool) -> None:
    shop.prepare(shop.export("2026-11-20.json", *RATED, own_ids=own_ids))
    shop.publish()
    shop.export("2026-11-21.json", *REVIEWED, own_ids=own_ids)
    counts = shop.prepare(shop.raw)
    assert counts == TableCounts(rows_in=6, written=3, rejected=0, duplicates=2, changed=1, empty=("category",))
    interactions = pl.DataFrame(read_table(shop.out / "interactions", INTERACTIONS))
    assert interactions.select("user_id", "rating", "review").rows() == [
        ("u1", 5.0, "Good."),
        ("u1", 1.0, "It broke."),
        ("u2", 4.0, None),
    ]
    assert shop.examples("train")["example_id"].to_list() == interactions["purchase_id"][:2].to_list()
    assert shop.examples("backfill")["example_id"].to_list() == interactions["purchase_id"][2:].to_list()
    assert shop.work().superseded["example_id"].to_pylist() == interactions["purchase_id"][1:2].to_list()


# ---- what an earlier version left


def drop_rule(shop: Shop) -> None:
    """Take from the night's manifest what an earlier version did not write."""
    name = f"generations/dt={OTHER}/_manifest.json"
    manifest = json.loads(shop.nights.data.read(name))
    del manifest["id_rule"]
    shop.nights.data.write(name, json.dumps(manifest).encode())


def earlier_id(user: str, day: int, rating: float) -> str:
    content = f"{bought_s(day) * 1_000_000} {rating * 1e6:.0f} {len(user)} 2 {user}I{day}"
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def night_of_rule_1(shop: Shop, *, failing: bool = False) -> None:
    """A night of the two rating-only purchases, as an earlier version published it."""
    nights = Nights(shop.nights.data.uri)
    nights.examples = Place(below(nights.data.uri, "examples-before"))
    names = [earlier_id("u1", 2, 2.0), earlier_id("u2", 3, 4.0)]
    nights.write_examples("a.parquet", [*zip(("u1", "u2"), names, strict=True)])
    work = nights.work()
    staged = nights.stage(nights.night(OTHER), work, failing=names if failing else [])
    finish(nights.night(OTHER), nights.publish(nights.night(OTHER), work, staged, max_failed_fraction=1), work.superseded)
    drop_rule(shop)


@pytest.mark.parametrize("failing", [False, True])
def test_a_night_under_ids_that_changed_with_the_text_is_refused_by_name(shop: Shop, failing: bool) -> None:
    night_of_rule_1(shop, failing=failing)
    shop.prepare(shop.export("2026-11-21.json", *REVIEWED))
    with pytest.raises(PublishError, match=r"dt=2026-11-20: was published by an earlier version, .* move the night away"):
        shop.work()
    assert shop.work(without=OTHER).counts.pending == 1  # it is replaced


def test_a_night_under_the_sources_own_ids_stays_matched(shop: Shop) -> None:
    shop.prepare(shop.export("2026-11-20.json", *RATED, own_ids=True))
    shop.publish()
    drop_rule(shop)
    shop.prepare(shop.export("2026-11-21.json", *REVIEWED, own_ids=True))
    work = shop.work()
    assert (work.counts.published, work.counts.pending, work.superseded.num_rows) == (1, 0, 1)


def test_what_is_done_to_an_earlier_night_does_not_make_its_ids_new_ones(shop: Shop) -> None:
    night_of_rule_1(shop)
    forget_users(shop.nights.data, ["u2"])
    earlier = published_nights(shop.nights.data)[OTHER]
    assert (earlier.written, earlier.id_rule) == (1, 1)
    shop.nights.examples = Place(below(shop.nights.data.uri, "examples-of-own-ids"))
    shop.nights.write_examples("a.parquet", [("u3", "own")])
    night, work = shop.nights.night(OTHER), shop.nights.work()
    added = shop.nights.publish(night, work, shop.nights.stage(night, work), earlier=earlier)
    assert (added.written, added.id_rule) == (2, 1)
    assert shop.nights.whole_night(NIGHT).id_rule == 2


def test_examples_of_an_earlier_version_are_refused_by_name(shop: Shop) -> None:
    shop.prepare(shop.export("2026-11-20.json", *RATED))
    (file,) = (shop.out / "examples" / "backfill").iterdir()
    rows = pl.read_parquet(file)
    before = [
        earlier_id(user, int(item[1:]), rating) for user, item, rating in rows.select("user_id", "item_id", "rating").rows()
    ]
    shop.nights.examples.write_table(file.name, rows.with_columns(example_id=pl.Series(before)).to_arrow(), EXAMPLES)
    with pytest.raises(InputError, match=r"shard-0.*: was written by an earlier version, .* run jobs/prepare\.py again"):
        shop.work()
