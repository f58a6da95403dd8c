"""The manifests of cluster/kubernetes, as kubectl renders them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kuberay
import pytest
from kuberay import FOLDER, LAYERS, Document, job_spec, one, pods
from ray._private import ray_constants

from jobs.backfill import BackfillJob
from jobs.demo import DemoJob
from jobs.report import NightlyJob
from jobs.train import TrainJob
from reviewllm.config import JobConfig, parse
from reviewllm.errors import ConfigError

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl on PATH, which is not there")

JOBS = ["train", "backfill", "nightly"]
SCRIPTS: dict[str, type[JobConfig]] = {"jobs/train.py": TrainJob, "jobs/backfill.py": BackfillJob, "jobs/demo.py": DemoJob}

IDLE = [  # what Ray calls the processes of a worker that has nothing to do
    ray_constants.WORKER_PROCESS_TYPE_IDLE_WORKER,
    ray_constants.WORKER_PROCESS_TYPE_SPILL_WORKER_IDLE,
    ray_constants.AGENT_PROCESS_TYPE_DASHBOARD_AGENT,
    ray_constants.AGENT_PROCESS_TYPE_RUNTIME_ENV_AGENT,
]


@pytest.fixture(scope="module")
def layers() -> dict[str, list[Document]]:
    """Every layer, rendered."""
    return {name: kuberay.render(name) for name in LAYERS}


@pytest.fixture(params=LAYERS)
def documents(request: pytest.FixtureRequest, layers: dict[str, list[Document]]) -> list[Document]:
    """One layer, rendered."""
    return layers[request.param]


@pytest.fixture(scope="module")
def schemas(shared_data: Callable[[str], Path]) -> dict[str, Document]:
    """KubeRay's strict schemas by kind."""
    folder = shared_data("data/kuberay")
    return {kind: kuberay.schema(folder, kind) for kind in ("RayJob", "RayCronJob")}


def test_ray_kinds_fit_the_schemas_of_kuberay(documents: list[Document], schemas: dict[str, Document]) -> None:
    checked = [item for item in documents if item["apiVersion"] == "ray.io/v1"]
    assert sorted(item["kind"] for item in checked) == ["RayCronJob", "RayJob", "RayJob"]
    for item in checked:
        assert kuberay.refusals(item, schemas[item["kind"]]) == []


def test_built_in_kinds_fit_the_parts_of_those_schemas(documents: list[Document], schemas: dict[str, Document]) -> None:
    """The pod template and the ingress rule are Kubernetes' own, wherever they stand."""
    spec = schemas["RayJob"]["properties"]["spec"]["properties"]
    template = one(documents, "CronJob", "morning")["spec"]["jobTemplate"]["spec"]["template"]
    assert kuberay.refusals(template, spec["submitterPodTemplate"]) == []
    rules = spec["rayClusterSpec"]["properties"]["networkPolicy"]["properties"]["head"]["properties"]["ingressRules"]
    assert kuberay.refusals(one(documents, "NetworkPolicy", "reviewllm")["spec"]["ingress"], rules) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec/shutdownAfterJobFinish", True),
        ("spec/rayClusterSpec/workerGroupSpecs/0/minReplica", 0),
        ("spec/rayClusterSpec/headGroupSpec/template/spec/securityContxt", {}),
        ("spec/rayClusterSpec/headGroupSpec/template/spec/containers/0/securityContext/runAsNonroot", True),
        ("spec/rayClusterSpec/headGroupSpec/rayStartParams/num-cpus", 0),
        ("spec/rayClusterSpec/authOptions/mode", "tokens"),
        ("spec/rayClusterSpec/headGroupSpec", None),
    ],
)
def test_schema_refuses_what_is_misspelt(
    layers: dict[str, list[Document]], schemas: dict[str, Document], path: str, value: Any
) -> None:
    wrong = kuberay.changed(one(layers["base"], "RayJob", "train"), path, value)
    assert len(kuberay.refusals(wrong, schemas["RayJob"])) == 1


def test_every_pod_is_restricted(documents: list[Document]) -> None:
    for where, template in pods(documents):
        assert kuberay.unrestricted(template) == [], where
        # The autoscaler runs in the head's pod and asks Kubernetes for workers; nobody else may talk to it.
        mounted = template["spec"].get("automountServiceAccountToken", True)
        assert mounted == where.endswith("/head"), where
    for name in JOBS:
        options = job_spec(documents, name)["rayClusterSpec"]["autoscalerOptions"]
        assert kuberay.open_containers(options["securityContext"]) == []
    enforced = one(documents, "Namespace", "reviewllm")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    assert enforced == "restricted"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec/securityContext/runAsUser", 0),
        ("spec/securityContext/seccompProfile", None),
        ("spec/hostNetwork", True),
        ("spec/volumes", [{"name": "host", "hostPath": {"path": "/"}}]),
        ("spec/containers/0/securityContext/allowPrivilegeEscalation", None),
        ("spec/containers/0/securityContext/readOnlyRootFilesystem", False),
        ("spec/containers/0/securityContext/capabilities", {"drop": ["ALL"], "add": ["NET_ADMIN"]}),
    ],
)
def test_unrestricted_finds_a_pod_that_is_not(layers: dict[str, list[Document]], path: str, value: Any) -> None:
    template = dict(pods(layers["base"]))["train/head"]
    assert len(kuberay.unrestricted(kuberay.changed(template, path, value))) == 1


def test_secrets_are_references_only(documents: list[Document]) -> None:
    assert kuberay.secrets_in(documents) == []
    named = {
        source["secretRef"]["name"]
        for _, template in pods(documents)
        for container in template["spec"]["containers"]
        for source in container.get("envFrom", [])
    }
    trial = one(documents, "PersistentVolumeClaim", "shared")["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert named == (set() if trial else {"credentials"})


@pytest.mark.parametrize(
    "secret",
    [
        {"kind": "Secret", "data": {}},
        {"env": [{"name": "HF_TOKEN", "value": "abc"}]},
        {"args": ["--key", "hf_abcdefgh12345678"]},
        {"env": [{"name": "RAY", "value": "0123456789abcdef0123456789abcdef"}]},
    ],
)
def test_secrets_in_finds_one(secret: Document) -> None:
    assert len(kuberay.secrets_in([secret])) == 1


def test_images_are_pinned_and_resources_guaranteed(documents: list[Document]) -> None:
    for where, template in pods(documents):
        for container in template["spec"]["containers"]:
            assert re.fullmatch(r"[\w./-]+(:\d+)?/[\w./-]+:\d+\.\d+\.\d+(-\w+)?", container["image"]), where
            assert container["resources"]["requests"] == container["resources"]["limits"], where
            assert {"cpu", "memory"} <= set(container["resources"]["limits"]), where


@pytest.mark.parametrize("name", JOBS)
def test_clusters_grow_from_nothing_and_end(documents: list[Document], name: str) -> None:
    spec = job_spec(documents, name)
    cluster = spec["rayClusterSpec"]
    assert spec["shutdownAfterJobFinishes"]
    assert spec["backoffLimit"] >= 1
    assert spec["ttlSecondsAfterFinished"] >= 60
    assert spec["activeDeadlineSeconds"] > 0
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["enableInTreeAutoscaling"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert [(group["replicas"], group["minReplicas"]) for group in cluster["workerGroupSpecs"]] == [(0, 0)]


def test_ray_is_the_version_that_is_installed(documents: list[Document]) -> None:
    pins = (FOLDER.parents[1] / "requirements" / "cpu.txt").read_text(encoding="utf-8")
    for name in JOBS:
        assert f"\nray=={job_spec(documents, name)['rayClusterSpec']['rayVersion']}\n" in pins


def test_every_reference_leads_somewhere(documents: list[Document]) -> None:
    there = {(item["kind"], item["metadata"]["name"]) for item in documents}
    for where, template in pods(documents):
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        for container in template["spec"]["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes), where
        for volume in volumes.values():
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in there, where
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in there, where
    assert {item["metadata"].get("namespace", "reviewllm") for item in documents} == {"reviewllm"}
    runs = {item["metadata"]["labels"]["reviewllm/run"] for item in documents}
    assert runs == {"setup", "train", "backfill", "nightly"}


def test_network_opens_rays_ports_to_own_pods_and_the_operator_only(documents: list[Document]) -> None:
    policy = one(documents, "NetworkPolicy", "reviewllm")["spec"]
    own, operator, monitoring = policy["ingress"]
    assert policy["policyTypes"] == ["Ingress"]
    assert own == {"from": [{"podSelector": policy["podSelector"]}]}
    assert (operator["ports"], monitoring["ports"]) == (
        [{"protocol": "TCP", "port": 8265}],
        [{"protocol": "TCP", "port": 8080}],
    )
    assert all(set(operator["from"][0]) == {"namespaceSelector", "podSelector"} for _ in operator["from"])
    for where, template in pods(documents):
        assert policy["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items(), where


def test_night_runs_on_the_cluster_of_the_backfill(documents: list[Document]) -> None:
    for part in ("rayClusterSpec", "submitterPodTemplate"):
        assert job_spec(documents, "nightly")[part] == job_spec(documents, "backfill")[part]


def test_driver_has_time_to_hand_back_its_work(documents: list[Document], tmp_path: Path) -> None:
    for name in ("backfill", "nightly"):
        head = job_spec(documents, name)["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
        environment = {item["name"]: item["value"] for item in head["containers"][0]["env"]}
        grace = _config(documents, name, tmp_path).grace_seconds
        # At its end, or its deadline, a job's cluster is deleted after the seconds to live.
        assert grace < job_spec(documents, name)["ttlSecondsAfterFinished"]
        assert grace < int(environment["RAY_JOB_STOP_WAIT_TIME_S"]) < head["terminationGracePeriodSeconds"]


def _config(documents: list[Document], name: str, folder: Path) -> Any:
    """What the job itself reads from the entrypoint and its options."""
    entrypoint = job_spec(documents, name)["entrypoint"].replace("NIGHT", "2026-11-22")
    words = kuberay.submitted(entrypoint, now="2026-11-22 01:00")
    script, arguments = kuberay.with_options(words, documents, folder)
    return parse(SCRIPTS[script], arguments)


def test_jobs_accept_their_entrypoints_and_options(documents: list[Document], tmp_path: Path) -> None:
    assert isinstance(_config(documents, "train", tmp_path), (TrainJob, DemoJob))
    by_hand, night = (_config(documents, name, tmp_path) for name in ("backfill", "nightly"))
    assert by_hand == night
    assert str(night.date) == "2026-11-22"


def test_night_by_hand_without_its_date_is_refused(layers: dict[str, list[Document]], tmp_path: Path) -> None:
    words = kuberay.submitted(job_spec(layers["base"], "backfill")["entrypoint"], now="2026-11-22 01:00")
    with pytest.raises(ConfigError, match="expected YYYY-MM-DD, got 'NIGHT'"):
        parse(BackfillJob, kuberay.with_options(words, layers["base"], tmp_path)[1])


@pytest.mark.parametrize(
    ("now", "night", "seconds_left"),
    [
        ("2026-11-22 01:00", "2026-11-22", 5 * 3600),
        ("2026-11-22 05:59", "2026-11-22", 60),
        ("2026-11-22 23:30", "2026-11-22", -17.5 * 3600),
        ("2026-11-23 00:30", "2026-11-22", 5.5 * 3600),  # 23 and a half hours after its start it is still the same night
        ("2026-11-23 01:00", "2026-11-23", 5 * 3600),
    ],
)
def test_retry_is_the_same_night(layers: dict[str, list[Document]], now: str, night: str, seconds_left: float) -> None:
    words = kuberay.submitted(job_spec(layers["base"], "nightly")["entrypoint"], now=now)
    assert words[:2] == ["timeout", "--kill-after=2m"]
    assert (float(words[2]), words[words.index("--date") + 1]) == (seconds_left, night)


def test_night_that_would_begin_after_its_end_does_nothing(layers: dict[str, list[Document]], tmp_path: Path) -> None:
    words = kuberay.submitted(job_spec(layers["base"], "nightly")["entrypoint"], now="2026-11-22 12:00")
    mark = tmp_path / "ran"
    ended = subprocess.run([*words[:3], "touch", str(mark)], capture_output=True, timeout=20)
    assert ended.returncode != 0
    assert not mark.exists()


def test_night_is_over_before_the_next_and_before_its_report(layers: dict[str, list[Document]]) -> None:
    cron, morning = (one(layers["base"], *item)["spec"] for item in (("RayCronJob", "nightly"), ("CronJob", "morning")))
    assert (cron["schedule"], morning["schedule"]) == ("0 1 * * *", "30 6 * * *")
    assert cron["timeZone"] == morning["timeZone"] == "Etc/UTC"
    attempts = cron["jobTemplate"]["backoffLimit"] + 1
    assert attempts * cron["jobTemplate"]["activeDeadlineSeconds"] < 24 * 3600
    assert morning["concurrencyPolicy"] == "Forbid"


def test_morning_reports_the_night_that_was(documents: list[Document], tmp_path: Path) -> None:
    (container,) = one(documents, "CronJob", "morning")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["bash", "-c"]
    words = kuberay.submitted(container["args"][0].removeprefix("exec "), now="2026-11-22 06:30")
    script, arguments = kuberay.with_options(words, documents, tmp_path)
    assert (script, arguments[0]) == ("jobs/report.py", "nightly")
    report = parse(NightlyJob, arguments[1:])
    assert str(report.date) == "2026-11-22"
    assert report.data == _config(documents, "nightly", tmp_path).root


def _workers(documents: list[Document], name: str) -> tuple[int, float, int]:
    """How many workers there may be, and CPUs and GPUs of each."""
    (group,) = job_spec(documents, name)["rayClusterSpec"]["workerGroupSpecs"]
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    return group["maxReplicas"], float(limits["cpu"]), int(limits.get("nvidia.com/gpu", "0"))


def test_actors_of_a_backfill_fit_all_at_once(documents: list[Document], tmp_path: Path) -> None:
    config = _config(documents, "nightly", tmp_path)
    workers, cpus, gpus = _workers(documents, "nightly")
    places = int(cpus // config.cpus_per_engine)
    if config.gpus_per_engine:
        places = min(places, int(gpus // config.gpus_per_engine))
        assert config.num_engines == workers * gpus / config.gpus_per_engine  # no GPU lies idle
    else:
        assert gpus == 0
    assert config.num_engines <= workers * places
    others = config.num_renderers * config.cpus_per_renderer + config.num_scorers * config.cpus_per_scorer
    merge = 1  # the task that merges the adapter
    assert workers * cpus >= config.num_engines * config.cpus_per_engine + others + merge


def test_workers_of_a_training_fit_all_at_once(documents: list[Document], tmp_path: Path) -> None:
    config = _config(documents, "train", tmp_path)
    training = TrainJob(base_model="of the demo") if isinstance(config, DemoJob) else config
    workers, cpus, gpus = _workers(documents, "train")
    assert training.use_gpu == (gpus > 0)
    assert training.num_workers * training.cpus_per_worker <= workers * cpus
    assert training.num_workers <= workers * (gpus or cpus)


def test_overlays_change_what_they_are_for(layers: dict[str, list[Document]]) -> None:
    seen = {}
    for layer, documents in layers.items():
        for name in JOBS:
            (group,) = job_spec(documents, name)["rayClusterSpec"]["workerGroupSpecs"]
            pod = group["template"]["spec"]
            images = {container["image"] for _, template in pods(documents) for container in template["spec"]["containers"]}
            product = pod.get("nodeSelector", {}).get("nvidia.com/gpu.product")
            tolerated = [item["key"] for item in pod.get("tolerations", [])]
            seen[layer, name] = (*_workers(documents, name), product, tolerated, images)
    gpu, image = ["nvidia.com/gpu"], "registry.example.com/reviewllm:0.1.0"
    wanted = {
        "base": (4, 8.0, 1, None, gpu, {image}),
        "overlays/a800": (2, 64.0, 8, "NVIDIA-A800-SXM4-80GB", gpu, {image}),
        "overlays/a100": (2, 32.0, 4, "NVIDIA-A100-SXM4-80GB", gpu, {image}),
        "overlays/cpu-trial": (1, 4.0, 0, None, [], {f"{image}-cpu"}),
    }
    assert seen == {(layer, name): facts for layer, facts in wanted.items() for name in JOBS}


def test_another_registry_reaches_every_container(tmp_path: Path) -> None:
    """Kustomize does not know KubeRay's fields by itself; references.yaml tells it."""
    copied = tmp_path / "kubernetes"
    shutil.copytree(FOLDER, copied)
    overlay = copied / "overlays" / "a800" / "kustomization.yaml"
    before = overlay.read_text(encoding="utf-8")
    after = before.replace("newName: registry.example.com/reviewllm", "newName: registry.test:5000/team/reviewllm")
    assert after != before
    overlay.write_text(after, encoding="utf-8")
    shown = kuberay.render("overlays/a800", folder=copied)
    images = {container["image"] for _, template in pods(shown) for container in template["spec"]["containers"]}
    assert images == {"registry.test:5000/team/reviewllm:0.1.0"}


def test_podmonitor_selects_the_nodes_that_the_component_adds_it_for(
    layers: dict[str, list[Document]], tmp_path: Path
) -> None:
    copied = tmp_path / "kubernetes"
    shutil.copytree(FOLDER, copied)
    overlay = copied / "overlays" / "a800" / "kustomization.yaml"
    overlay.write_text(overlay.read_text(encoding="utf-8") + "components: [../../components/podmonitor]\n", encoding="utf-8")
    monitor = one(kuberay.render("overlays/a800", folder=copied), "PodMonitor", "reviewllm")["spec"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    selected = {**monitor["selector"]["matchLabels"]}
    assert selected.pop("ray.io/is-ray-node") == "yes"  # which KubeRay sets on head and workers
    for where, template in pods(layers["overlays/a800"]):
        if where.endswith(("/head", "/worker")):
            ports = {port["name"]: port["containerPort"] for port in template["spec"]["containers"][0]["ports"]}
            assert selected.items() <= template["metadata"]["labels"].items()
            assert ports[endpoint["port"]] == int(template["metadata"]["annotations"]["prometheus.io/port"])


def test_files_begin_with_what_they_are_and_their_command() -> None:
    for file in sorted(FOLDER.rglob("*.yaml")):
        first, *rest = file.read_text(encoding="utf-8").splitlines()
        assert first.startswith("# "), file
        assert file.name == "references.yaml" or re.search(
            "kubectl|python jobs/|components:|kustomization", first + rest[0]
        ), file


def _pre_stop(documents: list[Document], where: str) -> str:
    (container,) = dict(pods(documents))[where]["spec"]["containers"]
    *shell, script = container["lifecycle"]["preStop"]["exec"]["command"]
    assert shell == ["bash", "-c"]
    return str(script)


def test_head_that_stops_waits_until_the_driver_has_handed_back(layers: dict[str, list[Document]], tmp_path: Path) -> None:
    """The entrypoint runs in a shell, under `timeout`: only the driver itself gets the signal, and it is waited for."""
    job, begun, done = tmp_path / "jobs" / "backfill.py", tmp_path / "begun", tmp_path / "done"
    job.parent.mkdir()
    job.write_text(
        "import pathlib, signal, sys, time\n"
        "def stop(*_): time.sleep(1); pathlib.Path(sys.argv[2]).touch(); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, stop); pathlib.Path(sys.argv[1]).touch(); time.sleep(60)\n"
    )
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    driver = subprocess.Popen(["sh", "-c", f"timeout 50 python {job} {begun} {done}; exit $?"], env=environment)
    try:
        while not begun.exists():
            time.sleep(0.05)
        script = _pre_stop(layers["base"], "nightly/head").replace("/app/", f"{tmp_path}/")
        subprocess.run(["bash", "-c", script], timeout=20, check=False, capture_output=True)
        assert done.exists()
        assert driver.wait(timeout=10) == 143
    finally:
        driver.kill()


@pytest.mark.parametrize(
    ("title", "waits"), [("ray::Engine.generate", True), ("ray::Scorer", True), *[(t, False) for t in IDLE]]
)
def test_worker_that_stops_waits_for_what_is_under_way(layers: dict[str, list[Document]], title: str, waits: bool) -> None:
    script = _pre_stop(layers["base"], "nightly/worker")
    listing = "pgrep --list-full --full ^ray::"
    assert listing in script
    found = subprocess.run(
        ["bash", "-c", script.replace(listing, f"echo '123 {title}'").replace("sleep 1", "exit 7")],
        capture_output=True,
        timeout=20,
    )
    assert found.returncode == (7 if waits else 0)
