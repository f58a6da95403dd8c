"""Everything of a backfill but the engine: rows per second and memory from ten thousand to a million rows, and the anti-join.

    .venv/bin/python benchmarks/scale.py --json out/bench-scale.json      about an hour on 2 idle cores, 12 GB of disk
    .venv/bin/python benchmarks/scale.py --rows 10000 --published 100000  a smoke test of two minutes

Rating-only purchases, 3.3 of each user, with histories of real length (12 reviews of some 80 words: prompts of about 1,500
tokens), go through the whole job as a process of its own: plan, prompts, generation, scores, staging, compacting, verifying,
publishing. The rule engine answers after a set delay; its actors stand for many GPUs each, as fast as is needed not to be
what bounds the run. Memory is what `psutil` sees of every process of the job every two seconds, or as often as takes a fiftieth
of the time: PSS, so that memory that processes share counts once. Then a night of the last size is planned against published
ids of other users and of its own.
"""

from __future__ import annotations

import datetime
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil
import pyarrow as pa
from pydantic import Field

if __package__ in (None, ""):  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.entry import run
from reviewllm.backfill.night import SCHEMA_VERSION, Manifest, PublishedFile, published_nights
from reviewllm.backfill.work import WorkConfig, find_work
from reviewllm.config import JobConfig
from reviewllm.place import Place
from reviewllm.sources.identity import ID_RULE
from reviewllm.table_files import write_table
from reviewllm.tables import EVIDENCE_COLUMNS, EVIDENCE_ENTRY, EXAMPLES, GENERATIONS, HISTORY_ENTRY, TIMESTAMP
from reviewllm.tiny_base import TinyBaseConfig, make_tiny_base

ROOT = Path(__file__).resolve().parents[1]
_SHARD_ROWS = 1000
_ROWS_OF_A_USER = 10 / 3
_ENTRIES = 12
_WORDS = 85
_PART_ROWS = 500_000
_LOOK_EVERY = 50  # times what a look at the memory takes: it reads every process's page tables
_EPOCH = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


class ScaleBenchmark(JobConfig):
    """Rows per second and memory of the backfill around its engine, and the anti-join."""

    rows: list[int] = Field([10_000, 100_000, 1_000_000], description="sizes of nights")
    published: int = Field(10_000_000, ge=0, description="published ids that the last night is planned against")
    engines: int = Field(1, ge=1, description="actors of the rule engine")
    renderers: int = Field(2, ge=1, description="actors that read shards and make prompts: one does not keep two cores busy")
    rows_per_second: float = Field(4000, gt=0, description="rate of each of them")
    folder: Path = Field(Path("out/bench-scale"), description="where the data is made; removed at the start")
    json_file: Path | None = Field(None, alias="json", description="file for the figures")


def main(config: ScaleBenchmark) -> dict[str, Any]:
    """Measure, print, and write the figures."""
    shutil.rmtree(config.folder, ignore_errors=True)
    draw = np.random.default_rng(0)
    pool = make_reviews(draw)
    base = make_tiny_base(
        [pool[:500]],
        config.folder / "base",
        TinyBaseConfig(base_vocabulary=8000, base_hidden=32, base_layers=1, base_steps=0),
        context=4096,
    )
    figures: dict[str, Any] = {"cores": os.cpu_count(), "nights": []}
    for rows in config.rows:
        made = time.monotonic()
        data = config.folder / str(rows)
        _write_examples(data / "examples" / "backfill", rows, pool, draw)
        print(f"{rows} examples made in {time.monotonic() - made:.0f} s", flush=True)
        night = _run_night(config, base, data)
        print(json.dumps(night), flush=True)
        figures["nights"].append(night)
        if rows != config.rows[-1]:
            shutil.rmtree(data)
    by_rows = {night["rows"]: night for night in figures["nights"]}
    if {100_000, 1_000_000} <= set(by_rows):
        figures["rows_per_s_1m"] = by_rows[1_000_000]["rows_per_s"]
        figures["peak_memory_1m_vs_100k"] = by_rows[1_000_000]["peak_gib"] / by_rows[100_000]["peak_gib"]
    if config.published:
        figures |= _anti_join(config, config.folder / str(config.rows[-1]))
    print(json.dumps({key: value for key, value in figures.items() if key != "nights"}))
    if config.json_file:
        config.json_file.parent.mkdir(parents=True, exist_ok=True)
        config.json_file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return figures


def make_reviews(draw: np.random.Generator) -> list[str]:
    """Distinct reviews of some 85 words out of 4,000, a few of them frequent, as in a language."""
    letters = np.array(list("etaoinshrdlucmfwypvbgk"))
    words = ["".join(draw.choice(letters, size=length)) for length in draw.integers(2, 10, size=4000)]
    ranks = 1 / np.arange(1, len(words) + 1)
    lengths = np.maximum(5, draw.normal(_WORDS, 25, size=20_000)).astype(int)
    drawn = draw.choice(len(words), p=ranks / ranks.sum(), size=int(lengths.sum()))
    ends = np.cumsum(lengths)
    return [" ".join(words[place] for place in drawn[end - length : end]) for end, length in zip(ends, lengths, strict=True)]


def _write_examples(folder: Path, rows: int, pool: list[str], draw: np.random.Generator) -> None:
    for number, start in enumerate(range(0, rows, _SHARD_ROWS)):
        table = make_examples(start, min(_SHARD_ROWS, rows - start), pool, draw)
        write_table(table, folder / f"shard-{number:05d}.parquet", EXAMPLES)


def make_examples(
    start: int,
    count: int,
    pool: list[str],
    draw: np.random.Generator,
    *,
    rows_of_a_user: float = _ROWS_OF_A_USER,
    entries: int = _ENTRIES,
) -> pa.Table:
    """Rating-only purchases number `start` and following, by user, each with `entries` reviews drawn from the pool."""
    texts, titles = pa.array(pool), pa.array([text[:40] for text in pool])
    users = ((start + np.arange(count)) / rows_of_a_user).astype(int)
    user_places, inverse = np.unique(users, return_inverse=True)
    drawn = draw.integers(0, len(pool), size=(len(user_places), entries))[inverse].reshape(-1)
    days = np.tile(np.arange(entries), count).astype("timedelta64[D]") + np.datetime64(_EPOCH.replace(tzinfo=None), "us")
    history = pa.StructArray.from_arrays(
        [
            titles.take(pa.array(drawn)),
            titles.take(pa.array(drawn)),
            pa.array(1.0 + drawn % 5),
            texts.take(pa.array(drawn)),
            pa.array(days).cast(TIMESTAMP),
            *(pa.nulls(len(days), pa.string()) for _ in range(2)),
        ],
        fields=list(HISTORY_ENTRY.fields),
    )
    return pa.table(
        {
            "example_id": [f"{start + row:032x}-1" for row in range(count)],
            "user_id": [f"U{user:012d}" for user in users],
            "item_id": titles.take(pa.array(draw.integers(0, len(pool), size=count))),
            "category": ["Garden"] * count,
            "rating": 1.0 + draw.integers(0, 5, size=count),
            "title": titles.take(pa.array(draw.integers(0, len(pool), size=count))),
            "attributes": pa.nulls(count, pa.string()),
            "purchased_at": pa.array([_EPOCH + datetime.timedelta(days=100)] * count, TIMESTAMP),
            "history": pa.ListArray.from_arrays(pa.array(np.arange(count + 1) * entries, pa.int32()), history),
            **{name: pa.nulls(count, pa.list_(EVIDENCE_ENTRY)) for name in EVIDENCE_COLUMNS["both"]},
            "reference": pa.nulls(count, pa.string()),
            "split": ["backfill"] * count,
        }
    )


def _run_night(config: ScaleBenchmark, base: Path, data: Path) -> dict[str, Any]:
    """One night as a process of its own; its rate, and the memory of its processes."""
    delay = 0.25
    command = [
        *(sys.executable, "jobs/backfill.py", "--engine", "rule", "--bare-base", "--base-model", str(base)),
        *("--out", str(data), "--date", "2026-11-21", "--num-engines", str(config.engines)),
        *("--num-renderers", str(config.renderers)),
        *("--cpus-per-engine", "0.5", "--rule-delay-s", str(delay)),
        *("--rule-concurrency", str(max(1, round(config.rows_per_second * delay)))),
        *("--shards-in-flight", str(max(2, round(2 * config.rows_per_second * delay / _SHARD_ROWS)))),
    ]
    started = time.monotonic()
    log = data / "log.txt"
    with open(log, "wb") as stream:
        driver = psutil.Popen(command, cwd=ROOT, stdout=stream, stderr=subprocess.STDOUT)
    peaks: dict[str, float] = {}
    while driver.poll() is None:
        looked = time.monotonic()
        for name, size in _memory(driver).items():
            peaks[name] = max(peaks.get(name, 0.0), size)
        time.sleep(max(2.0, _LOOK_EVERY * (time.monotonic() - looked)))
    seconds = time.monotonic() - started
    if driver.returncode:
        raise SystemExit(log.read_text())
    manifest = published_nights(Place(str(data)))[datetime.date(2026, 11, 21)]
    total = peaks.pop("all processes")
    return {
        "rows": manifest.rows,
        "failed": manifest.failed,
        "prompt_tokens_per_row": manifest.prompt_tokens / max(1, manifest.written),
        "seconds": seconds,
        "rows_per_s": manifest.rows / seconds,
        "generation_seconds": manifest.ledger["run_seconds"],
        "generation_rows_per_s": manifest.rows / manifest.ledger["run_seconds"],
        "peak_gib": total,
        "peak_gib_by_process": {name: round(size, 3) for name, size in sorted(peaks.items()) if size > 0.05},
    }


def _memory(driver: psutil.Process) -> dict[str, float]:
    """GiB (PSS) of every kind of process of the job, and of all of them together."""
    sizes = {"all processes": 0.0}
    for process in [driver, *driver.children(recursive=True)]:
        try:
            size = process.memory_full_info().pss / 2**30
            command = process.cmdline()
            name = (
                "driver"
                if process.pid == driver.pid
                else " ".join(command)[:40]
                if "ray::" in command[0]
                else Path(command[0]).name
            )
        except (psutil.Error, IndexError):
            continue
        sizes[name] = max(sizes.get(name, 0.0), size)
        sizes["all processes"] += size
    return sizes


def _anti_join(config: ScaleBenchmark, data: Path) -> dict[str, Any]:
    """Plan a night of the last size against so many published ids, a tenth of them its own, in a process of its own."""
    shutil.rmtree(data / "generations")
    _publish_ids(Place(str(data)), config.published, config.rows[-1])
    code = f"from benchmarks.scale import plan_alone; plan_alone({str(data)!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def plan_alone(where: str) -> None:
    """Find a night's work and print what it took; the process's own peak memory counts."""
    started = time.monotonic()
    data = Place(where)
    nights = published_nights(data)
    work = find_work(Place(f"{where}/examples/backfill"), data, WorkConfig(), nights, interactions=None)
    seconds = time.monotonic() - started
    gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"anti_join_10m_s": seconds, "anti_join_10m_gib": gib, "anti_join": work.counts._asdict()}))


def _publish_ids(data: Place, published: int, rows: int) -> None:
    """A night with so many generations: the first half of the night's own purchases, and others."""
    day = datetime.date(2026, 11, 20)
    files = []
    own = min(rows // 2, published)
    for number, start in enumerate(range(0, published, _PART_ROWS)):
        count = min(_PART_ROWS, published - start)
        places = np.arange(start, start + count)
        table = pl.DataFrame(
            {
                "example_id": [f"{place:032x}-1" if place < own else f"{place:032x}-2" for place in places.tolist()],
                "user_id": [f"U{int(place / _ROWS_OF_A_USER):012d}" for place in places.tolist()],
            }
        )
        constants = {
            name: pl.lit(value)
            for name, value in {
                **dict.fromkeys(("item_id", "category", "split", "review", "model", "fingerprint"), "x"),
                **dict.fromkeys(("rating",), 1.0),
                **dict.fromkeys(("attempts", "seed"), 1),
                **dict.fromkeys(("with_rating", "is_generated"), True),
                "generated_at": _EPOCH,
            }.items()
        }
        missing = {name: pl.lit(None) for name in GENERATIONS.schema.names if name not in constants}
        columns = {name: value for name, value in (missing | constants).items() if name not in table.columns}
        name = f"part-{number:05d}-bench.parquet"
        data.write_table(f"generations/dt={day}/{name}", table.with_columns(**columns).to_arrow(), GENERATIONS)
        files.append(PublishedFile(name=name, rows=count, bytes=0, sha256=""))
    manifest = Manifest(
        date=day,
        schema_version=SCHEMA_VERSION,
        fingerprint="x",
        fingerprints={"x": published},
        model="x",
        adapter=None,
        code_version="",
        published_at=_EPOCH,
        rows=published,
        written=published,
        failed=0,
        prompt_tokens=0,
        completion_tokens=0,
        seconds=0,
        id_rule=ID_RULE,
        id_buckets=1,
        written_ids_sha256="",
        failed_ids_sha256="",
        dead_letters=None,
        ledger={},
        files=files,
    )
    data.write(f"generations/dt={day}/_manifest.json", manifest.model_dump_json().encode())


if __name__ == "__main__":
    run(main, ScaleBenchmark)
