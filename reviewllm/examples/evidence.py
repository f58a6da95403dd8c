"""What others wrote before a purchase: reviews of its item, and reviews of its category by users who bought alike.

Every review that may be shown has a few numbers in memory (50 bytes, with neighbours 90, and twice that while they are sorted) and
its text in a file of its part that is mapped, so memory does not grow with texts. An item with a hundred thousand reviews, or a
million buyers, costs each purchase no more than one with a dozen: of each item and number of stars the newest few before the
purchase are looked at, found by binary search.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reviewllm.tables import EVIDENCE_ENTRY

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MAX_EVIDENCE_CHARS = 600  # what is kept of a review: about as much as a prompt has room for beside others

_STARS = 5
_PER_STARS = 4  # newest reviews before the purchase that are looked at, of an item and each number of stars
_PAST = 8  # newest purchases of the user by which neighbours are found
_AROUND = 4  # reviewers of such an item that are taken, before the user in time and after; so popular items cost no more
_NEIGHBOURS = 8  # of them, those with most purchases in common
_PER_NEIGHBOUR = 4  # newest reviews of the category, of each
_TELLING_BYTES = (60, 1500)  # of a review that is neither a word or two nor an essay
_TARGETS_AT_ONCE = 20_000

_INDEX = pl.Schema(
    {"item": pl.UInt64, "user": pl.UInt64, "category": pl.UInt64, "text": pl.UInt64, "stars": pl.Int8, "telling": pl.Boolean}
    | {"at": pl.Int64}
)


class _Groups(NamedTuple):
    """Places of reviews by group, and in a group by time; `keys` are those of the places, `starts` where each group begins."""

    places: Ints
    keys: Ints
    starts: Ints

    def newest(self, group: Ints, moment: Ints, count: int) -> tuple[Ints, Bools]:
        """Of each group the newest places before a moment, newest first, as another axis; and which of them there are.

        Args:
            group: -1 for none.
            moment: `Evidence._moments` of the times.
            count: how many.
        """
        end = np.searchsorted(self.keys, group << 32 | moment)
        found = end[..., None] - 1 - np.arange(count)
        there = (group >= 0)[..., None] & (found >= self.starts[group][..., None])
        return self.places[np.where(there, found, 0)] if len(self.places) else np.zeros_like(found), there


class Evidence:
    """Every review of the interactions as what it may be for other users' purchases.

    `add_part` takes the parts one by one, `close` says that all are there, and then `of_items` and `of_neighbours` choose for
    the targets of a part, and `gather` reads what they chose. The choice is by numbers alone: it depends neither on the target's
    own rating, which prompts without ratings must not show, nor on chance.

    What is never chosen: a review of the user, one of the purchase's time or later, and any in the words of a hidden review or of
    an evaluated reference, whoever wrote it and about whatever.
    """

    def __init__(self, folder: Path, *, neighbours: bool) -> None:
        """Keep the texts under `folder`; `neighbours` says whether `of_neighbours` will be asked."""
        self._folder, self._neighbours = folder, neighbours
        self._indices: list[pl.DataFrame] = []
        self._texts: list[pa.Table] = []
        self._hidden: list[pl.Series] = []

    def add_part(self, part: pl.DataFrame) -> None:
        """Take a part: purchase_id, user_id, item_id, category, rating, review, purchased_at and is_review.

        What is no review and has a text is a hidden one.
        """
        cut = pl.col("review").str.slice(0, MAX_EVIDENCE_CHARS)
        self._hidden.append(part.filter(~pl.col("is_review")).select(cut).to_series().drop_nulls().hash())
        telling = pl.col("review").str.len_bytes().is_between(*_TELLING_BYTES)
        reviews = part.filter("is_review").with_columns(cut, telling=telling)
        self._indices.append(
            reviews.select(
                *(pl.col(f"{name}_id").hash().alias(name) for name in ("item", "user")),
                pl.col("category").hash(),
                pl.col("review").hash().alias("text"),
                pl.col("rating").round().clip(1, _STARS).cast(pl.Int8).alias("stars"),
                "telling",
                pl.col("purchased_at").dt.timestamp("us").alias("at"),
            )
        )
        kept = reviews.select("purchase_id", "user_id", "item_id", "category", "rating", "review", "purchased_at")
        self._texts.append(self._mapped(kept.to_arrow(compat_level=pl.CompatLevel.oldest()), len(self._texts)))

    def _mapped(self, table: pa.Table, number: int) -> pa.Table:
        """The table in a file of one batch, mapped: what is read of it later is the page cache's."""
        file = self._folder / f"{number:05d}.arrow"
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table.combine_chunks(), max_chunksize=max(1, table.num_rows))
        return pa.ipc.open_file(pa.memory_map(str(file))).read_all()

    def close(self, evaluated: pl.Series) -> None:
        """All parts are there; `evaluated` are the purchase_ids of the evaluated targets, whose words are shown to nobody."""
        index = pl.concat([pl.DataFrame(schema=_INDEX), *self._indices])
        self._indices.clear()
        self._part_starts = np.cumsum([0, *(table.num_rows for table in self._texts)])
        is_evaluated = pl.concat([pl.Series(table["purchase_id"]).is_in(evaluated.implode()) for table in self._texts])
        secret = pl.concat([index["text"].filter(is_evaluated), *self._hidden]).unique()
        shown = ~index["text"].is_in(secret.implode())
        at = index["at"].to_numpy()
        self._times = np.unique(at)
        self._at, self._stars, self._telling = at, index["stars"].to_numpy(), index["telling"].to_numpy()
        moment = self._moments(at)
        self._items, item = _numbered(index["item"])
        self._users, user = _numbered(index["user"])
        self._item, self._user = item, user
        usable = shown.to_numpy()
        self._by_stars = _groups(item * _STARS + self._stars - 1, moment, len(self._items) * _STARS, usable)
        if self._neighbours:
            self._by_item = np.argsort(item << 32 | moment, kind="stable")
            self._place_by_item = np.empty_like(self._by_item)
            self._place_by_item[self._by_item] = np.arange(len(item))
            self._categories, category = _numbered(index["category"])
            self._pairs, pair = np.unique(user * len(self._categories) + category, return_inverse=True)
            self._by_pair = _groups(pair, moment, len(self._pairs), usable)

    def _moments(self, at: Ints) -> Ints:
        """Of each time the number of different times before it."""
        return np.searchsorted(self._times, at).astype(np.int64)

    def of_items(self, targets: pl.DataFrame, *, most: int) -> pl.Series:
        """For each target (user_id, item_id, purchased_at) the places of reviews of its item, the most telling first.

        Of each number of stars the newest 4 are looked at, those that are neither a word or two nor an essay first and then the
        newest; taken is one of each number of stars, then a second of each, and so on.
        """
        return self._in_slices(targets, lambda some: self._of_items(some, most))

    def _of_items(self, targets: pl.DataFrame, most: int) -> Ints:
        item, user, at = self._known(targets)
        group = np.where(item[:, None] >= 0, item[:, None] * _STARS + np.arange(_STARS), -1)
        found, there = self._by_stars.newest(group, self._moments(at)[:, None], _PER_STARS)
        places, there = found.reshape(len(at), -1), there.reshape(len(at), -1)
        there &= self._user[places] != user[:, None] if len(self._user) else False
        return self._spread(places, there, at, most)

    def of_neighbours(self, targets: pl.DataFrame, part: int, *, most: int) -> pl.Series:
        """For each target the places of reviews of other items of its category by its user's neighbours.

        Neighbours are the 8 with most in common among those who reviewed one of the user's newest 8 items about when the user
        did, all before this purchase. Of each the newest 4 reviews of the category are looked at; what is taken of them is as in
        `of_items`.

        Args:
            targets: with category, history_start and history_end of `purchases.place_histories` too.
            part: number of the targets' part.
            most: how many.
        """
        return self._in_slices(targets, lambda some: self._of_neighbours(some, int(self._part_starts[part]), most))

    def _of_neighbours(self, targets: pl.DataFrame, first: int, most: int) -> Ints:
        item, user, at = self._known(targets)
        neighbours = self._neighbours_of(targets, first, user, at)
        category = _number_of(self._categories, targets["category"].hash())
        pair = np.where(
            (neighbours >= 0) & (category >= 0)[:, None], neighbours * len(self._categories) + category[:, None], -1
        )
        group = np.minimum(np.searchsorted(self._pairs, pair), max(0, len(self._pairs) - 1))
        group = np.where(self._pairs[group] == pair, group, -1) if len(self._pairs) else np.full_like(pair, -1)
        found, there = self._by_pair.newest(group, self._moments(at)[:, None], _PER_NEIGHBOUR)
        places, there = found.reshape(len(at), -1), there.reshape(len(at), -1)
        there &= self._item[places] != item[:, None] if len(self._item) else False
        return self._spread(places, there, at, most)

    def _neighbours_of(self, targets: pl.DataFrame, first: int, user: Ints, at: Ints) -> Ints:
        """The numbers of users, [targets, 8], nearest first; -1 for none."""
        if not len(self._user):
            return np.full((len(at), _NEIGHBOURS), -1)
        starts, ends = (targets[name].to_numpy().astype(np.int64)[:, None] for name in ("history_start", "history_end"))
        past = ends - 1 - np.arange(_PAST)
        is_past = past >= starts
        past = np.where(is_past, past + first, 0)
        around = np.concatenate([np.arange(-_AROUND, 0), np.arange(1, _AROUND + 1)])
        near = self._place_by_item[past][..., None] + around
        there = is_past[..., None] & (near >= 0) & (near < len(self._by_item))
        places = self._by_item[np.where(there, near, 0)]
        there &= (self._item[places] == self._item[past][..., None]) & (self._user[places] != user[:, None, None])
        there &= (self._at[places] < at[:, None, None]) & (self._at[past] < at[:, None])[..., None]
        users = np.where(there, self._user[places], -1).reshape(len(at), -1)
        return _commonest(users, _NEIGHBOURS)

    def _known(self, targets: pl.DataFrame) -> tuple[Ints, Ints, Ints]:
        """Item, user (-1 where nobody reviewed it, or the user nothing) and time of each target."""
        item = _number_of(self._items, targets["item_id"].hash())
        user = _number_of(self._users, targets["user_id"].hash())
        return item, user, targets["purchased_at"].dt.timestamp("us").to_numpy()

    def _spread(self, places: Ints, there: Bools, at: Ints, most: int) -> Ints:
        """Of places in columns, [targets, columns], up to `most`, over the numbers of stars in turn; -1 for none."""
        if not places.size:
            return np.full((len(at), most), -1)
        order = np.lexsort((at[:, None] - self._at[places], ~self._telling[places], ~there), axis=-1)
        places, there = np.take_along_axis(places, order, 1), np.take_along_axis(there, order, 1)
        stars = np.where(there, self._stars[places], 0)
        turn = np.full_like(places, len(order[0]))  # how many of its stars come before it
        for star in range(1, _STARS + 1):
            mine = stars == star
            turn[mine] = (np.cumsum(mine, axis=1) - 1)[mine]
        chosen = np.argsort(turn, axis=1, kind="stable")[:, :most]
        return np.where(np.take_along_axis(there, chosen, 1), np.take_along_axis(places, chosen, 1), -1)

    def _in_slices(self, targets: pl.DataFrame, choose: Callable[[pl.DataFrame], Ints]) -> pl.Series:
        parts = [_as_lists(choose(some)) for some in targets.iter_slices(_TARGETS_AT_ONCE)]
        return pl.concat([pl.Series(dtype=pl.List(pl.Int64)), *parts])

    def items_of(self, chosen: pl.Series) -> pl.DataFrame:
        """item_id and category of what was chosen, each item once."""
        places = chosen.explode().drop_nulls().unique().to_numpy()
        return pl.DataFrame(self._read(places).select(["item_id", "category"])).unique("item_id")

    def gather(self, chosen: pl.Series, titles: Callable[[Ints, pa.ChunkedArray], pa.ChunkedArray]) -> pa.ListArray:
        """What was chosen, as a column of the examples.

        Args:
            chosen: lists of places.
            titles: gives the title of each review, from the row that it was chosen for and its item_id.
        """
        lists = chosen.rechunk().to_arrow()
        lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
        entries = self._read(lists.flatten().to_numpy())
        named = titles(np.repeat(np.arange(len(lengths)), lengths), entries["item_id"])
        columns = entries.append_column("title", named)
        fields = [columns[field.name].combine_chunks().cast(field.type) for field in EVIDENCE_ENTRY]
        ends = np.concatenate([[0], np.cumsum(lengths)])
        struct = pa.StructArray.from_arrays(fields, fields=list(EVIDENCE_ENTRY))
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), struct)

    def _read(self, places: Ints) -> pa.Table:
        """The reviews at some places, in their order."""
        part = np.searchsorted(self._part_starts, places, side="right") - 1
        numbers = np.unique(part) if len(part) else np.zeros(1, dtype=np.int64)
        if len(numbers) == 1:
            return self._texts[numbers[0]].take(pa.array(places - self._part_starts[numbers[0]]))
        of_each = [np.flatnonzero(part == number) for number in numbers]
        read = [
            self._texts[number].take(pa.array(places[rows] - self._part_starts[number]))
            for number, rows in zip(numbers, of_each, strict=True)
        ]
        return pa.concat_tables(read).combine_chunks().take(pa.array(np.argsort(np.concatenate(of_each))))


def _numbered(hashes: pl.Series) -> tuple[NDArray[np.uint64], Ints]:
    """The different hashes, in order, and of each row the number of its own among them."""
    distinct, numbers = np.unique(hashes.to_numpy(), return_inverse=True)
    return distinct, numbers.astype(np.int64)


def _number_of(distinct: NDArray[np.uint64], hashes: pl.Series) -> Ints:
    """The number of each hash among those of `_numbered`; -1 for one that is not there."""
    wanted = hashes.to_numpy()
    if not len(distinct):
        return np.full(len(wanted), -1)
    found = np.minimum(np.searchsorted(distinct, wanted), len(distinct) - 1)
    return np.where(distinct[found] == wanted, found, -1)


def _groups(group: Ints, moment: Ints, count: int, usable: Bools) -> _Groups:
    """The usable reviews by group and time; those of one time in the order of the table."""
    places = np.flatnonzero(usable)
    keys = group[places] << 32 | moment[places]
    order = np.argsort(keys, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(group[places], minlength=count))])
    return _Groups(places[order], keys[order], starts)


def _commonest(users: Ints, count: int) -> Ints:
    """Of each row the numbers that come most often, of those that come as often the ones that come first; -1 is none.

    >>> _commonest(np.array([[7, 3, 3, -1, 5]]), 2).tolist()
    [[3, 7]]
    """
    width = users.shape[1]
    order = np.argsort(users, axis=1, kind="stable")
    ranked = np.take_along_axis(users, order, 1)
    begins = np.ones_like(ranked, dtype=bool)
    begins[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    run = np.cumsum(begins, axis=1) - 1 + np.arange(len(users))[:, None] * width
    often = np.bincount(run.ravel(), minlength=users.size)[run]
    worth = np.where(begins & (ranked >= 0), often * width - order, -1)  # of one beginning of each; order < width
    best = np.argsort(-worth, axis=1, kind="stable")[:, :count]
    return np.where(np.take_along_axis(worth, best, 1) >= 0, np.take_along_axis(ranked, best, 1), -1)


def _as_lists(places: Ints) -> pl.Series:
    """Rows as lists without their -1, which stand behind."""
    there = places >= 0
    ends = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    lists = pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), pa.array(places[there], pa.int64()))
    return pl.Series(lists)
