"""A hundred kills of a backfill, at labelled steps and at random times: after each series the night is what it must be.

.venv/bin/python benchmarks/chaos.py --kills 100 --json out/bench-chaos.json      about 12 minutes on 2 cores
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import Field

if __package__ in (None, ""):  # run as a file
    sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("", "tests")]

from kill_matrix import Trial, labelled_kills, labelled_terms, make_examples, random_kills, ray_cluster

from jobs.entry import run
from reviewllm.config import JobConfig


class ChaosBenchmark(JobConfig):
    """Kill a backfill again and again."""

    kills: int = Field(100, ge=1, description="kills at least")
    seed: int = Field(100, description="of the first series; the others follow")
    json_file: Path | None = Field(None, alias="json", description="file for the figures")


def main(config: ChaosBenchmark) -> dict[str, Any]:
    """Run series of kills until there are enough of them; ends at the first night that is not what it must be."""
    started, kills, nights = time.monotonic(), Counter[str](), 0
    with tempfile.TemporaryDirectory() as name, ray_cluster(Path(name)) as cluster:
        made = make_examples(Path(name) / "made")
        while kills.total() < config.kills:
            kill = (labelled_kills, random_kills, labelled_terms)[nights % 3]
            trial = Trial(cluster, made, Path(name) / f"night-{nights}")
            kill(trial, random.Random(config.seed + nights))
            trial.check()
            kills.update(trial.kills)
            nights += 1
            print(f"{kills.total()} kills, {nights} nights as they must be", flush=True)
    figures = {
        "kills": dict(kills),
        "total": kills.total(),
        "nights": nights,
        "wrong": 0,
        "seconds": time.monotonic() - started,
    }
    print(json.dumps(figures, indent=1))
    if config.json_file:
        config.json_file.parent.mkdir(parents=True, exist_ok=True)
        config.json_file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return figures


if __name__ == "__main__":
    run(main, ChaosBenchmark)
