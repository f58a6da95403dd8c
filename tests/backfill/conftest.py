"""A small night: examples, staged shards and what it is published from, in a folder and on a real S3 server."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import day, example

from reviewllm.backfill.finish import finish
from reviewllm.backfill.night import Manifest, Night, published_nights
from reviewllm.backfill.publish import Publication, publish
from reviewllm.backfill.work import Work, WorkConfig, find_work
from reviewllm.failpoints import VARIABLE
from reviewllm.generation.failures import EMPTY_OUTPUT
from reviewllm.generation.tasks import Piece, read_examples
from reviewllm.place import Place, below
from reviewllm.tables import EXAMPLES, GENERATIONS

FINGERPRINT = "f" * 64
NIGHT = dt.date(2026, 11, 21)
DETAILS = {
    "model": "m",
    "adapter": None,
    "seconds": 1.0,
    "ledger": {
        **dict.fromkeys(("run_rows", "run_tokens", "engines", "predicted_rows", "predicted_tokens"), 1),
        **dict.fromkeys(("run_seconds", "start_seconds", "gpu_hours", "cost"), 1.0),
        "predicted_seconds": None,
    },
}


class Nights:
    """Nights of one place, without engines."""

    def __init__(self, where: str) -> None:
        self.data = Place(where, flag="--data")
        self.examples = Place(below(where, "examples"), flag="--examples")

    def write_examples(self, file: str, purchases: Sequence[tuple[str, str]], **changed: Any) -> None:
        """Purchases (user, purchase) as one file of examples, each of a day of its own."""
        rows = [
            example(
                user_id=user,
                example_id=name,
                purchased_at=day(number),
                **{"split": "backfill", "reference": None, **changed},
            )
            for number, (user, name) in enumerate(purchases)
        ]
        self.examples.write_table(file, pa.Table.from_pylist(rows, schema=EXAMPLES.schema), EXAMPLES)

    def night(self, date: dt.date = NIGHT, fingerprint: str = FINGERPRINT) -> Night:
        return Night(self.data, date, fingerprint)

    def work(self, *, shard_rows: int = 2, without: dt.date | None = None, **more: Any) -> Work:
        config = {name: more.pop(name) for name in ("since", "category", "limit") if name in more}
        nights = {date: its for date, its in published_nights(self.data).items() if date != without}
        more.setdefault("interactions", None)
        return find_work(self.examples, self.data, WorkConfig(shard_rows=shard_rows, **config), nights, **more)

    def ids(self, work: Work) -> list[list[str]]:
        """The example ids of every shard."""
        return [self.ids_of(shard.pieces) for shard in work.shards]

    def ids_of(self, pieces: Sequence[Piece]) -> list[str]:
        names: list[str] = read_examples(self.examples, *zip(*pieces, strict=True))["example_id"].to_pylist()
        return names

    def stage(self, night: Night, work: Work, *, failing: Sequence[str] = (), **changed: Any) -> list[str]:
        """Write every shard's output, as the engines would."""
        names = []
        for shard in work.shards:
            rows = [
                generation(row, failed=row["example_id"] in failing, fingerprint=night.fingerprint, **changed)
                for row in read_examples(self.examples, *zip(*shard.pieces, strict=True)).to_pylist()
            ]
            names.append(f"{night.staging}/{shard.name}")
            self.data.write_table(names[-1], pa.Table.from_pylist(rows, schema=GENERATIONS.schema), GENERATIONS)
        return names

    def publish(
        self, night: Night, work: Work, staged: Sequence[str], *, earlier: Manifest | None = None, **changed: Any
    ) -> Manifest:
        options: dict[str, Any] = {
            "others": {date: its for date, its in published_nights(self.data).items() if date != night.day},
            "earlier": earlier,
            "replaces": False,
            "max_failed_fraction": 0.5,
            "fingerprints": frozenset({night.fingerprint}),
            **changed,
        }
        return publish(night, self.examples, work, staged, DETAILS, Publication(**options))

    def whole_night(self, date: dt.date = NIGHT, *, failing: Sequence[str] = (), **more: Any) -> Manifest:
        """Find, stage, publish and finish a night."""
        night, work = self.night(date), self.work(**more)
        manifest = self.publish(night, work, self.stage(night, work, failing=failing))
        finish(night, manifest, work.superseded)
        return manifest

    def names(self, folder: str = "") -> list[str]:
        return [file.name for file in self.data.files(folder) if not file.name.startswith("examples/")]


def generation(row: dict[str, Any], *, failed: bool = False, **changed: Any) -> dict[str, Any]:
    """One row of the generations table for an example."""
    return {
        **{name: row[name] for name in ("example_id", "user_id", "item_id", "category", "rating", "split")},
        "review": None if failed else "Fine.",
        "error": "the model wrote nothing" if failed else None,
        "error_stage": "generate" if failed else None,
        "error_class": EMPTY_OUTPUT if failed else None,
        "attempts": 1,
        "model": "m",
        "with_rating": True,
        "prompt_sha256": "0" * 64,
        "prompt_tokens": 7,
        "completion_tokens": None if failed else 3,
        "seed": 1,
        "generated_at": datetime.now(UTC),
        "is_generated": True,
        **changed,
    }


@pytest.fixture(params=["folder", "s3"])
def nights(request: pytest.FixtureRequest, tmp_path: Path) -> Nights:
    if request.param == "folder":
        return Nights(str(tmp_path / "data"))
    return Nights(below(request.getfixturevalue("s3_server"), uuid.uuid4().hex))


@pytest.fixture
def local_nights(tmp_path: Path) -> Nights:
    return Nights(str(tmp_path / "data"))


@pytest.fixture
def fail_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Let the disk be full at a failpoint, the first time it is reached."""

    def ask(name: str) -> None:
        wanted = {"do": "full", "hit": 1, "folder": str(tmp_path / f"hits-{uuid.uuid4().hex}")}
        (tmp_path / "failpoints.json").write_text(json.dumps({name: wanted}))
        monkeypatch.setenv(VARIABLE, str(tmp_path / "failpoints.json"))

    return ask
