"""What a job sees of an S3 server that throttles, cuts connections, is silent or refuses: over HTTP, with nothing replaced."""

from __future__ import annotations

import json
import os
import pickle
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from conftest import moto
from s3_faults import Faults, faulty, silent_port

from reviewllm import s3
from reviewllm.errors import ConfigError, SchemaError, StorageError
from reviewllm.place import Place, below
from reviewllm.sft.storage import Storage
from reviewllm.tables import SUPERSEDED

LARGE = os.urandom(25 << 20)  # three parts of a multipart upload


@pytest.fixture
def bad(s3_server: str) -> Iterator[tuple[Place, Faults]]:
    """A place behind a proxy, and the proxy's faults."""
    with faulty(below(s3_server, uuid.uuid4().hex)) as (where, faults):
        yield Place(where, flag="--data"), faults


def endpoint_of(where: str) -> str:
    return f"http://{parse_qs(urlsplit(where).query)['endpoint_override'][0]}"


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "RETRIES", 2)
    monkeypatch.setattr(s3, "TIMEOUT_S", 1.0)


def test_s3_a_storm_of_503_is_endured(bad: tuple[Place, Faults]) -> None:
    place, faults = bad
    faults.throttle = 6
    began = time.monotonic()
    place.write("a", b"small")
    assert 1.5 < time.monotonic() - began < 15  # pauses of 50 + 100 + ... + 800 ms
    faults.throttle = 6
    assert place.read("a") == b"small"
    assert faults.throttled == 12


def test_s3_a_long_run_is_not_ended_by_its_hundredth_throttled_request(bad: tuple[Place, Faults]) -> None:
    place, faults = bad
    place.write("a", b"small")
    for _ in range(110):
        faults.throttle = 1
        place.size("a")
    assert faults.throttled == 110


def test_s3_a_503_that_is_longer_than_what_was_asked_for_is_endured(bad: tuple[Place, Faults]) -> None:
    """pyarrow takes it for a broken stream, and does not ask again."""
    place, faults = bad
    place.write("a", b"tiny")
    place.write_table("b.parquet", SUPERSEDED.schema.empty_table(), SUPERSEDED)
    for read in (
        lambda: place.read("a"),
        lambda: place.tail("a", 2),
        lambda: place.sha256("a"),
        lambda: place.read_table("b.parquet", SUPERSEDED),
    ):
        times = iter((True, True))
        faults.refuse = lambda request, times=times: request.startswith("GET ") and next(times, False)
        read()
    assert faults.throttled == 8


def test_s3_pickled_keeps_its_retries(bad: tuple[Place, Faults]) -> None:
    """Ray Train ships the file system to its workers; pyarrow's own comes out with three attempts."""
    place, faults = bad
    place.write("a", b"small")
    faults.throttle = 6
    with pickle.loads(pickle.dumps(place.filesystem)).open_input_stream(f"{place.root}/a") as stream:  # noqa: S301
        assert stream.read() == b"small"


def test_s3_a_storm_without_end_is_told_and_leaves_what_was_there(
    s3_server: str, bad: tuple[Place, Faults], short_patience: None
) -> None:
    place, faults = Place(bad[0].uri, flag="--data"), bad[1]
    place.write("a", b"earlier")
    faults.refuse = lambda request: True
    for act in (
        lambda: place.write("a", b"later"),
        lambda: place.read("a"),
        lambda: place.files(),
        lambda: place.delete("a"),
        lambda: place.exists("a"),
    ):
        with pytest.raises(StorageError, match=r"s3://bucket/runs/.*: cannot be .*too busy for longer than this job waits"):
            act()
    with pytest.raises(ConfigError, match=r"--data s3://bucket.*cannot be written.*too busy"):
        place.check_writable()
    faults.refuse = lambda request: False
    assert place.read("a") == b"earlier"


def test_s3_what_cannot_be_read_now_is_not_taken_for_damaged(bad: tuple[Place, Faults], short_patience: None) -> None:
    """Who takes a staged shard for damaged removes it."""
    place, faults = Place(bad[0].uri), bad[1]
    place.write_table("a.parquet", SUPERSEDED.schema.empty_table(), SUPERSEDED)
    place.write("b.parquet", b"PAR1 not really")
    opened = place.parquet("a.parquet")
    assert opened.metadata.num_rows == 0
    faults.refuse = lambda request: True
    with pytest.raises(StorageError, match="too busy"):
        place.read_table("a.parquet", SUPERSEDED)
    faults.refuse = lambda request: False
    with pytest.raises(SchemaError, match="not a readable Parquet file"):
        place.parquet("b.parquet")


def test_s3_cut_connections_are_mended(bad: tuple[Place, Faults]) -> None:
    place, faults = bad
    faults.cut_after = 2 << 20  # in the middle of a part
    place.write("a", LARGE)
    faults.cut_answer_after = 1 << 20
    assert place.read("a") == LARGE
    assert faults.cuts == 2


@pytest.mark.parametrize("request_of", ["partNumber=2", "?uploads", "uploadId="], ids=["part", "begin", "complete"])
def test_s3_an_abandoned_upload_shows_nothing(
    bad: tuple[Place, Faults], short_patience: None, request_of: str, tmp_path: Path
) -> None:
    place, faults = Storage(bad[0].uri), bad[1]
    place.write("a", b"earlier")
    kind = "POST" if request_of == "uploadId=" else ""
    faults.refuse = lambda request: request.startswith(kind) and request_of in request
    for name in ("a", "new"):
        with pytest.raises(StorageError, match="cannot be written"):
            place.write(name, LARGE)
    (tmp_path / "large").write_bytes(LARGE)
    with pytest.raises(StorageError, match="cannot be written"):
        place.put(tmp_path, "folder")
    faults.refuse = lambda request: False
    assert [file.name for file in place.files()] == ["a"]
    assert place.read("a") == b"earlier"
    assert place.names() == []
    client = boto3.client("s3", endpoint_url=endpoint_of(bad[0].uri), region_name="us-east-1")
    left = client.list_multipart_uploads(Bucket="bucket", Prefix=place.root.partition("/")[2]).get("Uploads", [])
    assert len(left) == (0 if request_of == "?uploads" else 3)  # unseen, until the bucket's lifecycle rule removes them


@pytest.mark.parametrize("content", [b"later" * 20_000, LARGE], ids=["small", "large"])
def test_s3_ctrl_c_during_an_upload_leaves_the_whole_object(bad: tuple[Place, Faults], content: bytes) -> None:
    place, faults = bad
    place.write("a", b"earlier")
    faults.on_upload = lambda: os.kill(os.getpid(), signal.SIGINT)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where these tests run in the background
    try:
        with pytest.raises(KeyboardInterrupt):
            place.write("a", content)
    finally:
        signal.signal(signal.SIGINT, before)
    assert place.read("a") == content


@pytest.mark.parametrize("content", ["text", 3, None])
def test_s3_content_of_a_wrong_type_leaves_what_was_there(bad: tuple[Place, Faults], content: object) -> None:
    place, _ = bad
    place.write("a", b"earlier")
    with pytest.raises(TypeError):
        place.write("a", content)
    assert place.read("a") == b"earlier"


@pytest.mark.slow
def test_s3_a_silent_or_closed_port_ends_with_an_error(short_patience: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "RETRIES", 1)
    with silent_port() as port:
        began = time.monotonic()
        with pytest.raises(ConfigError, match=r"s3://bucket/a: cannot be written.*no answer from the store"):
            Place(f"s3://bucket/a?endpoint_override=127.0.0.1:{port}&scheme=http").check_writable()
        assert time.monotonic() - began < 30
    with pytest.raises(StorageError, match="no answer from the store: check endpoint_override"):
        Place(f"s3://bucket/a?endpoint_override=127.0.0.1:{port}&scheme=http").files()


def test_s3_a_server_that_stores_something_else_is_refused(bad: tuple[Place, Faults]) -> None:
    place, faults = bad
    faults.mangle = True
    with pytest.raises(ConfigError, match="what was written is not what is read"):
        place.check_writable()


def test_s3_missing_bucket_is_named_with_what_to_do(s3_server: str) -> None:
    place = Place(s3_server.replace("bucket", "nosuch", 1), flag="--data")
    with pytest.raises(ConfigError, match=r"--data s3://nosuch/runs: cannot be written.*make it, or name another"):
        place.check_writable()
    with pytest.raises(StorageError, match="make it, or name another"):
        place.write("a", b"")


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("regoin=eu-west-1", "unknown option 'regoin'; known are .*region"),
        ("region=a&allow_bucket_creation=perhaps", "expected true or false, not 'perhaps'"),
        ("region=a&scheme=ftp", "Invalid S3 connection scheme"),
    ],
)
def test_s3_options_that_have_no_sense_are_refused(query: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=rf"--storage-path s3://bucket/a: .*{problem}"):
        Place(f"s3://bucket/a?{query}")


def test_s3_refused_credentials_are_told_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a server that checks them: an unknown key, a wrong secret, and a user who may not write."""
    with moto(INITIAL_NO_AUTH_ACTION_COUNT="4") as address:
        endpoint = {"endpoint_url": f"http://{address}", "region_name": "us-east-1"}
        admin = {**endpoint, "aws_access_key_id": "any", "aws_secret_access_key": "any"}
        boto3.client("s3", **admin).create_bucket(Bucket="bucket")
        users = boto3.client("iam", **admin)
        users.create_user(UserName="reader")
        key = users.create_access_key(UserName="reader")["AccessKey"]
        allowed = {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetObject"], "Resource": "*"}
        users.put_user_policy(
            UserName="reader", PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        )
        where = f"s3://bucket/a?endpoint_override={address}&scheme=http&region=us-east-1"
        for name, secret in (
            ("AKIAUNKNOWNUNKNOWN00", "unknown-secret-of-nobody"),
            (key["AccessKeyId"], "wrong-secret-of-this-key"),
            (key["AccessKeyId"], key["SecretAccessKey"]),
        ):
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", name)
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
            with pytest.raises(ConfigError, match=r"--data s3://bucket/a: .*refuses these credentials here") as refused:
                Place(where, flag="--data").check_writable()
            assert not [word for word in (name, secret) if word in str(refused.value)]
        assert Place(where).files() == []  # reading is what that user may


def test_explain_shows_no_secret_that_an_error_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    assert s3.explain(OSError("cannot sign\nwith wJalrXUtnFEMI")) == "cannot sign with <AWS_SECRET_ACCESS_KEY>"
