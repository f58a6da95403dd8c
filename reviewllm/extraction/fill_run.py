"""A whole items table through a model, file by file, and put in place at once."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from reviewllm.errors import BudgetError
from reviewllm.examples.shards import write_shards
from reviewllm.extraction.examples import asked_examples
from reviewllm.extraction.fill import ASKED, UNREAD, fill_items, items_to_ask
from reviewllm.extraction.schemas import Schemas
from reviewllm.extraction.shards import Model, Work, plan_work
from reviewllm.table_files import read_table, replace_folder, table_files, write_table
from reviewllm.tables import FILLED, ITEMS, UNREADABLE

VALUES_FILE, UNREADABLE_FILE = "_filled.parquet", "_unreadable.parquet"  # no data of the items table: see `table_files`


class FillPlan(NamedTuple):
    """What is asked: the work, which of its shards are of which items file, and the counts so far."""

    work: Work
    shards: dict[Path, list[str]]
    counts: Counter[str]


class FillCounts(NamedTuple):
    """Items read and written, values added, and what became of the items by reason."""

    items: int
    values: int
    counts: Counter[str]


def plan_fill(items: Path, model: Model, schemas: Schemas, out: Path, *, constrained: bool) -> FillPlan:
    """Write the items that lack attributes as shards of examples below `out`; one items file is in memory at a time.

    Raises:
        SchemaError: the items do not fit their table.
    """
    asked = out / ".fill" / "examples"
    shutil.rmtree(asked, ignore_errors=True)
    counts: Counter[str] = Counter()
    shards: dict[Path, list[str]] = {}
    for file in table_files(items, ITEMS):
        products = items_to_ask(read_table([file], ITEMS), schemas, counts)
        first = sum(map(len, shards.values()))
        shards[file] = list(write_shards(asked_examples(products, schemas, split="fill"), asked, first=first))
    names = [name for several in shards.values() for name in several]
    return FillPlan(plan_work(asked, names, [model], schemas, constrained=constrained, near=out / ".fill"), shards, counts)


def write_filled(plan: FillPlan, target: Path, *, only_in_text: bool, max_unreadable_fraction: float) -> FillCounts:
    """Join items and answers into `target`, in one rename, with the added values and the unreadable answers beside them.

    Raises:
        BudgetError: more answers than the budget allows cannot be read; nothing is put in place.
    """
    folder = plan.work.folder / "filled"
    shutil.rmtree(folder, ignore_errors=True)
    counts, values, bad, items = Counter(plan.counts), [], [], 0
    for number, (file, shards) in enumerate(plan.shards.items()):
        answers = [row for shard in shards for row in plan.work.answers(0, shard).to_pylist()]
        found = fill_items(read_table([file], ITEMS), answers, plan.work.schemas, counts, only_in_text=only_in_text)
        write_table(found.items, folder / f"part-{number:05d}.parquet", ITEMS)
        items += found.items.num_rows
        values.append(found.filled)
        bad.append(found.unreadable)
    filled, unreadable = pa.concat_tables(values), pa.concat_tables(bad)
    write_table(filled, folder / VALUES_FILE, FILLED)
    write_table(unreadable, folder / UNREADABLE_FILE, UNREADABLE)
    if counts[UNREAD] > max_unreadable_fraction * counts[ASKED]:
        raise BudgetError(
            f"{counts[UNREAD]} of {counts[ASKED]} answers cannot be read, more than --max-unreadable-fraction "
            f"{max_unreadable_fraction:g}; nothing is put in place, see {folder / UNREADABLE_FILE}; first: "
            f"{unreadable['problem'][0].as_py()}"
        )
    replace_folder(folder, target)
    shutil.rmtree(plan.work.folder.parent, ignore_errors=True)
    return FillCounts(items, filled.num_rows, counts)
