"""The metrics of a training run, in MLflow and TensorBoard; written by the driver alone.

A run that is continued goes on in its MLflow run and its TensorBoard folder, and no step is there twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import logging
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from pydantic import ConfigDict, Field, field_serializer, field_validator

from reviewllm.config import MLflowWhere, StageConfig
from reviewllm.errors import ConfigError
from reviewllm.sft.tensorboard import Row, Status, TensorBoard, split, warn

RUN_ID_TAG = "reviewllm.run_id"
_METRICS_A_CALL = 500  # MLflow refuses more than 1000; a server took 2 s for those, and the timeout is 10 s
_PARAMETERS_A_CALL = 100  # MLflow refuses more
_PARAMETER_CHARS = 6000  # MLflow refuses longer ones
_SECONDS_BETWEEN_TRIES = 60.0  # a server that is away costs a training at most two timeouts a minute
_OWN_FORM = "sqlite+pysqlite:///file:"
_MAX_WAITING = 100_000  # metrics kept while a server is away: about 14,000 steps of seven metrics


class TrackingConfig(StageConfig):
    """Where a training run's metrics go."""

    model_config = ConfigDict(hide_input_in_errors=True)  # a URI may hold a password

    track: bool = Field(True, description="write metrics to MLflow and TensorBoard")
    mlflow_uri: MLflowWhere | None = Field(
        None, repr=False, description="MLflow server as http(s)://..., or sqlite:///FILE; <out>/mlflow.db if not given"
    )
    mlflow_experiment: str = Field("reviewllm", min_length=1, description="MLflow experiment that the run belongs to")
    tensorboard_dir: Path | None = Field(None, description="folder for TensorBoard; <out>/tensorboard if not given")

    @field_validator("mlflow_uri")
    @classmethod
    def _known_kind(cls, uri: str | None) -> str | None:
        if uri is None or re.fullmatch(r"sqlite:///[^?#]+", uri):
            return uri
        parts = urlsplit(uri)
        server = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment)
        if not server or (parts.username is not None and not parts.password):
            raise ValueError("expected http(s)://[user:password@]host[:port] or sqlite:///FILE")
        _ = parts.port  # raises ValueError, without the password, where it is no number
        return uri

    @field_serializer("mlflow_uri", when_used="json")
    def _without_credentials(self, uri: str | None) -> str | None:
        return uri and redact(uri)  # what is saved beside the output; MLFLOW_TRACKING_USERNAME and _PASSWORD stand in


def redact(text: str) -> str:
    """Cut user and password out of every URI.

    >>> redact("cannot reach http://me:secret@host:5000/api")
    'cannot reach http://host:5000/api'
    """
    return re.sub(r"(?<=://)[^/\s]*@", "", text)


class Tracker:
    """Takes rows of metrics while a training runs; made by `tracking`. For one thread at a time."""

    def __init__(self, *sinks: _MLflow | TensorBoard) -> None:
        """Write to `sinks`; to nothing where there are none."""
        self._sinks = sinks

    def log(self, rows: Sequence[Row]) -> None:
        """Write rows; never raises for a store that is away or a disk that is full.

        Args:
            rows: "step", the optimizer step from 1, and any metrics of it; one that is None is skipped. Several rows
                may share a step. Of a continued run, a metric that MLflow has of this step or a later one is dropped
                there, and TensorBoard shows the new one in place of the old.
        """
        for sink in self._sinks:
            sink.log(rows)

    def close(self, status: Status) -> None:
        """Write what waits and end the run."""
        for sink in self._sinks:
            sink.close(status)


@contextlib.contextmanager
def tracking(
    config: TrackingConfig, *, out: Path, run_name: str, run_id: str, parameters: Mapping[str, Any]
) -> Iterator[Tracker]:
    """Track a training run: FINISHED after the block, KILLED after Ctrl-C in it, FAILED after any other error.

    After a kill -9 the MLflow run stays RUNNING until it is continued; nothing that `log` has returned from is lost.
    A server that goes away in the middle is warned about once and tried again every minute, and its metrics wait
    for it; those that still wait at the end are in TensorBoard only.

    Args:
        config: where to; with `track` false nothing is written, nor imported.
        out: the run folder; it may be shared by several trainings.
        run_name: shown by MLflow and TensorBoard.
        run_id: identifies the training; the same one continues it.
        parameters: logged once; of a continued run only those that are new.

    Raises:
        ConfigError: the MLflow store or the TensorBoard folder cannot be used.
    """
    if not config.track:
        yield Tracker()
        return
    shown = {
        name: value if isinstance(value, (bool, int, float)) else redact(str(value)) for name, value in parameters.items()
    }
    folder = re.sub(r"[^\w.-]+", "-", run_name) + "-" + run_id[:8]  # two trainings of one name stay apart
    board = TensorBoard((config.tensorboard_dir or out / "tensorboard") / folder, shown)
    tracker = Tracker(board, _MLflow(config, out, run_name, run_id, shown))
    status: Status = "FAILED"
    try:
        yield tracker
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        tracker.close(status)


class _MLflow:
    """One MLflow run, found by its tag or created."""

    def __init__(self, config: TrackingConfig, out: Path, run_name: str, run_id: str, parameters: Mapping[str, Any]) -> None:
        uri = config.mlflow_uri or _sqlite_uri((out / "mlflow.db").resolve())
        self._where = redact(uri)
        self._credentials = _credentials(uri)
        self._waiting: list[Any] = []
        self._next_try = 0.0
        self._warned = False
        try:
            with _mlflow_settings(self._credentials), _sqlite_file(uri):
                from mlflow import MlflowClient

                self._client: Any = MlflowClient(self._where, registry_uri=self._where)
                artifacts = (out / "mlflow-artifacts").resolve().as_uri() if uri.startswith("sqlite") else None
                experiment = _experiment(self._client, config.mlflow_experiment, artifacts)
                run = _run(self._client, experiment, run_name, run_id)
                self._run_id: str = run.info.run_id
                self._last_steps = _last_steps(self._client, run)
                _log_parameters(self._client, run, parameters)
        except _mlflow_errors() as error:
            raise ConfigError(
                f"--mlflow-uri {self._where}: cannot be used: {_reason(error)}; start or repair it, leave the flag out "
                f"for a SQLite file in {out}, or train with --no-track"
            ) from error

    def log(self, rows: Sequence[Row]) -> None:
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        for step, metrics in map(split, rows):
            for name, value in metrics.items():
                if step > self._last_steps.get(name, 0):  # workers that were restarted tell some steps again
                    self._last_steps[name] = step
                    self._waiting.append(Metric(name, value, now_ms, step))
        del self._waiting[:-_MAX_WAITING]
        if time.monotonic() >= self._next_try:
            self._send()

    def close(self, status: Status) -> None:
        if self._send():
            self._reach(functools.partial(self._client.set_terminated, self._run_id, status))

    def _send(self) -> bool:
        while self._waiting:
            # A metric that was received, but not acknowledged, is sent again with its old time: MLflow stores it once.
            batch = self._waiting[:_METRICS_A_CALL]
            send = functools.partial(self._client.log_batch, self._run_id, metrics=batch, synchronous=True)
            if not self._reach(send):
                self._next_try = time.monotonic() + _SECONDS_BETWEEN_TRIES
                return False
            del self._waiting[: len(batch)]
        return True

    def _reach(self, call: Callable[[], object]) -> bool:
        try:
            with _mlflow_settings(self._credentials):
                call()
        except _mlflow_errors() as error:
            if not self._warned:
                self._warned = True
                warn(f"MLflow at {self._where} is lost; the training goes on, TensorBoard has its metrics: {_reason(error)}")
            return False
        return True


def _experiment(client: Any, name: str, artifacts: str | None) -> str:
    """The experiment's id; created where there is none."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=artifacts))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another training may have been faster
            if found is None:
                raise
    return str(found.experiment_id)


def _run(client: Any, experiment: str, run_name: str, run_id: str) -> Any:
    """The run with this tag, running again; created where there is none."""
    found = client.search_runs([experiment], f"tags.`{RUN_ID_TAG}` = '{run_id}'", max_results=1)
    if not found:
        return client.create_run(experiment, run_name=run_name, tags={RUN_ID_TAG: run_id})
    client.update_run(found[0].info.run_id, status="RUNNING")
    return found[0]


def _last_steps(client: Any, run: Any) -> dict[str, int]:
    """The last step that MLflow has of every metric."""
    run_id = run.info.run_id
    return {name: max(metric.step for metric in client.get_metric_history(run_id, name)) for name in run.data.metrics}


def _log_parameters(client: Any, run: Any, parameters: Mapping[str, Any]) -> None:
    """Log the parameters that the run does not have: MLflow refuses to change one."""
    from mlflow.entities import Param

    new = [Param(name, str(value)[:_PARAMETER_CHARS]) for name, value in parameters.items() if name not in run.data.params]
    for start in range(0, len(new), _PARAMETERS_A_CALL):
        client.log_batch(run.info.run_id, params=new[start : start + _PARAMETERS_A_CALL], synchronous=True)


def _sqlite_uri(path: Path) -> str:
    """The URI of a SQLite file: plain, but for a `?`, which would begin its options, in SQLite's own form.

    (With its driver named, as MLflow would make folders of that form's name.)

    >>> _sqlite_uri(Path("/für #1/x.db")), _sqlite_uri(Path("/why?/x.db"))
    ('sqlite:////für #1/x.db', 'sqlite+pysqlite:///file:/why%3F/x.db?uri=true')
    """
    return f"{_OWN_FORM}{quote(str(path))}?uri=true" if "?" in str(path) else f"sqlite:///{path}"


def _sqlite_path(uri: str) -> Path:
    """The file that `_sqlite_uri`, or a user, named."""
    if uri.startswith(_OWN_FORM):
        return Path(unquote(uri.removeprefix(_OWN_FORM).removesuffix("?uri=true")))
    return Path(uri.removeprefix("sqlite:///"))


@contextlib.contextmanager
def _sqlite_file(uri: str) -> Iterator[None]:
    """Make a SQLite file and hold it while its tables are made: MLflow does not keep two trainings from doing both.

    Raises:
        sqlite3.Error: it is no SQLite file or cannot be opened; MLflow would try for two minutes before it says so.
    """
    if not uri.startswith("sqlite"):
        yield
        return
    path = _sqlite_path(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f".{path.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path.touch()  # SQLite itself lets no group write, whatever the umask
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA schema_version")
        yield


def _credentials(uri: str) -> dict[str, str]:
    """User and password of a URI as MLflow's variables, so that MLflow's own messages never hold them."""
    parts = urlsplit(uri)
    if parts.username is None or parts.password is None:
        return {}
    return {
        "MLFLOW_TRACKING_USERNAME": unquote(parts.username),
        "MLFLOW_TRACKING_PASSWORD": unquote(parts.password),
    }


@contextlib.contextmanager
def _mlflow_settings(credentials: Mapping[str, str]) -> Iterator[None]:
    """For the length of a call: no usage statistics, no chatter, and a server that is away is noticed in seconds."""
    patient = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}  # instead of 7 and 120 s
    settings = {
        **{name: value for name, value in patient.items() if name not in os.environ},
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",  # else a file that was removed would still be written to
        **credentials,
    }
    before = {name: os.environ.get(name) for name in settings}
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic", "urllib3.connectionpool")]
    os.environ.update(settings)
    try:
        import mlflow  # noqa: F401  # sets up its loggers, and its usage statistics unless told not to

        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _mlflow_errors() -> tuple[type[Exception], ...]:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, sqlite3.Error, OSError


def _reason(error: Exception) -> str:
    """The beginning of an error's message, on one line."""
    return redact(" ".join(str(error).split()))[:300]
