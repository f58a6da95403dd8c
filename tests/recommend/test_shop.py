import gzip
import itertools
from pathlib import Path

import numpy as np
import pytest

from reviewllm.recommend.histories import Histories
from reviewllm.recommend.shop import (
    BRANDS,
    ITEMS,
    KINDS,
    MATERIALS,
    NEXT,
    OF_BRAND,
    SECOND,
    Planned,
    PlannedShopConfig,
    catalogue_pages,
    item_id,
    make_plan,
    title,
    write_planned_shop,
)
from reviewllm.recommend.sources import read_sequences


def lines(file: Path) -> list[str]:
    return gzip.decompress(file.read_bytes()).decode().splitlines()


def test_write_planned_shop_is_what_prepare_reads(tmp_path: Path) -> None:
    sequences, names = write_planned_shop(tmp_path, PlannedShopConfig(shop_users=200))
    source = read_sequences(sequences, datamaps=None, item_names=names)
    assert (source.interactions["user_id"].n_unique(), source.rejected.height) == (200, 0)
    assert source.items["title"].n_unique() == len(ITEMS) == len(BRANDS) * len(MATERIALS) * len(KINDS)
    again, _ = write_planned_shop(tmp_path / "again", PlannedShopConfig(shop_users=200))
    assert lines(sequences) == lines(again)


def test_write_planned_shop_follows_the_plan(tmp_path: Path) -> None:
    sequences, _ = write_planned_shop(tmp_path, PlannedShopConfig(shop_users=2000))
    kinds = {item_id(item): item for item in ITEMS}
    plan, pairs, followed, brands = make_plan(0), 0, 0, 0
    for line in lines(sequences):
        bought = [kinds[one] for one in line.split()[1:]]
        for before, after in itertools.pairwise(bought):
            pairs += 1
            followed += plan.following[before[2]] == after[2]
        counts = np.bincount([item[0] for item in bought], minlength=len(BRANDS))
        brands += counts.max() / len(bought)
    assert followed / pairs == pytest.approx(NEXT, abs=0.03)  # a little more: "anything" is the next thing, too
    assert brands / 2000 == pytest.approx(OF_BRAND, abs=0.04)


def test_planned_knows_what_follows() -> None:
    plan = make_plan(0)
    bought = [(3, 1, 5), (3, 1, plan.following[5])]
    last = bought[-1][2]
    catalogue = [item_id(item) for item in ITEMS]
    place = {one: number for number, one in enumerate(catalogue)}
    history = np.array([place[item_id(item)] for item in bought])
    histories = Histories(["u"], np.array([0, 2]), history, np.array([-1]))
    scores = Planned(PlannedShopConfig(), catalogue).score(histories, np.array([0]))[0]
    best, second = scores[place[item_id((3, 1, plan.following[last]))]], scores[place[item_id((3, 1, plan.second[last]))]]
    assert scores.argmax() == place[item_id((3, 1, plan.following[last]))]
    other = (1 - NEXT - SECOND) / len(KINDS)
    assert second / best == pytest.approx((SECOND + other) / (NEXT + other), rel=1e-5)
    assert scores.sum() == pytest.approx(1, rel=1e-5)  # the catalogue is complete


def test_catalogue_pages_name_items_and_tell_no_purchases() -> None:
    pages = catalogue_pages(50, 0)
    names = {title(item) for item in ITEMS}
    for (page,) in pages:
        listed = [name.strip('" ') for name in page.strip("[]").split(",")]
        assert set(listed) <= names
        of = [name.split() for name in listed]
        assert any(len({words[place] for words in of}) == 1 for place in range(3))  # one brand, one material or one kind
