"""cluster/Dockerfile, read by hand: no test here can build an image."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "cluster" / "Dockerfile"

Instruction = tuple[str, str]


def instructions(text: str) -> list[Instruction]:
    """Keyword and rest of every instruction, continuation lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\s*\n\s*", " ", "\n".join(lines))
    pairs = [line.split(maxsplit=1) for line in joined.splitlines()]
    return [(keyword.upper(), rest) for keyword, rest in pairs]


def faults(text: str) -> list[str]:
    """What no image of ours may do."""
    found, stages, user = [], set[str](), ""
    for keyword, rest in instructions(text):
        if keyword == "FROM":
            image, *name = rest.split(" AS ")
            own = any(re.fullmatch(image.replace("${FLAVOUR}", r"\w+"), stage) for stage in stages)
            if not own and not re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?", image):
                found.append(f"not pinned: {image}")
            stages |= set(name)
            user = "" if not own else user
        elif keyword == "USER":
            user = rest
        elif keyword in ("ARG", "ENV") and re.search(r"TOKEN|SECRET|PASSWORD|_KEY|CREDENTIAL", rest.upper()):
            found.append(f"a secret stays in the image: {keyword} {rest}")
        elif keyword == "ADD" or (keyword == "COPY" and rest.split()[0] in (".", "--from=scratch")):
            found.append(f"copies what is not named: {keyword} {rest}")
    if not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", user):
        found.append(f"the last USER is no number above 0, which Kubernetes can check: {user!r}")
    return found


@pytest.fixture(scope="module")
def text() -> str:
    """The Dockerfile."""
    return FILE.read_text(encoding="utf-8")


def test_dockerfile_has_no_faults(text: str) -> None:
    assert faults(text) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (r"FROM python:3\.11\.\d+-", "FROM python:3.11-"),
        (r"FROM python:3\.11\.\d+-slim-bookworm", "FROM python"),
        ("USER 1000:1000", "USER root"),
        ("USER 1000:1000", ""),
        ("WORKDIR", "ENV HF_TOKEN=abc\nWORKDIR"),
        ("COPY jobs jobs", "COPY . ."),
    ],
)
def test_faults_finds_one(text: str, before: str, after: str) -> None:
    wrong = re.sub(before, after, text, count=1)
    assert wrong != text
    assert len(faults(wrong)) == 1


def test_copied_files_exist_and_are_sent(text: str) -> None:
    ignore = FILE.with_name("Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in ignore if line and not line.startswith("#")]
    assert patterns[0] == "*"
    sent = {line[1:] for line in patterns if line.startswith("!")}
    copied = {source for keyword, rest in instructions(text) if keyword == "COPY" for source in rest.split()[:-1]}
    assert all((ROOT / source).exists() for source in copied)
    assert copied == sent


def test_image_has_what_the_manifests_and_the_project_ask_for(text: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == ">=3.11,<3.12"
    assert "FROM python:3.11." in text
    assert "'.[gpu]'" in text
    assert "gpu" in project["optional-dependencies"]
    # KubeRay's probes call wget, our preStop hooks pkill and pgrep, Ray's launcher rsync, Triton a compiler.
    for package in ("bash", "wget", "procps", "rsync", "gcc", "libc6-dev"):
        assert re.search(rf"install [^&]*\b{package}\b", text), package
    cluster = yaml.safe_load((ROOT / "cluster" / "kubernetes" / "base" / "cluster.yaml").read_text(encoding="utf-8"))
    context = cluster["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["securityContext"]
    assert f"USER {context['runAsUser']}:{context['runAsGroup']}" in text
    assert "WORKDIR /app" in text  # the entrypoints name /app/jobs/...


def test_both_flavours_are_stages(text: str) -> None:
    stages = {rest.split(" AS ")[1] for keyword, rest in instructions(text) if keyword == "FROM" and " AS " in rest}
    assert stages == {"base", "dependencies-gpu", "dependencies-cpu"}
    assert instructions(text)[0] == ("ARG", "FLAVOUR=gpu")
