"""Prometheus' configuration, alerts and the dashboard: that they fit the code, and that they work on real jobs."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pyarrow as pa
import pytest
import yaml
from conftest import entry, example, free_port
from kill_matrix import NIGHT, PROJECT, SHARD_ROWS, SHARDS, TIMEOUT_S, Cluster, Trial, make_examples
from ray_nodes import kill_tree, node_environment, start_node, wait_until

from reviewllm.backfill.night import Manifest, read_manifest
from reviewllm.metrics import BACKFILL, PREFIX, TRAIN
from reviewllm.place import Place
from reviewllm.sft.adapter import CURVE_FILE
from reviewllm.table_files import write_table
from reviewllm.tables import EXAMPLES

FOLDER = PROJECT / "cluster" / "monitoring"
DECLARED = {PREFIX + metric.name: metric for metric in (*BACKFILL.values(), *TRAIN.values())}
FAILING = {f"e0-{number}": "refuse" for number in range(24)}  # of 120
FAILED_RUN, QUIET_SECONDS = "/watched/failed", 35.0  # longer than the 20 s for which Ray keeps a gauge
FAILED_TRAINING = f"""
import sys, time
from reviewllm.cluster import ClusterConfig, ray_session
from reviewllm.errors import NotANumberError
from reviewllm.place import Place
from reviewllm.sft.monitor import monitoring
with ray_session(ClusterConfig(ray_address=sys.argv[1])), monitoring(Place({FAILED_RUN!r})) as monitor:
    monitor.hear({{"event": "step", "step": 1, "steps": 9, "loss": 2.0, "tokens": 10, "seconds": 2.0}})
    time.sleep({QUIET_SECONDS})
    raise NotANumberError("the loss of step 2 is not a number")
"""
RAYS_LABELS = {"SessionName", "ip", "GpuIndex"}
STEPS = 150


def promtool(*arguments: str | Path) -> str:
    """What promtool says; the test fails where it is not content, and is skipped where there is none."""
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool (Debian's package prometheus), which is not there")
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def alerts() -> list[dict[str, Any]]:
    """All rules of alerts.yml."""
    return [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    board: dict[str, Any] = json.loads((FOLDER / "grafana.json").read_text())
    return board


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels without its rows."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> list[str]:
    """The dashboard's queries, with all of everything chosen."""
    return [re.sub(r"\$\w+", ".*", target["expr"]) for panel in panels() for target in panel["targets"]]


def test_prometheus_configurations_are_valid(tmp_path: Path) -> None:
    promtool("check", "config", FOLDER / "prometheus.yml")
    pods = yaml.safe_load((FOLDER / "prometheus-kubernetes.yml").read_text())
    (job,) = pods["scrape_configs"]
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]  # Debian's promtool does not know it; the rest is checked
    shutil.copy(FOLDER / "alerts.yml", tmp_path)
    (tmp_path / "pods.yml").write_text(yaml.safe_dump(pods))
    promtool("check", "config", tmp_path / "pods.yml")


@pytest.mark.parametrize("cases", ["alerts_test.yml", "alerts_nights_test.yml"])
def test_alerts_fire_when_they_should(cases: str) -> None:
    promtool("test", "rules", FOLDER / cases)


def test_alerts_all_have_a_case_a_severity_and_a_runbook() -> None:
    cases = (FOLDER / "alerts_test.yml").read_text() + (FOLDER / "alerts_nights_test.yml").read_text()
    for alert in alerts():
        name = alert["alert"]
        assert f'alertname="{name}",alertstate="firing",' in cases.replace(" ", ""), name
        assert alert["labels"]["severity"] in ("critical", "warning"), name
        assert alert["for"], name
        assert {"summary", "runbook"} <= alert["annotations"].keys(), name


def test_queries_of_dashboard_and_alerts_name_metrics_that_are_exported(tmp_path: Path) -> None:
    from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES

    of_ray = {f"{PREFIX}{gauge.name}" for gauge in METRICS_GAUGES.values() if gauge.name.startswith("node_")}
    used: set[str] = set()
    for query in [*queries(), *(alert["expr"] for alert in alerts())]:
        names = set(re.findall(r"\bray_(?:reviewllm|node)_\w+", query))
        assert names <= DECLARED.keys() | of_ray, query
        assert names or "up{" in query, query
        labels = {label for some in re.findall(r"\{([^}]*)\}", query) for label in re.findall(r"(\w+)=", some)}
        known = {label for name in names & DECLARED.keys() for label in DECLARED[name].labels}
        assert labels <= known | RAYS_LABELS | {"job"}, query
        used |= names
    assert used >= DECLARED.keys()


def test_dashboard_queries_are_promql(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries())]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", tmp_path / "rules.yml")


def test_dashboard_can_be_imported() -> None:
    board = dashboard()
    assert (board["uid"], board["schemaVersion"]) == ("reviewllm", 39)
    variables = {variable["name"] for variable in board["templating"]["list"]}
    assert variables == {"datasource", "session", "data", "run"}
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
    for panel in panels():
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
        for target in panel["targets"]:
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= variables, panel["title"]


def test_documentation_has_every_metric() -> None:
    text = (PROJECT / "docs" / "monitoring.md").read_text()
    for metric in DECLARED.values():
        assert f"| `{metric.name}` | {', '.join(metric.labels)} | {metric.unit} |" in text


class Watched(NamedTuple):
    """Jobs that have ended, and the Prometheus that watched them."""

    url: str
    started: float
    published: Trial
    refused: Trial
    run: Path  # of the training

    def ask(self, path: str, **parameters: Any) -> Any:
        """The data of an answer of Prometheus' API."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=30) as answer:
            said = json.load(answer)
        assert said["status"] == "success", said
        return said["data"]

    def last(self, query: str) -> dict[frozenset[tuple[str, str]], float]:
        """The last value that each series ever had, by those labels that are not Ray's."""
        found = self.ask("query", query=f"last_over_time({query}[1h])")["result"]
        own = ("data", "state", "run", "error")
        return {
            frozenset((name, value) for name, value in series["metric"].items() if name in own): float(series["value"][1])
            for series in found
        }

    def over_time(self, query: str) -> list[float]:
        """The values of a query at every second since the start at which it had one."""
        found = self.ask("query_range", query=query, start=self.started, end=time.time(), step="1s")["result"]
        return [float(value) for series in found for _, value in series["values"]]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    if shutil.which("prometheus") is None:
        pytest.skip("needs prometheus (Debian's package of that name), which is not there")
    folder = tmp_path_factory.mktemp("watched")
    made = make_examples(folder / "made")
    port, started = free_port(), time.time()
    temporary = Path(f"/tmp/reviewllm-watched-{port}")  # Ray's socket names must be short
    environment = node_environment()
    running: list[psutil.Popen] = []
    try:
        head = [
            "--head",
            f"--port={port}",
            "--num-cpus=4",
            f"--temp-dir={temporary}",
            f"--metrics-export-port={free_port()}",
        ]
        head += ["--dashboard-host=127.0.0.1", f"--dashboard-port={free_port()}"]
        running.append(start_node(environment, folder / "node.log", *head))
        url, prometheus = start_prometheus(folder / "prometheus", temporary)
        running.append(prometheus)
        address = f"127.0.0.1:{port}"
        cluster = Cluster(address, "", environment, running, folder / "failpoints.json")
        failing = psutil.Popen([sys.executable, "-c", FAILED_TRAINING, address], cwd=PROJECT, env=environment)
        running.append(failing)
        allowed = ("--rule-faults", json.dumps(FAILING), "--max-failed-fraction", "0.5")
        published = Trial(cluster, made, folder / "published", *allowed)
        assert published.run() == 0, published.log.read_text()
        refused = Trial(cluster, made, folder / "refused", "--rule-faults", json.dumps(dict.fromkeys(FAILING, "refuse")))
        assert refused.run() == 2, refused.log.read_text()
        assert "BudgetError" in refused.log.read_text()
        assert failing.wait(TIMEOUT_S) == 1
        run = train(folder, made / "base", address, environment)
        time.sleep(3)  # a few scrapes
        yield Watched(url, started, published, refused, run)
    finally:
        for process in running:
            kill_tree(process)
        shutil.rmtree(temporary, ignore_errors=True)


def start_prometheus(folder: Path, ray_temporary: Path) -> tuple[str, psutil.Popen]:
    """A Prometheus with the configuration as shipped, but for Ray's folder and the seconds."""
    folder.mkdir()
    shutil.copy(FOLDER / "alerts.yml", folder)
    config = (FOLDER / "prometheus.yml").read_text().replace("- /tmp/ray/", f"- {ray_temporary}/")
    config = config.replace("interval: 10s", "interval: 1s").replace("interval: 30s", "interval: 1s")
    (folder / "prometheus.yml").write_text(config)
    address, log = f"127.0.0.1:{free_port()}", folder / "log"
    with open(log, "wb") as stream:
        process = psutil.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'series'}",
                f"--web.listen-address={address}",
            ],
            stdout=stream,
            stderr=stream,
        )
    wait_until(lambda: "Server is ready" in log.read_text(), process.is_running, log)
    return f"http://{address}", process


def train(folder: Path, base: Path, address: str, environment: dict[str, str]) -> Path:
    """A small training on the cluster; its folder."""
    rows = [
        example(example_id=f"e{number}", user_id=f"u{number}", history=[entry(number % 9)], reference="Good, I love it.")
        for number in range(STEPS)
    ]
    write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), folder / "train.parquet", EXAMPLES)
    command = [sys.executable, "jobs/train.py", "--base-model", base, "--examples", folder / "train.parquet"]
    command += ["--out", folder / "trained", "--ray-address", address, "--num-workers", 1, "--no-track"]
    command += ["--gradient-accumulation-steps", 1, "--num-train-epochs", 1, "--max-prompt-tokens", 400]
    with open(folder / "train.log", "wb") as log:
        job = psutil.Popen([*map(str, command)], cwd=PROJECT, env=environment, stdout=log, stderr=log)
    try:
        assert job.wait(TIMEOUT_S) == 0, (folder / "train.log").read_text()
    finally:
        kill_tree(job)
    return folder / "trained"


def manifest_of(trial: Trial) -> Manifest:
    """The manifest of a published night."""
    manifest = read_manifest(Place(str(trial.data)), NIGHT)
    assert manifest is not None
    return manifest


@pytest.mark.cluster
def test_rows_in_prometheus_are_those_of_the_manifest(watched: Watched) -> None:
    data, manifest = str(watched.published.data), manifest_of(watched.published)
    rows = watched.last(f'ray_reviewllm_backfill_rows{{data="{data}"}}')
    wanted = {"done": manifest.written, "failed": manifest.failed, "left": 0}
    assert rows == {frozenset({("data", data), ("state", state)}): count for state, count in wanted.items()}
    assert (manifest.written, manifest.failed) == (SHARDS * SHARD_ROWS - len(FAILING), len(FAILING))
    assert max(watched.over_time(f'ray_reviewllm_backfill_tokens_per_second{{data="{data}"}}')) > 0


@pytest.mark.cluster
def test_published_night_is_seen_after_the_driver_has_ended(watched: Watched) -> None:
    manifest = manifest_of(watched.published)
    of = frozenset({("data", str(watched.published.data))})
    assert watched.last("ray_reviewllm_backfill_published_timestamp_seconds") == {of: manifest.published_at.timestamp()}
    (midnight,) = watched.last("ray_reviewllm_backfill_published_night_timestamp_seconds").values()
    assert time.gmtime(midnight)[:6] == (NIGHT.year, NIGHT.month, NIGHT.day, 0, 0, 0)


@pytest.mark.cluster
def test_loss_in_prometheus_is_that_of_the_curve(watched: Watched) -> None:
    curve = [json.loads(line) for line in (watched.run / "adapter" / CURVE_FILE).read_text().splitlines()]
    losses = {row["loss"] for row in curve}
    run = f'run="{watched.run / "checkpoints" / "adapter"}"'
    seen = watched.over_time(f"ray_reviewllm_train_loss{{{run}}}")
    assert seen
    assert all(any(math.isclose(loss, one, rel_tol=1e-12) for one in losses) for loss in seen)
    (last,) = watched.last(f"ray_reviewllm_train_loss{{{run}}}").values()
    assert math.isclose(last, curve[-1]["loss"], rel_tol=1e-12)
    steps = watched.last(f"ray_reviewllm_train_steps{{{run}}}")
    assert {dict(labels)["state"]: count for labels, count in steps.items()} == {"done": len(curve), "left": 0}


@pytest.mark.cluster
def test_gauges_of_a_training_are_there_between_two_steps_and_end_with_its_error(watched: Watched) -> None:
    seconds = watched.over_time(f'ray_reviewllm_train_loss{{run="{FAILED_RUN}"}}')
    assert seconds == [2.0] * len(seconds)
    assert len(seconds) > QUIET_SECONDS  # 10 s until it is there, and 20 s after the end
    assert watched.last("ray_reviewllm_train_failed") == {frozenset({("run", FAILED_RUN), ("error", "NotANumberError")}): 1}


@pytest.mark.cluster
def test_dashboard_queries_return_data(watched: Watched) -> None:
    for query in queries():
        found = watched.over_time(query)
        assert found or "gpus" in query or "gram" in query, query  # there is no GPU here


@pytest.mark.cluster
def test_alerts_fire_for_the_jobs_that_failed_and_for_no_other(watched: Watched) -> None:
    fired = watched.ask("query", query='last_over_time(ALERTS{alertstate="firing"}[1h])')["result"]
    labels = [series["metric"] for series in fired]
    found = {(one["alertname"], one.get("data") or one.get("run")) for one in labels}
    wanted = {
        ("ReviewllmErrorBudgetSpent", str(watched.refused.data)),
        ("ReviewllmTrainingNotANumber", FAILED_RUN),
    }
    night = "ReviewllmNightNotPublished"  # by the date of today
    assert {alert for alert in found if alert[0] != night} == wanted
