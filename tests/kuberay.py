"""Reading cluster/kubernetes as a cluster would: rendered by kubectl, checked against KubeRay's own schemas."""

from __future__ import annotations

import copy
import gzip
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from reviewllm.config import without_keys

FOLDER = Path(__file__).resolve().parents[1] / "cluster" / "kubernetes"
LAYERS = ["base", "overlays/a800", "overlays/a100", "overlays/cpu-trial"]

# The submitter of KubeRay pastes the entrypoint into such a script; `date` stands at $NOW, and `ray` shows what it is given.
_SUBMIT = """
date() {
  local others=() when="" ; while (($#)); do case $1 in --date) when=$2; shift;; *) others+=("$1");; esac; shift; done
  case $when in
    *ago) command date "${others[@]}" --date "$NOW UTC $when" ;;
    *:*) command date "${others[@]}" --date "${NOW% *} $when UTC" ;;
    *) command date "${others[@]}" --date "$NOW UTC" ;;
  esac
}
ray() { shift 3; printf '%s\\n' "$@"; }
if true ; then ray job submit -- ENTRYPOINT ; fi ;
"""

Document = dict[str, Any]


def render(layer: str, *, folder: Path = FOLDER) -> list[Document]:
    """What `kubectl apply -k` would send for one layer."""
    shown = subprocess.run(["kubectl", "kustomize", str(folder / layer)], capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0, shown.stderr
    return list(yaml.safe_load_all(shown.stdout))


def one(documents: list[Document], kind: str, name: str) -> Document:
    """The document of a kind and a name."""
    (found,) = [item for item in documents if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    return found


def job_spec(documents: list[Document], name: str) -> Document:
    """The RayJob's spec of `train`, `backfill` or `nightly`."""
    if name == "nightly":
        spec: Document = one(documents, "RayCronJob", name)["spec"]["jobTemplate"]
        return spec
    return dict(one(documents, "RayJob", name)["spec"])


def pods(documents: list[Document]) -> Iterator[tuple[str, Document]]:
    """Every pod template, with `job/role`."""
    for name in ("train", "backfill", "nightly"):
        spec = job_spec(documents, name)
        yield f"{name}/head", spec["rayClusterSpec"]["headGroupSpec"]["template"]
        for group in spec["rayClusterSpec"]["workerGroupSpecs"]:
            yield f"{name}/worker", group["template"]
        yield f"{name}/submitter", spec["submitterPodTemplate"]
    yield "morning/report", one(documents, "CronJob", "morning")["spec"]["jobTemplate"]["spec"]["template"]


def schema(folder: Path, kind: str) -> Document:
    """KubeRay's schema of a kind, made strict.

    Fields that are not listed are refused, as `kubectl apply --validate=strict` does; required ones that have a default may be
    left out. CEL rules are not evaluated.
    """
    with gzip.open(folder / f"{kind}.v1.json.gz") as packed:
        found = json.load(packed)["openAPIV3Schema"]
    metadata = {"name": {"type": "string"}, "namespace": {"type": "string"}}
    texts = {"type": "object", "additionalProperties": {"type": "string"}}
    found["properties"]["metadata"] = {"type": "object", "properties": {**metadata, "labels": texts, "annotations": texts}}
    return dict(_strict(found))


def _strict(part: Any) -> Any:
    if isinstance(part, list):
        return [_strict(item) for item in part]
    if not isinstance(part, dict):
        return part
    if part.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    strict = {name: _strict(value) for name, value in part.items()}
    properties = part.get("properties")
    if isinstance(properties, dict) and part.get("type") == "object":
        strict.setdefault("additionalProperties", False)
        strict["required"] = [name for name in part.get("required", []) if "default" not in properties[name]]
    return strict


def refusals(document: Any, strict: Document) -> list[str]:
    """Where a document does not fit a schema, and why."""
    found = jsonschema.Draft202012Validator(strict).iter_errors(document)
    return [f"{'/'.join(map(str, error.path))}: {error.message[:200]}" for error in found]


def unrestricted(template: Document) -> list[str]:
    """What keeps a pod out of the restricted profile, and writable root file systems."""
    pod = template["spec"]
    context = pod.get("securityContext", {})
    wrong = [] if context.get("runAsNonRoot") is True and context.get("runAsUser", 0) > 0 else ["runs as root"]
    wrong += [] if context.get("seccompProfile") == {"type": "RuntimeDefault"} else ["no seccomp profile"]
    wrong += [name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)]
    wrong += [f"volume {one['name']}" for one in pod["volumes"] if "hostPath" in one]
    for container in pod["containers"] + pod.get("initContainers", []):
        wrong += [f"{container['name']}: {what}" for what in open_containers(container.get("securityContext", {}))]
    return wrong


def open_containers(context: Document) -> list[str]:
    """What a container's own security context lacks."""
    wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    return [name for name, value in wanted.items() if context.get(name) != value]


def secrets_in(document: Any, where: str = "") -> list[str]:
    """Places where a secret stands instead of a reference to one."""
    found: list[str] = []
    if isinstance(document, dict):
        if document.get("kind") == "Secret":
            found.append(f"{where}: a Secret")
        if "value" in document and re.search(r"TOKEN|SECRET|PASSWORD|KEY|CREDENTIAL", str(document.get("name", "")).upper()):
            found.append(f"{where}: {document['name']}")
        for name, value in document.items():
            found += secrets_in(value, f"{where}/{name}")
    elif isinstance(document, list):
        for number, value in enumerate(document):
            found += secrets_in(value, f"{where}/{number}")
    elif isinstance(document, str) and (without_keys(document) != document or re.search(r"\b[0-9a-f]{32,}\b", document)):
        found.append(f"{where}: looks like a key")
    return found


def submitted(entrypoint: str, *, now: str) -> list[str]:
    """The words that Ray is given when the submitter runs at `now` (UTC, `YYYY-MM-DD HH:MM`)."""
    script = _SUBMIT.replace("ENTRYPOINT", entrypoint.strip())
    ran = subprocess.run(
        ["bash", "-ceu", "--", script], capture_output=True, text=True, timeout=20, env={"NOW": now, "PATH": "/usr/bin:/bin"}
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def with_options(words: list[str], documents: list[Document], folder: Path) -> tuple[str, list[str]]:
    """The job's script and its arguments, --config naming a copy of the rendered options."""
    (options,) = [item for item in documents if item["kind"] == "ConfigMap"]
    at = next(number for number, word in enumerate(words) if word.startswith("/app/"))
    assert words[at - 1] == "python"
    arguments = words[at + 1 :]
    if "--config" in arguments:
        place = arguments.index("--config") + 1
        name = arguments[place].removeprefix("/etc/reviewllm/")
        (folder / name).write_text(options["data"][name], encoding="utf-8")
        arguments[place] = str(folder / name)
    return words[at].removeprefix("/app/"), arguments


def changed(document: Document, path: str, value: Any) -> Document:
    """A copy with another value at a path of names and numbers, for tests of what is refused; None takes it away."""
    copied = copy.deepcopy(document)
    *way, last = path.split("/")
    part: Any = copied
    for step in way:
        part = part[int(step) if isinstance(part, list) else step]
    if value is None:
        del part[last]
    else:
        part[last] = value
    return copied
