"""What a path or URI names, letter by letter."""

from __future__ import annotations

from pathlib import Path

import pytest

from reviewllm.errors import ConfigError
from reviewllm.fetch import fetch_folder, put_folder
from reviewllm.place import Place, below

ODD = "für 100% #1? & a=b '\U0001f600' [x]*"


@pytest.mark.parametrize("uri", ["s3://bucket/a#1?region=us-east-1", "s3://bucket/a?region=us-east-1#x", "file:///tmp/a#1"])
def test_place_of_a_uri_with_a_fragment_is_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"--data .*: write the sign as %23|--data .*; write the sign as %23"):
        Place(uri, flag="--data")


def test_place_of_a_file_uri_with_options_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"write the sign as %3F"):
        Place(f"{tmp_path.as_uri()}/a?b")


def test_below_a_uri_is_the_folder_of_that_name(tmp_path: Path) -> None:
    assert Place(below(tmp_path.as_uri(), ODD)).root == str(tmp_path / ODD)
    assert Place(below(str(tmp_path), ODD)).root == str(tmp_path / ODD)
    assert Place(below("s3://bucket/runs?region=us-east-1", ODD)).root == f"bucket/runs/{ODD}"


@pytest.mark.parametrize("uri", [False, True])
def test_put_and_fetch_folder_of_an_odd_name(tmp_path: Path, uri: bool) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "weights").write_bytes(b"x")
    where = below(tmp_path.as_uri() if uri else str(tmp_path), ODD)
    put_folder(tmp_path / "adapter", where, flag="--adapter-copy")
    assert (tmp_path / ODD / "weights").read_bytes() == b"x"
    assert (fetch_folder(where, tmp_path / "cache", flag="--adapter") / "weights").read_bytes() == b"x"
