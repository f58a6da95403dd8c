"""A synthetic shop in which purchases follow a plan, so that what a recommender finds can be compared with what there is to find.

Every item is a brand, a material and a kind: "Corvo steel kettle". A user has a favourite brand and material and buys most things
of them; after a kettle most users buy teacups next, some another thing that belongs to it, and some anything. Who sees ids alone
has to learn this item by item; who reads the titles, once for all.
"""

from __future__ import annotations

import gzip
import itertools
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from reviewllm.config import StageConfig
from reviewllm.recommend.histories import Histories, Ints
from reviewllm.recommend.ranks import Floats

_BRANDS = """Corvo Anjou Belmar Dorian Elkton Fenway Galero Hestia Ivarsen Jolva Kestrel Lumora Merrow Norrby Oakham Pellar Quarrel
Rivolta Selkie Tamsin"""
_KINDS = """lamp bulb cable notebook pens pencase kettle teacups teapot hose nozzle reel knife board grinder tray gloves caketin
trowel planters seedbox tent mattress stove"""
BRANDS = tuple(_BRANDS.split())
MATERIALS = ("steel", "oak", "copper", "bamboo", "glass", "linen")
KINDS = tuple(_KINDS.split())
OF_BRAND, OF_MATERIAL = 0.85, 0.8  # how often a purchase is of the favourite; else it is of any
NEXT, SECOND = 0.6, 0.25  # how often the thing that belongs to the last one is bought, and the other one; else anything
FEWEST, MOST = 6, 12  # purchases of a user

Item = tuple[int, int, int]  # places in BRANDS, MATERIALS and KINDS


class PlannedShopConfig(StageConfig):
    """The size of the planned shop."""

    shop_users: int = Field(3000, ge=50, description="users of the planned shop; it has 2,880 items")
    shop_seed: int = Field(0, ge=0, description="of the planned shop")


class Plan(NamedTuple):
    """What is bought after each kind: the place of the next, and of the second choice."""

    following: Sequence[int]
    second: Sequence[int]


def make_plan(seed: int) -> Plan:
    """All kinds stand on one circle: the next is one step on, the second choice seven."""
    circle = list(range(len(KINDS)))
    random.Random(f"{seed} plan").shuffle(circle)
    place = {kind: number for number, kind in enumerate(circle)}
    after = [[circle[(place[kind] + step) % len(circle)] for kind in range(len(KINDS))] for step in (1, 7)]
    return Plan(*after)


def item_id(item: Item) -> str:
    """The shop's id of an item, which says nothing of what it is like: "P02879" is the last one."""
    number = np.ravel_multi_index(item, _SHAPE)
    return f"P{number * 1009 % np.prod(_SHAPE):05d}"


def title(item: Item) -> str:
    """The item's title.

    >>> title((0, 0, 6))
    'Corvo steel kettle'
    """
    brand, material, kind = item
    return f"{BRANDS[brand]} {MATERIALS[material]} {KINDS[kind]}"


_SHAPE = (len(BRANDS), len(MATERIALS), len(KINDS))
ITEMS: tuple[Item, ...] = tuple(itertools.product(range(len(BRANDS)), range(len(MATERIALS)), range(len(KINDS))))


def write_planned_shop(folder: Path, config: PlannedShopConfig) -> tuple[Path, Path]:
    """Write what `prepare --sequences --item-names` reads, and return both files; the same configuration gives the same lines."""
    rng, plan = random.Random(config.shop_seed), make_plan(config.shop_seed)
    lines = []
    for user in range(config.shop_users):
        bought = _purchases(plan, rng)
        lines.append(" ".join([f"U{user:06d}", *map(item_id, bought)]))
    sequences, names = folder / "sequences.txt.gz", folder / "item-names.txt.gz"
    folder.mkdir(parents=True, exist_ok=True)
    for file, written in ((sequences, lines), (names, [f"{item_id(item)} {title(item)}" for item in ITEMS])):
        with gzip.open(file, "wt", encoding="utf-8") as sink:
            sink.write("\n".join(written) + "\n")
    return sequences, names


def _purchases(plan: Plan, rng: random.Random) -> list[Item]:
    favourite = rng.randrange(len(BRANDS)), rng.randrange(len(MATERIALS))
    kind, wanted = rng.randrange(len(KINDS)), rng.randint(FEWEST, MOST)
    bought: dict[Item, None] = {}
    while len(bought) < wanted:
        brand = favourite[0] if rng.random() < OF_BRAND else rng.randrange(len(BRANDS))
        material = favourite[1] if rng.random() < OF_MATERIAL else rng.randrange(len(MATERIALS))
        bought[brand, material, kind] = None  # nothing is bought twice
        chance = rng.random()
        following = plan.following[kind] if chance < NEXT else plan.second[kind]
        kind = following if chance < NEXT + SECOND else rng.randrange(len(KINDS))
    return list(bought)


class Planned:
    """The retriever that knows the plan: no recommender can be expected to be better than it."""

    name = "planned"
    needs_history = True

    def __init__(self, config: PlannedShopConfig, item_ids: Sequence[str]) -> None:
        """Take the shop and its catalogue."""
        known = {item_id(item): item for item in ITEMS}
        self.item_ids = item_ids
        self._items = np.array([known[one] for one in item_ids])
        plan = make_plan(config.shop_seed)
        self._kinds = np.full((len(KINDS), len(KINDS)), (1 - NEXT - SECOND) / len(KINDS))
        for kind in range(len(KINDS)):
            self._kinds[kind, plan.following[kind]] += NEXT
            self._kinds[kind, plan.second[kind]] += SECOND

    def score(self, histories: Histories, users: Ints) -> Floats:
        """The probability of each item as the next one, given what the history tells of the favourites."""
        scores = np.empty((len(users), len(self.item_ids)), dtype=np.float32)
        for row, user in enumerate(users):
            bought = self._items[histories.items[histories.starts[user] : histories.starts[user + 1]]]
            brands = _next_of(bought[:, 0], len(BRANDS), OF_BRAND)
            materials = _next_of(bought[:, 1], len(MATERIALS), OF_MATERIAL)
            kinds = self._kinds[bought[-1, 2]]
            scores[row] = brands[self._items[:, 0]] * materials[self._items[:, 1]] * kinds[self._items[:, 2]]
        return scores


def _next_of(bought: Ints, number: int, loyal: float) -> NDArray[np.float64]:
    """The probability of each value in the next purchase, by Bayes' rule over which one is the favourite."""
    counts = np.bincount(bought, minlength=number)
    other = (1 - loyal) / number
    weights = counts * np.log((loyal + other) / other)
    favourite = np.exp(weights - weights.max())
    next_one: NDArray[np.float64] = loyal * favourite / favourite.sum() + other
    return next_one


def catalogue_pages(pages: int, seed: int) -> list[list[str]]:
    """Texts for a tiny base: pages of a catalogue, each of one brand, material or kind, or of one brand and material.

    Of them it learns to read names, and that names which stand together are alike; of purchases it learns nothing.
    """
    rng = random.Random(f"{seed} pages")
    kinds = ((True, False, False), (False, True, False), (False, False, True), (True, True, False), (True, True, False))
    shelves: dict[tuple[int | None, ...], list[Item]] = {}
    for shown, item in itertools.product(dict.fromkeys(kinds), ITEMS):
        shelves.setdefault(_shelf(item, shown), []).append(item)
    found = []
    for _ in range(pages):
        shelf = shelves[_shelf(rng.choice(ITEMS), rng.choice(kinds))]
        names = [title(item) for item in rng.sample(shelf, min(len(shelf), rng.randint(4, 20)))]
        listed = json.dumps(names, separators=rng.choice([(",", ":"), (", ", ":")]))
        found.append([listed])
    return found


def _shelf(item: Item, shown: tuple[bool, ...]) -> tuple[int | None, ...]:
    return tuple(value if by else None for value, by in zip(item, shown, strict=True))
