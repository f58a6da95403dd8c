"""SASRec of this project beside RecTools' and RecBole's: training, full ranking, and HR@10 for the same time of training.

    make bench-recommend                                       on Amazon Beauty 2014, about 45 minutes on one idle core
    .venv-peers/bin/python benchmarks/recommend.py --quick     a smoke test on made-up sequences, 2 minutes

One data set, leave-one-out; hidden size, layers, heads, length, dropout, learning rate and targets of a batch are the same,
the loss is a softmax over all items, everything is float32 on as many threads as `--threads` says. An epoch of all three learns
from every place of every training sequence once: ours and RecTools from all places of a sequence at once, RecBole from a row
of its own for each.

Speed: the three take turns, each measurement in a process of its own; a ratio is of one round, the figure its median. On one
thread seconds are the processor's (which on an idle machine are those of the clock), on more the clock's.
HR@10: each is trained once for `--budget-s` of training time, validated after each epoch over all items (outside of the
libraries' clocks; ours has it in).

What was chosen in favour of the others: RecBole runs without autograd's search for anomalies, which its package switches on
for every model and which halves its speed; freed memory is kept by the process instead of being given back to the system
after every step; RecBole's inner layers are as wide as the others' and not four times as wide, as is its default.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

if __package__ in (None, ""):  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.recommend_contenders import OURS, RECBOLE, RECTOOLS, Task, targets_of_epoch
from jobs.entry import run
from reviewllm.config import JobConfig
from reviewllm.errors import ConfigError
from reviewllm.recommend.tables import SEQUENCES
from reviewllm.table_files import read_table, write_table

Figures = dict[str, Any]

ROOT = Path(__file__).resolve().parents[1]
BEAUTY = ROOT / "../shared/data/beauty_2014"
GOAL = 2.0  # times as fast as the faster of the two
PUBLISHED_HR10 = 0.0617  # SASRec on Beauty in table 2 of the paper
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**33), "MALLOC_TRIM_THRESHOLD_": str(2**33)}


class BenchmarkJob(JobConfig):
    """Compare SASRec with RecTools' and RecBole's."""

    sequences: Path | None = Field(None, description="folder or file of SEQUENCES; default: Beauty, made anew from --beauty")
    beauty: Path = Field(BEAUTY, description="folder of Amazon Beauty 2014 with sequences.txt.gz")
    rounds: int = Field(3, ge=1, description="speed measurements of each, in turns; figures are medians")
    seconds: float = Field(30, gt=0, description="training of a speed measurement")
    budget_s: float = Field(600, ge=0, description="training time for HR@10; 0 leaves it out")
    hidden: int = Field(64, ge=8, description="hidden units")
    layers: int = Field(2, ge=1, description="layers")
    heads: int = Field(2, ge=1, description="attention heads")
    max_length: int = Field(50, ge=2, description="newest items of a history")
    batch_targets: int = Field(1024, ge=1, description="places to learn from in one step, about; ours by default")
    dropout: float = Field(0.5, ge=0, lt=1, description="dropout; 0.5 is RecBole's default and ours")
    learning_rate: float = Field(1.5e-3, gt=0, description="of Adam; ours by default")
    threads: int = Field(1, ge=1, description="CPU threads of each")
    seed: int = Field(0, ge=0, description="of weights, dropout and batches")
    quick: bool = Field(False, description="one round on made-up sequences: does it run?")
    json_file: Path | None = Field(None, alias="json", description="write all figures here")


def main(config: BenchmarkJob) -> None:
    """Measure, print the tables and write the figures."""
    if config.quick:
        config = config.model_copy(update={"rounds": 1, "seconds": 2.0, "budget_s": 5.0, "max_length": 20})
    with tempfile.TemporaryDirectory(prefix="bench-recommend-") as folder:
        sequences = find_sequences(config, Path(folder))
        per_epoch = targets_of_epoch(read_table(sequences, SEQUENCES))
        tasks = {name: make_task(name, config, sequences) for name in (OURS, RECTOOLS, RECBOLE)}
        rounds = [
            {name: in_own_process(task, Path(folder), f"round {number + 1}") for name, task in tasks.items()}
            for number in range(config.rounds)
        ]
        report: Figures = {"speed": summarise_speed(rounds, per_epoch), "rounds": rounds, "targets_per_epoch": per_epoch}
        print_speed(report["speed"])
        if config.budget_s:
            budget = {"budget": True, "seconds": config.budget_s}
            courses = {
                name: in_own_process(task.model_copy(update=budget), Path(folder), "budget") for name, task in tasks.items()
            }
            report |= {"equal_time": summarise_courses(courses), "courses": courses}
            print_courses(report["equal_time"], courses)
    headline = {name: report["speed"][name] for name in ("train_speed_vs_peer", "eval_speed_vs_peer")}
    if config.budget_s:
        headline["sasrec_hr10_beauty" if on_beauty(config) else "sasrec_hr10"] = report["equal_time"][OURS]["test_hr10"]
    if not config.quick:  # of made-up sequences they say nothing
        print_goals(headline)
    if config.json_file is not None:
        config.json_file.parent.mkdir(parents=True, exist_ok=True)
        written = {**headline, "config": config.model_dump(mode="json"), **report}
        config.json_file.write_text(json.dumps(written, indent=1), encoding="utf-8")


# --- what is measured -----------------------------------------------------------------------------------------------


def find_sequences(config: BenchmarkJob, folder: Path) -> Path:
    """The folder of SEQUENCES to train on: the one given, made-up ones, or Beauty's.

    Raises:
        ConfigError: Beauty is not there.
    """
    if config.quick:
        write_table(made_up_sequences(config.seed), folder / "sequences" / "made-up.parquet", SEQUENCES)
        return folder / "sequences"
    if config.sequences is not None:
        return config.sequences.resolve()
    from reviewllm.recommend.prepare import write_sequences
    from reviewllm.recommend.sources import read_sequences

    file = config.beauty / "sequences.txt.gz"
    if not file.exists():
        raise ConfigError(f"--beauty {config.beauty}: no sequences.txt.gz is there; name --sequences, or take --quick")
    write_sequences(read_sequences(file), folder, core=5, max_rejected_fraction=0, keep_items=False)
    return folder / "sequences"


def on_beauty(config: BenchmarkJob) -> bool:
    """Whether the sequences are Beauty's."""
    return config.sequences is None and not config.quick


def made_up_sequences(seed: int) -> pa.Table:
    """300 users who walk over 200 items, mostly to the item's neighbour, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(300):
        steps = np.where(rng.random(12) < 0.7, 1, rng.integers(0, 200, 12))
        walk = np.cumsum(np.concatenate([rng.integers(0, 200, 1), steps])) % 200
        rows.append([str(item) for item in dict.fromkeys(walk.tolist())])
    return pa.table({"user_id": [str(user) for user in range(300)], "item_ids": rows}, schema=SEQUENCES.schema)


def make_task(contender: str, config: BenchmarkJob, sequences: Path) -> Task:
    """A speed measurement of a contender."""
    shared = {name: getattr(config, name) for name in Task.model_fields if name in type(config).model_fields}
    return Task(**{**shared, "contender": contender, "sequences": sequences, "budget": False})


def in_own_process(task: Task, folder: Path, what: str) -> Figures:
    """Run a task in a fresh process.

    Raises:
        ConfigError: it failed; the message has the end of what it said.
    """
    file = folder / f"{task.contender}.json"
    file.write_text(task.model_dump_json(), encoding="utf-8")
    environment = {
        **os.environ,
        **KEEP_MEMORY,
        "OMP_NUM_THREADS": str(task.threads),
        "POLARS_MAX_THREADS": str(task.threads),
    }
    command = [sys.executable, str(Path(__file__).with_name("recommend_contenders.py").resolve()), str(file.resolve())]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"{task.contender} failed:\n{done.stderr[-4000:]}")
    figures: Figures = json.loads(file.with_suffix(".figures").read_text(encoding="utf-8"))
    print(f"{what}: {task.contender} {json.dumps(figures)[:200]}", file=sys.stderr, flush=True)
    return figures


# --- what comes of it -----------------------------------------------------------------------------------------------


def summarise_speed(rounds: list[dict[str, Figures]], targets_per_epoch: int) -> Figures:
    """Medians of each contender, and of ours to theirs in the same round; `..._vs_peer` is against the faster of the two."""
    found: Figures = {}
    for name in rounds[0]:
        figures = {key: statistics.median(one[name][key] for one in rounds) for key in rounds[0][name]}
        found[name] = {**figures, "epochs_per_minute": 60 * figures["targets_per_s"] / targets_per_epoch}
    for peer in (RECTOOLS, RECBOLE):
        train = [one[OURS]["targets_per_s"] / one[peer]["targets_per_s"] for one in rounds]
        ranking = [one[peer]["evaluation_s"] / one[OURS]["evaluation_s"] for one in rounds]
        found[f"train_speed_vs_{peer}"], found[f"eval_speed_vs_{peer}"] = map(statistics.median, (train, ranking))
    for what in ("train", "eval"):
        found[f"{what}_speed_vs_peer"] = min(found[f"{what}_speed_vs_{peer}"] for peer in (RECTOOLS, RECBOLE))
    return found


def summarise_courses(courses: dict[str, Figures]) -> Figures:
    """Each contender's best validation HR@10 and when it was reached, and when ours reached as much."""
    found: Figures = {}
    for name, figures in courses.items():
        best = max(hr10 for _, hr10 in figures["course"])
        found[name] = {
            "validation_hr10": best,
            "test_hr10": figures["test_hr10"],
            "reached_after_s": seconds_to(figures["course"], best),
            "ours_reached_it_after_s": seconds_to(courses[OURS]["course"], best),
        }
    return found


def seconds_to(course: list[tuple[float, float]], level: float) -> float | None:
    """Seconds of training until HR@10 was first at least `level`; None if it never was."""
    return next((seconds for seconds, hr10 in course if hr10 >= level), None)


def print_speed(speed: Figures) -> None:
    """Print each contender's speed, and how many times as fast ours is."""
    print(f"{'':10}{'epochs/min':>12}{'targets/s':>12}{'ours is':>9}{'ranking s':>12}{'ours is':>9}")
    for name in (OURS, RECTOOLS, RECBOLE):
        found = speed[name]
        ratios = ["", ""] if name == OURS else [f"{speed[f'{what}_speed_vs_{name}']:.2f}x" for what in ("train", "eval")]
        print(
            f"{name:10}{found['epochs_per_minute']:12.2f}{found['targets_per_s']:12,.0f}{ratios[0]:>9}"
            f"{found['evaluation_s']:12.2f}{ratios[1]:>9}"
        )


def print_courses(equal_time: Figures, courses: dict[str, Figures]) -> None:
    """Print what each contender reached in the same time."""
    print(f"\n{'':10}{'epochs':>8}{'validation HR@10':>18}{'test HR@10':>12}{'after s':>9}{'ours after s':>14}")
    for name, found in equal_time.items():
        reached = [
            f"{found[key]:.0f}" if found[key] is not None else "never"
            for key in ("reached_after_s", "ours_reached_it_after_s")
        ]
        print(
            f"{name:10}{courses[name]['epochs']:8.1f}{found['validation_hr10']:18.4f}{found['test_hr10']:12.4f}"
            f"{reached[0]:>9}{reached[1]:>14}"
        )


def print_goals(headline: Figures) -> None:
    """Print each figure with a goal, and whether it was met."""
    print()
    goals = {"train_speed_vs_peer": GOAL, "eval_speed_vs_peer": GOAL, "sasrec_hr10_beauty": PUBLISHED_HR10}
    for name, value in headline.items():
        if name not in goals:
            continue
        bound = goals[name]
        print(f"{name:24}{value:10.4g}   at least {bound:g}: {'met' if value >= bound else 'MISSED'}")


if __name__ == "__main__":
    run(main, BenchmarkJob)
