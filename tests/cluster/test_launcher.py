"""The configurations of Ray's cluster launcher, checked as `ray up` checks them, and strictly."""

from __future__ import annotations

import copy
import subprocess
from pathlib import Path
from typing import Any

import botocore.session
import botocore.validate
import jsonschema
import pytest
import yaml
from kuberay import secrets_in
from ray.autoscaler._private.util import prepare_config, validate_config

FOLDER = Path(__file__).resolve().parents[2] / "cluster" / "launcher"
NAMES = ["aws", "on-premise"]
PROVIDER_FIELDS = {
    "aws": {"type", "region", "availability_zone", "cache_stopped_nodes"},
    "local": {"type", "head_ip", "worker_ips"},
}

Config = dict[str, Any]


@pytest.fixture(params=NAMES)
def config(request: pytest.FixtureRequest) -> Config:
    """One configuration, as written."""
    return _read(request.param)


def _read(name: str) -> Config:
    return dict(yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8")))


def test_ray_accepts_it(config: Config) -> None:
    validate_config(prepare_config(copy.deepcopy(config)))
    # Ray's schema lets anything into `provider`.
    assert set(config["provider"]) == PROVIDER_FIELDS[config["provider"]["type"]]


@pytest.mark.parametrize(
    "wrong", [{"max_worker": 2}, {"auth": {"ssh_usr": "ubuntu"}}, {"docker": {"imag": "x"}}, {"idle_timeout_minutes": "5"}]
)
def test_ray_refuses_what_is_misspelt(config: Config, wrong: Config) -> None:
    prepared = prepare_config(copy.deepcopy(config))
    with pytest.raises(jsonschema.ValidationError):
        validate_config(prepared | wrong)


def _refusals(node: Config) -> str:
    model = botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances")
    return (
        botocore.validate.ParamValidator()
        .validate({**node, "MinCount": 1, "MaxCount": 1}, model.input_shape)
        .generate_report()
    )


def test_amazon_accepts_its_nodes() -> None:
    for node_type in _read("aws")["available_node_types"].values():
        assert _refusals(node_type["node_config"]) == ""
    assert "Unknown parameter" in _refusals({"InstanceTyp": "m7i.2xlarge"})


def test_amazon_workers_start_from_nothing_and_let_only_their_own_group_in() -> None:
    config = _read("aws")
    head, gpu, spot = (config["available_node_types"][name] for name in ("head", "gpu", "gpu-spot"))
    assert (head["resources"], gpu["resources"]) == ({"CPU": 0}, {"CPU": 96, "GPU": 8})
    assert (gpu["min_workers"], spot["min_workers"]) == (0, 0)
    assert spot["node_config"] == gpu["node_config"] | {"InstanceMarketOptions": {"MarketType": "spot"}}
    for node_type in (head, gpu, spot):
        # Without one, Ray makes a group that lets SSH in from anywhere.
        assert node_type["node_config"]["SecurityGroupIds"]
        assert node_type["node_config"]["MetadataOptions"] == {"HttpTokens": "required"}


def test_token_is_on_for_every_process_and_travels_as_a_file(config: Config) -> None:
    assert secrets_in(config) == []
    assert "~/.ray-token" in config["file_mounts"].values()
    written = yaml.safe_dump(config, width=10_000)
    assert written.count("RAY_AUTH_MODE=token") == written.count("RAY_AUTH_TOKEN_PATH=") == 1
    starts = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    if "docker" in config:
        mounted = next(remote for remote, local in config["file_mounts"].items() if local == "~/.ray-token")
        assert f"--env RAY_AUTH_TOKEN_PATH={mounted}/auth_token" in config["docker"]["run_options"]
    else:
        assert all(command.startswith(". ~/reviewllm/ray-environment; ") for command in starts)


def test_dashboard_listens_on_loopback_and_no_actor_on_the_head(config: Config) -> None:
    (start,) = [command for command in config["head_start_ray_commands"] if "ray start" in command]
    assert {"--head", "--dashboard-host=127.0.0.1", "--num-cpus=0", "--port=6379"} <= set(start.split())


def test_every_command_is_one_that_bash_can_read(config: Config) -> None:
    commands = [command for name, listed in config.items() if name.endswith("_commands") for command in listed]
    assert len(commands) >= 4
    for command in commands:
        assert subprocess.run(["bash", "-n", "-c", command], capture_output=True, timeout=20).stderr == b""


def test_environment_of_own_hosts_is_read_by_a_shell(tmp_path: Path) -> None:
    """What setup_commands write is what the start commands source."""
    (tmp_path / "reviewllm").mkdir()
    write = _read("on-premise")["setup_commands"][1]
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    subprocess.run(["bash", "-c", write], env=environment, check=True, timeout=20)
    shown = subprocess.run(
        ["bash", "-c", ". ~/reviewllm/ray-environment; env"],
        env=environment,
        check=True,
        timeout=20,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert f"RAY_AUTH_TOKEN_PATH={tmp_path}/.ray-token/auth_token" in shown
    assert f"PATH={tmp_path}/reviewllm/venv/bin:/usr/bin:/bin" in shown
    assert "RAY_AUTH_MODE=token" in shown
