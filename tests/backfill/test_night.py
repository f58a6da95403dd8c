"""Staging by fingerprint, resuming, and publishing whole or not at all."""

from __future__ import annotations

import datetime as dt
import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from conftest import example

from reviewllm.backfill.night import Night, backfill_shards, is_published, missing_shards, publish, read_manifest
from reviewllm.errors import InputError, PublishError
from reviewllm.tables import EXAMPLES, GENERATIONS, read_table, write_table

FINGERPRINT = "f" * 64


@pytest.fixture
def night(tmp_path: Path) -> Night:
    return Night(tmp_path / "generations", dt.date(2026, 11, 21), FINGERPRINT)


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    """Two shards of two examples each."""
    paths = []
    for number in range(2):
        rows = [example(example_id=f"e{number}{row}", split="backfill", reference=None) for row in range(2)]
        path = tmp_path / "examples" / f"shard-{number}.parquet"
        write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), path, EXAMPLES)
        paths.append(path)
    return paths


def stage(
    night: Night, shard: Path, *, ids: list[str] | None = None, fingerprint: str = FINGERPRINT, error: str | None = None
) -> None:
    rows = [
        {
            **{name: row[name] for name in ("example_id", "user_id", "item_id", "category", "rating", "split")},
            "review": None if error else "Fine.",
            "error": error,
            "model": "m",
            "with_rating": True,
            "fingerprint": fingerprint,
            "prompt_tokens": 7,
            "completion_tokens": 3,
            "seed": 1,
            "generated_at": datetime.now(UTC),
            "is_generated": True,
        }
        for row in read_table([shard], EXAMPLES).to_pylist()
    ]
    if ids is not None:
        rows = [{**rows[0], "example_id": name} for name in ids]
    write_table(pa.Table.from_pylist(rows, schema=GENERATIONS.schema), night.output(shard), GENERATIONS)


def test_missing_shards_are_those_not_staged_or_cut_short(night: Night, shards: list[Path]) -> None:
    assert missing_shards(night, shards) == shards
    stage(night, shards[0])
    assert missing_shards(night, shards) == shards[1:]
    stage(night, shards[1], ids=["e10"])
    assert missing_shards(night, shards) == shards[1:]
    night.output(shards[0]).write_bytes(night.output(shards[0]).read_bytes()[:-20])
    assert missing_shards(night, shards) == shards


def test_missing_shards_of_another_fingerprint_are_not_reused(night: Night, shards: list[Path]) -> None:
    stage(night, shards[0])
    assert missing_shards(night._replace(fingerprint="a" * 64), shards) == shards


def test_publish_is_whole_and_leaves_no_staging(night: Night, shards: list[Path]) -> None:
    for shard in shards:
        stage(night, shard)
    (night.staging / ".shard-9.tmp").write_bytes(b"of a killed writer")
    assert not is_published(night, shards)
    manifest = publish(night, shards, {"model": "m"})
    assert manifest == read_manifest(night.published)
    assert (manifest["rows"], manifest["failed"], manifest["prompt_tokens"], manifest["completion_tokens"]) == (4, 0, 28, 12)
    assert sorted(path.name for path in night.published.iterdir()) == [
        "_manifest.json",
        "shard-0.parquet",
        "shard-1.parquet",
    ]
    assert [path.name for path in night.out.iterdir()] == ["dt=2026-11-21"]
    assert is_published(night, shards)


@pytest.mark.parametrize(
    ("ids", "fingerprint", "problem"),
    [
        (["e10"], FINGERPRINT, "1 missing"),
        (["e10", "e11", "x"], FINGERPRINT, "1 unexpected"),
        (["e10", "e11", "e11"], FINGERPRINT, "1 twice"),
        (["e10", "e11"], "a" * 64, "2 of another run"),
    ],
)
def test_publish_wrong_rows_publish_nothing(
    night: Night, shards: list[Path], ids: list[str], fingerprint: str, problem: str
) -> None:
    stage(night, shards[0])
    stage(night, shards[1], ids=ids, fingerprint=fingerprint)
    with pytest.raises(PublishError, match=problem):
        publish(night, shards, {})
    assert not night.published.exists()


def test_publish_too_many_failed_rows_publish_nothing(night: Night, shards: list[Path]) -> None:
    stage(night, shards[0])
    stage(night, shards[1], error="vLLM refused")
    with pytest.raises(PublishError, match=r"2 of 4 rows failed, .* 2 of them: 'vLLM refused'"):
        publish(night, shards, {}, max_failed_fraction=0.4)
    assert not night.published.exists()
    assert publish(night, shards, {}, max_failed_fraction=0.5)["failed"] == 2


def test_publish_replaces_a_night_whole(night: Night, shards: list[Path]) -> None:
    for _ in range(2):
        for shard in shards:
            stage(night, shard)
        publish(night, shards, {})
    assert [path.name for path in night.out.iterdir()] == ["dt=2026-11-21"]


def test_publish_damaged_pages_are_named(night: Night, shards: list[Path]) -> None:
    for shard in shards:
        stage(night, shard)
    content = bytearray(night.output(shards[0]).read_bytes())
    content[4:60] = b"\xff" * 56  # the first page; the footer stays whole
    night.output(shards[0]).write_bytes(content)
    with pytest.raises(PublishError, match="a staged shard cannot be read"):
        publish(night, shards, {})


def test_is_published_damaged_night_is_refused(night: Night, shards: list[Path]) -> None:
    for shard in shards:
        stage(night, shard)
    publish(night, shards, {})
    (night.published / shards[0].name).write_bytes(b"")
    with pytest.raises(PublishError, match="is damaged"):
        is_published(night, shards)


def test_backfill_shards_of_a_shop_without_rating_only_purchases(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(InputError, match="no purchase lacks a review"):
        backfill_shards(tmp_path / "backfill")


def test_is_published_by_another_run_is_refused(night: Night, shards: list[Path]) -> None:
    for shard in shards:
        stage(night, shard)
    publish(night, shards, {})
    with pytest.raises(PublishError, match="written by another run"):
        is_published(night._replace(fingerprint="a" * 64), shards)
    with pytest.raises(PublishError, match="from other examples"):
        is_published(night, shards[:1])


@pytest.mark.parametrize("content", [None, "{", json.dumps([])[:1]])
def test_is_published_without_a_manifest_is_refused(night: Night, shards: list[Path], content: str | None) -> None:
    night.published.mkdir(parents=True)
    if content is not None:
        (night.published / "_manifest.json").write_text(content)
    with pytest.raises(PublishError, match=r"no readable _manifest\.json"):
        is_published(night, shards)
