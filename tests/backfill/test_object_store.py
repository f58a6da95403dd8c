"""A night on a real S3 server that fails at any of a publication's requests, or at every tenth."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from s3_faults import Faults, faulty

from reviewllm import s3
from reviewllm.backfill import publish
from reviewllm.backfill.finish import finish
from reviewllm.backfill.lock import only_run
from reviewllm.backfill.night import LOCK, published_files, read_manifest
from reviewllm.backfill.verify import verify_night
from reviewllm.errors import PublishError, StorageError
from reviewllm.place import below
from reviewllm.tables import GENERATIONS

if TYPE_CHECKING:
    from tests.backfill.conftest import Nights

PURCHASES = [("u1", "e1"), ("u1", "e2"), ("u2", "e3"), ("u3", "e4")]


@pytest.fixture
def proxied(s3_server: str) -> Iterator[tuple[Nights, Nights, Faults]]:
    """Nights as a run sees them, behind a proxy; as a reader does, without; and the proxy's faults."""
    from tests.backfill.conftest import Nights

    where = below(s3_server, uuid.uuid4().hex)
    with faulty(where) as (seen, faults):
        yield Nights(seen), Nights(where), faults


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, proxied: tuple[Nights, Nights, Faults]) -> tuple[Nights, Nights, Faults]:
    """The same, by a run that tries everything once."""
    for module, name, value in ((s3, "RETRIES", 0), (s3, "HASTY_RETRIES", 0), (publish, "_COMMIT_TRIES", 1)):
        monkeypatch.setattr(module, name, value)
    run, reader, faults = proxied
    return type(run)(run.data.uri), reader, faults


def is_write(request: str) -> bool:
    return request.startswith(("PUT ", "POST ", "DELETE "))


def readable(reader: Nights) -> list[str]:
    """The example ids that a reader who goes by the manifest sees; none where there is no manifest."""
    manifest = read_manifest(reader.data, reader.night().day)
    if manifest is None:
        return []
    files = published_files(reader.data, reader.night().day, manifest)
    return [name for file in files for name in reader.data.read_table(file, GENERATIONS)["example_id"].to_pylist()]


@pytest.mark.slow
def test_publish_that_loses_its_store_at_any_write_shows_all_or_nothing_and_is_exact_in_the_end(
    impatient: tuple[Nights, Nights, Faults],
) -> None:
    run, reader, faults = impatient
    seen: list[list[str]] = []
    last = 0
    while True:
        reader.data.delete_folder("")
        reader.write_examples("a.parquet", PURCHASES)
        night, work = reader.night(), reader.work()
        staged = reader.stage(night, work, failing=["e3"])
        faults.log.clear()
        faults.refuse = lambda request, last=last: is_write(request) and sum(map(is_write, faults.log)) > last
        night = run.night()
        try:
            manifest = run.publish(night, work, staged)
            finish(night, manifest, work.superseded)
            break
        except StorageError:
            seen.append(readable(reader))
        finally:
            faults.refuse = lambda request: False
        manifest = read_manifest(run.data, night.day) or run.publish(night, work, staged)  # a re-run
        finish(night, manifest, work.superseded)
        assert verify_night(reader.data, night.day).written == 3
        assert not [name for name in reader.names() if ".staging" in name]
        assert len(reader.names("dead_letters")) == 1
        last += 1
    assert len(seen) == last > 5
    assert {tuple(sorted(ids)) for ids in seen} == {(), ("e1", "e2", "e4")}


def test_publish_whose_commit_lands_after_it_was_given_up_shows_the_whole_night(
    impatient: tuple[Nights, Nights, Faults],
) -> None:
    """To remove the night's files when the manifest's write fails would lose the night."""
    run, reader, faults = impatient
    reader.write_examples("a.parquet", PURCHASES)
    work = reader.work()
    staged = reader.stage(reader.night(), work)
    faults.hold_back = lambda request: request.startswith("PUT ") and "_manifest.json" in request
    with pytest.raises(StorageError, match="no answer from the store"):
        run.publish(run.night(), work, staged)
    assert readable(reader) == []
    for deliver in faults.held:
        deliver()
    assert sorted(readable(reader)) == ["e1", "e2", "e3", "e4"]


def test_night_over_a_throttling_store_is_exact(proxied: tuple[Nights, Nights, Faults]) -> None:
    run, reader, faults = proxied
    run.write_examples("a.parquet", PURCHASES)
    faults.throttle_fraction = 0.2
    faults.cut_after = 100
    with only_run(run.data, LOCK):
        run.whole_night(failing=["e3"])
    assert faults.throttled > 3
    assert faults.cuts == 1
    assert verify_night(reader.data, reader.night().day).written == 3


def test_published_night_that_cannot_be_read_now_is_not_taken_for_unpublished_or_broken(
    impatient: tuple[Nights, Nights, Faults],
) -> None:
    run, reader, faults = impatient
    reader.write_examples("a.parquet", PURCHASES)
    reader.whole_night()
    faults.refuse = lambda request: "_manifest.json" in request
    with pytest.raises(StorageError, match="too busy"):
        run.work()
    faults.refuse = lambda request: False
    reader.data.write(f"{reader.night().published}/_manifest.json", b"{")
    with pytest.raises(PublishError, match="is no manifest that can be read"):
        run.work()
