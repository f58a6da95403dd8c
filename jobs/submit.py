"""Any job to a Ray cluster, from outside, once.

    python jobs/submit.py -- backfill --base-model meta-llama/Meta-Llama-3-8B --out /shared/run
    python jobs/submit.py --no-wait -- train --base-model meta-llama/Meta-Llama-3-8B --use-gpu --num-workers 16 --out /shared/run
    python jobs/submit.py --address http://127.0.0.1:8265 -- report nightly --data /shared/run

Reads the cluster's address from --address or RAY_API_SERVER_ADDRESS, and its token from RAY_AUTH_TOKEN_PATH or
RAY_AUTH_TOKEN; sends this folder, less what .gitignore and .rayignore name. The same command a second time follows the job that
runs, does nothing where it has succeeded, and tries again where it failed or was stopped.
"""

from __future__ import annotations

import datetime
import sys
from pathlib import Path

from pydantic import Field

if __package__ in (None, ""):  # run as a file: `python jobs/submit.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.entry import run
from reviewllm.config import JobConfig, read_yaml
from reviewllm.errors import SubmissionError
from reviewllm.submission import Submitted, connect, follow, make_submission, submit

ROOT = Path(__file__).resolve().parents[1]


class SubmitJob(JobConfig):
    """Submit a job to a Ray cluster, and follow it. What comes after -- is the job and its flags."""

    address: str | None = Field(None, description="of the Jobs API, http://host:port; default RAY_API_SERVER_ADDRESS")
    submission_id: str | None = Field(None, description="default: the job and its --date, else today, UTC")
    runtime_env: Path = Field(ROOT / "cluster" / "runtime_env.yaml", description="Ray's runtime environment, as YAML")
    wait: bool = Field(True, description="follow the job's log to its end")


def main(config: SubmitJob, words: list[str]) -> Submitted:
    """Submit, follow, and return what became of it.

    Raises:
        ConfigError: as `make_submission` and `connect`.
        SubmissionError: the job failed or was stopped, or cannot be submitted.
    """
    runtime_env = read_yaml(config.runtime_env)
    if runtime_env.get("working_dir") in (None, "."):
        runtime_env["working_dir"] = str(ROOT)
    now = datetime.datetime.now(datetime.UTC)
    submission = make_submission(words, name=config.submission_id, runtime_env=runtime_env, now=now)
    client = connect(config.address)
    done = submit(client, submission)
    print(
        f"{done.name}: {'submitted' if done.is_new else f'was submitted before, {done.status}'}: {submission.command}",
        flush=True,
    )
    if done.status == "SUCCEEDED":
        print("nothing to do: it has succeeded; to run it again, choose another --submission-id")
    elif config.wait:
        print("(Ctrl-C stops following; the job goes on)", flush=True)
        done = follow(client, done.name)
    else:
        print(
            f"follow it with the same command, or: ray job logs --follow {done.name}; end it with: ray job stop {done.name}"
        )
    if done.status in ("FAILED", "STOPPED"):
        raise SubmissionError(f"{done.name}: {done.status}: {done.message}")
    print(f"{done.name}: {done.status}", flush=True)
    return done


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
    flags, job = words_after(sys.argv[1:])
    run(lambda config: main(config, job), SubmitJob, flags)
