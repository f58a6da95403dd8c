"""Metrics of a training: read back from real stores, continued without a step twice, and never in the training's way."""

from __future__ import annotations

import base64
import json
import math
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from permissions import closed_to_others, umask
from pydantic import ValidationError

from reviewllm.errors import ConfigError
from reviewllm.sft.tracking import RUN_ID_TAG, TrackingConfig, _sqlite_uri, tracking

RUN_ID = "0123456789abcdef"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run in an empty folder, which every test leaves empty."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield
    assert not list(here.iterdir())
    assert not [name for name in os.environ if name.startswith("MLFLOW_")]


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with MLflow's tables, which take most of a second to make."""
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}")
    return file


@pytest.fixture
def out(tmp_path: Path, empty_store: Path) -> Path:
    """A run folder with an empty store."""
    folder = tmp_path / "out"
    folder.mkdir()
    shutil.copy(empty_store, folder)
    return folder


def track(out: Path, rows: list[dict[str, Any]], *, error: BaseException | None = None, **changed: Any) -> None:
    """One start of a training that logs `rows` one by one and then ends, or fails with `error`."""
    call: dict[str, Any] = {"run_name": "a run", "run_id": RUN_ID, "parameters": {"lora_r": 8}, "config": TrackingConfig()}
    call |= changed
    with tracking(call.pop("config"), out=out, **call) as tracker:
        for row in rows:
            tracker.log([row])
        if error is not None:
            raise error


def losses(*steps: int) -> list[dict[str, Any]]:
    return [{"step": step, "loss": 10.0 - step} for step in steps]


def client(out: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(_sqlite_uri(out / "mlflow.db"))


def only_run(out: Path) -> Any:
    """The one run in the SQLite store of a run folder."""
    store = client(out)
    experiment = store.get_experiment_by_name("reviewllm")
    (run,) = store.search_runs([experiment.experiment_id])
    return run


def history(out: Path, metric: str) -> list[tuple[int, float]]:
    """Steps and values that MLflow has of a metric."""
    stored = client(out).get_metric_history(only_run(out).info.run_id, metric)
    return sorted((metric.step, metric.value) for metric in stored)


def board(folder: Path, tag: str) -> list[tuple[int, float]]:
    """Steps and values that TensorBoard shows of a tag: it drops what a START event of a later file covers."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    shown: list[tuple[int, float]] = []
    for file in sorted(folder.rglob("events.out.tfevents.*")):
        data, at = file.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)  # length, its checksum (4 bytes), event, its checksum
            event = Event.FromString(data[at + 12 : at + 12 + length])
            at += 12 + length + 4
            if event.session_log.status == SessionLog.START:
                shown = [(step, value) for step, value in shown if step < event.step]
            shown += [(event.step, value.simple_value) for value in event.summary.value if value.tag == tag]
    return shown


def test_tracking_is_read_back_from_both_stores(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "für uns? 100% #1 & a=b %41 'q' \U0001f600"
    rows = [
        {"step": 1, "loss": 2.5, "learning_rate": 0.5, "validation_loss": None},
        {"step": 2, "loss": 2.0, "learning_rate": 0.5, "validation_loss": 3.0},
    ]
    with umask(0o002):
        track(out, rows, parameters={"lora_r": 8, "base_model": "tiny", "long": "x" * 7000, "out": out, "none": None})
    run = only_run(out)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "a run"
    assert run.data.tags[RUN_ID_TAG] == RUN_ID
    assert run.data.params == {"lora_r": "8", "base_model": "tiny", "long": "x" * 6000, "out": str(out), "none": "None"}
    assert run.info.artifact_uri.startswith((out / "mlflow-artifacts").as_uri())
    assert history(out, "loss") == board(out / "tensorboard", "loss") == [(1, 2.5), (2, 2.0)]
    assert history(out, "validation_loss") == board(out / "tensorboard", "validation_loss") == [(2, 3.0)]
    assert [folder.name for folder in (out / "tensorboard").iterdir()] == ["a-run-01234567"]
    assert sorted(path.name for path in out.iterdir()) == [".mlflow.db.lock", "mlflow.db", "tensorboard"]
    assert {path.name for path in tmp_path.iterdir()} == {"here", out.name}  # and nothing where a URI would say
    with umask(0o002):
        assert closed_to_others(out) == {}
    assert capfd.readouterr() == ("", "")


def test_tracking_many_metrics_exceed_no_limit_of_a_call(out: Path) -> None:
    rows = [{"step": step, **{f"m{number}": float(step) for number in range(15)}} for step in range(1, 101)]
    with tracking(
        TrackingConfig(), out=out, run_name="r", run_id=RUN_ID, parameters={f"p{n}": n for n in range(150)}
    ) as tracker:
        tracker.log([*rows, {"step": 101, "loss": math.nan}])
    assert math.isnan(history(out, "loss")[0][1])
    assert [step for step, _ in history(out, "m14")] == list(range(1, 101))  # 100 * 15 = 1500 metrics
    assert len(only_run(out).data.params) == 150


def test_tracking_continued_run_has_no_step_twice(out: Path) -> None:
    with pytest.raises(RuntimeError):
        track(out, [*losses(1, 2, 3), {"step": 2, "validation_loss": 4.0}], error=RuntimeError("killed"))
    assert only_run(out).info.status == "FAILED"
    # From a checkpoint at step 1: 2 and 3 are done again, and the evaluation at step 3 is new.
    again = [*losses(2, 3), {"step": 2, "validation_loss": 4.0}, {"step": 3, "validation_loss": 3.0}, *losses(4)]
    track(out, again, parameters={"lora_r": 16, "resumed": True})
    assert history(out, "loss") == board(out, "loss") == [(1, 9.0), (2, 8.0), (3, 7.0), (4, 6.0)]
    assert history(out, "validation_loss") == board(out, "validation_loss") == [(2, 4.0), (3, 3.0)]
    assert only_run(out).info.status == "FINISHED"
    assert only_run(out).data.params == {"lora_r": "8", "resumed": "True"}


def test_tracking_killed_driver_loses_no_row(out: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from reviewllm.sft.tracking import *\n"
        f"with tracking(TrackingConfig(), out=Path(sys.argv[1]), run_name='a run', run_id={RUN_ID!r}, parameters={{}}) as t:\n"
        "    t.log([{'step': 1, 'loss': 9.0}, {'step': 2, 'loss': 8.0}])\n"
        "    from mlflow.telemetry import get_telemetry_client\n"
        "    assert get_telemetry_client() is None\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTEST_CURRENT_TEST", "CI")}  # or off
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    assert subprocess.run([sys.executable, "-c", code, str(out)], env=environment).returncode == -9
    assert only_run(out).info.status == "RUNNING"
    track(out, losses(2, 3))
    assert history(out, "loss") == board(out, "loss") == [(1, 9.0), (2, 8.0), (3, 7.0)]


def test_tracking_other_run_id_is_another_run(out: Path) -> None:
    track(out, losses(1))
    track(out, losses(1), run_id="f" * 16)
    experiment = client(out).get_experiment_by_name("reviewllm").experiment_id
    assert len(client(out).search_runs([experiment])) == 2
    assert len(list((out / "tensorboard").iterdir())) == 2


def test_tracking_interrupted_run_is_killed(out: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        track(out, losses(1), error=KeyboardInterrupt())
    assert only_run(out).info.status == "KILLED"


def test_tracking_switched_off_writes_and_imports_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from reviewllm.sft.tracking import *\n"
        "with tracking(TrackingConfig(track=False), out=Path('out'), run_name='r', run_id='1', parameters={}) as t:\n"
        "    t.log([{'step': 1, 'loss': 2.0}])\n"
        "print({'mlflow', 'torch', 'tensorboardX', 'sqlalchemy'} & set(sys.modules))"
    )
    path = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("set()\n", "")


def closed_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def test_tracking_unreachable_server_is_refused_soon_and_without_the_password(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = TrackingConfig(mlflow_uri=f"http://me:s3cret@127.0.0.1:{closed_port()}")
    started = time.monotonic()
    with pytest.raises(ConfigError, match=r"--mlflow-uri http://127\.0\.0\.1:\d+: cannot be used: .*--no-track") as caught:
        track(tmp_path, [], config=config)
    assert time.monotonic() - started < 8
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cret" not in str(error)
        error = error.__cause__ or error.__context__
    assert capfd.readouterr() == ("", "")


def test_tracking_damaged_sqlite_file_is_refused_soon(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 1000)
    started = time.monotonic()
    with pytest.raises(ConfigError, match="file is not a database"):
        track(tmp_path, [])
    assert time.monotonic() - started < 8


def test_tracking_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--tensorboard-dir"):
        track(tmp_path, [], config=TrackingConfig(tensorboard_dir=tmp_path / "file"))
    with pytest.raises(ConfigError, match="cannot be used"):
        track(tmp_path, [], config=TrackingConfig(mlflow_uri=f"sqlite:///{tmp_path}/file/mlflow.db"))


def test_tracking_lost_store_does_not_stop_the_training(out: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with tracking(TrackingConfig(), out=out, run_name="r", run_id=RUN_ID, parameters={}) as tracker:
        tracker.log(losses(1))
        (out / "mlflow.db").rename(out / "away.db")
        for step in (2, 3):
            tracker.log(losses(step))
        (out / "mlflow.db").unlink()  # SQLite has made an empty one
        (out / "away.db").rename(out / "mlflow.db")
    printed, warned = capfd.readouterr()
    assert printed == ""
    assert warned.startswith(f"warning: MLflow at sqlite:///{out}/mlflow.db is lost; the training goes on")
    assert warned.count("\n") == 1
    assert board(out, "loss") == [(1, 9.0), (2, 8.0), (3, 7.0)]
    assert history(out, "loss") == [(1, 9.0), (2, 8.0), (3, 7.0)]  # what waited is sent at the end
    assert only_run(out).info.status == "FINISHED"


class Server(HTTPServer):
    """Answers as an MLflow server does, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked: list[tuple[str, dict[str, Any], str]] = []
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    @property
    def uri(self) -> str:
        return f"http://me:s3cret@127.0.0.1:{self.server_port}"

    def stop(self) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()


class Answer(BaseHTTPRequestHandler):
    def answer(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        name = self.path.partition("?")[0].partition("/mlflow/")[2]
        self.server.asked.append((name, body, self.headers["Authorization"]))  # type: ignore[attr-defined]
        run = {"info": {"run_id": "r1", "experiment_id": "7", "status": "RUNNING", "artifact_uri": "x"}, "data": {}}
        answers = {
            "experiments/get-by-name": {"experiment": {"experiment_id": "7", "name": "reviewllm"}},
            "runs/create": {"run": run},
            "runs/update": {"run_info": run["info"]},
        }
        answer = json.dumps(answers.get(name, {})).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = answer

    def log_message(self, *args: Any) -> None:
        pass


def test_tracking_server_gets_rows_and_credentials(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    server = Server()
    try:
        config = TrackingConfig(mlflow_uri=server.uri)
        track(tmp_path, losses(1), config=config, parameters={"mlflow_uri": server.uri})
    finally:
        server.stop()
    names = [name for name, _, _ in server.asked]
    assert names == [
        "experiments/get-by-name",
        "runs/search",
        "runs/create",
        "runs/log-batch",
        "runs/log-batch",
        "runs/update",
    ]
    assert {header for _, _, header in server.asked} == {"Basic " + base64.b64encode(b"me:s3cret").decode()}
    assert "s3cret" not in str([body for _, body, _ in server.asked])
    (metric,) = server.asked[4][1]["metrics"]
    assert (metric["key"], metric["value"], metric["step"]) == ("loss", 9.0, 1)
    assert server.asked[5][1]["status"] == "FINISHED"
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]
    assert capfd.readouterr() == ("", "")


def test_tracking_lost_server_is_one_warning(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    server = Server()
    config = TrackingConfig(mlflow_uri=server.uri)
    with tracking(config, out=tmp_path, run_name="r", run_id=RUN_ID, parameters={}) as tracker:
        tracker.log(losses(1))
        server.stop()
        for step in (2, 3, 4):
            tracker.log(losses(step))
    printed, warned = capfd.readouterr()
    assert printed == ""
    assert warned.startswith("warning: MLflow at http://127.0.0.1")
    assert warned.count("\n") == 1
    assert "s3cret" not in warned
    assert board(tmp_path, "loss") == [(1, 9.0), (2, 8.0), (3, 7.0), (4, 6.0)]


def test_tracking_config_password_is_neither_shown_nor_saved() -> None:
    config = TrackingConfig(mlflow_uri="https://me:s3cret@host:5000/path")
    assert config.model_dump(mode="json")["mlflow_uri"] == "https://host:5000/path"
    assert config.model_dump()["mlflow_uri"] == config.mlflow_uri
    assert "s3cret" not in repr(config)


@pytest.mark.parametrize(
    "uri", ["mlruns", "file:///x", "http://", "http://me@host", "http://me:s3cret@host:x", "http://h?s3cret=1", "sqlite:///"]
)
def test_tracking_config_unknown_uri_is_refused(uri: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TrackingConfig(mlflow_uri=uri)
    assert "s3cret" not in str(caught.value)
