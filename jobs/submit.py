"""Any job to a Ray cluster, from outside, once.

    python jobs/submit.py -- backfill --base-model meta-llama/Meta-Llama-3-8B --out /shared/run
    python jobs/submit.py --no-wait -- train --base-model meta-llama/Meta-Llama-3-8B --use-gpu --num-workers 16 --out /shared/run
    python jobs/submit.py --address http://127.0.0.1:8265 -- report nightly --data /shared/run

Reads the cluster's address from --address or RAY_API_SERVER_ADDRESS, and its token from RAY_AUTH_TOKEN_PATH or
RAY_AUTH_TOKEN; sends what .rayignore lets through of this folder. The same command a second time follows the job that runs; a night
that has succeeded is not run again, one that failed or was stopped is. Exit status 0: it succeeded (with --no-wait: it is
submitted).
"""

from __future__ import annotations

import datetime
import importlib
import logging
import pkgutil
import sys
from pathlib import Path
from typing import Any

from pydantic import Field

if __package__ in (None, ""):  # run as a file: `python jobs/submit.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.entry import run
from reviewllm.config import Commands, JobConfig, read_yaml
from reviewllm.errors import ConfigError, SubmissionError
from reviewllm.submission import Submitted, address_of, connect, follow, make_submission, submit

ROOT = Path(__file__).resolve().parents[1]


class SubmitJob(JobConfig):
    """Submit a job to a Ray cluster, and follow it. What comes after -- is the job and its flags."""

    address: str | None = Field(None, description="of the Jobs API, http://host:port; default RAY_API_SERVER_ADDRESS")
    submission_id: str | None = Field(
        None, description="under which it succeeds once; default: of a backfill its night, of others a digest of the command"
    )
    python: str = Field("python", description="the interpreter on the cluster, by name or path")
    runtime_env: Path = Field(ROOT / "cluster" / "runtime_env.yaml", description="Ray's runtime environment, as YAML")
    wait: bool = Field(True, description="follow the job's log to its end")


def main(config: SubmitJob, words: list[str]) -> Submitted:
    """Submit, follow, and return what became of it.

    Raises:
        ConfigError: as `make_submission` and `connect`.
        SubmissionError: the job failed or was stopped, or cannot be submitted.
    """
    runtime_env = _runtime_env(config.runtime_env)
    now = datetime.datetime.now(datetime.UTC)
    submission = make_submission(
        words, jobs=all_jobs(), name=config.submission_id, python=config.python, runtime_env=runtime_env, now=now
    )
    address = address_of(config.address)
    client = connect(address)
    done = submit(client, submission)
    what = "submitted" if done.is_new else f"was submitted before, {done.status}"
    print(f"{done.name}: {what}, at {address.text}: {submission.command}", flush=True)
    if done.status == "SUCCEEDED":
        print("nothing to do: it has succeeded; to run it again, choose another --submission-id")
        return done
    how = f"follow it with the same command, or: ray job logs --follow {done.name}; end it with: ray job stop {done.name}"
    if not config.wait:
        print(how)
        return done
    try:
        done = follow(client, done.name)
    except KeyboardInterrupt:
        print(f"\n{done.name}: the job goes on; {how}", file=sys.stderr)
        sys.exit(130)
    if done.status != "SUCCEEDED":
        raise SubmissionError(f"{done.name}: {done.status}: {done.message}")
    print(f"{done.name}: {done.status}", flush=True)
    return done


def _runtime_env(file: Path) -> dict[str, Any]:
    try:
        runtime_env = read_yaml(file)
    except ConfigError as error:
        raise ConfigError(str(error).replace("--config", "--runtime-env", 1)) from error
    if runtime_env.get("working_dir") in (None, "."):
        runtime_env["working_dir"] = str(ROOT)
    return runtime_env


def all_jobs() -> dict[str, Commands]:
    """The commands of every job of this folder, by the job's name."""
    names = [module.name for module in pkgutil.iter_modules([str(ROOT / "jobs")])]
    modules = {name: importlib.import_module(f"jobs.{name}") for name in names if name != "submit"}
    return {name: module.COMMANDS for name, module in modules.items() if hasattr(module, "COMMANDS")}


def words_after(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The flags before --, and the job's words after it.

    >>> words_after(["--no-wait", "--", "train", "--out", "x"])
    (['--no-wait'], ['train', '--out', 'x'])
    """
    if "--" not in arguments:
        return arguments, []
    place = arguments.index("--")
    return arguments[:place], arguments[place + 1 :]


if __name__ == "__main__":
    logging.getLogger("ray").setLevel(logging.WARNING)  # it tells of every file that it does not send
    flags, job = words_after(sys.argv[1:])
    run(lambda config: main(config, job), SubmitJob, flags)
