"""Rows of an evaluation as its job leaves them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pyarrow as pa

from reviewllm.evaluation.baselines import Reviews
from reviewllm.evaluation.names import Pair
from reviewllm.evaluation.rows import evaluated_rows
from reviewllm.tables import EXAMPLES, GENERATIONS

BASE: Pair = ("models/tiny", None)
ADAPTED: Pair = ("models/tiny", "out/adapter")
NAMES = {BASE: "tiny", ADAPTED: "tiny + adapter"}
DAY = datetime(2026, 1, 2, tzinfo=UTC)


def generation(example_id: str, score: float | None = 50.0, **changes: Any) -> dict[str, Any]:
    """A GENERATIONS row of the bare base with one value for all of its scores with a reference, changed by keywords."""
    row = dict.fromkeys(GENERATIONS.schema.names)
    row |= {"example_id": example_id, "user_id": f"user of {example_id}", "item_id": "i", "category": "Strings"}
    row |= {"rating": 4.0, "split": "simple", "review": "It is good.", "model": BASE[0], "with_rating": True}
    row |= {"fingerprint": "f" * 64, "seed": 0, "attempts": 1, "generated_at": DAY, "is_generated": True}
    row |= {
        "rouge1": score,
        "rougeL": score,
        "meteor": score,
        "sbert_cosine": score,
        "words": 3,
        "sentiment": 40.0,
        "claims": 0,
    }
    return row | changes


def example(example_id: str, split: str = "simple", **changes: Any) -> dict[str, Any]:
    """An EXAMPLES row of a new user."""
    row: dict[str, Any] = {
        "example_id": example_id,
        "user_id": f"user of {example_id}",
        "item_id": "i",
        "category": "Strings",
    }
    row |= {"rating": 2.0 if split == "hard" else 4.0, "title": f"Item of {example_id}", "attributes": None}
    return row | {"purchased_at": DAY, "history": [], "reference": f"Reference of {example_id}.", "split": split} | changes


def generations(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=GENERATIONS.schema)


def examples_of(rows: list[dict[str, Any]]) -> pa.Table:
    """An example for each purchase that the generations speak of."""
    asked = {(row["example_id"], row["split"]) for row in rows}
    return pa.Table.from_pylist([example(*key) for key in sorted(asked)], schema=EXAMPLES.schema)


def rows_of(rows: list[dict[str, Any]], names: dict[Pair, str] | None = None) -> pl.DataFrame:
    """Checked rows of these generations, for examples made to fit them."""
    return evaluated_rows(generations(rows), examples_of(rows), names=names or NAMES)


def evaluation(examples_per_split: int) -> list[dict[str, Any]]:
    """Base and adapter, with and without rating, on both splits; the adapter's scores are 20 above the base's.

    A token of the real review takes the adapter half a nat less than the base, and has four bytes.
    """
    return [
        generation(
            f"{split}-{number}",
            10.0 + number % 5 + (20.0 if adapter else 0.0) - (8.0 if split == "hard" and not with_rating else 0.0),
            split=split,
            rating=2.0 if split == "hard" else 4.0,
            adapter=adapter,
            with_rating=with_rating,
            review=f"Text of {adapter} for {split}-{number}.",
            reference_nll=(nll := 3.0 + number % 5 / 10 - (0.5 if adapter else 0.0)),
            reference_nll_per_byte=nll / 4,
        )
        for adapter in (None, ADAPTED[1])
        for with_rating in (True, False)
        for split in ("simple", "hard")
        for number in range(examples_per_split)
    ]


_COLUMNS = {
    "user_id": pl.String,
    "item_id": pl.String,
    "category": pl.String,
    "rating": pl.Float64,
    "review": pl.String,
    "purchased_at": pl.Datetime("us", "UTC"),
}


def examples_frame(*rows: dict[str, Any]) -> pl.DataFrame:
    """Examples as baselines take them."""
    return pl.DataFrame(pa.Table.from_pylist(list(rows), schema=EXAMPLES.schema))


def baseline_reviews(trained: Sequence[tuple[Any, ...]] = (), items: Sequence[tuple[Any, ...]] = ()) -> Reviews:
    """Reviews that baselines may copy from: rows of user_id, item_id, category, rating, review, purchased_at."""
    frames = [pl.DataFrame(rows, schema=_COLUMNS, orient="row") for rows in (trained, items)]
    histories = {user: "\n".join(texts) for user, texts in frames[1].group_by("user_id").agg("review").rows()}
    return Reviews(*frames, histories)
