"""A submission's id, command and refusals; tests/cluster/test_jobs_api.py submits for real."""

from __future__ import annotations

import datetime as dt
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, get_args, get_origin

import pytest
from conftest import free_port
from ray._private.runtime_env.packaging import create_package
from ray.job_submission import JobStatus

from jobs.submit import all_jobs
from reviewllm.cluster import Address
from reviewllm.config import located
from reviewllm.errors import ConfigError, SubmissionError
from reviewllm.submission import Submission, address_of, connect, follow, make_submission

NOW = dt.datetime(2026, 11, 22, 0, 30, tzinfo=dt.timezone(dt.timedelta(hours=1)))  # the 21st in UTC
PROJECT = Path(__file__).resolve().parents[1]
JOBS = all_jobs()
NIGHT = ("backfill", "--base-model", "org/base", "--out", "/x")
TRAINING = ("train", "--base-model", "org/base", "--out", "/x")
NO_FILES = {  # options that are texts, and name no files
    *(
        "adapter_name",
        "candidate",
        "category",
        "column_names",
        "endpoints",
        "engine_kwargs",
        "judge",
        "mlflow_experiment",
        "models",
    ),
    *("ray_address", "retriever", "rule_faults", "run_name", "target_modules", "user"),
}
HERE_AND_EVERYWHERE = {"mlflow_uri": ("sqlite:///x.db", "sqlite:////x.db"), "systems": ("name=x", "name=/x")}


def submission(*words: str, name: str | None = None, **runtime_env: Any) -> Submission:
    return make_submission(words, jobs=JOBS, name=name, python="python", runtime_env=runtime_env, now=NOW)


def test_make_submission_of_a_night_has_its_date_in_id_and_command() -> None:
    made = submission("backfill", "--base-model", "org/base", "--out", "/my run")
    command = "python jobs/backfill.py --base-model org/base --out '/my run' --date 2026-11-21"
    assert made == ("backfill-2026-11-21", command, {}, True)
    assert submission(*NIGHT, "--date=2026-11-20").name == "backfill-2026-11-20"
    assert submission(*NIGHT, "--date", "2026-11-20", "--date", "2026-11-19").name == "backfill-2026-11-19"


def test_make_submission_takes_date_and_folder_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("date: '2026-11-19'\nout: /x\nbase_model: org/base\n")
    made = submission("backfill", "--config", str(tmp_path / "job.yaml"))
    assert made.name == "backfill-2026-11-19"
    assert "--date" not in made.command
    (tmp_path / "job.yaml").write_text("tensorboard-dir: tb\n")
    with pytest.raises(ConfigError, match=r"--tensorboard-dir tb: a job that was submitted"):
        submission(*TRAINING, "--config", str(tmp_path / "job.yaml"))
    with pytest.raises(ConfigError, match=r"--config nowhere\.yaml: cannot be read"):
        submission("backfill", "--config", "nowhere.yaml")


@pytest.mark.parametrize(
    "words",
    [
        TRAINING,
        (*NIGHT, "--plan"),
        (*NIGHT, "--probe", "5"),
        ("backfill", "verify", "--out", "/x", "--date", "2026-11-20"),
        ("backfill", "replay", *NIGHT[1:], "--date", "2026-11-20"),
        ("report", "nightly", "--data", "s3://bucket/x"),
        ("report", "--compare", "/x", "/y"),
    ],
)
def test_make_submission_of_anything_else_may_succeed_again_and_is_no_night(words: tuple[str, ...]) -> None:
    made = submission(*words)
    assert re.fullmatch(rf"{words[0]}-[0-9a-f]{{8}}", made.name)
    assert not made.once
    assert made.command == f"python jobs/{words[0]}.py {' '.join(words[1:])}"
    assert submission(*words).name == made.name


def test_make_submission_of_another_command_has_another_id() -> None:
    assert submission(*TRAINING).name != submission(*TRAINING, "--seed", "1").name


@pytest.mark.parametrize("date", ["../../x", "20261121x", "yesterday", ""])
def test_make_submission_of_no_date_is_refused(date: str) -> None:
    with pytest.raises(ConfigError, match=r"--date: .*expected YYYY-MM-DD"):
        submission(*NIGHT, "--date", date)


@pytest.mark.parametrize("name", ["../x", "a b", "", "a/b", "für", "x" * 101])
def test_make_submission_of_an_odd_id_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="--submission-id"):
        submission(*TRAINING, name=name)


def required(job: str, command: str) -> dict[str, str]:
    """A value for each option without which a command is not submitted."""
    options = JOBS[job][command].options
    texts = {"date": "2026-11-20", "user": "u", "base_model": "org/base"}
    wanted = {name for name, field in options.model_fields.items() if field.is_required()} | {"base_model"}
    defaults = {name for name in located(options) if options.model_fields[name].default}
    return {name: texts.get(name, "/x") for name in (wanted | defaults) & options.model_fields.keys()}


def words_of(job: str, command: str, given: dict[str, str]) -> list[str]:
    return [job, *([command] if command else []), *(f"--{name.replace('_', '-')}={text}" for name, text in given.items())]


@pytest.mark.parametrize(("job", "command"), [(job, command) for job, commands in JOBS.items() for command in commands])
def test_make_submission_takes_every_option_that_names_files_from_the_root_alone(job: str, command: str) -> None:
    options = JOBS[job][command].options
    files = located(options)
    for name, field in options.model_fields.items():
        if name == "config":
            continue
        if name not in files:
            assert name in NO_FILES or not has_texts(field.annotation), f"--{name}: names files, or is of NO_FILES"
            continue
        here, everywhere = HERE_AND_EVERYWHERE.get(name, ("out/x/y", "/x"))
        given = required(job, command) | {name: here}
        with pytest.raises(ConfigError, match=rf"^--{name.replace('_', '-')} {here}: .* copy of this folder, on one node"):
            submission(*words_of(job, command, given))
        submission(*words_of(job, command, given | {name: everywhere}))
        if name in required(job, command) and not field.is_required() and name != "base_model":
            del given[name]
            with pytest.raises(ConfigError, match=rf"^--{name.replace('_', '-')}: is missing"):
                submission(*words_of(job, command, given))


def has_texts(annotation: Any) -> bool:
    return annotation is str or (
        get_origin(annotation) is not Literal and any(has_texts(one) for one in get_args(annotation))
    )


def test_make_submission_looks_at_every_value_of_an_option() -> None:
    with pytest.raises(ConfigError, match=r"^--reviews data/a\.json: a job"):
        submission("prepare", "--out", "/x", "--reviews", "/b.json", "--reviews", "data/a.json", "--reviews=s3://b/c")


def test_make_submission_looks_at_words_that_are_no_flags() -> None:
    with pytest.raises(ConfigError, match=r"^--after out/after: a job"):
        submission("report", "--compare", "/x", "out/after")


def test_make_submission_takes_a_model_of_the_hub_that_is_no_folder_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    submission(*TRAINING)
    (tmp_path / "org" / "base").mkdir(parents=True)
    for base in ("org/base", "./base", "../base", "a/b/c"):
        with pytest.raises(ConfigError, match=f"^--base-model {base}: a job"):
            submission("train", "--base-model", base, "--out", "/x")


@pytest.mark.parametrize("words", [("recommend",), ("recommend", "--out", "/x"), ("annotate", "nonsense")])
def test_make_submission_without_a_command_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=f"{words[0]}: expected one of its commands, "):
        submission(*words)


def test_make_submission_of_options_that_the_job_refuses_is_refused_here() -> None:
    with pytest.raises(ConfigError, match="--early-stopping-patience needs a validation loss"):
        submission(*TRAINING, "--early-stopping-patience", "2")


def test_jobs_are_those_of_the_folder() -> None:
    runnable = [path for path in (PROJECT / "jobs").glob("*.py") if '__name__ == "__main__"' in path.read_text()]
    assert JOBS.keys() == {path.stem for path in runnable} - {"submit"}


def test_jobs_are_found_without_torch() -> None:
    code = "import sys, jobs.submit; jobs.submit.all_jobs(); sys.exit('torch' in sys.modules or 'vllm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=PROJECT).returncode == 0


@pytest.mark.parametrize("words", [(), ("nonsense",), ("submit",), ("--out", "x")])
def test_make_submission_of_no_job_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"is no job; expected one of annotate, .*, train"):
        submission(*words)


def test_make_submission_of_help_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"run: python jobs/train\.py --help"):
        submission("train", "--help")


def test_make_submission_refuses_secrets() -> None:
    with pytest.raises(ConfigError, match="the command: --mlflow-uri: looks like a secret") as caught:
        submission(*TRAINING, "--mlflow-uri", "http://me:s3cret@host")
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"--runtime-env: env_vars\.AWS_SECRET_ACCESS_KEY: looks like a secret"):
        submission(*TRAINING, env_vars={"AWS_SECRET_ACCESS_KEY": "s3cret"})


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
