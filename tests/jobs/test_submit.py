"""The backfill through the Jobs API of a cluster of its own: status, logs, output."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pytest
from conftest import entry, example, free_port

from reviewllm.table_files import read_table, write_table
from reviewllm.tables import EXAMPLES, GENERATIONS

pytestmark = [pytest.mark.slow, pytest.mark.ray]

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


class Cluster(NamedTuple):
    """A running cluster: the address of its Jobs API, and the environment that may talk to it."""

    address: str
    environment: dict[str, str]

    def ray(self, *arguments: str, timeout_s: int = 240) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(BIN / "ray"), "job", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    port, dashboard = free_port(), free_port()
    folder = Path(f"/tmp/reviewllm-{os.getpid()}")  # Ray's socket names must stay under 107 characters
    address = f"http://127.0.0.1:{dashboard}"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_API_SERVER_ADDRESS": address,
    }
    command = [
        *(str(BIN / "ray"), "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}"),
        *("--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", "--num-cpus=2", "--disable-usage-stats"),
        *("--object-store-memory=200000000", f"--temp-dir={folder}"),
    ]
    with open(tmp_path_factory.mktemp("cluster") / "log", "wb") as log:
        head = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            wait_for(address, head)
            yield Cluster(address, environment)
        finally:
            head.send_signal(signal.SIGTERM)  # `ray start --block` ends what it started, and nothing else
            head.wait(timeout=60)
            shutil.rmtree(folder, ignore_errors=True)


def wait_for(address: str, head: subprocess.Popen[bytes]) -> None:
    """Until the Jobs API answers, if only that a token is needed."""
    for _ in range(120):
        assert head.poll() is None, "the cluster ended while starting"
        try:
            urllib.request.urlopen(f"{address}/api/jobs/", timeout=2)
        except urllib.error.HTTPError:
            return  # it is up, and refuses who has no token
        except OSError:
            time.sleep(1)
    raise AssertionError("the cluster did not start within two minutes")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    rows = [
        example(example_id=f"e{number}", user_id=f"u{number}", split="backfill", reference=None, history=[entry(1)])
        for number in range(5)
    ]
    shard = tmp_path / "examples" / "backfill" / "shard-00000-abc.parquet"
    write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), shard, EXAMPLES)
    return tmp_path


def test_submit_backfill_succeeds_with_logs_and_output(cluster: Cluster, out: Path, random_base: Path) -> None:
    job = [
        "python",
        "jobs/backfill.py",
        "--engine",
        "rule",
        "--bare-base",
        "--base-model",
        str(random_base),
        "--out",
        str(out),
    ]
    budget = ["--max-prompt-tokens", "512", "--date", "2026-11-21"]
    submitted = cluster.ray("submit", "--submission-id", "night-1", "--working-dir", ".", "--", *job, *budget)
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    assert "SUCCEEDED" in cluster.ray("status", "night-1").stdout.upper()
    assert "5 purchases: 5 written, 0 failed" in cluster.ray("logs", "night-1").stdout
    written = read_table(out / "generations" / "dt=2026-11-21", GENERATIONS)
    assert sorted(written["example_id"].to_pylist()) == [f"e{number}" for number in range(5)]


def test_submit_failing_job_says_why(cluster: Cluster, tmp_path: Path) -> None:
    job = [
        "python",
        "jobs/backfill.py",
        "--engine",
        "rule",
        "--bare-base",
        "--base-model",
        str(tmp_path),
        "--out",
        str(tmp_path),
    ]
    submitted = cluster.ray("submit", "--submission-id", "night-2", "--working-dir", ".", "--", *job)
    assert submitted.returncode == 1
    assert "FAILED" in cluster.ray("status", "night-2").stdout.upper()
    assert "--base-model" in cluster.ray("logs", "night-2").stdout
