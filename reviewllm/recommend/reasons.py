"""Recommendations -> the same with a reason: one sentence of a model, kept where the item's own data support all that it claims.

A reason that claims what title and attributes do not say (`reviewllm.scoring.hallucination`) is left out and counted, as is one
that is no sentence. The folder is replaced at once; what is asked and answered is kept beside it until then, as in ranking.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
from pydantic import TypeAdapter

from reviewllm.errors import InputError
from reviewllm.examples.shards import write_shards
from reviewllm.files import read_json, write_text
from reviewllm.generation.pipeline import RunCounts
from reviewllm.prompts.text import neutralise
from reviewllm.recommend.answering import Answerer, Cluster, answer_shards, read_answers
from reviewllm.recommend.asking import batches
from reviewllm.recommend.rankings import MANIFEST, refuse_several
from reviewllm.recommend.rows import example_row, example_table
from reviewllm.recommend.split import Target, held_out
from reviewllm.recommend.tables import RECOMMENDATIONS, SEQUENCES
from reviewllm.scoring.hallucination import doubtful
from reviewllm.scoring.scorer import Product, claims_of
from reviewllm.spill import Spill
from reviewllm.table_files import read_table, replace_folder, table_files, write_table
from reviewllm.tables import INTERACTIONS, Table
from reviewllm.texts import are_blank

ASKED, KEPT = "reasons asked", "reasons kept"
UNSUPPORTED, NO_SENTENCE, NO_ANSWER = (
    "reasons with an unsupported claim",
    "reasons that are no sentence",
    "reasons without an answer",
)

_REVIEWS = 8  # of a user's newest, that a prompt shows
_MAX_CHARS = 300  # of a reason
_ROWS_IN_MEMORY = 500_000
_REVIEWED = ("user_id", "item_id", "rating", "review", "purchased_at")


class Sources(NamedTuple):
    """Where the tables are: recommendations of one run, all sequences, and reviews (None: prompts show names alone)."""

    recommendations: Path
    sequences: Path
    interactions: Path | None
    items: pl.DataFrame
    """ITEMS of the whole catalogue."""
    target: Target


def add_reasons(
    sources: Sources,
    answerer: Answerer,
    *,
    first: int,
    cluster: Cluster,
    on_progress: Callable[[RunCounts, int], None] | None = None,
) -> Counter[str]:
    """Give the first recommendations of every user a reason; those of an earlier run are replaced. Returns what was counted.

    Args:
        first: how many recommendations of each user.
        cluster: connects to Ray; only entered where an engine has to answer.

    Raises:
        InputError: there are no recommendations, or those of several runs, or of another target.
        SchemaError: a table, or the manifest, does not fit.
        ReviewLLMError: the engine cannot be used; finished shards are kept.
    """
    folder = sources.recommendations
    refuse_several(folder, sources.target)
    if not (folder / MANIFEST).is_file():
        raise InputError(f"{folder}: has no recommendations; run `jobs/recommend.py rank` for this target first")
    decides = f"{answerer.variant.fingerprint} {first} {folder.name}"
    work = folder.with_name(f".reasons-{hashlib.sha256(decides.encode()).hexdigest()[:16]}")
    shutil.rmtree(work / "examples", ignore_errors=True)
    counts: Counter[str] = Counter()
    parts = table_files(folder, RECOMMENDATIONS)
    shards: list[str | None] = []
    for rows in _examples(sources, parts, work / "spill", first):
        counts[ASKED] += len(rows)
        shards += write_shards(example_table(rows), work / "examples", first=len(shards), rows=max(1, len(rows))) or [None]
    answer_shards(
        [shard for shard in shards if shard],
        answerer,
        work,
        cluster=cluster,
        on_progress=lambda now: on_progress(now, counts[ASKED]) if on_progress else None,
    )
    finished = work / "finished"
    shutil.rmtree(finished, ignore_errors=True)
    for part, shard in zip(parts, shards, strict=True):
        write_table(_with_reasons(part, work, shard, counts), finished / part.name, RECOMMENDATIONS)
    manifest = _manifest(folder)
    manifest["reasons"] = {"fingerprint": answerer.variant.fingerprint, "model": answerer.variant.model, "counts": counts}
    write_text(json.dumps(manifest, indent=1) + "\n", finished / MANIFEST)
    replace_folder(finished, folder)
    shutil.rmtree(work, ignore_errors=True)
    return counts


def _manifest(folder: Path) -> dict[str, Any]:
    return read_json(folder / MANIFEST, TypeAdapter(dict[str, Any]))


def _examples(sources: Sources, parts: Sequence[Path], spill: Path, first: int) -> Iterator[list[dict[str, Any]]]:
    """What is asked of each part of the recommendations, which holds whole users."""
    tables = [read_table([part], RECOMMENDATIONS.only(("user_id", "item_id", "rank"))) for part in parts]
    asked = [pl.DataFrame(table).filter(pl.col("rank") <= first) for table in tables]
    place = pl.concat([rows.select("user_id", part=pl.lit(number)).unique() for number, rows in enumerate(asked)])
    shutil.rmtree(spill, ignore_errors=True)
    try:
        sequences = _spilled(sources.sequences, SEQUENCES, ("user_id", "item_ids"), spill / "sequences", place, len(parts))
        reviews = (
            _spilled(sources.interactions, INTERACTIONS, _REVIEWED, spill / "reviews", place, len(parts))
            if sources.interactions
            else None
        )
        for number, rows in enumerate(asked):
            yield _rows(sources, rows, sequences.read(number), reviews.read(number) if reviews else None)
    finally:
        shutil.rmtree(spill, ignore_errors=True)


def _spilled(source: Path, kind: Table, names: Sequence[str], folder: Path, place: pl.DataFrame, buckets: int) -> Spill:
    """The rows of a table by the part that their user is in."""

    def bucket_of(users: pl.Series) -> pl.Series:
        return users.to_frame("user_id").join(place, on="user_id", how="left", maintain_order="left")["part"]

    spill = Spill(folder, key="user_id", buckets=buckets, rows_in_memory=_ROWS_IN_MEMORY, bucket_of=bucket_of)
    for batch in batches(source, kind, names):
        spill.add(batch.join(place, on="user_id", how="semi", maintain_order="left"))
    return spill


def _rows(
    sources: Sources, asked: pl.DataFrame, sequences: pl.DataFrame | None, reviews: pl.DataFrame | None
) -> list[dict[str, Any]]:
    """One example for each recommendation; of the reviews those of the history, so that nothing held out is seen."""
    known = {} if sequences is None else {user: held_out(items, sources.target)[0] for user, items in sequences.rows()}
    wanted = {*asked["item_id"], *(item for history in known.values() for item in history)}
    items = sources.items.filter(pl.col("item_id").is_in(list(wanted))).select("item_id", "title", "category", "attributes")
    about = {item: (title or item, category or "", attributes) for item, title, category, attributes in items.rows()}
    told: dict[str, dict[str, dict[str, Any]]] = {}
    if reviews is not None:
        for row in reviews.filter(~are_blank(pl.col("review"))).sort("user_id", "purchased_at").to_dicts():
            told.setdefault(row["user_id"], {})[row["item_id"]] = row
    rows = []
    for user, item, _ in asked.sort("user_id", "rank").rows():
        title, category, attributes = about.get(item, (item, "", None))
        row = example_row(_name(user, item), user, [], [], asked=None, split=sources.target)
        history = _history(known.get(user, []), told.get(user, {}), about, reviewed=reviews is not None)
        rows.append(
            {**row, "item_id": item, "title": title, "category": category, "attributes": attributes, "history": history}
        )
    return rows


def _name(user_id: str, item_id: str) -> str:
    """The example of a recommendation, whatever characters the shop's ids have."""
    return json.dumps([user_id, item_id])


def _history(
    items: Sequence[str],
    told: Mapping[str, dict[str, Any]],
    about: Mapping[str, tuple[str, str, str | None]],
    *,
    reviewed: bool,
) -> list[dict[str, Any]]:
    """The newest purchases, those that the user reviewed where reviews are known."""
    shown = [item for item in items if item in told or not reviewed][-_REVIEWS:]
    (plain,) = example_row("", "", [""], [""], asked=None, split="")["history"]
    return [
        {
            **plain,
            **{name: told[item][name] for name in ("rating", "review", "purchased_at") if item in told},
            "item_id": item,
            "title": about.get(item, (item, "", None))[0],
        }
        for item in shown
    ]


def _with_reasons(part: Path, work: Path, shard: str | None, counts: Counter[str]) -> pa.Table:
    """A part of the recommendations with the reasons that hold."""
    rows = read_table([part], RECOMMENDATIONS)
    if shard is None:
        return _with_column(rows, [None] * rows.num_rows)
    answers = read_answers(work, shard)
    about = pl.read_parquet(work / "examples" / shard, columns=["example_id", "title", "attributes", "history"], glob=False)
    products = {
        name: Product(title, attributes, [entry["title"] for entry in history])
        for name, title, attributes, history in about.rows()
    }
    names = [_name(user, item) for user, item in zip(rows["user_id"].to_pylist(), rows["item_id"].to_pylist(), strict=True)]
    return _with_column(
        rows, [_reason(answers[name], products[name], counts) if name in answers else None for name in names]
    )


def _reason(answer: Mapping[str, Any], product: Product, counts: Counter[str]) -> str | None:
    """The first sentence of an answer; None where there is none, or it claims what the product's data do not say."""
    if answer["review"] is None:
        counts[NO_ANSWER] += 1
        return None
    text = neutralise(answer["review"], max_chars=4 * _MAX_CHARS)
    sentence = re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]
    if len(sentence) > _MAX_CHARS or not sentence.endswith((".", "!", "?")) or not any(map(str.isalpha, sentence)):
        counts[NO_SENTENCE] += 1
        return None
    if doubtful(claims_of(sentence, product) or []):  # of a sentence that is not English no claim can be read
        counts[UNSUPPORTED] += 1
        return None
    counts[KEPT] += 1
    return sentence


def _with_column(rows: pa.Table, reasons: Sequence[str | None]) -> pa.Table:
    place = rows.schema.get_field_index("reason")
    return rows.set_column(place, rows.schema.field(place), pa.array(list(reasons), pa.string()))
