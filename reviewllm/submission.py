"""Jobs through Ray's Jobs API, so that submitting the same night twice runs it once.

A backfill's submission id is its night, `backfill-2026-11-21`: where one runs, it is followed; where one has succeeded, nothing
is done; after one that failed or was stopped the next try is `backfill-2026-11-21.2`. Other jobs have a digest of their
command for a date: one that runs is followed, one that has ended is submitted again.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
import os
import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from reviewllm.cluster import Address
from reviewllm.config import Commands, JobConfig, located, parse, split_command
from reviewllm.errors import ConfigError, SubmissionError
from reviewllm.secrets import refuse_secrets

LIVE = ("PENDING", "RUNNING")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)  # it is part of URLs and of names of files
_SECONDS_TO_ANSWER = 20.0
_RECONNECTS, _PAUSE_S = 20, 3.0


class Submission(NamedTuple):
    """What is submitted: the id of its first try, the command, the runtime environment, and whether one success is enough."""

    name: str
    command: str
    runtime_env: dict[str, Any]
    once: bool


class Submitted(NamedTuple):
    """What became of it: the try's id, its status (PENDING, RUNNING, SUCCEEDED, FAILED, STOPPED) and Ray's message."""

    name: str
    status: str
    message: str
    is_new: bool  # whether this call submitted it


def make_submission(
    words: Sequence[str],
    *,
    jobs: Mapping[str, Commands],
    name: str | None,
    python: str,
    runtime_env: Mapping[str, Any],
    now: datetime.datetime,
) -> Submission:
    """Take a job and its flags apart, and put them together as a command.

    Args:
        words: the job's name and its flags, as after `jobs/`: backfill --out ...
        jobs: the commands of every job.
        name: the submission's id, under which it succeeds once; None: see above.
        python: the interpreter, on the cluster.
        runtime_env: Ray's; what it holds can be read by everybody who can list jobs.
        now: with its time zone.

    Raises:
        ConfigError: there is no such job, or it refuses its flags; a path of it is the cluster's copy of this folder, and so on one
            node only; or a secret would be seen in the list of jobs.
    """
    job, *flags = words or [""]
    if job not in jobs:
        raise ConfigError(f"{job or '(nothing)'}: is no job; expected one of {', '.join(jobs)} after --, and its flags")
    if "--help" in flags:
        raise ConfigError(f"--help is not submitted; run: python jobs/{job}.py --help")
    refuse_secrets(words, "the command")
    refuse_secrets(runtime_env, "--runtime-env")
    found = split_command(jobs[job], flags)
    if found is None:
        raise ConfigError(f"{job}: expected one of its commands, {', '.join(jobs[job])}, and then its flags")
    command, options = found
    config = parse(jobs[job][command].options, options)
    _refuse_own_folders(config)
    chosen = dict(config)
    nightly = (job, command) == ("backfill", "") and not (chosen["plan"] or chosen["probe"])
    date = chosen.get("date")
    if nightly and date is None:  # a job that waits until after midnight is still this night's
        date = now.astimezone(datetime.UTC).date()
        flags += ["--date", str(date)]
    entrypoint = shlex.join([python, f"jobs/{job}.py", *flags])
    if name is None:
        name = f"backfill-{date}" if nightly else f"{job}-{hashlib.sha256(entrypoint.encode()).hexdigest()[:8]}"
        return Submission(name, entrypoint, dict(runtime_env), once=nightly)
    if not _NAME.fullmatch(name):
        raise ConfigError(f"--submission-id {name!r}: expected letters, digits, '.', '_' and '-', 100 at most")
    return Submission(name, entrypoint, dict(runtime_env), once=True)


def _refuse_own_folders(config: JobConfig) -> None:
    for name, mark in located(type(config)).items():
        value = getattr(config, name)
        for one in value if isinstance(value, list) else [value]:
            if one is None or mark.everywhere(str(one)):
                continue
            given = f" {one}" if name in config.model_fields_set else f": is missing, and by default {one}"
            raise ConfigError(
                f"--{name.replace('_', '-')}{given}: a job that was submitted runs in a copy of this folder, on one node; name a "
                "path from / on storage that all nodes see, or a URI where the option takes one"
            )


def address_of(given: str | None) -> Address:
    """The address of the Jobs API: what was given, else RAY_API_SERVER_ADDRESS, else RAY_ADDRESS where it is a URL.

    Raises:
        ConfigError: there is none, or it is no URL of a server.
    """
    ray_address = os.environ.get("RAY_ADDRESS", "")
    named = {
        "--address": given,
        "RAY_API_SERVER_ADDRESS": os.environ.get("RAY_API_SERVER_ADDRESS"),
        "RAY_ADDRESS": ray_address if "://" in ray_address else None,
    }
    source, text = next(((source, text) for source, text in named.items() if text), ("", ""))
    if not text:
        raise ConfigError("--address: is missing, and so is RAY_API_SERVER_ADDRESS; expected http://<head>:8265")
    try:
        parts = urlsplit(text)
        is_server = (
            parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
        )
    except ValueError:
        is_server = False
    if not is_server:
        raise ConfigError(f"{source}: expected http://<head>:8265 or https://..., without a user and a password")
    return Address(text.rstrip("/"), source)


def connect(address: Address) -> Any:
    """A client of the Jobs API; its token comes from RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH.

    Raises:
        ConfigError: no Jobs API answers there, or the token is refused.
    """
    import ray.exceptions
    import requests
    from ray.job_submission import JobSubmissionClient

    try:
        requests.get(f"{address.text}/api/version", timeout=_SECONDS_TO_ANSWER)  # the client itself waits for ever
        with _without("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):  # which it would take instead of the address
            return JobSubmissionClient(address.text)
    except ray.exceptions.AuthenticationError as error:
        raise ConfigError(
            f"{address}: the cluster refuses the token, or there is none: {_first_line(error)}; set "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH (or RAY_AUTH_TOKEN) as on the cluster"
        ) from error
    except (ConnectionError, requests.RequestException, RuntimeError, KeyError, ValueError, AssertionError) as error:
        raise ConfigError(
            f"{address}: no Jobs API of Ray answers there: {_first_line(error)}; is the head's dashboard on, and its "
            "port forwarded?"
        ) from error


@contextmanager
def _without(*names: str) -> Iterator[None]:
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


def submit(client: Any, submission: Submission) -> Submitted:
    """Submit, unless a try of this submission runs, or has succeeded where once is enough; returns that try or the new one.

    Raises:
        SubmissionError: such a try has another command, or Ray refuses this one.
    """
    for last in (False, True):
        with _errors("cannot be submitted"):
            tries = {job.submission_id: job for job in client.list_jobs() if job.submission_id}
        name = submission.name
        for number in range(1, len(tries) + 2):
            name = submission.name if number == 1 else f"{submission.name}.{number}"
            job = tries.get(name)
            if job is None:
                break
            if job.status in LIVE or (submission.once and job.status == "SUCCEEDED"):
                _compare(name, job, submission)
                return Submitted(name, str(job.status.value), job.message or "", is_new=False)
        with _errors("cannot be submitted"):
            try:
                client.submit_job(entrypoint=submission.command, submission_id=name, runtime_env=submission.runtime_env)
            except RuntimeError:
                if last or name not in {job.submission_id for job in client.list_jobs()}:
                    raise
                continue  # another submission of the same was a moment faster
            return status(client, name)._replace(is_new=True)
    raise AssertionError  # the second round returns or raises


def _compare(name: str, job: Any, submission: Submission) -> None:
    if job.entrypoint != submission.command:
        state = "runs" if job.status in LIVE else "has succeeded"
        raise SubmissionError(f"{name}: {state} with another command ({job.entrypoint}); choose another --submission-id")


def status(client: Any, name: str) -> Submitted:
    """How a try stands; of a failure's message the part without the log."""
    with _errors(f"{name}: cannot be asked for"):
        job = client.get_job_info(name)
    message = (job.message or "").partition(" last available logs")[0].rstrip(",. ")
    return Submitted(name, str(job.status.value), message, is_new=False)


def follow(client: Any, name: str) -> Submitted:
    """Print a try's log as it grows, until it has ended; returns how it stands then. A connection that is lost is made again.

    Raises:
        SubmissionError: it cannot be made again; the job goes on.
    """
    import aiohttp
    import requests

    printed = 0

    async def tail() -> None:
        nonlocal printed
        seen = 0  # a log is sent from its beginning
        async for text in client.tail_job_logs(name):
            print(text[max(0, printed - seen) :], end="", flush=True)
            seen += len(text)
            printed = max(printed, seen)

    failures = 0
    while failures < _RECONNECTS:
        with contextlib.suppress(RuntimeError, ConnectionError, aiohttp.ClientError, requests.RequestException):
            asyncio.run(tail())
        try:
            now = status(client, name)
        except SubmissionError:
            failures += 1
        else:
            failures = 0  # a log's connection may be closed many times in a night
            if now.status not in LIVE:
                return now
        time.sleep(_PAUSE_S)
    raise SubmissionError(
        f"{name}: the connection to the cluster was lost; the job goes on, and the same command follows it"
    )


@contextmanager
def _errors(what: str) -> Iterator[None]:
    import ray.exceptions
    import requests

    try:
        yield
    except (RuntimeError, ValueError, ConnectionError, requests.RequestException, ray.exceptions.RayError) as error:
        raise SubmissionError(f"{what}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
