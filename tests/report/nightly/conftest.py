"""Nights with figures of any kind, published as a backfill publishes them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from reviewllm.backfill.finish import finish
from reviewllm.backfill.night import Manifest
from reviewllm.backfill.publish import Publication, publish
from reviewllm.generation.tasks import read_examples
from reviewllm.tables import GENERATIONS
from tests.backfill.conftest import DETAILS, FINGERPRINT, NIGHT, Nights, generation

LEDGER: dict[str, Any] = {
    "run_rows": 1_000,
    "run_tokens": 50_000,
    "run_seconds": 110.0,
    "start_seconds": 10.0,
    "engines": 2,
    "gpu_hours": 2.0,
    "cost": 6.0,
    "predicted_rows": 1_000,
    "predicted_tokens": 40_000,
    "predicted_seconds": 80.0,
}

Rows = list[dict[str, Any]]


class Shop(Nights):
    """Publishes nights from rows that name what they differ in."""

    def publish_rows(
        self,
        date: dt.date,
        rows: Sequence[dict[str, Any]],
        *,
        fingerprint: str = FINGERPRINT,
        ledger: dict[str, Any] | None = None,
        **details: Any,
    ) -> Manifest:
        """Publish one night: a row for each dict of columns of the generations table; a null review is a dead letter."""
        names = [f"{date}-{number:06d}" for number in range(len(rows))]
        changes = dict(zip(names, rows, strict=True))
        self.write_examples(
            f"{date}.parquet", [(row.get("user_id", f"u-{name}"), name) for name, row in changes.items()], rating=5.0
        )
        night, work = self.night(date, fingerprint), self.work(shard_rows=100_000)
        staged = []
        for shard in work.shards:
            examples = read_examples(self.examples, *zip(*shard.pieces, strict=True)).to_pylist()
            written = [generation(row, fingerprint=fingerprint) | changes[row["example_id"]] for row in examples]
            staged.append(f"{night.staging}/{shard.name}")
            self.data.write_table(staged[-1], pa.Table.from_pylist(written, schema=GENERATIONS.schema), GENERATIONS)
        publication = Publication({}, None, False, 1.0, frozenset({fingerprint}))
        told = {**DETAILS, "ledger": LEDGER if ledger is None else ledger, **details}
        manifest = publish(night, self.examples, work, staged, told, publication)
        if told["ledger"]:  # the ledger's table takes no night without its figures
            finish(night, manifest, work.superseded)
        return manifest


def failed(error_class: str, message: str = "it failed") -> dict[str, Any]:
    """What a row that failed differs in."""
    return {
        "review": None,
        "completion_tokens": None,
        "error": message,
        "error_stage": "generate",
        "error_class": error_class,
    }


def texts(count: int, *, seed: int, tokens: float = 60.0, slope: float = 20.0, cut: float = 0.02) -> Rows:
    """Rows as of a model that follows the ratings: sentiment rises by `slope` a star, lengths are spread around a mean."""
    random = np.random.default_rng(seed)
    ratings = random.choice([1.0, 2.0, 3.0, 4.0, 5.0], size=count, p=[0.1, 0.05, 0.1, 0.25, 0.5])
    lengths = np.maximum(3, random.normal(tokens, 15, size=count).round()).astype(int)
    return [
        {
            "rating": rating,
            "completion_tokens": int(length),
            "words": int(0.75 * length),
            "prompt_tokens": int(random.integers(200, 1200)),
            "history_kept": int(random.integers(1, 12)),
            "sentiment": float(np.clip(slope * (rating - 3) + random.normal(10, 25), -100, 100)),
            "finish_reason": "length" if random.random() < cut else "stop",
            "review": f"A text of {length} tokens for {rating:g} stars.",
        }
        for rating, length in zip(ratings.tolist(), lengths.tolist(), strict=True)
    ]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(str(tmp_path / "data"))


@pytest.fixture
def week(shop: Shop) -> Callable[..., Shop]:
    """Publishes steady nights before NIGHT, oldest first, and lets a test publish NIGHT itself."""

    def steady(nights: int = 3, rows: int = 600) -> Shop:
        for number in range(nights, 0, -1):
            shop.publish_rows(NIGHT - dt.timedelta(days=number), texts(rows, seed=number))
        return shop

    return steady
