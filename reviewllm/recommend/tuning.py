"""Sequences -> what a language model learns to recommend from: section 2.2 of PALR.

Every example is made of the training part of a sequence alone, cut in two: what stands before the cut is the history, what stands
behind it are the targets. `v1` has the paper's Recommend, `v2` also Recommend_Retrieval, whose candidates are all targets and
negatives that are like them: often bought together with them, or of their category. Two of the paper's techniques are options:
short lists of targets are enriched from the user's 3-hop affinity, and items are swapped at random between history and targets.
"""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from pydantic import Field

from reviewllm.config import StageConfig
from reviewllm.errors import InputError
from reviewllm.examples.shards import write_shards
from reviewllm.prompts.tasks.recommend import HISTORY_ITEMS, Asked
from reviewllm.recommend.affinity import NONE, Numbers, bought_with, purchase_matrix, three_hops
from reviewllm.recommend.names import Names
from reviewllm.recommend.profiles import Profiles
from reviewllm.recommend.rows import example_row, example_table
from reviewllm.recommend.split import LEFT_OUT
from reviewllm.table_files import replace_folder

Palr = Literal["v1", "v2"]
HELD_OUT = LEFT_OUT["validation"]  # and the test item behind it
_LIKE = 60  # items that are looked at for negatives, of each target
_ROWS = 1000  # of a shard


class TuningConfig(StageConfig):
    """How fine-tuning examples are made."""

    palr: Palr = Field("v2", description="v1 asks for recommendations alone, v2 also for a choice among candidates")
    users_fraction: float = Field(0.2, gt=0, le=1, description="share of the users that examples are made of")
    cuts: int = Field(1, ge=1, description="examples of a user at most: each cuts the sequence at another place")
    count: int = Field(10, ge=1, le=100, description="items that are recommended: targets of an example at most")
    enrich_to: int = Field(10, ge=0, description="shorter lists of targets are enriched to this from the 3-hop affinity")
    num_candidates: int = Field(50, ge=2, le=200, description="candidates of an example, its targets among them")
    swap_rate: float = Field(
        0.1, ge=0, le=1, description="share of the targets that change places with an item of the history"
    )
    tuning_seed: int = Field(0, ge=0, description="of the choice of users, cuts, swaps, negatives and orders")


class Tuned(NamedTuple):
    """What was made: examples of each task, the users that they are of, and users that were chosen and are too short."""

    recommend: int
    retrieval: int
    users: int
    too_short: int
    enriched: int
    swapped: int


class _Catalogue(NamedTuple):
    """Items by number, with what is like each of those that examples are made of."""

    item_ids: Sequence[str]
    numbers: Mapping[str, int]
    names: Sequence[str]
    like: Numbers
    by_category: Mapping[str, Sequence[int]]
    categories: Sequence[str | None]


class _User(NamedTuple):
    """One user by numbers: the training part, what is held out, and the nearest other items."""

    user_id: str
    trained: list[int]
    held_out: frozenset[int]
    near: list[int]


def write_tuning_examples(
    sequences: pl.DataFrame,
    items: pl.DataFrame,
    names: Names,
    profiles: Profiles,
    folder: Path,
    config: TuningConfig,
) -> Tuned:
    """Write the examples as shards into `folder`, in one rename.

    The order of the rows of `sequences` decides nothing. Whatever is drawn for a user depends on the seed and that user alone.
    No validation or test item is in an example. Does not prevent that a profile knows the targets, which belong to the training
    part that it summarises: a model learns to trust profiles more than it should.

    Args:
        sequences: SEQUENCES.
        items: item_id and category of all items.
        names: theirs.
        profiles: a user without one is shown none.

    Raises:
        InputError: no example can be made.
    """
    chosen = sequences.filter(_is_chosen(sequences["user_id"], config)).sort("user_id")
    trained = sequences.select(pl.col("item_ids").list.head(pl.col("item_ids").list.len().cast(pl.Int64) - HELD_OUT))
    place = dict(zip(sequences["user_id"], range(sequences.height), strict=True))
    catalogue, matrix = _catalogue(items, names, trained["item_ids"], [place[user] for user in chosen["user_id"]])
    aside = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    tuned = Tuned(0, 0, 0, 0, 0, 0)
    shards = 0
    for part in chosen.iter_slices(_ROWS):
        near = three_hops(matrix, np.array([place[user] for user in part["user_id"]]), most=_near_most(config))
        keywords = profiles.of(part["user_id"])
        rows: list[dict[str, Any]] = []
        for user in _users(part, near, catalogue):
            made, counts = _examples(user, catalogue, keywords.get(user.user_id, ()), config)
            rows += made
            tuned = Tuned(*map(sum, zip(tuned, counts, strict=True)))
        shards += len(write_shards(example_table(rows), aside, first=shards, rows=_ROWS))
    if not shards:
        raise InputError(
            f"no fine-tuning example can be made: {tuned.too_short} of {chosen.height} chosen users have fewer than "
            f"{HELD_OUT + 2} items; raise --users-fraction, or give longer sequences"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    replace_folder(aside, folder)
    return tuned


def _near_most(config: TuningConfig) -> int:
    return config.enrich_to + HELD_OUT + HISTORY_ITEMS


def _is_chosen(users: pl.Series, config: TuningConfig) -> pl.Series:
    """Whole users, each by itself, so that another night's new users change nothing for the others."""
    bound = config.users_fraction * 2**64
    digests = (hashlib.sha256(f"{config.tuning_seed}:{user}".encode()).digest() for user in users)
    return pl.Series([int.from_bytes(digest[:8], "big") < bound for digest in digests], dtype=pl.Boolean)


def _catalogue(items: pl.DataFrame, names: Names, trained: pl.Series, chosen: Sequence[int]) -> tuple[_Catalogue, Any]:
    """The items with what is like those of the chosen users, by the training parts of all users, and these as a matrix."""
    ordered = items.select("item_id", "category").sort("item_id")
    item_ids, categories = ordered["item_id"].to_list(), ordered["category"].to_list()
    shown = names.of(item_ids, where="items")
    names.of(trained.explode(empty_as_null=False).unique().to_list(), where="sequences")
    matrix = purchase_matrix(trained, ordered["item_id"])
    by_category: dict[str, list[int]] = {}
    for number, category in enumerate(categories):
        if category is not None:
            by_category.setdefault(category, []).append(number)
    needed = np.unique(matrix[np.array(chosen, dtype=np.int64)].indices)
    like = np.full((len(item_ids), _LIKE), NONE, dtype=np.int64)
    like[needed] = bought_with(matrix, needed, most=_LIKE)
    numbers = {item: number for number, item in enumerate(item_ids)}
    return _Catalogue(item_ids, numbers, shown, like, by_category, categories), matrix


def _users(part: pl.DataFrame, near: Numbers, catalogue: _Catalogue) -> Iterator[_User]:
    for (user_id, item_ids), others in zip(part.select("user_id", "item_ids").rows(), near.tolist(), strict=True):
        numbers = [catalogue.numbers.get(item, NONE) for item in item_ids]  # what is held out need not be in the catalogue
        held_out = frozenset(numbers[-HELD_OUT:])
        nearest = [one for one in others if one != NONE and one not in held_out]
        yield _User(user_id, numbers[:-HELD_OUT], held_out, nearest)


def _examples(
    user: _User, catalogue: _Catalogue, profile: Sequence[str], config: TuningConfig
) -> tuple[list[dict[str, Any]], Tuned]:
    """The examples of one user, of each cut one or two."""
    draw = random.Random(f"{config.tuning_seed}:{user.user_id}")
    places = range(1, len(user.trained))
    cuts = sorted(draw.sample(places, min(config.cuts, len(places))))
    rows: list[dict[str, Any]] = []
    enriched = swapped = 0
    for cut in cuts:
        history, targets = user.trained[max(0, cut - HISTORY_ITEMS) : cut], user.trained[cut : cut + config.count]
        swapped += _swap(history, targets, config.swap_rate, draw)
        added = _enrichment(user, len(targets), config)
        enriched += bool(added)
        answer = [*targets, *added]
        for kind in ("recommend", "retrieval")[: 1 + (config.palr == "v2")]:
            candidates = _candidates(targets, added, user, catalogue, config, draw) if kind == "retrieval" else []
            rows.append(
                example_row(
                    f"{user.user_id}/{cut}/{kind}",
                    user.user_id,
                    [catalogue.item_ids[one] for one in history],
                    [catalogue.names[one] for one in history],
                    asked=Asked([catalogue.names[one] for one in candidates], list(profile), len(answer)),
                    split="train",
                    answer=[catalogue.names[one] for one in answer],
                )
            )
    retrieval = len(cuts) if config.palr == "v2" else 0
    return rows, Tuned(len(cuts), retrieval, int(bool(cuts)), int(not cuts), enriched, swapped)


def _swap(history: list[int], targets: list[int], rate: float, draw: random.Random) -> int:
    """Let targets change places with items of the history, in place; returns how many did."""
    swapped = 0
    for place in range(len(targets)):
        if draw.random() < rate:
            other = draw.randrange(len(history))
            history[other], targets[place] = targets[place], history[other]
            swapped += 1
    return swapped


def _enrichment(user: _User, targets: int, config: TuningConfig) -> list[int]:
    """What a short list of targets gets behind them: the items that are nearest to the user, none that the user has."""
    return user.near[: max(0, min(config.enrich_to, config.count) - targets)]


def _candidates(
    targets: Sequence[int],
    added: Sequence[int],
    user: _User,
    catalogue: _Catalogue,
    config: TuningConfig,
    draw: random.Random,
) -> list[int]:
    """The answer and negatives that are like its targets, shuffled; no negative is the user's own, held-out ones included."""
    answer = [*targets, *added]
    wanted = max(0, config.num_candidates - len(answer))
    out = {*user.trained, *user.held_out, *answer}
    together = [one for one in dict.fromkeys(catalogue.like[targets].ravel().tolist()) if one != NONE and one not in out]
    draw.shuffle(together)
    groups = [catalogue.by_category[name] for one in targets if (name := catalogue.categories[one]) is not None]
    alike = _draw(groups, out, wanted, draw)
    half = together[: max(wanted // 2, wanted - len(alike))]
    rest = [*alike, *together[len(half) :], *_draw([range(len(catalogue.item_ids))], out, wanted, draw)]
    negatives = list(dict.fromkeys([*half, *rest]))[:wanted]
    candidates = [*answer, *negatives]
    draw.shuffle(candidates)
    return candidates


def _draw(groups: Sequence[Sequence[int]], out: set[int], wanted: int, draw: random.Random) -> list[int]:
    """Up to `wanted` items of some groups, of each as often; none that is `out`, and not many tries for small groups."""
    found: dict[int, None] = {}
    for _ in range(3 * wanted if groups else 0):
        one = draw.choice(draw.choice(groups))
        if one not in out:
            found[one] = None
        if len(found) == wanted:
            break
    return list(found)
