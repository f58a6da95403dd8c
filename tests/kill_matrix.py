"""Kill a backfill at labelled steps and at random times, run it again, and see that its night is what it must be.

The cluster is a node of its own that outlives its drivers, so what a killed driver's actors still write meets its re-run.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import polars as pl
import psutil
import pyarrow as pa
from conftest import WORDS, entry, example, free_port
from ray_nodes import kill_tree, node_environment, start_node

from reviewllm.backfill.night import published_files, read_dead_letters, read_manifest
from reviewllm.backfill.verify import verify_night
from reviewllm.failpoints import VARIABLE
from reviewllm.place import Place
from reviewllm.table_files import write_table
from reviewllm.tables import EXAMPLES, GENERATIONS
from reviewllm.tiny_base import TinyBaseConfig, make_tiny_base

PROJECT = Path(__file__).resolve().parents[1]
NIGHT = dt.date(2026, 11, 21)
SHARDS, SHARD_ROWS = 12, 10
TIMEOUT_S = 180
DRIVER_LABELS = ("plan", "compact", "verify", "publish", "finish")
ACTOR_LABELS = ("generate", "score", "stage")


class Cluster(NamedTuple):
    """Ray nodes that a test owns; the first one is the head."""

    address: str
    metrics: str
    environment: dict[str, str]
    nodes: list[psutil.Popen]
    failpoints: Path

    def on_head(self, command: Sequence[str]) -> list[str]:
        """What runs a command where the head is."""
        return list(command)

    def processes(self, name: str) -> list[psutil.Process]:
        """The actors of this name, on all nodes."""
        return [one for node in self.nodes if node.is_running() for one in processes_of(node, name)]


class At(NamedTuple):
    """A labelled step at which the process that reaches it for the `hit`-th time dies (kill), gets SIGTERM (term), or
    hangs until there is a file `<label>.<hit>.go` (hang).
    """

    label: str
    do: str = "kill"
    hit: int = 1


class After(NamedTuple):
    """A process that is ended some seconds after the first row of a run: driver, engine (its actor) or worker (a scorer)."""

    seconds: float
    victim: str
    do: str = "kill"


def processes_of(node: psutil.Popen, name: str) -> list[psutil.Process]:
    """The actors of this name on one node."""

    def is_actor(process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error):
            return any(name in word for word in process.cmdline())
        return False

    return [one for one in node.children(recursive=True) if is_actor(one)]


@contextmanager
def ray_cluster(folder: Path, *, workers: int = 0, **settings: str) -> Iterator[Cluster]:
    """A node with room for the actors, or a head without any and such workers; all processes look for failpoints.

    Settings are further variables of the nodes' environment.
    """
    port, metrics = free_port(), free_port()
    temporary = Path(f"/tmp/reviewllm-kills-{port}")  # Ray's socket names must be short
    failpoints = folder / "failpoints.json"
    environment = {**node_environment(), VARIABLE: str(failpoints), **settings}
    head = ["--head", f"--port={port}", "--include-dashboard=false", f"--metrics-export-port={metrics}"]
    nodes: list[psutil.Popen] = []
    try:
        first = [*head, "--num-cpus=0" if workers else "--num-cpus=3", f"--temp-dir={temporary}"]
        nodes.append(start_node(environment, folder / f"node-{port}-0.log", *first))
        for number in range(1, workers + 1):
            log = folder / f"node-{port}-{number}.log"
            nodes.append(start_node(environment, log, f"--address=127.0.0.1:{port}", "--num-cpus=4"))
        yield Cluster(f"127.0.0.1:{port}", f"http://127.0.0.1:{metrics}/metrics", environment, nodes, failpoints)
    finally:
        for node in nodes:
            kill_tree(node)
        shutil.rmtree(temporary, ignore_errors=True)


def make_examples(folder: Path, *, hidden: int = 32) -> Path:
    """A base (vLLM needs 64 hidden units), and rating-only purchases of 60 users in three files."""
    make_tiny_base(
        [WORDS],
        folder / "base",
        TinyBaseConfig(base_vocabulary=300, base_hidden=hidden, base_layers=1, base_steps=0),
        context=1024,
    )
    for file in range(3):
        rows = [
            example(
                example_id=f"e{file}-{number}",
                user_id=f"u{file}-{number // 2:02d}",
                title=f"Rake {file}-{number}",
                rating=float(1 + number % 5),
                history=[entry(1), entry(2)],
                reference=None,
                split="backfill",
            )
            for number in range(SHARDS * SHARD_ROWS // 3)
        ]
        path = folder / "examples" / f"shard-{file:05d}.parquet"
        write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), path, EXAMPLES)
    return folder


class Trial:
    """Runs of one night, in a folder of its own.

    `where` is a URI for what otherwise is below that folder; `seen` is the same as runs reach it (through a proxy).
    """

    def __init__(
        self, cluster: Cluster, made: Path, data: Path, *options: str, where: str | None = None, seen: str | None = None
    ) -> None:
        self.cluster, self.made, self.data = cluster, made, data
        self.place = Place(where or str(data))
        self.seen = seen or where or str(data)
        self.log = data.with_suffix(".log")
        self.options = options
        self.kills: list[str] = []  # what was ended, of what was asked for

    def run(self, *events: At | After) -> int:
        """One run in which these things happen; its exit status (negative: the signal that ended it)."""
        timed = [event for event in events if isinstance(event, After)]
        driver, hits = self.start(*events, delay_s=0.5 if timed else 0.0)
        for after in timed:
            self._wait_and_kill(driver, after)
        try:
            status: int = driver.wait(TIMEOUT_S)
        finally:
            kill_tree(driver)
            self.cluster.failpoints.write_text("{}")
        reached = [at for at in events if isinstance(at, At) and (hits / f"{at.label}.{at.hit}").exists()]
        self.kills += [f"{at.do} at {at.label}" for at in reached]
        return status

    def start(self, *events: At | After, delay_s: float = 0.2) -> tuple[psutil.Popen, Path]:
        """Begin a run; returns its driver, and the folder of the marks `<label>.<hit>` of its labelled steps.

        Four rows at a time take `delay_s`: at 0.5 a night takes 15 s, so that what an After waits for is still running.
        """
        hits = self.data.with_name(f"{self.data.name}-hits-{time.monotonic_ns()}")
        wanted = {at.label: {"do": at.do, "hit": at.hit, "folder": str(hits)} for at in events if isinstance(at, At)}
        self.cluster.failpoints.write_text(json.dumps(wanted))
        with open(self.log, "ab") as log:
            driver = psutil.Popen(
                self.cluster.on_head(self.command(delay_s)),
                cwd=PROJECT,
                env=self.cluster.environment,
                stdout=log,
                stderr=log,
            )
        return driver, hits

    def command(self, delay_s: float = 0.2) -> list[str]:
        """What runs the night."""
        options = {
            "base-model": self.made / "base",
            "examples": self.made / "examples",
            "data": self.seen,
            "out": self.data.with_name(f"{self.data.name}-out"),
            "date": NIGHT,
            "shard-rows": SHARD_ROWS,
            "max-prompt-tokens": 400,
            "max-new-tokens": 24,
            "rule-delay-s": delay_s,
            "rule-concurrency": 4,
            "grace-seconds": 5,
            "ray-address": self.cluster.address,
        }
        flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        engine = [] if "--engine" in self.options else ["--engine", "rule"]
        return [sys.executable, "jobs/backfill.py", "--bare-base", *flags, *engine, *self.options]

    def _wait_and_kill(self, driver: psutil.Popen, after: After) -> None:
        """Wait until the run stages something new, and the seconds, and end the victim."""
        before, end = len(self.staged()), time.monotonic() + TIMEOUT_S
        while len(self.staged()) <= before and driver.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(after.seconds)
        name = {"engine": "ShardGenerator", "worker": "ShardScorer"}.get(after.victim)
        victims: list[psutil.Process] = []
        while not victims and driver.poll() is None and time.monotonic() < end:  # Ray may just be starting one
            victims = self.cluster.processes(name)[:1] if name else [driver]
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.send_signal(signal.SIGTERM if after.do == "term" else signal.SIGKILL)
                self.kills.append(f"{after.do} {after.victim}")

    def staged(self) -> dict[str, int]:
        """The staged shards, and when each was written."""
        files = self.place.files("generations/.staging")
        return {file.name: file.mtime_ns for file in files if file.name.endswith(".parquet")}

    def check(self, *, failed: Sequence[str] = ()) -> None:
        """The night is every purchase once, as the rule writes it, and there is no other file."""
        place = self.place
        manifest = read_manifest(place, NIGHT)
        assert manifest is not None, self.log.read_text()
        assert verify_night(place, NIGHT) == manifest
        rows, wanted = self.published(), self.expected()
        assert dict(rows.select("example_id", "review").rows()) == {
            key: text for key, text in wanted.items() if key not in failed
        }
        assert rows.height == len(wanted) - len(failed)
        assert sorted(read_dead_letters(place, NIGHT, manifest)["example_id"].to_pylist()) == sorted(failed)
        assert rows["fingerprint"].n_unique() == 1
        known = {f"generations/dt={NIGHT}/{name}" for name in ("_SUCCESS", "_manifest.json")}
        known |= {
            *published_files(place, NIGHT, manifest),
            *(f"ledger/dt={NIGHT}.{ending}" for ending in ("json", "parquet")),
        }
        if manifest.dead_letters:
            known.add(f"dead_letters/dt={NIGHT}/{manifest.dead_letters.name}")
        assert {file.name for file in place.files()} == known

    def published(self) -> pl.DataFrame:
        """The rows of the published night."""
        files = published_files(self.place, NIGHT, read_manifest(self.place, NIGHT))
        return pl.concat([pl.DataFrame(self.place.read_table(file, GENERATIONS)) for file in files])

    def lost_and_twice(self) -> tuple[int, int]:
        """Purchases that are neither in the published night nor in its dead letters, and rows that it has too many."""
        letters = read_dead_letters(self.place, NIGHT, read_manifest(self.place, NIGHT))["example_id"].to_pylist()
        there = [*self.published()["example_id"], *letters]
        return len(self.expected().keys() - set(there)), len(there) - len(set(there))

    def expected(self) -> dict[str, str]:
        """Example id to the text that the rule engine writes."""
        verdicts = {1: "Very disappointing", 2: "Not good", 3: "It is okay", 4: "Good", 5: "Excellent"}
        rows = pl.read_parquet(self.made / "examples" / "*.parquet").select("example_id", "rating", "title").rows()
        return {name: f"{verdicts[round(rating)]}: {title}." for name, rating, title in rows}


def labelled_kills(trial: Trial, draw: random.Random) -> None:
    """SIGKILL at every labelled step, SIGTERM at one of the driver's, and at the end an undisturbed run."""
    hits = {label: draw.randint(1, 3) for label in ACTOR_LABELS}
    trial.run(At("plan"))
    trial.run(At("generate", hit=hits["generate"]), After(draw.random(), "driver"))
    trial.run(At("score", hit=hits["score"]), At("stage", hit=hits["stage"]), At("compact"))
    trial.run(At("verify", do=draw.choice(["kill", "term"])))
    trial.run(At("publish"))
    trial.run(At("finish", do=draw.choice(["kill", "term"])))
    assert trial.run() == 0, trial.log.read_text()


def labelled_terms(trial: Trial, draw: random.Random) -> None:
    """SIGTERM at every labelled step of the driver and, by `random`, in mid-generation, and at the end an undisturbed run."""
    trial.run(At("plan", do="term"))
    assert trial.run(After(draw.random(), "driver", do="term")) == 143, trial.log.read_text()
    for label in ("compact", "verify", "publish", "finish"):
        assert trial.run(At(label, do="term")) != 0, trial.log.read_text()
    assert trial.run() == 0, trial.log.read_text()


def random_kills(trial: Trial, draw: random.Random) -> None:
    """SIGTERM and SIGKILL at random times of the generation, and at the end an undisturbed run."""
    first = draw.choice(["engine", "worker"])
    trial.run(After(0.5 * draw.random(), first), After(draw.random(), "driver", do="term"))
    trial.run(After(0.5 * draw.random(), "engine"), After(0.5 * draw.random(), draw.choice(["driver", "worker"])))
    assert trial.run() == 0, trial.log.read_text()
