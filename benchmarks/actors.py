"""Rows per second of 1 to 16 engines on three Ray nodes, against the sum of what the engines could do by themselves.

    .venv/bin/python benchmarks/actors.py --json out/bench-actors.json      about 7 minutes on 2 idle cores
    .venv/bin/python benchmarks/actors.py --engines 2 --seconds 10          a smoke test

The engine answers by a rule, each row after a set delay, so many rows at once: its own rate is their quotient, and what a GPU
would compute costs nothing here. All else is the real job over real nodes (processes of their own, on loopback). The rate is
that of the middle of a night, from a fifth to nine tenths of its rows: the start of engines and the tail are other questions
(docs/scale.md).
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil
from pydantic import Field

if __package__ in (None, ""):  # run as a file; of the tests: Ray nodes as processes that one may end
    sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("", "tests")]

from ray_nodes import kill_tree, node_environment, start_node

from benchmarks.scale import make_examples, make_reviews
from jobs.entry import run
from reviewllm.config import JobConfig
from reviewllm.table_files import read_table, write_table
from reviewllm.tables import EXAMPLES, GENERATIONS
from reviewllm.tiny_base import TinyBaseConfig, make_tiny_base

ROOT = Path(__file__).resolve().parents[1]
_SHARD_ROWS = 32
_NIGHT = "2026-11-21"
_PORT = 6399


class ActorsBenchmark(JobConfig):
    """How near many engines come to the sum of their own rates."""

    engines: list[int] = Field([1, 2, 4, 8, 16], description="numbers of engines")
    nodes: int = Field(3, ge=1, description="Ray nodes beside the head")
    rows_at_once: int = Field(8, ge=1, description="rows that an engine has under way")
    delay_s: float = Field(1.0, gt=0, description="seconds that a row takes")
    seconds: float = Field(40, gt=0, description="length of a night, at the engines' own rates")
    repetitions: int = Field(1, ge=1, description="nights of each number")
    json_file: Path | None = Field(None, alias="json", description="file for the figures")


def main(config: ActorsBenchmark) -> list[dict[str, Any]]:
    """Measure, print, and write the figures."""
    figures = []
    folder = Path(tempfile.mkdtemp(prefix="reviewllm-actors-"))
    environment = node_environment()
    nodes: list[psutil.Popen] = []
    try:
        base = make_tiny_base(
            [["some words"]],
            folder / "base",
            TinyBaseConfig(base_vocabulary=300, base_hidden=32, base_layers=1, base_steps=0),
            context=4096,
        )
        head = ["--head", f"--port={_PORT}", "--num-cpus=0", "--include-dashboard=false", f"--temp-dir={folder}/ray"]
        nodes.append(start_node(environment, folder / "head.log", *head))
        cpus = max(config.engines) // config.nodes + 2
        for number in range(config.nodes):
            log = folder / f"node-{number}.log"
            nodes.append(start_node(environment, log, f"--address=127.0.0.1:{_PORT}", f"--num-cpus={cpus}"))
        for engines in config.engines * config.repetitions:
            figures.append(_night(config, engines, base, folder / f"night-{len(figures)}", environment))
            print(json.dumps(figures[-1]), flush=True)
    finally:
        for node in reversed(nodes):
            kill_tree(node)
        shutil.rmtree(folder, ignore_errors=True)
    if config.json_file:
        config.json_file.parent.mkdir(parents=True, exist_ok=True)
        config.json_file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return figures


def _night(config: ActorsBenchmark, engines: int, base: Path, data: Path, environment: dict[str, str]) -> dict[str, Any]:
    own_rate = config.rows_at_once / config.delay_s
    rows = round(engines * own_rate * config.seconds / _SHARD_ROWS) * _SHARD_ROWS
    _write_examples(data / "examples" / "backfill", rows)
    options = {
        "engine": "rule",
        "base-model": base,
        "out": data,
        "date": _NIGHT,
        "shard-rows": _SHARD_ROWS,
        "num-engines": engines,
        "cpus-per-engine": 1,
        "rule-delay-s": config.delay_s,
        "rule-concurrency": config.rows_at_once,
        "max-prompt-tokens": 512,
        "ray-address": f"127.0.0.1:{_PORT}",
    }
    flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    command = [sys.executable, "jobs/backfill.py", "--bare-base", *flags]
    log = data / "log.txt"
    with open(log, "wb") as stream:
        driver = psutil.Popen(command, cwd=ROOT, env=environment, stdout=stream, stderr=stream)
    if driver.wait():
        raise SystemExit(log.read_text())
    rate = middle_rate(read_table(data / "generations" / f"dt={_NIGHT}", GENERATIONS)["generated_at"].to_pylist())
    return {
        "engines": engines,
        "rows": rows,
        "rows_per_s": round(rate, 2),
        "own_rows_per_s": engines * own_rate,
        "share": round(rate / (engines * own_rate), 3),
    }


def middle_rate(times: list[Any]) -> float:
    """Rows per second between a fifth and nine tenths of the rows, by the times at which their shards were written.

    >>> import datetime
    >>> round(middle_rate([datetime.datetime(2026, 1, 1) + datetime.timedelta(seconds=n // 2) for n in range(200)]), 2)
    2.0
    """
    ends = pl.Series(sorted(times)).dt.timestamp("us").to_numpy() / 1e6
    first, last = (int(np.searchsorted(ends, ends[int(share * len(ends))], side="right")) for share in (0.2, 0.9))
    return float((last - first) / (ends[last - 1] - ends[first - 1]))


def _write_examples(folder: Path, rows: int) -> None:
    draw = np.random.default_rng(0)
    pool = make_reviews(draw)
    for number, start in enumerate(range(0, rows, 1000)):
        table = make_examples(start, min(1000, rows - start), pool, draw, entries=2)
        write_table(table, folder / f"shard-{number:05d}.parquet", EXAMPLES)


if __name__ == "__main__":
    run(main, ActorsBenchmark)
