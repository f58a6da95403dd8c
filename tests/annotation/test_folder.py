"""The folder of an export: pages and key, never half of them, never over an earlier one unasked."""

import pytest

from reviewllm.annotation import folder as folder_module
from reviewllm.annotation.folder import refuse_existing, write_export
from reviewllm.annotation.key import make_key, read_key
from reviewllm.annotation.pairs import DrawConfig, draw_pairs
from reviewllm.errors import InputError


def _export(out, annotators):
    draw = draw_pairs(out, DrawConfig(pairs=3))
    key = make_key(draw, DrawConfig(pairs=3), annotators=annotators)
    return key, write_export(draw, key, out)


def test_write_export_writes_a_page_for_each_annotator_and_the_key(run_folder):
    key, folder = _export(run_folder, 2)

    assert sorted(file.name for file in folder.iterdir()) == ["annotator-01.html", "annotator-02.html", "key.json"]
    assert read_key(folder) == key
    for annotator in key.annotators:
        page = (folder / f"{annotator}.html").read_text()
        assert f'data-export-id="{key.export_id}" data-annotator="{annotator}"' in page
        assert all(f'data-pair-id="{pair.pair_id}"' in page for pair in key.pairs)
        assert not [word for word in (*key.models, "org/tiny", "out/adapter", "gold") if word in page]


def test_refuse_existing_refuses_an_earlier_export(run_folder):
    refuse_existing(run_folder)
    _export(run_folder, 1)

    with pytest.raises(InputError, match=r"an export is there already, .* pass --replace"):
        refuse_existing(run_folder)


def test_write_export_replaces_all_of_an_earlier_one(run_folder):
    _export(run_folder, 3)
    key, folder = _export(run_folder, 1)

    assert sorted(file.name for file in folder.iterdir()) == ["annotator-01.html", "key.json"]
    assert read_key(folder) == key


def test_write_export_that_fails_leaves_the_earlier_one(run_folder, monkeypatch):
    key, folder = _export(run_folder, 1)

    def full_disk(*_):
        raise OSError("no space left")

    monkeypatch.setattr(folder_module, "write_key", full_disk)
    with pytest.raises(OSError, match="no space left"):
        _export(run_folder, 2)
    assert read_key(folder) == key
    assert not (folder / "annotator-02.html").exists()
