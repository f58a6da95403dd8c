"""Which purchases a night writes: the rating-only ones less everything published, cut into shards.

Nothing here holds all ids in memory: they meet in buckets. What stays is a few bytes for each purchase.
"""

from __future__ import annotations

import datetime
import hashlib
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from reviewllm.backfill.forgotten import without_forgotten
from reviewllm.backfill.ids import IdSets, buckets_for
from reviewllm.backfill.night import Manifest, published_files, published_folder, read_dead_letters
from reviewllm.config import Day, StageConfig
from reviewllm.errors import InputError, PublishError
from reviewllm.examples.splits import split_files
from reviewllm.failpoints import reached
from reviewllm.generation.tasks import Piece
from reviewllm.place import File, Place
from reviewllm.sources.identity import EARLIER_ID, ID_RULE, MADE_ID, made_by_earlier_rule
from reviewllm.tables import EXAMPLES, GENERATIONS, INTERACTIONS, SUPERSEDED
from reviewllm.texts import are_blank

_TAIL = 1 << 14  # bytes at the end of a Parquet file, where its footer is: with size and time they tell its content


class WorkConfig(StageConfig):
    """Which purchases a night takes."""

    since: Day | None = Field(None, description="only purchases of this day (UTC) and later")
    category: list[str] = Field([], description="only purchases of these categories")
    limit: int | None = Field(
        None,
        ge=0,
        description="at most so many purchases in the night, what it has already among them; later ones take the others",
    )
    shard_rows: int = Field(1000, ge=1, description="rows of a shard, the unit of work and of commit; a user stays whole")


class Shard(NamedTuple):
    """A unit of the night's work: its name says what it holds, so equal names are equal work."""

    name: str
    pieces: list[Piece]
    rows: int


class WorkCounts(NamedTuple):
    """Where the purchases of the examples went: read = published + reviewed + failed + filtered + over the limit + pending."""

    read: int = 0
    published: int = 0  # in a night
    reviewed: int = 0  # the user has since written a review
    failed: int = 0  # in the dead letters; `replay` runs them again
    filtered: int = 0  # by --since and --category, and in a replay what is no dead letter
    over_limit: int = 0
    pending: int = 0


class Work(NamedTuple):
    """The work of a night; `superseded` are published rows (SUPERSEDED) whose user has since written a review."""

    shards: list[Shard]
    counts: WorkCounts
    superseded: pa.Table
    files: list[File]  # of the examples, as they were

    @property
    def pieces(self) -> Iterator[Piece]:
        """All pieces of all shards."""
        return (piece for shard in self.shards for piece in shard.pieces)


class _Source(NamedTuple):
    """A file of examples: identity, rows, and the order in which they are written (None: as they stand)."""

    file: str
    identity: bytes
    rows: int
    starts: np.ndarray  # whether a row, in that order, is the first of its user
    order: np.ndarray | None
    has_made_ids: bool  # whether a purchase has no id of the source's own


def find_work(
    examples: Place,
    data: Place,
    config: WorkConfig,
    nights: dict[datetime.date, Manifest],
    *,
    interactions: Place | None,
    replay: datetime.date | None = None,
    forgotten: frozenset[str] = frozenset(),
) -> Work:
    """Find a night's work.

    Args:
        examples: the rating-only purchases with their histories: the examples table.
        nights: the published nights that count as done.
        interactions: the interactions table, which tells where a user has since written a review; None: nobody has.
        replay: take the dead letters of this night, and nothing else; None: leave those of all nights out.
        forgotten: sha256 of the ids of users for whom nothing is written.

    Raises:
        InputError: there are no examples, or some of another split, an example_id stands there twice or was made by an earlier
            version, a rating is none, or a category is unknown.
        PublishError: a night has purchases under ids that an earlier version made.
        SchemaError: a file is damaged or does not fit its table.
    """
    reached("plan")
    files = split_files(examples, "backfill")
    if not files:
        raise InputError(
            f"{examples.where}: no examples of rating-only purchases are there; jobs/prepare.py writes them where a purchase "
            "lacks a review (--hide-fraction 0.1 makes some)"
        )
    rows = sum(examples.parquet(file.name).metadata.num_rows for file in files)
    rows += sum(file.rows for manifest in nights.values() for file in manifest.files)
    with tempfile.TemporaryDirectory(prefix="reviewllm-ids-") as folder:
        sets = IdSets(Path(folder), buckets=buckets_for(rows))
        sources, filtered, categories = [], 0, set[str]()
        for number, file in enumerate(files):
            source, dropped, its = _read_source(examples, file, number, config, forgotten, sets)
            sources.append(source)
            filtered += dropped
            categories |= its
        _refuse_unknown(config.category, categories, examples)
        for day, manifest in nights.items():
            if manifest.id_rule < ID_RULE and any(source.has_made_ids for source in sources):
                _refuse_earlier_ids(data, day, manifest)
            _add_published(data, day, manifest, sets, dead=replay in (None, day))
        if interactions is not None:
            _add_reviewed(interactions, sets)
        pending = [np.zeros(source.rows, dtype=bool) for source in sources]
        counts, superseded = _join(sets, pending, replay=replay is not None)
    counts = counts._replace(read=sum(source.rows for source in sources), filtered=counts.filtered + filtered)
    shards = list(_cut(sources, pending, config))
    taken = sum(shard.rows for shard in shards)
    counts = counts._replace(over_limit=counts.pending - taken, pending=taken)
    return Work(shards, counts, _only_new(superseded, data), files)


def _refuse_unknown(wanted: list[str], categories: set[str], examples: Place) -> None:
    unknown = [name for name in wanted if name not in categories]
    if unknown:
        known = ", ".join(map(repr, sorted(categories)[:10])) + (", ..." if len(categories) > 10 else "")
        raise InputError(f"--category {unknown[0]!r}: no purchase in {examples.where} has it; there are {known or 'none'}")


def _read_source(
    examples: Place, file: File, number: int, config: WorkConfig, forgotten: frozenset[str], sets: IdSets
) -> tuple[_Source, int, set[str]]:
    """Put a file's ids into the sets; returns what must be known of it later, the rows filtered out, and the categories."""
    columns = ["example_id", "user_id", "item_id", "category", "rating", "purchased_at", "reference"]
    rows = pl.DataFrame(examples.read_columns(file.name, EXAMPLES, columns)).with_row_index("row")
    wrong = rows.filter(~pl.col("rating").is_between(1, 5))  # NaN neither
    if wrong.height:
        raise InputError(
            f"{examples.where}/{file.name}: {wrong.height} rating(s) are not 1 to 5 stars, {wrong['rating'][0]} of purchase "
            f"{wrong['example_id'][0]!r} among them; put them right in the source"
        )
    if made_by_earlier_rule(rows):
        raise InputError(
            f"{examples.where}/{file.name}: was written by an earlier version, whose ids of purchases changed with their review; "
            "run jobs/prepare.py again"
        )
    sets.add("hidden", rows.filter(pl.col("reference").is_not_null()).select("example_id"))
    rows = rows.drop("reference")
    order = None
    in_order = rows.sort("user_id", "purchased_at", maintain_order=True)
    if not in_order["row"].is_sorted():
        order = in_order["row"].to_numpy()
    users = in_order["user_id"]
    starts = (users != users.shift(1)).fill_null(True).to_numpy()
    wanted = pl.lit(True)
    if config.since is not None:
        since = datetime.datetime.combine(config.since, datetime.time(), datetime.UTC)
        wanted = wanted & (pl.col("purchased_at") >= since)
    if config.category:
        wanted = wanted & pl.col("category").is_in(config.category)
    kept = without_forgotten(rows.filter(wanted), forgotten)
    sets.add("pending", kept.select("example_id", "row", source=pl.lit(number, dtype=pl.Int32)))
    identity = repr((file.name, file.size, file.mtime_ns)).encode() + examples.tail(file.name, _TAIL)
    has_made_ids = bool(rows["example_id"].str.contains(MADE_ID).any())
    source = _Source(file.name, hashlib.sha256(identity).digest(), rows.height, starts, order, has_made_ids)
    return source, rows.height - kept.height, {*rows["category"].unique()}


def _refuse_earlier_ids(data: Place, day: datetime.date, manifest: Manifest) -> None:
    """Refuse a night that would hide from tonight's ids: of an earlier rule, with ids that may have been made by it."""
    letters = pl.DataFrame(read_dead_letters(data, day, manifest).select(["example_id"]))
    batches = (
        batch for file in published_files(data, day, manifest) for batch in data.batches(file, GENERATIONS, ["example_id"])
    )
    for batch in chain(batches, [letters]):
        earlier = batch.filter(pl.col("example_id").str.contains(EARLIER_ID))
        if earlier.height:
            raise PublishError(
                f"{data.where}/{published_folder(day)}: was published by an earlier version, whose ids of purchases "
                f"({earlier['example_id'][0]}, for one) changed with their rating and review, so nothing tells which purchases it "
                "has, and they would be written twice; move the night away, and they are written anew, or give every purchase "
                "of the source the purchase_id that the night has"
            )


def _add_published(data: Place, day: datetime.date, manifest: Manifest, sets: IdSets, *, dead: bool) -> None:
    for file in published_files(data, day, manifest):
        for batch in data.batches(file, GENERATIONS, ["example_id", "user_id"]):
            sets.add("published", batch.with_columns(night=pl.lit(day)))
    if dead:
        sets.add("dead", pl.DataFrame(read_dead_letters(data, day, manifest).select(["example_id"])))


def _add_reviewed(interactions: Place, sets: IdSets) -> None:
    files = interactions.tables()
    if not files:
        raise InputError(
            f"{interactions.flag} {interactions.where}: no Parquet file is there; expected the interactions table"
        )
    for file in files:
        for batch in interactions.batches(file.name, INTERACTIONS, ["purchase_id", "review"]):
            reviewed = batch.filter(~are_blank(pl.col("review")))
            sets.add("reviewed", reviewed.select(example_id="purchase_id"))


def _join(sets: IdSets, pending: list[np.ndarray], *, replay: bool) -> tuple[WorkCounts, pl.DataFrame]:
    """Mark what is pending, bucket by bucket; returns the counts, and what is superseded."""
    counts = WorkCounts()
    superseded = [pl.DataFrame(schema={"example_id": pl.String, "user_id": pl.String, "night": pl.Date})]
    for number in range(sets.buckets):
        published, reviewed, dead, hidden = (sets.ids(name, number) for name in ("published", "reviewed", "dead", "hidden"))
        rows = sets.bucket("pending", number)
        if rows is None:
            rows = pl.DataFrame(schema={"example_id": pl.String, "row": pl.UInt32, "source": pl.Int32})
        repeated = rows.filter(pl.col("example_id").is_duplicated())
        if repeated.height:
            raise InputError(
                f"the examples hold {repeated['example_id'].n_unique()} example_id(s) more than once, "
                f"{repeated['example_id'][0]!r} among them; each purchase may be there once"
            )
        reviewed = reviewed.join(hidden, on="example_id", how="anti")  # hidden reviews only play absent ones
        after_published = rows.join(published, on="example_id", how="anti")
        after_reviewed = after_published.join(reviewed, on="example_id", how="anti")
        left = after_reviewed.join(dead, on="example_id", how="semi" if replay else "anti")
        lost = after_reviewed.height - left.height
        counts = counts._replace(
            published=counts.published + rows.height - after_published.height,
            reviewed=counts.reviewed + after_published.height - after_reviewed.height,
            failed=counts.failed + (0 if replay else lost),
            filtered=counts.filtered + (lost if replay else 0),
            pending=counts.pending + left.height,
        )
        for (source,), part in left.partition_by("source", as_dict=True).items():
            pending[source][part["row"].to_numpy()] = True
        nights = sets.bucket("published", number)
        if nights is not None:
            superseded.append(nights.join(reviewed, on="example_id", how="semi").select("example_id", "user_id", "night"))
    return counts, pl.concat(superseded)


def _only_new(superseded: pl.DataFrame, data: Place) -> pa.Table:
    """Without what earlier nights have marked already."""
    if superseded.height:
        for file in data.files("generations/_superseded"):
            known = pl.DataFrame(data.read_table(file.name, SUPERSEDED)).select("example_id", "night")
            superseded = superseded.join(known, on=["example_id", "night"], how="anti")
    now = datetime.datetime.now(datetime.UTC)
    marked = superseded.with_columns(superseded_at=pl.lit(now, dtype=pl.Datetime("us", "UTC"))).to_arrow()
    return SUPERSEDED.check(marked, where="superseded")


def _cut(sources: Sequence[_Source], pending: Sequence[np.ndarray], config: WorkConfig) -> Iterator[Shard]:
    """Cut what is pending into shards of about the wanted size: at a user's end, and at a file's end where that is near.

    A cut at the end of a file makes later shards independent of earlier ones: where little of the input has changed, most
    of the shards are what they were.
    """
    size, left = config.shard_rows, config.limit
    held: list[tuple[_Source, np.ndarray]] = []
    count = 0
    for source, mask in zip(sources, pending, strict=True):
        in_order = mask if source.order is None else mask[source.order]
        places = np.flatnonzero(in_order)[:left]
        if left is not None:
            left -= len(places)
        numbers = (places if source.order is None else source.order[places]).astype(np.int32)
        users = np.cumsum(source.starts)[places]
        first = np.flatnonzero(np.diff(users, prepend=-1))  # where a user begins
        position = 0
        while position < len(numbers):
            cut = first[np.searchsorted(first, position + size - count) :][:1]
            end = min(int(cut[0]) if len(cut) else len(numbers), position + 2 * size - count)
            held.append((source, numbers[position:end]))
            count, position = count + end - position, end
            if count >= size or (position == len(numbers) and 2 * count >= size):
                yield _shard(held, count)
                held, count = [], 0
    if held:
        yield _shard(held, count)


def _shard(parts: list[tuple[_Source, np.ndarray]], rows: int) -> Shard:
    digest = hashlib.sha256()
    for source, numbers in parts:
        digest.update(source.identity + numbers.tobytes())
    # four bytes a row, where a list takes 40: a night may have a hundred million
    pieces = [Piece(source.file, array("i", numbers.tobytes())) for source, numbers in parts]
    return Shard(f"shard-{digest.hexdigest()[:20]}.parquet", pieces, rows)


def expected_ids(examples: Place, work: Work) -> Iterator[pl.DataFrame]:
    """The example_id and user_id of all of a night's rows.

    Raises:
        SchemaError: a file is damaged.
        InputError: the examples were changed since the work was found.
    """
    if examples.tables() != work.files:
        raise InputError(f"{examples.where}: was changed while this job ran; nothing was published, run it again")
    numbers: dict[str, list[np.ndarray]] = {}
    for piece in work.pieces:
        numbers.setdefault(piece.file, []).append(np.asarray(piece.rows))
    for file, parts in numbers.items():
        table = examples.read_columns(file, EXAMPLES, ["example_id", "user_id"])
        yield pl.DataFrame(table.take(pa.array(np.concatenate(parts))))
