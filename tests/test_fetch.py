"""What lies on a real S3 server is read as if it lay in a folder."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from jobs import backfill, prepare
from reviewllm.errors import ConfigError, InputError, SourceError, StorageError
from reviewllm.fetch import check_folder_writable, fetch_folder, local_copies, put_folder
from reviewllm.place import Place, below
from reviewllm.sft.storage import CONTENTS


@pytest.fixture
def where(s3_server: str) -> str:
    return below(s3_server, uuid.uuid4().hex)


def test_local_copies_of_an_object_a_prefix_and_a_local_path(where: str, tmp_path: Path) -> None:
    place = Place(where)
    for name in ("raw/a.jsonl", "raw/deep/b.jsonl", "other.jsonl"):
        place.write(name, name.encode())
    given = [below(where, "raw"), below(where, "other.jsonl"), tmp_path / "local"]
    with local_copies(given, flag="--reviews", near=tmp_path / "out") as (raw, other, local):
        assert {path.relative_to(raw).as_posix(): path.read_text() for path in raw.rglob("*.jsonl")} == {
            "a.jsonl": "raw/a.jsonl",
            "deep/b.jsonl": "raw/deep/b.jsonl",
        }
        assert (other.name, other.read_text(), local) == ("other.jsonl", "other.jsonl", tmp_path / "local")
    assert not list((tmp_path / "out").iterdir())
    with (
        pytest.raises(InputError, match=r"--reviews s3://bucket/.*/absent: nothing is there"),
        local_copies([below(where, "absent")], flag="--reviews", near=tmp_path),
    ):
        raise AssertionError


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("orders/category=Toys/part-0.parquet", r"--reviews s3://.*/orders: is partitioned by category"),
        ("orders/_delta_log/0.json", r"--reviews s3://.*/orders: is a Delta table"),
        ("orders/more.csv", r"--reviews s3://.*/orders: holds more\.csv, which is CSV"),
    ],
)
def test_prepare_refuses_a_layout_in_an_object_store_before_it_copies(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    for one in ("orders/part-0.parquet", name):
        Place(where).write(one, b"PAR1")
    monkeypatch.delattr(Place, "download")
    with pytest.raises(SourceError, match=said):
        prepare.main(prepare.PrepareJob(out=tmp_path, reviews=[below(where, "orders")]))


def test_prepare_refuses_an_object_within_the_partition_of_a_column(where: str, tmp_path: Path) -> None:
    Place(where).write("orders/category=Toys/part-0.parquet", b"PAR1")
    with pytest.raises(SourceError, match="'category=Toys', whose name holds the column 'category'"):
        prepare.main(prepare.PrepareJob(out=tmp_path, reviews=[below(where, "orders/category=Toys/part-0.parquet")]))


def test_put_and_fetch_folder_round_trip_is_checked_and_made_once(where: str, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    target = below(where, "adapters/reviews")
    check_folder_writable(target, flag="--adapter-copy")
    put_folder(adapter, target, flag="--adapter-copy")
    assert [path.name for path in adapter.iterdir()] == ["adapter_model.safetensors"]
    fetched = fetch_folder(target, tmp_path / "cache", flag="--adapter")
    assert (fetched / "adapter_model.safetensors").read_bytes() == b"weights"
    assert fetch_folder(target, tmp_path / "cache", flag="--adapter") == fetched
    (adapter / "adapter_model.safetensors").write_bytes(b"better")
    put_folder(adapter, target, flag="--adapter-copy")
    again = fetch_folder(target, tmp_path / "cache", flag="--adapter")
    assert (again / "adapter_model.safetensors").read_bytes() == b"better"
    assert len(list((tmp_path / "cache").iterdir())) == 2

    place = Place(target)
    place.write("adapter_model.safetensors", b"damaged")
    with pytest.raises(StorageError, match=r"adapter_model\.safetensors: is not what was written"):
        fetch_folder(target, tmp_path / "empty", flag="--adapter")
    place.delete(CONTENTS)
    with pytest.raises(StorageError, match=rf"--adapter s3://.*/reviews: has no {CONTENTS}, .*--adapter-copy"):
        fetch_folder(target, tmp_path / "empty", flag="--adapter")
    assert not list((tmp_path / "empty").iterdir())


def test_prepare_reads_raw_files_from_an_object_store(where: str, tmp_path: Path) -> None:
    for out in (tmp_path / "made", tmp_path / "fetched"):
        raw = {} if out.name == "made" else {name: [below(where, name)] for name in ("reviews", "items")}
        prepare.main(prepare.PrepareJob(out=out, shop_users=30, **raw))
        if out.name == "made":
            for folder in ("reviews", "items"):
                for path in (out / "raw" / folder).iterdir():
                    Place(where).write(f"{folder}/{path.name}", path.read_bytes())
    made, fetched = (
        sorted((path.relative_to(out), path.read_bytes()) for path in (out / "interactions").glob("*.parquet"))
        for out in (tmp_path / "made", tmp_path / "fetched")
    )
    assert made == fetched
    assert len(made) > 0
    assert Place(where).where in (tmp_path / "fetched" / "config" / "prepare.yaml").read_text()
    assert not list((tmp_path / "fetched").glob(".fetched-*"))


def test_jobs_refuse_credentials_in_a_uri_of_an_input(tmp_path: Path) -> None:
    uri = "s3://AKIAKEY:SUPERSECRET@bucket/adapter"
    with pytest.raises(ConfigError, match="holds credentials") as refused:
        prepare.main(prepare.PrepareJob(out=tmp_path, reviews=[uri]))
    assert "SUPERSECRET" not in str(refused.value)
    with pytest.raises(ConfigError, match="--adapter: holds credentials") as refused:
        backfill.main(backfill.BackfillJob(out=tmp_path, base_model="absent", adapter=uri))
    assert "SUPERSECRET" not in str(refused.value)
