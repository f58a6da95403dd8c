"""A synthetic shop: raw files in the layout of Amazon Reviews 2023, for the demo, the tests and the benchmarks.

Every user has a manner (an opening, favourite aspects, an adverb, a length, a closing, capitals or none) and every
rating its words, so a model that reads the history and the rating can write the missing review better than one that
does not. As in a real export, some purchases carry a rating and no text, and a few lines are duplicates or broken.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from reviewllm.config import StageConfig
from reviewllm.sources.shop_facts import BRANDS, COLOURS, MATERIALS, Facts, details_of, facts_of, true_sentence

CATEGORIES: dict[str, dict[str, tuple[str, ...]]] = {
    "Garden_Tools": {
        "nouns": ("pruning shears", "garden hose", "hand trowel", "watering can", "leaf rake", "plant labels"),
        "aspects": ("grip", "blade", "weight", "finish", "length"),
    },
    "Desk_Supplies": {
        "nouns": ("gel pens", "notebook", "desk lamp", "stapler", "paper tray", "marker set"),
        "aspects": ("ink", "cover", "weight", "finish", "size"),
    },
    "Kitchen_Ware": {
        "nouns": ("chef knife", "baking tray", "tea kettle", "mixing bowl", "cutting board", "spice jars"),
        "aspects": ("handle", "lid", "weight", "finish", "size"),
    },
}
PARTS = frozenset(("grip", "blade", "finish", "cover", "handle", "lid"))  # the aspects that are made of something
COMMON_ASPECTS = ("price", "packaging", "delivery", "colour")

OPENINGS: tuple[tuple[str, str, str], ...] = (  # (dissatisfied, so-so, satisfied): one user's way to begin
    ("What a letdown.", "Could be better.", "What a find!"),
    ("Sadly I must warn others.", "I am in two minds.", "Happy to recommend it."),
    ("My husband was angry about it.", "My husband shrugged.", "My husband loves it."),
    ("Waste of money, honestly.", "Fair enough, honestly.", "Worth every penny, honestly."),
    ("Returned it within a week.", "Kept it, with doubts.", "Bought a second one."),
    ("Two thumbs down.", "One thumb up.", "Two thumbs up."),
    ("I expected far more.", "About what I expected.", "Better than I expected."),
    ("This failed on day one.", "This does its job.", "This works like a charm."),
)
CLOSINGS: tuple[tuple[str, str, str], ...] = (
    ("Never again.", "We will see.", "Will buy again."),
    ("Zero stars if I could.", "Three stars from me.", "Five stars from me."),
    ("Avoid this one.", "Think twice.", "Go for it."),
    ("I want a refund.", "I might keep it.", "I would not part with it."),
    ("Shame on the seller.", "No hard feelings, seller.", "Thank you, seller."),
    ("Look elsewhere.", "Compare before you buy.", "Look no further."),
)
WORDS: dict[int, tuple[str, ...]] = {  # what a rating does to an aspect
    1: ("awful", "useless", "broken"),
    2: ("poor", "flimsy", "disappointing"),
    3: ("okay", "average", "acceptable"),
    4: ("good", "solid", "pleasant"),
    5: ("excellent", "perfect", "wonderful"),
}
ADVERBS = ("really", "quite", "truly", "just", "simply", "totally")
RATING_WEIGHTS = (16, 14, 14, 20, 36)  # of one to five stars: most please, yet the hard set gets its rows


class ShopConfig(StageConfig):
    """The size of the synthetic shop."""

    shop_users: int = Field(300, ge=1, description="users of the synthetic shop")
    shop_items: int = Field(120, ge=3, description="items of the synthetic shop")
    shop_rating_only: float = Field(0.12, ge=0, lt=1, description="share of purchases with a rating and no review")
    shop_facts: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the sentences about an item that state one true fact of it, such as its weight",
    )
    shop_seed: int = Field(0, ge=0, description="of the synthetic shop")


class Item(NamedTuple):
    """One item: what its metadata carries."""

    item_id: str
    category: str
    title: str
    brand: str
    colour: str
    material: str
    aspects: tuple[str, ...]
    facts: Facts


class Manner(NamedTuple):
    """How one user writes."""

    opening: tuple[str, str, str]
    closing: tuple[str, str, str]
    adverb: str
    aspects: tuple[str, ...]
    sentences: int
    lower_case: bool


def write_shop(folder: Path, config: ShopConfig) -> tuple[Path, Path]:
    """Write `<Category>.jsonl.gz` under `folder/reviews` and `meta_<Category>.jsonl.gz` under `folder/items`.

    The same configuration gives the same bytes. Returns the two folders.
    """
    rng = random.Random(config.shop_seed)
    items = [_item(number, config.shop_seed, rng) for number in range(config.shop_items)]
    lines: dict[str, list[str]] = {category: [] for category in CATEGORIES}
    for number in range(config.shop_users):
        for category, row in _purchases(f"U{number:06d}", items, config, rng):
            lines[category].append(json.dumps(row))
    for category, rows in lines.items():
        _write(folder / "reviews" / f"{category}.jsonl.gz", [*rows, *_flaws(rows)])
        described = [json.dumps(_metadata(item)) for item in items if item.category == category]
        _write(folder / "items" / f"meta_{category}.jsonl.gz", described)
    return folder / "reviews", folder / "items"


def _item(number: int, seed: int, rng: random.Random) -> Item:
    category = sorted(CATEGORIES)[number % len(CATEGORIES)]
    kind = CATEGORIES[category]
    brand, colour, material = rng.choice(BRANDS), rng.choice(COLOURS), rng.choice(MATERIALS)
    noun = rng.choice(kind["nouns"])
    facts = facts_of(category, noun, random.Random(f"{seed}:{number}"))
    title = f"{brand} {colour} {material} {noun}"
    return Item(f"B{number:06d}", category, title, brand, colour, material, kind["aspects"], facts)


def _manner(rng: random.Random) -> Manner:
    return Manner(
        opening=rng.choice(OPENINGS),
        closing=rng.choice(CLOSINGS),
        adverb=rng.choice(ADVERBS),
        aspects=tuple(rng.sample(COMMON_ASPECTS, 2)),
        sentences=rng.choice((1, 2, 2, 3)),
        lower_case=rng.random() < 0.2,
    )


def _purchases(
    user_id: str, items: list[Item], config: ShopConfig, rng: random.Random
) -> Iterator[tuple[str, dict[str, Any]]]:
    """One user's purchases in time order, as (category, raw line); one user in twenty never writes a review."""
    manner = _manner(rng)
    silent = rng.random() < 0.05
    favourite = rng.choice(sorted(CATEGORIES))
    mine = [item for item in items if item.category == favourite or rng.random() < 0.3]
    time_ms = 1_500_000_000_000 + rng.randrange(10**10)
    for item in rng.sample(mine, min(len(mine), rng.randint(9, 26))):
        time_ms += rng.randrange(10**7, 10**9)
        rating = rng.choices((1, 2, 3, 4, 5), RATING_WEIGHTS)[0]
        # Facts have their own chance, so that the purchases, and without facts the texts, are the same at every share.
        facts_rng = random.Random(f"{config.shop_seed}:{user_id}:{item.item_id}") if config.shop_facts else None
        is_silent = silent or rng.random() < config.shop_rating_only
        text = "" if is_silent else _review(manner, item, rating, rng, facts_rng, config.shop_facts)
        row = {"rating": float(rating), "title": "", "text": text, "asin": item.item_id, "parent_asin": item.item_id}
        yield item.category, {**row, "user_id": user_id, "timestamp": time_ms}


def _review(
    manner: Manner, item: Item, rating: int, rng: random.Random, facts_rng: random.Random | None, facts_share: float
) -> str:
    mood = 0 if rating <= 2 else 1 if rating == 3 else 2
    noun = item.title.rsplit(" ", 1)[-1]
    aspects = (*manner.aspects, rng.choice(item.aspects))
    sentences = [manner.opening[mood]]
    for aspect in aspects[: manner.sentences]:
        opinion = f"{manner.adverb} {rng.choice(WORDS[rating])}"
        if facts_rng and facts_rng.random() < facts_share:
            sentences.append(_fact(item, opinion, facts_rng))
        else:
            sentences.append(f"The {aspect} of the {noun} is {opinion}.")
    sentences.append(manner.closing[mood])
    text = " ".join(sentences)
    return text.lower() if manner.lower_case else text


def _fact(item: Item, opinion: str, rng: random.Random) -> str:
    parts = tuple(aspect for aspect in item.aspects if aspect in PARTS)
    own = {"brand": item.brand, "colour": item.colour, "material": item.material}
    return true_sentence(item.facts, **own, parts=parts, opinion=opinion, rng=rng)


def _metadata(item: Item) -> dict[str, Any]:
    details = {"Brand": item.brand, "Color": item.colour, "Material": item.material, **details_of(item.facts)}
    # One title in forty is lost, as in real catalogues.
    title = None if int(item.item_id[1:]) % 40 == 39 else item.title
    return {
        "main_category": item.category.replace("_", " "),
        "title": title,
        "price": 5.0 + int(item.item_id[1:]) % 37,
        "store": item.brand,
        "features": [f"{item.material} {aspect}" for aspect in item.aspects[:2]],
        "description": [],
        "categories": [],
        "details": details,
        "parent_asin": item.item_id,
    }


def _flaws(rows: list[str]) -> list[str]:
    """What exports carry: some lines twice, and in a shop of some size one cut short and one with an impossible rating."""
    if len(rows) < 250:  # two bad lines would be near the budget of one in a hundred
        return []
    return [*rows[: len(rows) // 200], rows[0][: len(rows[0]) // 2], rows[0].replace('"rating": ', '"rating": 1')]


def _write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # No name and no time in the header, so the same lines give the same bytes.
    with open(path, "wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as file:
        file.write("".join(line + "\n" for line in lines).encode())
