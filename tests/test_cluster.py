"""Which Ray a job connects to, and how what a worker raised comes back as what it was."""

from __future__ import annotations

import pytest
from conftest import free_port

from reviewllm import cluster
from reviewllm.cluster import ClusterConfig, cluster_address, ray_session
from reviewllm.errors import ConfigError, EngineError, SchemaError


def address_of(given: str | None) -> str | None:
    found = cluster_address(ClusterConfig(ray_address=given))
    return found and str(found)


def test_cluster_address_says_who_named_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert address_of(None) is None
    assert address_of("auto") == "--ray-address auto"
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert address_of(None) == "RAY_ADDRESS head:6379"
    assert address_of("[::1]:6380") == "--ray-address [::1]:6380"


def test_cluster_address_local_is_a_ray_of_its_own_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert address_of("local") is None
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert address_of(None) is None


@pytest.mark.parametrize(
    "address", ["ray://head:10001", "http://me:s3cret@head:8265", "me:s3cret@head:1", "head", "head:port", "head:6379/x"]
)
def test_cluster_address_of_another_kind_is_refused_with_advice(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    advice = r"expected host:port .*, auto or local.* python jobs/submit\.py --address .* pass --ray-address local"
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ConfigError, match=f"^RAY_ADDRESS: .*{advice}") as refused:
        address_of(None)
    assert "s3cret" not in str(refused.value)
    with pytest.raises(ConfigError, match=f"^--ray-address: .*{advice}"):
        address_of(address)


@pytest.mark.parametrize("port", [0, 99999])
def test_connecting_to_a_place_where_nobody_listens_says_who_named_it(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"127.0.0.1:{port or free_port()}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    expected = (
        rf"^RAY_ADDRESS {address}: no Ray cluster can be reached there: .*; to run on this machine alone pass --ray-address"
    )
    with pytest.raises(ConfigError, match=expected), ray_session(ClusterConfig()):
        pass


def test_own_error_is_found_in_the_text_of_rays() -> None:
    text = "ray::Map()\n  File x\nreviewllm.errors.SchemaError: /a/b.parquet: not readable\n\nThe above exception ...\nray.UserCode"
    found = cluster.own_error(RuntimeError(text), EngineError)
    assert (type(found), str(found)) == (SchemaError, "/a/b.parquet: not readable")


def test_own_error_of_others_keeps_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "log_folder", lambda: "/logs")
    found = cluster.own_error(RuntimeError("reviewllm.errors.Nonsense: x"), EngineError)
    assert type(found) is EngineError
    assert "Nonsense: x" in str(found)
    assert "/logs" in str(found)
