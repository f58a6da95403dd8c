"""A training over two Ray nodes loses one of them, recovers on the other and ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pyarrow as pa
import pytest
from conftest import WORDS, entry, example, free_port
from ray_nodes import TIMEOUT_S, kill_tree, node_environment, start_node, wait_until

from reviewllm.sft.adapter import CURVE_FILE
from reviewllm.table_files import write_table
from reviewllm.tables import EXAMPLES
from reviewllm.tiny_base import TinyBaseConfig, make_tiny_base

PROJECT = Path(__file__).resolve().parents[2]


class Nodes(NamedTuple):
    """Two Ray nodes of one cluster, each its own processes, and the environment that may talk to them."""

    address: str
    environment: dict[str, str]
    head: psutil.Popen
    worker: psutil.Popen


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    port = free_port()
    folder = Path(f"/tmp/reviewllm-nodes-{os.getpid()}")  # Ray's socket names must stay under 107 characters
    environment = node_environment()
    started: list[psutil.Popen] = []
    try:
        started.append(
            start_node(
                environment,
                tmp_path / "head.log",
                *("--head", f"--port={port}", "--num-cpus=2", "--include-dashboard=false", f"--temp-dir={folder}/head"),
            )
        )
        started.append(
            start_node(
                environment,
                tmp_path / "worker.log",
                *(f"--address=127.0.0.1:{port}", "--num-cpus=1", f"--temp-dir={folder}/worker"),
            )
        )
        yield Nodes(f"127.0.0.1:{port}", environment, *started)
    finally:
        for node in reversed(started):
            kill_tree(node)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.ray
def test_training_on_two_nodes_survives_the_loss_of_one(nodes: Nodes, tmp_path: Path) -> None:
    size = TinyBaseConfig(base_vocabulary=300, base_hidden=64, base_layers=3, base_steps=0)
    make_tiny_base([WORDS], tmp_path / "base", size, context=1024)
    history = [entry(number, review=WORDS[number % 3] * 3) for number in range(10)]
    rows = [example(example_id=f"e{n}", user_id=f"u{n}", history=history, reference=WORDS[n % 3]) for n in range(64)]
    write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), tmp_path / "examples" / "a.parquet", EXAMPLES)

    def train(out: Path, *more: str) -> psutil.Popen:
        options = {
            "base-model": tmp_path / "base",
            "examples": tmp_path / "examples",
            "out": out,
            "per-device-train-batch-size": 8,
            "gradient-accumulation-steps": 1,
            "num-train-epochs": 4,
            "save-steps": 2,
            "learning-rate": 1e-3,
            "max-prompt-tokens": 900,
            "max-response-tokens": 60,
            "max-sequence-tokens": 1024,
            "placement-strategy": "SPREAD",
            "ray-address": nodes.address,
        }
        flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        with open(tmp_path / f"{out.name}.log", "wb") as log:
            return psutil.Popen(
                [sys.executable, "jobs/train.py", *flags, "--no-track", *more],
                cwd=PROJECT,
                env=nodes.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def workers_on_lost_node() -> list[psutil.Process]:
        return [process for process in nodes.worker.children(recursive=True) if "RayTrainWorker" in process.name()]

    undisturbed = train(tmp_path / "undisturbed")
    try:
        assert undisturbed.wait(TIMEOUT_S) == 0, (tmp_path / "undisturbed.log").read_text()
    finally:
        kill_tree(undisturbed)
    log, checkpoints = tmp_path / "hit.log", tmp_path / "hit" / "checkpoints" / "adapter"
    hit = train(tmp_path / "hit")
    try:
        wait_until(lambda: any(checkpoints.glob("checkpoint-*")), lambda: hit.poll() is None, log)
        assert len(workers_on_lost_node()) == 1  # the workers really were on two nodes
        kill_tree(nodes.worker)
        assert hit.wait(TIMEOUT_S) == 0, log.read_text()
    finally:
        kill_tree(hit)
    assert "goes on after step" in log.read_text()
    curves = [
        [json.loads(line) for line in (tmp_path / name / "adapter" / CURVE_FILE).read_text().splitlines()]
        for name in ("undisturbed", "hit")
    ]
    assert len(curves[0]) == 16
    assert curves[0] == curves[1]
    weights = [(tmp_path / name / "adapter" / "adapter_model.safetensors").read_bytes() for name in ("undisturbed", "hit")]
    assert weights[0] == weights[1]
