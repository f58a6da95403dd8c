"""What is told of a published night, and where nobody can hear it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
import ray
from conftest import free_port

from reviewllm.backfill.monitor import label_of, tell_published
from reviewllm.backfill.night import Manifest
from reviewllm.cluster import ClusterConfig
from reviewllm.place import Place

MANIFEST = Manifest.model_construct(date=dt.date(2026, 11, 21), published_at=dt.datetime(2026, 11, 21, 4, tzinfo=dt.UTC))


def test_tell_published_without_a_cluster_starts_no_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    before = ray.is_initialized()
    tell_published(ClusterConfig(), Place(str(tmp_path)), MANIFEST)
    assert ray.is_initialized() == before


def test_tell_published_to_a_cluster_that_is_gone_warns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    address = f"127.0.0.1:{free_port()}"
    tell_published(ClusterConfig(ray_address=address), Place(str(tmp_path)), MANIFEST)
    said = capsys.readouterr().out
    assert "warning: the night is published" in said
    assert f"--ray-address {address}: no Ray cluster can be reached there" in said


def test_tell_published_where_no_job_can_connect_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://head:8265")  # of the Jobs API, as `ray job submit` takes it
    tell_published(ClusterConfig(), Place(str(tmp_path)), MANIFEST)
    assert "warning: the night is published, and Prometheus will not hear of it: RAY_ADDRESS" in capsys.readouterr().out


def test_label_of_a_place_has_no_options(tmp_path: Path) -> None:
    assert label_of(Place("s3://bucket/shop?region=us-east-1&endpoint_override=127.0.0.1:1")) == "s3://bucket/shop"
    assert label_of(Place(str(tmp_path / "x" / ".." / "run"))) == str(tmp_path / "run")
