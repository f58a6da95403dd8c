"""A submission's id, command and refusals; tests/cluster/test_jobs_api.py submits for real."""

from __future__ import annotations

import datetime as dt
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ray._private.runtime_env.packaging import create_package

from reviewllm.errors import ConfigError
from reviewllm.submission import JOBS, Submission, make_submission

NOW = dt.datetime(2026, 11, 22, 0, 30, tzinfo=dt.timezone(dt.timedelta(hours=1)))  # the 21st in UTC
PROJECT = Path(__file__).resolve().parents[1]


def submission(*words: str, name: str | None = None, **runtime_env: Any) -> Submission:
    return make_submission(words, name=name, runtime_env=runtime_env, now=NOW)


def test_make_submission_of_a_night_has_its_date_in_id_and_command() -> None:
    made = submission("backfill", "--out", "my run")
    assert made == ("backfill-2026-11-21", "python jobs/backfill.py --out 'my run' --date 2026-11-21", {})
    assert submission("backfill", "--date=2026-11-20").name == "backfill-2026-11-20"
    assert submission("backfill", "replay", "--date", "2026-11-20") == (
        "backfill-replay-2026-11-20",
        "python jobs/backfill.py replay --date 2026-11-20",
        {},
    )


def test_make_submission_takes_the_date_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("date: '2026-11-19'\n")
    made = submission("backfill", "--config", str(tmp_path / "job.yaml"))
    assert made.name == "backfill-2026-11-19"
    assert "--date" not in made.command


def test_make_submission_of_other_jobs_changes_no_flag() -> None:
    assert submission("train", "--out", "x")[:2] == ("train-2026-11-21", "python jobs/train.py --out x")
    assert submission("train", "--out", "x", name="monthly").name == "monthly"
    assert submission("report", "nightly").name == "report-nightly-2026-11-21"


def test_jobs_are_those_of_the_folder() -> None:
    there = {path.stem for path in (PROJECT / "jobs").glob("*.py")} - {"__init__", "entry", "submit"}
    assert set(JOBS) == there


@pytest.mark.parametrize("words", [(), ("nonsense",), ("submit",), ("--out", "x")])
def test_make_submission_of_no_job_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="is no job; expected one of prepare, train"):
        submission(*words)


@pytest.mark.parametrize(
    "word",
    [
        "http://me:s3cret@host",
        "s3://AKIA1234567890ABCDEF:s3cret@bucket/x",
        "s3://bucket?secret_key=s3cret",
        "hf_s3cretabcdefgh",
    ],
)
def test_make_submission_refuses_secrets_without_repeating_them(word: str) -> None:
    with pytest.raises(ConfigError, match="everybody who can list jobs") as caught:
        submission("train", "--mlflow-uri", word)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "MLFLOW_TRACKING_PASSWORD", "AWS_ACCESS_KEY_ID"])
def test_make_submission_refuses_secrets_in_the_runtime_environment(name: str) -> None:
    with pytest.raises(ConfigError, match=f"env_vars.{name}") as caught:
        submission("train", env_vars={name: "s3cret", "PYTHONUNBUFFERED": "1"})
    assert "s3cret" not in str(caught.value)


def test_working_directory_is_small(tmp_path: Path) -> None:
    create_package(str(PROJECT), tmp_path / "code.zip", include_gitignore=True, excludes=[])
    with zipfile.ZipFile(tmp_path / "code.zip") as code:
        top = {name.partition("/")[0] for name in code.namelist()}
    assert {"jobs", "reviewllm", "cluster", "pyproject.toml"} <= top
    assert not top & {"tests", "docs", "out", ".git", ".venv", "benchmarks"}
    assert (tmp_path / "code.zip").stat().st_size < 2_000_000  # bytes, stored as they are
