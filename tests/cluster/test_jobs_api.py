"""Jobs by Ray's Jobs API under a token: submitted, followed, stopped, failing, submitted again; and who is turned away."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from kill_matrix import NIGHT, Trial, make_examples
from ray_machines import PROJECT, RayMachines, ray_machines
from ray_nodes import RAY, wait_until

pytestmark = pytest.mark.cluster

SECRET = "s3cret-of-the-store"


class Outside:
    """Somebody on another machine than the cluster's, with or without its token."""

    def __init__(self, cluster: RayMachines, folder: Path) -> None:
        self.api = f"http://{cluster.head_machine.address}:8265"
        token = folder / "token"
        token.write_text(cluster.environment["RAY_AUTH_TOKEN"])
        others = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "AWS_"))}
        own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_API_SERVER_ADDRESS": self.api}
        self.environment = {**others, **own, "PATH": f"{RAY.parent}:{os.environ['PATH']}"}

    def run(self, *command: str, **changed: str) -> subprocess.CompletedProcess[str]:
        environment = {**self.environment, **changed}
        return subprocess.run(
            command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=240, check=False
        )

    def submit(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "jobs/submit.py", *arguments)

    def status_code(self, path: str, token: str | None) -> int:
        """What the dashboard's server answers to a GET."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            with urllib.request.urlopen(urllib.request.Request(self.api + path, headers=headers), timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


@pytest.fixture(scope="module")
def cluster(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayMachines]:
    """A head with a dashboard on the cluster's network, and a worker; the store's secret is in their environment."""
    with ray_machines(tmp_path_factory.mktemp("jobs-api"), dashboard=True) as running:
        running.environment |= {"AWS_SECRET_ACCESS_KEY": SECRET, "RAY_JOB_STOP_WAIT_TIME_S": "20"}
        running.environment["PATH"] = f"{RAY.parent}:{os.environ['PATH']}"
        running.failpoints.write_text("{}")
        running.complete(workers=1)
        yield running


@pytest.fixture(scope="module")
def outside(cluster: RayMachines, tmp_path_factory: pytest.TempPathFactory) -> Outside:
    return Outside(cluster, tmp_path_factory.mktemp("outside"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_examples(tmp_path_factory.mktemp("made"))


def night(trial: Trial) -> list[str]:
    """The words of a trial's backfill, as they are submitted; its engine takes all that the worker has to give."""
    words = trial.command()[2:]
    place = words.index("--ray-address")
    return ["--", "backfill", *words[:place], *words[place + 2 :]]


def test_night_is_submitted_followed_and_not_run_twice(
    cluster: RayMachines, outside: Outside, made: Path, tmp_path: Path
) -> None:
    trial = Trial(cluster, made, tmp_path / "data", "--rule-delay-s", "0")
    first = outside.submit(*night(trial))
    assert first.returncode == 0, first.stdout + first.stderr
    assert "120 purchases: 120 written, 0 failed" in first.stdout
    assert f"backfill-{NIGHT}: SUCCEEDED" in first.stdout
    trial.check()
    again = outside.submit(*night(trial))
    assert again.returncode == 0, again.stdout + again.stderr
    assert "nothing to do: it has succeeded" in again.stdout
    other = outside.submit(*night(trial), "--limit", "3")
    assert other.returncode == 2
    assert f"SubmissionError: backfill-{NIGHT}: has succeeded with another command" in other.stderr


def test_night_that_is_stopped_is_gone_on_with_by_the_same_command(
    cluster: RayMachines, outside: Outside, made: Path, tmp_path: Path
) -> None:
    trial = Trial(cluster, made, tmp_path / "data")
    words = ["--submission-id", "slow-night", *night(trial)]
    begun = outside.submit("--no-wait", *words)
    assert begun.returncode == 0, begun.stdout + begun.stderr
    wait_until(lambda: len(trial.staged()) >= 2, lambda: True, cluster.session / "logs" / "job-driver-slow-night.log")
    beside = outside.submit("--no-wait", *words)
    assert "slow-night: was submitted before, RUNNING" in beside.stdout
    stopped = outside.run(str(RAY), "job", "stop", "slow-night")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert "STOPPED" in outside.run(str(RAY), "job", "status", "slow-night").stdout.upper()
    assert "SIGTERM came; the finished shards are kept" in outside.run(str(RAY), "job", "logs", "slow-night").stdout
    again = outside.submit(*words)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "slow-night.2: SUCCEEDED" in again.stdout
    assert not re.search(r"\b0 of 12 shards were there before", again.stdout)
    trial.check()


def test_job_that_fails_says_why(outside: Outside, tmp_path: Path) -> None:
    words = ["backfill", "--engine", "rule", "--bare-base", "--base-model", "x", "--out", str(tmp_path / "x")]
    failed = outside.submit("--submission-id", "failing", "--", *words)
    assert failed.returncode == 2
    assert "--base-model x" in failed.stdout
    assert "SubmissionError: failing: FAILED" in failed.stderr
    again = outside.submit("--no-wait", "--submission-id", "failing", "--", *words, "--limit", "1")
    assert "failing.2: submitted" in again.stdout


def test_nobody_is_let_in_without_the_token(cluster: RayMachines, outside: Outside) -> None:
    right = cluster.environment["RAY_AUTH_TOKEN"]
    for path in ("/api/jobs/", "/api/cluster_status", "/nodes?view=summary", "/api/v0/actors", "/api/v0/logs?node_ip=x"):
        codes = [outside.status_code(path, token) for token in (None, "", secrets.token_hex(32), right[:-1])]
        assert codes == [401, 403, 403, 403], path  # no token; a wrong one
    assert outside.status_code("/api/jobs/", right) == 200

    connect = f"import ray; ray.init(address={cluster.address!r}, log_to_driver=False); print('let', 'in')"
    inside = cluster.on_head([sys.executable, "-c", connect])
    for token in ("", secrets.token_hex(32)):
        mode = {"RAY_AUTH_MODE": "token" if token else "disabled", "RAY_AUTH_TOKEN": token, "RAY_AUTH_TOKEN_PATH": ""}
        refused = outside.run(*inside, **{name: value for name, value in mode.items() if value})
        assert refused.returncode != 0
        assert "let in" not in refused.stdout
        assert "oken" in refused.stderr, refused.stderr  # it says what is wrong

    wrong = outside.run(
        *(sys.executable, "jobs/submit.py", "--", "demo", "--out", "/x"),
        RAY_AUTH_TOKEN=secrets.token_hex(32),
        RAY_AUTH_TOKEN_PATH="",
    )
    assert wrong.returncode == 2
    assert f"ConfigError: RAY_API_SERVER_ADDRESS {outside.api}: the cluster refuses the token" in wrong.stderr


def test_no_secret_is_in_the_list_of_jobs_or_in_any_log(cluster: RayMachines, outside: Outside) -> None:
    listed = outside.run(str(RAY), "job", "list")
    assert "slow-night" in listed.stdout
    hidden = [SECRET, cluster.environment["RAY_AUTH_TOKEN"]]
    assert not [secret for secret in hidden if secret in listed.stdout + listed.stderr]
    files = [path for path in cluster.session.parent.parent.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(files) > 20
    assert not [path for path in files for secret in hidden if secret.encode() in path.read_bytes()]


def test_ports_are_open_to_the_clusters_network_only(cluster: RayMachines, outside: Outside) -> None:
    """What listens on the head does so on loopback or on its address of the cluster; the dashboard never on all addresses."""
    shown = outside.run(*cluster.on_head(["ss", "--listening", "--tcp", "--numeric", "--no-header"])).stdout
    listening = {line.split()[3] for line in shown.splitlines()}
    print(sorted(listening))
    assert f"{cluster.head_machine.address}:8265" in listening
    assert not {"0.0.0.0:8265", "*:8265", "[::]:8265"} & listening
