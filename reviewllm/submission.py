"""Jobs through Ray's Jobs API, so that submitting the same night twice runs it once.

A submission's id is the job and its night (`backfill-2026-11-21`). Where a job of that id runs, it is followed; where one has
succeeded, nothing is done; after one that failed or was stopped the next try is `backfill-2026-11-21.2`.
"""

from __future__ import annotations

import asyncio
import datetime
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from reviewllm.config import read_yaml, without_keys
from reviewllm.errors import ConfigError, SubmissionError

JOBS = ("prepare", "train", "merge", "evaluate", "annotate", "backfill", "report", "demo")
_OF_A_NIGHT = (["backfill"], ["backfill", "replay"])  # to which --date is added
_LIVE = ("PENDING", "RUNNING")
_SECRET_NAME = re.compile(r"secret|token|password|passwd|credential|api_?key|access_?key", re.IGNORECASE)


class Submission(NamedTuple):
    """What is submitted: the id of its first try, the command, and the runtime environment."""

    name: str
    command: str
    runtime_env: dict[str, Any]


class Submitted(NamedTuple):
    """What became of it: the try's id, its status (PENDING, RUNNING, SUCCEEDED, FAILED, STOPPED) and Ray's message."""

    name: str
    status: str
    message: str
    is_new: bool  # whether this call submitted it


def make_submission(
    words: Sequence[str], *, name: str | None, runtime_env: Mapping[str, Any], now: datetime.datetime
) -> Submission:
    """Take a job and its flags apart, and put them together as a command.

    Args:
        words: the job's name and its flags, as after `jobs/`: backfill --out ...
        name: the submission's id; None: the job's words, and its --date or else today, UTC.
        runtime_env: Ray's; what it holds can be read by everybody who can list jobs.
        now: with its time zone.

    Raises:
        ConfigError: there is no such job, or a secret would be seen in the list of jobs.
    """
    job = words[0] if words else ""
    if job not in JOBS:
        raise ConfigError(f"{job or '(nothing)'}: is no job; expected one of {', '.join(JOBS)} after --, and its flags")
    _refuse_secrets(words, runtime_env)
    command, flags = [job], list(words[1:])
    if flags and not flags[0].startswith("-"):
        command.append(flags.pop(0))
    date = _date_of(flags)
    if date is None:
        date = now.astimezone(datetime.UTC).date().isoformat()
        if command in _OF_A_NIGHT:  # a job that waits until after midnight is still this night's
            flags += ["--date", date]
    entrypoint = shlex.join(["python", f"jobs/{job}.py", *command[1:], *flags])
    return Submission(name or "-".join([*command, date]), entrypoint, dict(runtime_env))


def _date_of(flags: Sequence[str]) -> str | None:
    for number, flag in enumerate(flags):
        if flag == "--date" and number + 1 < len(flags):
            return flags[number + 1]
        if flag.startswith("--date="):
            return flag.partition("=")[2]
    for number, flag in enumerate(flags):
        file = flags[number + 1] if flag == "--config" and number + 1 < len(flags) else flag.removeprefix("--config=")
        if flag.startswith("--config") and file != flag and (date := read_yaml(Path(file)).get("date")):
            return str(date)
    return None


def _refuse_secrets(words: Sequence[str], runtime_env: Mapping[str, Any]) -> None:
    for before, word in zip(["", *words], words, strict=False):
        if re.search(r"://[^/]*@", word) or without_keys(word) != word or "secret_key=" in word.lower():
            flag = word.partition("=")[0] if word.startswith("--") else before
            raise ConfigError(
                f"{flag}: holds credentials, and everybody who can list jobs would see them; set them in the environment of "
                "the cluster's nodes"
            )
    for name in runtime_env.get("env_vars") or {}:
        if _SECRET_NAME.search(name):
            raise ConfigError(
                f"--runtime-env: env_vars.{name}: everybody who can list jobs would see it; set it in the environment of the "
                "cluster's nodes"
            )


def connect(address: str | None) -> Any:
    """A client of the Jobs API; its token comes from RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH.

    Args:
        address: http://host:port; None: RAY_API_SERVER_ADDRESS, or RAY_ADDRESS where it is such a URL.

    Raises:
        ConfigError: nothing answers there, or the token is refused.
    """
    from ray.job_submission import JobSubmissionClient

    with _errors(address):
        return JobSubmissionClient(address)


def submit(client: Any, submission: Submission) -> Submitted:
    """Submit, unless a try of this submission runs or has succeeded; returns that try or the new one.

    Raises:
        SubmissionError: a try of this id runs or has succeeded with another command, or Ray refuses this one.
    """
    with _errors(None):
        tries = {job.submission_id: job for job in client.list_jobs() if job.submission_id}
    name = submission.name
    for number in range(1, len(tries) + 2):
        name = submission.name if number == 1 else f"{submission.name}.{number}"
        job = tries.get(name)
        if job is None:
            break
        if job.status not in (*_LIVE, "SUCCEEDED"):
            continue
        if job.entrypoint != submission.command:
            raise SubmissionError(
                f"{name}: {job.status.value.lower()} with another command ({job.entrypoint}); choose another --submission-id"
            )
        return Submitted(name, str(job.status.value), job.message or "", False)
    with _errors(None):
        try:
            client.submit_job(entrypoint=submission.command, submission_id=name, runtime_env=submission.runtime_env)
        except RuntimeError:
            if name not in {job.submission_id for job in client.list_jobs()}:
                raise
            return status(client, name)  # another submission of the same was a moment faster
        return status(client, name)._replace(is_new=True)


def status(client: Any, name: str) -> Submitted:
    """How a try stands."""
    with _errors(None):
        job = client.get_job_info(name)
    return Submitted(name, str(job.status.value), job.message or "", False)


def follow(client: Any, name: str) -> Submitted:
    """Print a try's log as it grows, until it has ended; returns how it stands then.

    Raises:
        SubmissionError: the connection was lost; the job goes on.
    """

    async def tail() -> None:
        async for lines in client.tail_job_logs(name):
            print(lines, end="", flush=True)

    with _errors(None):
        asyncio.run(tail())
    return status(client, name)


@contextmanager
def _errors(address: str | None) -> Iterator[None]:
    import aiohttp
    import ray.exceptions
    import requests

    try:
        yield
    except ray.exceptions.AuthenticationError as error:
        raise ConfigError(
            f"the cluster refuses the token: {str(error).splitlines()[0]}; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH (or "
            "RAY_AUTH_TOKEN) as on the cluster"
        ) from error
    except ConnectionError as error:
        where = address or "RAY_API_SERVER_ADDRESS"
        raise ConfigError(f"--address {where}: no Jobs API answers there: {error}") from error
    except (RuntimeError, ValueError, aiohttp.ClientError, requests.RequestException) as error:
        raise SubmissionError(f"Ray's Jobs API: {str(error).splitlines()[0]}; a job that was submitted goes on") from error
