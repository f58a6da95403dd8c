"""Interactions and items -> examples, in shards of whole users."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from reviewllm.errors import InputError
from reviewllm.examples import purchases
from reviewllm.examples.evidence_columns import ITEM, NEIGHBOUR, EvidenceColumns
from reviewllm.examples.lacks import Lacks
from reviewllm.examples.leakage import MAX_HISTORY_CHARS, LeakageCheck
from reviewllm.examples.protocol import ExamplesConfig, Quota, assign_splits, last_reviews, select_targets
from reviewllm.table_files import replace_folder, table_files, write_table
from reviewllm.tables import EXAMPLES, HISTORY_ENTRY, INTERACTIONS, ITEMS

# Reviews over `max_history` are left out in blocks, so that the growing histories of a user begin alike for a while.
_HISTORY_BLOCK = 16

SPLITS = ("train", "simple", "hard", "backfill")


class ExamplesCounts(NamedTuple):
    """What was built: purchases read, examples of each split, what each category gave, what the leakage check saw.

    `lacks` says, a line each, what the prompts of many of them lack; `without_evidence` of how many none is there, by split and
    kind, where it was asked for.
    """

    purchases: int
    hidden: int
    examples: dict[str, int]
    quotas: list[Quota]
    repeated_wording: int
    lacks: list[str]
    without_evidence: dict[str, int]


def build_examples(
    *,
    interactions: Path,
    items: Path,
    out: Path,
    config: ExamplesConfig,
    file_categories: frozenset[str] = frozenset(),
    on_part: Callable[[int, int], None] | None = None,
) -> ExamplesCounts:
    """Write `out/<split>/shard-<number>-<content hash>.parquet` from the interactions and items tables.

    Goes through the interactions twice, one file at a time: first to draw the splits, then to write the examples.
    Memory is bounded by the largest file and by one row for each user within the protocol's bounds, with evidence by some numbers
    for each review too. The whole folder is built aside and swapped in, so a failing run leaves the earlier one; the same input
    gives the same bytes.

    Args:
        file_categories: categories that are the name of a file, and so stand in for no title.
        on_part: called with (files done, files in all) as the work goes on.

    Raises:
        SchemaError: a table is missing or does not fit.
        InputError: nothing in the interactions can become an example.
        LeakageError: the result shows a model what it must not see.
    """
    files = table_files(interactions, INTERACTIONS)
    tell = on_part or (lambda done, total: None)
    labels = pl.scan_parquet(table_files(items, ITEMS), glob=False)
    with EvidenceColumns(config, labels, file_categories, beside=out) as evidence:
        candidates = []
        for number, file in enumerate(files):
            part = _placed(file, number, config)
            candidates.append(last_reviews(part, config))
            evidence.add_part(part)
            tell(number + 1, 2 * len(files))
        splits, quotas = assign_splits(pl.concat(candidates), config)
        evidence.close(splits)
        aside = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.tmp")
        writer = _Writer(aside, splits, evidence, config)
        try:
            for number, file in enumerate(files):
                placed = _placed(file, number, config)
                writer.add(purchases.label_items(placed, labels, file_categories=file_categories), number)
                tell(len(files) + number + 1, 2 * len(files))
            counts = writer.close(quotas)
            if not sum(counts.examples.values()):
                raise InputError(
                    f"{interactions}: none of {counts.purchases} purchases can become an example: no user has more than "
                    f"{config.more_than_reviews} and fewer than {config.fewer_than_reviews} reviews and no purchase lacks one; "
                    "try --targets all, other bounds, or --hide-fraction 0.1"
                )
            replace_folder(aside, out)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return counts


class _Writer:
    """Writes the examples of one part of the interactions after the other, checks them, and counts."""

    def __init__(self, folder: Path, splits: pl.DataFrame, evidence: EvidenceColumns, config: ExamplesConfig) -> None:
        self._folder, self._splits, self._evidence, self._config = folder, splits, evidence, config
        self._check = LeakageCheck(
            evaluated=splits.filter(pl.col("split") != "train")["user_id"],
            backfill_history=config.history,
            same_time=config.same_time,
        )
        self._lacks = Lacks()
        self._purchases = self._hidden = 0
        self._rows, self._shards = dict.fromkeys(SPLITS, 0), dict.fromkeys(SPLITS, 0)

    def add(self, part: pl.DataFrame, number: int) -> None:
        """Write the examples of a part, of `purchases.label_items`."""
        self._purchases += len(part)
        self._hidden += int(part["hidden"].sum())
        self._check.start_part(part)
        targets = self._evidence.choose(select_targets(part, self._splits, self._config), number)
        targets = _with_whole_histories(targets, self._config)
        self._lacks.add_part(part)
        self._lacks.add_targets(targets)
        self._lacks.add_evidence(targets)
        for split, table in _examples(part, targets, self._evidence, self._config):
            self._check.add(table)
            _write_shard(table, self._folder / split, self._shards[split])
            self._shards[split] += 1
            self._rows[split] += table.num_rows

    def close(self, quotas: list[Quota]) -> ExamplesCounts:
        """All parts are there: what was written.

        Raises:
            LeakageError: an example shows what it must not.
        """
        self._check.close()
        return ExamplesCounts(
            self._purchases,
            self._hidden,
            self._rows,
            quotas,
            self._check.repeated_wording,
            self._lacks.lines(),
            self._lacks.without_evidence(),
        )


def _placed(file: Path, number: int, config: ExamplesConfig) -> pl.DataFrame:
    part = purchases.read_part(file)
    hidden = purchases.hide_reviews(part, fraction=config.hide_fraction, seed=config.seed * 1_000_003 + number)
    return purchases.place_histories(hidden, same_time=config.same_time)


def _with_whole_histories(targets: pl.DataFrame, config: ExamplesConfig) -> pl.DataFrame:
    """Move `history_end` of backfill targets behind the user's last review where histories hold every one."""
    is_whole = (pl.col("split") == "backfill") & (config.history == "all")
    return targets.with_columns(history_end=pl.when(is_whole).then("user_end").otherwise("history_end"))


def _examples(
    part: pl.DataFrame, targets: pl.DataFrame, evidence: EvidenceColumns, config: ExamplesConfig
) -> Iterator[tuple[str, pa.Table]]:
    """Yield (split, examples) shard by shard; the targets of one user stay in one shard of each split."""
    review = pl.col("review").str.slice(0, MAX_HISTORY_CHARS)
    about = ("category", "attributes")
    known = about if config.history_attributes else [pl.lit(None, pl.String).alias(name) for name in about]
    entries = part.filter("is_review").select("item_id", "title", "rating", review, "purchased_at", *known).to_arrow()
    reviews = entries.cast(pa.schema(HISTORY_ENTRY.fields))
    for split in SPLITS:
        chosen = targets.filter(pl.col("split") == split)
        for shard in _whole_users(chosen, config.shard_rows):
            yield split, _example_rows(shard, reviews, evidence, config)


def _whole_users(targets: pl.DataFrame, shard_rows: int) -> Iterator[pl.DataFrame]:
    """Cut sorted targets into slices of about `shard_rows` rows, within a user only where the user alone has more."""
    if targets.is_empty():
        return
    # A user belongs to the shard in which the user's first row falls.
    first_row = pl.col("row").min().over("user_id")
    numbered = targets.with_row_index("row").with_columns(shard=first_row // shard_rows)
    for shard in numbered.drop("row").partition_by("shard", maintain_order=True, include_key=False):
        yield from shard.iter_slices(2 * shard_rows)


def _example_rows(targets: pl.DataFrame, reviews: pa.Table, evidence: EvidenceColumns, config: ExamplesConfig) -> pa.Table:
    ends, first = targets["history_end"].to_numpy(), targets["history_start"].to_numpy()
    over = np.maximum(0, ends - first - config.max_history)
    block = max(1, min(_HISTORY_BLOCK, config.max_history // 6))
    starts = np.minimum(ends, first + -(-over // block) * block)
    columns = targets.select(
        pl.col("purchase_id").alias("example_id"),
        *("user_id", "item_id", "category", "rating", "title", "attributes", "purchased_at"),
        pl.col("review").alias("reference"),
        "split",
    ).to_arrow()
    columns = columns.append_column("history", purchases.gather_histories(reviews, starts, ends))
    for name in (ITEM, NEIGHBOUR):
        columns = columns.append_column(name, evidence.column(name, targets))
    return EXAMPLES.check(columns, where="examples")


def _write_shard(table: pa.Table, folder: Path, number: int) -> None:
    """Write a shard under its number and the hash of its bytes: other content, other name."""
    path = folder / f"shard-{number:05d}.parquet"
    write_table(table, path, EXAMPLES)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    path.rename(folder / f"shard-{number:05d}-{digest}.parquet")
