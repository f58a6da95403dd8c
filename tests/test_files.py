"""Small files: what cannot be read is named, what is written is whole."""

import glob

import pytest
from permissions import umask
from pydantic import TypeAdapter

from reviewllm.errors import SchemaError
from reviewllm.files import follow_umask, read_json, without_patterns, write_text


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b""])
def test_read_json_refuses_what_is_not_json(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)

    with pytest.raises(SchemaError, match=r"x\.json: cannot be read as JSON"):
        read_json(tmp_path / "x.json", TypeAdapter(dict[str, int]))


def test_read_json_turns_nan_into_text(tmp_path):
    (tmp_path / "x.json").write_text('{"a": NaN, "b": -Infinity}')

    assert read_json(tmp_path / "x.json", TypeAdapter(dict[str, str])) == {"a": "NaN", "b": "-Infinity"}


def test_write_text_leaves_one_file_and_replaces_it(tmp_path):
    write_text("old", tmp_path / "folder" / "page.html")
    write_text("new \N{SNOWMAN}", tmp_path / "folder" / "page.html")

    assert (tmp_path / "folder" / "page.html").read_text(encoding="utf-8") == "new \N{SNOWMAN}"
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["page.html"]


def test_write_text_that_fails_leaves_the_earlier_file(tmp_path):
    write_text("old", tmp_path / "page.html")
    with pytest.raises(UnicodeEncodeError):
        write_text("lone surrogate \ud800", tmp_path / "page.html")

    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert (tmp_path / "page.html").read_text() == "old"


def test_follow_umask_opens_safetensors_as_far_as_new_files(tmp_path):
    file = tmp_path / "model.safetensors"
    file.touch(mode=0o600)
    with umask(0o027):
        follow_umask(tmp_path)

    assert oct(file.stat().st_mode & 0o777) == "0o640"
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize("name", ["[a]", "a*", "a?"])
def test_without_patterns_gives_a_path_that_glob_finds(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "model.safetensors").touch()
    with without_patterns(tmp_path / name) as readable:
        assert glob.glob(f"{readable}/*.safetensors") == [f"{readable}/model.safetensors"]
    assert not readable.exists()
    assert (tmp_path / name / "model.safetensors").exists()


def test_without_patterns_of_other_letters_is_the_folder_itself(tmp_path):
    with without_patterns(tmp_path / "für {x} %41") as readable:
        assert readable == tmp_path / "für {x} %41"
