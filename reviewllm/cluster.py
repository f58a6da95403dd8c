"""Connecting to Ray: the cluster that is there, else a local one for this process, quiet on the screen."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from reviewllm import errors
from reviewllm.config import StageConfig
from reviewllm.errors import ConfigError, ReviewLLMError

_SECONDS_TO_ANSWER = 30.0
_local_address: str | None = None  # of the Ray that this process started

_QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "0",
    "TOKENIZERS_PARALLELISM": "true",
    "TRANSFORMERS_VERBOSITY": "error",
}


class ClusterConfig(StageConfig):
    """Where a job runs."""

    ray_address: str | None = Field(
        None,
        description="Ray cluster: host:port of its head, auto for the one on this node, local for a Ray of the job's own; default: "
        "RAY_ADDRESS, which a submitted job has, else local",
    )


class Address(NamedTuple):
    """An address, and the option or environment variable that named it."""

    text: str
    source: str

    def __str__(self) -> str:
        """As messages name it."""
        return f"{self.source} {self.text}"


def cluster_address(config: ClusterConfig) -> Address | None:
    """The address of the Ray cluster that a job is to use; None: a local Ray is started for it.

    Raises:
        ConfigError: it is of no form that a job can connect to.
    """
    named = {"--ray-address": config.ray_address, "RAY_ADDRESS": os.environ.get("RAY_ADDRESS")}
    for source, text in named.items():
        if text:
            return None if text == "local" else _checked(Address(text, source))
    return None


def _checked(address: Address) -> Address:
    """Refuse what Ray would wait for in vain, or what is not reached from here."""
    if address.text == "auto" or re.fullmatch(r"[^/@\s]+:\d{1,5}", address.text):
        return address
    scheme, sign, _ = address.text.partition("://")
    given = f"{scheme}://..." if sign else "this"  # the rest may hold a password
    raise ConfigError(
        f"{address.source}: {given} is no address that a job connects to; expected host:port of the cluster's head, auto or local. "
        "From outside of the cluster submit the job: python jobs/submit.py --address http://<head>:8265 -- <job>; to run on this "
        "machine alone pass --ray-address local"
    )


def quiet_environment() -> None:
    """Switch off the libraries' own bars and notes, here and in all that is started from here; to be called early."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def ray_session(config: ClusterConfig) -> Iterator[None]:
    """Connect to Ray, and on the way out leave it; a session that is open already is used and left open.

    Without an address a local cluster is started, on loopback and without a dashboard. What engines and workers print goes to
    Ray's log files, named on the screen.

    Raises:
        ConfigError: the cluster cannot be reached, or no local one be started.
    """
    quiet_environment()
    import ray

    if ray.is_initialized():
        yield
        return
    _connect(cluster_address(config))
    _be_quiet()
    try:
        with _core_messages_in(Path(log_folder()) / "reviewllm-driver-core.log"):
            yield
    finally:
        ray.shutdown()


def _connect(address: Address | None) -> None:
    import ray
    import ray.exceptions

    global _local_address
    try:
        if address:
            _knock(address.text)
            ray.init(address=address.text, log_to_driver=False, logging_level=logging.ERROR)
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(
            address="local",
            num_cpus=max(2, os.cpu_count() or 1),  # an engine and a scorer must fit, even on one core
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        _local_address = ray.get_runtime_context().gcs_address
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        if address is None:
            raise ConfigError(f"no Ray can be started on this machine: {error}") from error
        raise ConfigError(
            f"{address}: no Ray cluster can be reached there: {error}; to run on this machine alone pass --ray-address local"
        ) from error


def _knock(address: str) -> None:
    """Ray tries for more than ten minutes to reach host:port where nobody listens.

    Raises:
        ConnectionError: nobody answers there.
    """
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        return  # "auto"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(str(error)) from error


def require_resources(*, cpus: float, gpus: float, flags: str) -> None:
    """Say at once where what a job asks for is not there: Ray would wait for it in silence.

    A cluster may still grow, so there it is only said; a local Ray will not.

    Raises:
        ConfigError: the local machine has less.
    """
    import ray

    there = ray.cluster_resources()
    lacking = [
        f"{wanted:g} {name}s, of which there are {there.get(name, 0):g}"
        for name, wanted in (("CPU", cpus), ("GPU", gpus))
        if wanted > there.get(name, 0)
    ]
    if not lacking:
        return
    message = f"the job asks for {' and '.join(lacking)} ({flags})"
    if ray.get_runtime_context().gcs_address == _local_address:
        raise ConfigError(f"{message}; lower them, or run on a cluster with --ray-address")
    print(f"waiting for the cluster to grow: {message}", file=sys.stderr, flush=True)


def own_error(error: BaseException, otherwise: type[ReviewLLMError]) -> ReviewLLMError:
    """The error of ours that a worker raised, out of the text that Ray wrapped around it; else `otherwise` with what it says.

    Ray keeps the chain of causes as text only, so the class is found by its name. Of a traceback the last error is said.
    """
    found = re.findall(r"reviewllm\.errors\.(\w+): (.+)", str(error))
    if found:
        name, message = found[-1]
        kind = getattr(errors, name, None)
        if isinstance(kind, type) and issubclass(kind, ReviewLLMError):
            return kind(message)
    said = re.findall(r"^\s*([\w.]+(?:Error|Exception): .+)$", str(error), flags=re.MULTILINE)
    return otherwise(f"{said[-1] if said else error}\n(the workers' logs are in {log_folder()})")


def log_folder() -> str:
    """Where Ray writes what engines and workers print."""
    import ray

    return os.path.join(ray._private.worker._global_node.get_session_dir_path(), "logs")


@contextlib.contextmanager
def _core_messages_in(path: Path) -> Iterator[None]:
    """Send what Ray's C++ core writes to the process's standard error to a file; Python's own stays on the screen.

    The core prints an error-level note about restarts whenever Ray Data starts an actor.
    """
    sys.stderr.flush()
    screen, before = os.dup(2), sys.stderr
    with open(path, "ab") as log:
        os.dup2(log.fileno(), 2)
    if before is sys.__stderr__:
        sys.stderr = open(screen, "w", buffering=1, closefd=False)  # noqa: SIM115  (ends with the session)
    try:
        yield
    finally:
        # `screen` stays open: what was made meanwhile, log handlers say, may hold it, and its number must not be reused.
        sys.stderr = before
        os.dup2(screen, 2)


def _be_quiet() -> None:
    """Keep Ray's own bars and notes off the screen: the jobs show their own."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray.data", "ray.train", "ray.tune"):
        logging.getLogger(name).setLevel(logging.ERROR)
