"""A run folder as an evaluation leaves it, the key of an export, and a place for answers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest
from annotated_run import ADAPTED, TINY, TWIN, generation, write_run

from reviewllm.annotation.key import Key, KeyPair, NotShown

Write = Callable[..., Path]


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """Twelve examples, answered by two models with ratings, and by one of them and a twin without."""
    rows = []
    for number in range(12):
        one = f"e{number:02}"
        rows += [generation(one, TINY, f"Tiny {one}."), generation(one, ADAPTED, f"Adapted {one}.")]
        rows += [generation(one, pair, f"Without {one}.", with_rating=False) for pair in (TINY, TWIN)]
    return write_run(tmp_path / "run", rows)


@pytest.fixture
def key() -> Key:
    """Three examples and two models: both wrote the same for e1, `good` failed on e2, `bad` is blank on e3."""
    pairs = [
        KeyPair(pair_id="p1", example_id="e1", models=("bad", "good"), text_sha256="1"),
        KeyPair(pair_id="p2", example_id="e2", models=("bad",), text_sha256="2"),
        KeyPair(pair_id="p3", example_id="e3", models=("good",), text_sha256="3"),
    ]
    return Key(
        export_id="x1",
        exported_at=dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
        split="simple",
        with_rating=True,
        seed=0,
        models=("bad", "good"),
        examples=("e1", "e2", "e3"),
        annotators=("annotator-01", "annotator-02", "annotator-03"),
        pairs=tuple(pairs),
        not_shown=(
            NotShown(example_id="e2", model="good", reason="failed"),
            NotShown(example_id="e3", model="bad", reason="blank"),
        ),
    )


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write text or bytes into a CSV file of the test's folder `answers`."""

    def put(content: str | bytes, name: str = "annotator-01.csv") -> Path:
        file = tmp_path / "answers" / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    return put
