"""A night is published whole, verified, or not at all; in a folder and on S3."""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pytest

from reviewllm.backfill import ids, lock
from reviewllm.backfill import publish as publish_module
from reviewllm.backfill.finish import finish, recover
from reviewllm.backfill.forget import finish_forgetting, forget_users
from reviewllm.backfill.forgotten import FORGOTTEN, read_forgotten, user_hash
from reviewllm.backfill.lock import only_run
from reviewllm.backfill.night import LOCK, published_files, read_dead_letters, read_manifest
from reviewllm.backfill.staging import drop_failed, staged_shards
from reviewllm.backfill.verify import verify_night
from reviewllm.errors import BudgetError, InputError, PublishError, RaceError, StorageError
from reviewllm.failpoints import VARIABLE
from reviewllm.generation.engine import Completion
from reviewllm.generation.failures import EMPTY_OUTPUT, ENGINE_FAILED, unusable
from reviewllm.tables import DEAD_LETTERS, GENERATIONS, LEDGER, SUPERSEDED

if TYPE_CHECKING:
    from tests.backfill.conftest import Nights

NIGHT = dt.date(2026, 11, 21)
OTHER = dt.date(2026, 11, 20)
PURCHASES = [("u1", "e1"), ("u1", "e2"), ("u2", "e3"), ("u3", "e4")]


@pytest.fixture
def prepared(nights: Nights) -> Nights:
    nights.write_examples("a.parquet", PURCHASES)
    return nights


@pytest.fixture
def prepared_local(local_nights: Nights) -> Nights:
    local_nights.write_examples("a.parquet", PURCHASES)
    return local_nights


def rows_of(nights: Nights, date: dt.date = NIGHT) -> list[tuple[str, str]]:
    manifest = read_manifest(nights.data, date)
    assert manifest is not None
    files = published_files(nights.data, date, manifest)
    rows = pl.concat([pl.DataFrame(nights.data.read_table(file, GENERATIONS)) for file in files])
    return rows.select("user_id", "example_id").rows()


def test_publish_is_whole_and_leaves_nothing_else(prepared: Nights) -> None:
    manifest = prepared.whole_night(failing=["e3"])
    assert (manifest.rows, manifest.written, manifest.failed) == (4, 3, 1)
    assert (manifest.prompt_tokens, manifest.completion_tokens) == (21, 9)
    assert rows_of(prepared) == [("u1", "e1"), ("u1", "e2"), ("u3", "e4")]
    (letter,) = read_dead_letters(prepared.data, NIGHT, manifest).to_pylist()
    assert (letter["example_id"], letter["stage"], letter["error_class"]) == ("e3", "generate", "EmptyOutput")
    assert manifest.dead_letters is not None
    (part,) = manifest.files
    assert prepared.names() == [
        f"dead_letters/dt=2026-11-21/{manifest.dead_letters.name}",
        "generations/dt=2026-11-21/_SUCCESS",
        "generations/dt=2026-11-21/_manifest.json",
        f"generations/dt=2026-11-21/{part.name}",
        "ledger/dt=2026-11-21.json",
        "ledger/dt=2026-11-21.parquet",
    ]
    (row,) = prepared.data.read_table("ledger/dt=2026-11-21.parquet", LEDGER).to_pylist()
    assert (row["rows"], row["dead_letters"], row["night"]) == (4, 1, NIGHT)
    assert verify_night(prepared.data, NIGHT) == manifest


def test_publish_in_many_files_is_sorted_over_all_of_them(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_IDS_IN_BUCKET", 7)
    for file in range(6):  # users of all files are mixed
        nights.write_examples(f"{file}.parquet", [(f"u{user:03d}-{file}", f"e{user}-{file}") for user in range(10)])
    night, work = nights.night(), nights.work(shard_rows=10)
    staged = nights.stage(night, work)
    size = sum(file.size for file in nights.data.files(night.staging))
    manifest = nights.publish(night, work, staged, part_bytes=size // 4)  # rounded up, and users have no equal sizes
    assert 4 <= len(manifest.files) <= 5
    rows = rows_of(nights)
    assert rows == sorted(rows)
    assert len(rows) == manifest.written == 60
    finish(night, manifest, work.superseded)
    verify_night(nights.data, NIGHT)


def test_publish_a_later_run_adds_what_has_become_pending(prepared: Nights) -> None:
    first = prepared.whole_night(failing=["e3"])
    prepared.write_examples("b.parquet", [("u0", "late")])
    night, work = prepared.night(), prepared.work()
    second = prepared.publish(night, work, prepared.stage(night, work), earlier=first)
    finish(night, second, work.superseded)
    assert rows_of(prepared) == [("u0", "late"), ("u1", "e1"), ("u1", "e2"), ("u3", "e4")]
    assert (second.rows, second.failed) == (5, 1)
    verify_night(prepared.data, NIGHT)
    again = prepared.work(replay=NIGHT)
    third = prepared.publish(night, again, prepared.stage(night, again), earlier=second)
    finish(night, third, again.superseded)
    assert (third.written, third.failed, third.dead_letters) == (5, 0, None)
    assert not prepared.names("dead_letters")
    verify_night(prepared.data, NIGHT)


def test_publish_a_replay_that_fails_again_counts_its_attempts(prepared_local: Nights) -> None:
    first = prepared_local.whole_night(failing=["e3"])
    night, work = prepared_local.night(), prepared_local.work(replay=NIGHT)
    second = prepared_local.publish(night, work, prepared_local.stage(night, work, failing=["e3"]), earlier=first)
    (letter,) = read_dead_letters(prepared_local.data, NIGHT, second).to_pylist()
    assert (letter["example_id"], letter["attempts"]) == ("e3", 2)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (lambda rows: rows[:1], "1 missing"),
        (lambda rows: [*rows, {**rows[0], "example_id": "x"}], "1 unexpected"),
        (lambda rows: [rows[0], rows[1], rows[1]], "1 twice"),
        (lambda rows: [{**row, "fingerprint": "a" * 64} for row in rows], "2 of another run"),
        (lambda rows: [{**row, "review": " \u200b\n"} for row in rows], "2 blank or failed"),
    ],
)
def test_publish_wrong_rows_publish_nothing(prepared: Nights, wrong: Callable[..., object], problem: str) -> None:
    night, work = prepared.night(), prepared.work()
    staged = prepared.stage(night, work)
    rows = prepared.data.read_table(staged[0], GENERATIONS)
    prepared.data.write_table(staged[0], rows.from_pylist(wrong(rows.to_pylist()), schema=GENERATIONS.schema), GENERATIONS)
    with pytest.raises(PublishError, match=problem):
        prepared.publish(night, work, staged)
    assert prepared.names() == sorted(staged)


@pytest.mark.parametrize("text", [" ", "\x00 ", "\ue000\u200b", "\u200b\x00", "\u2060\ufffe", "\u3164", "\ufe0f\u200d"])
def test_publish_a_text_that_shows_nothing_is_a_dead_letter_and_stops_no_night(prepared_local: Nights, text: str) -> None:
    night, work = prepared_local.night(), prepared_local.work()
    problem = unusable(Completion(text, [1], "stop"), for_publication=True)
    assert problem is not None
    failure = {"review": None, "error_stage": "generate", "error_class": problem[0], "error": problem[1]}
    manifest = prepared_local.publish(night, work, prepared_local.stage(night, work, **failure), max_failed_fraction=1.0)
    letters = read_dead_letters(prepared_local.data, NIGHT, manifest)
    assert (manifest.written, letters["error_class"].to_pylist()) == (0, [EMPTY_OUTPUT] * 4)


def test_publish_what_another_night_has_is_refused(prepared_local: Nights) -> None:
    prepared_local.whole_night(OTHER)
    night, work = prepared_local.night(), prepared_local.work(without=OTHER)
    with pytest.raises(PublishError, match="4 published by another night too"):
        prepared_local.publish(night, work, prepared_local.stage(night, work))


def test_publish_too_many_failed_rows_publish_nothing(prepared: Nights) -> None:
    night, work = prepared.night(), prepared.work()
    staged = prepared.stage(night, work, failing=["e1", "e2", "e3"])
    with pytest.raises(BudgetError, match=r"3 of 4 rows failed, .*: 3 EmptyOutput.*'the model wrote nothing'"):
        prepared.publish(night, work, staged)
    assert prepared.names() == sorted(staged)
    assert prepared.publish(night, work, staged, max_failed_fraction=0.75).failed == 3


@pytest.mark.parametrize("place", ["compact", "verify", "publish"])
def test_publish_on_a_full_disk_publishes_nothing_and_goes_on_later(
    prepared: Nights, fail_at: Callable[[str], None], place: str
) -> None:
    night, work = prepared.night(), prepared.work()
    staged = prepared.stage(night, work)
    fail_at(place)
    with pytest.raises(OSError, match="No space left"):
        prepared.publish(night, work, staged)
    assert prepared.names() == sorted(staged)
    assert prepared.publish(night, work, staged).written == 4


def test_publish_that_fails_after_its_commit_loses_nothing(prepared: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    night, work = prepared.night(), prepared.work()
    staged = prepared.stage(night, work, failing=["e3"])

    def put_and_fail(*arguments: object, **more: object) -> None:
        put(*arguments, **more)
        raise KeyboardInterrupt

    put = publish_module._put_in_place
    monkeypatch.setattr(publish_module, "_put_in_place", put_and_fail)
    with pytest.raises(KeyboardInterrupt):
        prepared.publish(night, work, staged)
    manifest = read_manifest(prepared.data, NIGHT)
    assert manifest is not None
    finish(night, manifest, work.superseded)
    assert verify_night(prepared.data, NIGHT).written == 3


def test_publish_full_disk_in_mid_file_leaves_nothing_half_written(
    prepared_local: Nights, fail_at: Callable[[str], None]
) -> None:
    night, work = prepared_local.night(), prepared_local.work()
    fail_at(f"write {night.staging}/{work.shards[0].name}")
    with pytest.raises(StorageError, match="No space left"):
        prepared_local.stage(night, work)
    assert prepared_local.names() == []


def test_publish_the_second_of_two_runs_is_told(prepared_local: Nights) -> None:
    night, work = prepared_local.night(), prepared_local.work()
    staged = prepared_local.stage(night, work)
    manifest = prepared_local.publish(night, work, staged)
    with pytest.raises(RaceError, match="another run has published this night meanwhile"):
        prepared_local.publish(night, work, staged)
    assert read_manifest(prepared_local.data, NIGHT) == manifest
    verify_night(prepared_local.data, NIGHT)


def test_recover_puts_back_a_night_that_was_being_replaced(prepared_local: Nights) -> None:
    prepared_local.whole_night()
    local = prepared_local.data.local
    assert local is not None
    os.rename(local / "generations/dt=2026-11-21", local / "generations/.dt=2026-11-21.0123abcd.old")
    (local / "generations/.staging/2026-11-21/publish-x").mkdir(parents=True)
    recover(prepared_local.data)
    verify_night(prepared_local.data, NIGHT)
    assert not (local / "generations/.staging/2026-11-21/publish-x").exists()


def test_recover_removes_what_writers_of_lost_clusters_stage_for_published_nights(prepared: Nights) -> None:
    prepared.whole_night()
    before = prepared.names()
    prepared.data.write("generations/.staging/2026-11-21/f/shard.parquet", b"late")
    prepared.data.write("generations/.staging/2026-11-22/f/shard.parquet", b"of a night that is not published")
    recover(prepared.data, day=NIGHT)
    assert len(prepared.names()) == len(before) + 2
    recover(prepared.data, day=OTHER)
    assert sorted({*prepared.names()} - {*before}) == ["generations/.staging/2026-11-22/f/shard.parquet"]


def test_finish_may_be_repeated(prepared: Nights) -> None:
    manifest = prepared.whole_night()
    before = prepared.names()
    prepared.data.write("generations/.staging/2026-11-21/late/shard.parquet", b"of a writer of a lost cluster")
    prepared.data.delete("ledger/dt=2026-11-21.json")
    finish(prepared.night(), manifest, SUPERSEDED.schema.empty_table())
    assert prepared.names() == before


def test_staged_shards_damaged_short_and_transiently_failed_ones_are_written_again(prepared: Nights) -> None:
    night, work = prepared.night(), prepared.work()
    first, second = prepared.stage(night, work)
    name = {file: file.rpartition("/")[2] for file in (first, second)}
    assert staged_shards(night, work.shards) == {name[first]: first, name[second]: second}
    content = prepared.data.read(first)
    prepared.data.write(first, content[:-20])
    assert staged_shards(night, work.shards) == {name[second]: second}
    prepared.data.write(first, content)
    rows = prepared.data.read_table(second, GENERATIONS)
    prepared.data.write_table(second, rows.slice(0, 1), GENERATIONS)
    assert staged_shards(night, work.shards) == {name[first]: first}
    prepared.stage(night, work, failing=["e3"], error_class=ENGINE_FAILED)
    assert staged_shards(night, work.shards) == {}


def test_staged_shards_of_another_fingerprint_only_where_mixing_is_allowed(prepared_local: Nights) -> None:
    work = prepared_local.work()
    prepared_local.stage(prepared_local.night(fingerprint="a" * 64), work)
    night = prepared_local.night()
    assert staged_shards(night, work.shards) == {}
    assert len(staged_shards(night, work.shards, any_fingerprint=True)) == len(work.shards)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(bytes(content))


def edited(before: str, after: str) -> Callable[[Path], object]:
    """A change of the manifest."""

    def edit(folder: Path) -> None:
        manifest = folder / "_manifest.json"
        text = manifest.read_text()
        assert before in text
        manifest.write_text(text.replace(before, after))

    return edit


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda folder: next(folder.glob("part-*")).unlink(), r"part-.*parquet is missing"),
        (lambda folder: (folder / "extra.parquet").write_bytes(b"x"), "extra.parquet does not belong there"),
        (lambda folder: next(folder.glob("part-*")).write_bytes(b"PAR1"), "4 bytes, not"),
        (lambda folder: flip_a_bit(next(folder.glob("part-*"))), "sha256 differs"),
        (lambda folder: (folder / "_manifest.json").write_text("{}"), "is no manifest that can be read"),
        (edited('"written": 3', '"written": 2'), "written is 3, the manifest says 2"),
        (lambda folder: (folder / "_SUCCESS").unlink(), "_SUCCESS is missing"),
        (edited('"prompt_tokens": 21', '"prompt_tokens": 22'), "prompt_tokens is 21, the manifest says 22"),
        (edited('"date": "2026-11-21"', '"date": "1999-01-01"'), "the manifest is that of 1999-01-01"),
        (edited(f'"{"f" * 64}": 3', f'"{"f" * 64}": 2'), "fingerprints is .*, the manifest says"),
        (edited('"bytes": ', '"bytes": 1'), "bytes, not 1"),
        (edited('"name": "part-', '"name": "../part-'), "files.0.name: String should match"),
        (
            lambda folder: next((folder.parents[1] / "dead_letters").rglob("*.parquet")).unlink(),
            "dead_letters/.* is missing",
        ),
    ],
)
def test_verify_names_what_was_damaged(prepared_local: Nights, damage: Callable[..., object], problem: str) -> None:
    prepared_local.whole_night(failing=["e3"])
    local = prepared_local.data.local
    assert local is not None
    damage(local / "generations/dt=2026-11-21")
    with pytest.raises(PublishError, match=problem):
        verify_night(prepared_local.data, NIGHT)


def test_verify_a_night_that_is_not_there(local_nights: Nights) -> None:
    with pytest.raises(PublishError, match="is not published; the newest nights are: none"):
        verify_night(local_nights.data, NIGHT)


def test_forget_removes_a_user_everywhere_and_for_good(prepared: Nights) -> None:
    prepared.whole_night(OTHER, failing=["e1"], limit=3)
    prepared.stage(prepared.night(), prepared.work())
    assert forget_users(prepared.data, ["u1"]) == {OTHER: {"u1": 2}}
    assert rows_of(prepared, OTHER) == [("u2", "e3")]
    manifest = verify_night(prepared.data, OTHER)
    assert (manifest.rows, manifest.failed) == (1, 0)
    for name in prepared.names():
        if name.endswith(".parquet"):
            assert b"u1" not in prepared.data.read(name)
    assert not [name for name in prepared.names() if ".staging" in name or "dead_letters" in name]
    assert prepared.ids(prepared.work(forgotten=read_forgotten(prepared.data))) == [["e4"]]
    assert forget_users(prepared.data, ["u1"]) == {}


def test_only_run_lets_no_second_one_in(nights: Nights) -> None:
    with only_run(nights.data, LOCK), pytest.raises(RaceError, match="another run is at work"), only_run(nights.data, LOCK):
        raise AssertionError
    with only_run(nights.data, LOCK):
        pass
    assert nights.names() == []


def test_only_run_a_lease_that_was_not_renewed_is_nobodys(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    if nights.data.local:
        pytest.skip("a file system's lock ends with its holder")
    monkeypatch.setattr(lock, "_LEASE_SECONDS", 1.0)
    monkeypatch.setattr(lock, "_COMMIT_SECONDS", 0.0)
    nights.data.write(f"{LOCK}/of-a-killed-run", b"{}")
    time.sleep(2.1)  # the store tells times in seconds
    with only_run(nights.data, LOCK):
        pass
    assert nights.names() == []


def test_only_run_a_clock_that_is_ahead_takes_no_lease_from_another(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    with only_run(nights.data, LOCK):
        later = time.time() + 200
        monkeypatch.setattr(time, "time", lambda: later)
        with pytest.raises(RaceError, match="another run is at work"), only_run(nights.data, LOCK):
            raise AssertionError


def test_only_run_that_could_not_renew_its_lease_must_not_commit(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    if nights.data.local:
        pytest.skip("a file system's lock needs no renewal")
    with only_run(nights.data, LOCK) as still_held:
        still_held()
        later = time.time() + 121
        monkeypatch.setattr(time, "time", lambda: later)
        with pytest.raises(RaceError, match="could not renew its lease"):
            still_held()


def test_publish_asks_before_it_commits_whether_the_lock_is_still_held(prepared: Nights) -> None:
    night, work = prepared.night(), prepared.work()
    staged = prepared.stage(night, work)

    def lost() -> None:
        raise RaceError("the lease was lost")

    with pytest.raises(RaceError):
        prepared.publish(night, work, staged, before_commit=lost)
    assert prepared.names() == sorted(staged)


def test_dead_letters_table_has_what_an_operator_needs() -> None:
    assert {"example_id", "stage", "error_class", "message", "attempts", "prompt_sha256"} <= set(DEAD_LETTERS.schema.names)


def test_forget_that_was_interrupted_is_finished_by_the_next_run(
    prepared: Nights, monkeypatch: pytest.MonkeyPatch, fail_at: Callable[[str], None]
) -> None:
    first = prepared.whole_night(failing=["e1"], limit=3)
    fail_at("finish")  # after the night's commit, before what it replaced is removed
    with pytest.raises(OSError, match="No space left"):
        forget_users(prepared.data, ["u1"])
    monkeypatch.delenv(VARIABLE)
    finish_forgetting(prepared.data)
    assert rows_of(prepared) == [("u2", "e3")]
    assert not prepared.names("dead_letters")
    (row,) = prepared.data.read_table("ledger/dt=2026-11-21.parquet", LEDGER).to_pylist()
    assert (row["rows"], first.written) == (1, 2)
    verify_night(prepared.data, NIGHT)


def test_forget_that_was_interrupted_before_its_commit_does_not_block_the_night(prepared_local: Nights) -> None:
    first = prepared_local.whole_night(failing=["e1"], limit=3)
    prepared_local.data.write(FORGOTTEN, f'["{user_hash("u1")}"]'.encode())
    forgotten = read_forgotten(prepared_local.data)
    night, work = prepared_local.night(), prepared_local.work(forgotten=forgotten)
    staged = prepared_local.stage(night, work)
    second = prepared_local.publish(night, work, staged, earlier=first, forgotten=forgotten)
    assert rows_of(prepared_local) == [("u2", "e3"), ("u3", "e4")]
    assert (second.rows, second.failed) == (2, 0)


@pytest.mark.parametrize("content", ["{}", '"abc"', '["XX"]', "[1]", "null", "not JSON"])
def test_forgotten_list_that_is_none_stops_the_job(local_nights: Nights, content: str) -> None:
    local_nights.data.write(FORGOTTEN, content.encode())
    with pytest.raises(StorageError, match="users who must not come back"):
        read_forgotten(local_nights.data)


def test_night_without_a_manifest_is_not_taken_for_unpublished(prepared_local: Nights) -> None:
    prepared_local.whole_night()
    prepared_local.data.delete("generations/dt=2026-11-21/_manifest.json")
    with pytest.raises(PublishError, match=r"has files and no _manifest\.json"):
        prepared_local.work()


def test_publish_an_id_that_stands_with_two_users_is_refused(
    prepared_local: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ids, "_IDS_IN_BUCKET", 1)
    night, work = prepared_local.night(), prepared_local.work()
    staged = prepared_local.stage(night, work)
    rows = prepared_local.data.read_table(staged[0], GENERATIONS).to_pylist()
    rows[0] |= {"example_id": "e3"}
    prepared_local.data.write_table(staged[0], pa.Table.from_pylist(rows, schema=GENERATIONS.schema), GENERATIONS)
    with pytest.raises(PublishError, match="1 twice"):
        prepared_local.publish(night, work, staged)


def test_publish_a_damaged_staged_shard_is_removed_and_named(prepared: Nights) -> None:
    night, work = prepared.night(), prepared.work()
    staged = prepared.stage(night, work)
    content = bytearray(prepared.data.read(staged[1]))
    content[4:200] = bytes(196)
    prepared.data.write(staged[1], bytes(content))
    with pytest.raises(PublishError, match=r"was damaged \(1 staged shard\(s\) in all\) and has been removed; .*run again"):
        prepared.publish(night, work, staged)
    assert prepared.names() == [staged[0]]


def test_publish_examples_that_were_changed_meanwhile_publish_nothing(prepared: Nights) -> None:
    night, work = prepared.night(), prepared.work()
    staged = prepared.stage(night, work)
    prepared.write_examples("a.parquet", [("u1", "z1"), ("u1", "z2"), ("u2", "z3"), ("u3", "z4 is longer")])
    with pytest.raises(InputError, match="was changed while this job ran; nothing was published"):
        prepared.publish(night, work, staged)


def test_drop_failed_lets_a_rerun_try_what_failed(prepared_local: Nights) -> None:
    night, work = prepared_local.night(), prepared_local.work()
    staged = prepared_local.stage(night, work, failing=["e1"])
    drop_failed(night)
    assert prepared_local.names() == staged[1:]
