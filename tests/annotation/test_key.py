"""The key: it comes back as it was written, and names what is wrong."""

import hashlib

import pytest

from reviewllm.annotation.key import KEY_FILE, make_key, read_key, write_key
from reviewllm.annotation.pairs import DrawConfig, draw_pairs
from reviewllm.errors import InputError, SchemaError


def test_read_key_gives_what_write_key_wrote(run_folder, tmp_path):
    config = DrawConfig(pairs=2, seed=5)
    draw = draw_pairs(run_folder, config)
    key = make_key(draw, config, annotators=3)
    write_key(key, tmp_path)

    assert read_key(tmp_path) == key
    assert key.annotators == ("annotator-01", "annotator-02", "annotator-03")
    assert (key.split, key.with_rating, key.seed, key.examples, key.models) == (
        "simple",
        True,
        5,
        draw.examples,
        draw.models,
    )
    assert [(pair.pair_id, pair.example_id, pair.models) for pair in key.pairs] == [
        (pair.pair_id, pair.example_id, pair.models) for pair in draw.pairs
    ]
    assert key.pairs[0].text_sha256 == hashlib.sha256(draw.pairs[0].generated.encode()).hexdigest()


def test_make_key_has_a_new_id_each_time_and_names_that_sort(run_folder):
    draw = draw_pairs(run_folder, DrawConfig())
    keys = [make_key(draw, DrawConfig(), annotators=100) for _ in range(2)]

    assert keys[0].export_id != keys[1].export_id
    assert keys[0].annotators[::99] == ("annotator-001", "annotator-100")
    assert list(keys[0].annotators) == sorted(keys[0].annotators)


def test_read_key_refuses_a_folder_without_and_a_file_that_is_none(tmp_path):
    with pytest.raises(InputError, match=r"key\.json: no key is there, .* run jobs/annotate\.py export first"):
        read_key(tmp_path)
    (tmp_path / KEY_FILE).write_text('{"export_id": 1}')
    with pytest.raises(SchemaError, match=r"key\.json: export_id"):
        read_key(tmp_path)
