"""A submission's id, command and refusals; tests/cluster/test_jobs_api.py submits for real."""

from __future__ import annotations

import datetime as dt
import re
import shutil
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import free_port
from ray._private.runtime_env.packaging import create_package
from ray.job_submission import JobStatus

from reviewllm.cluster import Address
from reviewllm.errors import ConfigError, SubmissionError
from reviewllm.submission import JOBS, Submission, address_of, connect, follow, make_submission

NOW = dt.datetime(2026, 11, 22, 0, 30, tzinfo=dt.timezone(dt.timedelta(hours=1)))  # the 21st in UTC
PROJECT = Path(__file__).resolve().parents[1]


def submission(*words: str, name: str | None = None, **runtime_env: Any) -> Submission:
    return make_submission(words, name=name, python="python", runtime_env=runtime_env, now=NOW)


def test_make_submission_of_a_night_has_its_date_in_id_and_command() -> None:
    made = submission("backfill", "--out", "/my run")
    assert made == ("backfill-2026-11-21", "python jobs/backfill.py --out '/my run' --date 2026-11-21", {}, True)
    assert submission("backfill", "--out", "/x", "--date=2026-11-20").name == "backfill-2026-11-20"
    assert (
        submission("backfill", "--out", "/x", "--date", "2026-11-20", "--date", "2026-11-19").name == "backfill-2026-11-19"
    )


def test_make_submission_takes_date_and_folder_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("date: '2026-11-19'\nout: /x\n")
    made = submission("backfill", "--config", str(tmp_path / "job.yaml"))
    assert made.name == "backfill-2026-11-19"
    assert "--date" not in made.command
    with pytest.raises(ConfigError, match=r"--config nowhere\.yaml: is not there"):
        submission("backfill", "--config", "nowhere.yaml")


@pytest.mark.parametrize(
    "words",
    [
        ("train", "--out", "/x"),
        ("backfill", "--out", "/x", "--plan"),
        ("backfill", "verify", "--out", "/x", "--date", "2026-11-20"),
        ("backfill", "replay", "--out", "/x", "--date", "2026-11-20"),
        ("report", "nightly", "--data", "s3://bucket/x"),
    ],
)
def test_make_submission_of_anything_else_may_succeed_again_and_is_no_night(words: tuple[str, ...]) -> None:
    made = submission(*words)
    assert re.fullmatch(rf"{words[0]}-[0-9a-f]{{8}}", made.name)
    assert not made.once
    assert made.command == f"python jobs/{words[0]}.py {' '.join(words[1:])}"
    assert submission(*words).name == made.name
    assert submission(*words, "--seed", "1").name != made.name


@pytest.mark.parametrize("date", ["../../x", "20261121x", "yesterday", ""])
def test_make_submission_of_no_date_is_refused(date: str) -> None:
    with pytest.raises(ConfigError, match="expected YYYY-MM-DD"):
        submission("backfill", "--out", "/x", "--date", date)


@pytest.mark.parametrize("name", ["../x", "a b", "", "a/b", "x" * 101])
def test_make_submission_of_an_odd_id_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="--submission-id"):
        submission("train", "--out", "/x", name=name)


@pytest.mark.parametrize("flags", [(), ("--out", "out/run"), ("--out=x",), ("--out", "/x", "--data", "y")])
def test_make_submission_into_the_clusters_copy_of_this_folder_is_refused(flags: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="in a copy of this folder, on one node"):
        submission("backfill", *flags)


def test_jobs_are_those_of_the_folder() -> None:
    runnable = [path for path in (PROJECT / "jobs").glob("*.py") if '__name__ == "__main__"' in path.read_text()]
    there = {path.stem for path in runnable} - {"submit"}
    assert set(JOBS) == there


@pytest.mark.parametrize("words", [(), ("nonsense",), ("submit",), ("--out", "x")])
def test_make_submission_of_no_job_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="is no job; expected one of prepare, train"):
        submission(*words)


def test_make_submission_of_help_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"run: python jobs/train\.py --help"):
        submission("train", "--help")


def test_make_submission_refuses_secrets() -> None:
    with pytest.raises(ConfigError, match="the command: --mlflow-uri: looks like a secret") as caught:
        submission("train", "--out", "/x", "--mlflow-uri", "http://me:s3cret@host")
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"--runtime-env: env_vars\.AWS_SECRET_ACCESS_KEY: looks like a secret"):
        submission("train", "--out", "/x", env_vars={"AWS_SECRET_ACCESS_KEY": "s3cret"})


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:8265",
        "ray://host:10001",
        "http://",
        "http://me:s3cret@host:8265",
        "json://x",
        "http://host:x",
        "http://[x",
    ],
)
def test_address_of_no_server_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="--address: expected http://<head>:8265") as caught:
        address_of(address)
    assert "s3cret" not in str(caught.value)


def test_address_of_takes_the_flag_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="--address: is missing"):
        address_of(None)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")  # of a driver, no Jobs API
    with pytest.raises(ConfigError, match="--address: is missing"):
        address_of(None)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://environment:8265/")
    assert str(address_of(None)) == "RAY_API_SERVER_ADDRESS http://environment:8265"
    assert str(address_of("https://flag")) == "--address https://flag"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "environment:8265")
    with pytest.raises(ConfigError, match=r"^RAY_API_SERVER_ADDRESS: expected http"):
        address_of(None)


def test_connect_to_something_else_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:1")
    with pytest.raises(ConfigError, match=rf"--address {address}: no Jobs API of Ray answers there"):
        connect(Address(address, "--address"))


class ClosingLog:
    """The client's side of a cluster whose log connection is cut after every line, and that is out of reach now and then."""

    def __init__(self, lines: list[str], *, reachable: int) -> None:
        self._lines, self._reachable, self._asked = lines, reachable, 0

    async def tail_job_logs(self, name: str) -> AsyncIterator[str]:
        for line in self._lines[: self._asked + 1]:
            yield line
        raise RuntimeError("closed")

    def get_job_info(self, name: str) -> Any:
        self._asked += 1
        if self._asked > self._reachable:
            raise ConnectionError("out of reach")
        if self._asked % 2:
            raise RuntimeError("Request failed with status code 502")
        done = self._asked >= len(self._lines)
        return SimpleNamespace(status=JobStatus.SUCCEEDED if done else JobStatus.RUNNING, message="")


def test_follow_goes_on_where_its_connection_is_closed_again_and_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("reviewllm.submission._PAUSE_S", 0.0)
    lines = [f"line {number}\n" for number in range(60)]
    assert follow(ClosingLog(lines, reachable=1000), "x").status == "SUCCEEDED"
    assert capsys.readouterr().out == "".join(lines)


def test_follow_gives_up_a_cluster_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reviewllm.submission._PAUSE_S", 0.0)
    with pytest.raises(SubmissionError, match="x: the connection to the cluster was lost; the job goes on"):
        follow(ClosingLog(["line\n"] * 60, reachable=4), "x")


def test_working_directory_is_small_and_has_no_keys(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    for folder in ("jobs", "reviewllm", "cluster"):
        shutil.copytree(PROJECT / folder, clone / folder)
    for file in (".gitignore", ".rayignore", "pyproject.toml"):
        shutil.copy(PROJECT / file, clone / file)
    for file in (
        "credentials.env",
        ".env",
        "id_ed25519",
        "reviewllm-train-7.log",
        "tests/test_x.py",
        ".git/config",
        "cluster/a.pem",
    ):
        (clone / file).parent.mkdir(exist_ok=True)
        (clone / file).write_text("s3cret")
    create_package(str(clone), tmp_path / "code.zip", include_gitignore=True, excludes=[])
    with zipfile.ZipFile(tmp_path / "code.zip") as code:
        top = {name.partition("/")[0] for name in code.namelist()}
        assert not [name for name in code.namelist() if code.read(name) == b"s3cret"]
    assert top == {"jobs", "reviewllm", "cluster", "pyproject.toml"}
    assert (tmp_path / "code.zip").stat().st_size < 2_000_000  # bytes, stored as they are
