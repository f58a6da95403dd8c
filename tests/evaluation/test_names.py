"""Names of models: by rule, and kept in a file."""

import pytest

from reviewllm.errors import SchemaError
from reviewllm.evaluation.names import model_names, read_names, write_names


def test_model_names_takes_the_last_part_of_paths_and_hub_names():
    names = model_names([("org/Llama-3-8B", None), ("org/Llama-3-8B", "runs/reviews/"), ("org/Llama-3-8B", None)])

    assert list(names.values()) == ["Llama-3-8B", "Llama-3-8B + reviews"]


def test_model_names_spells_out_what_would_clash():
    names = model_names([("b", "one/adapter"), ("b", "two/adapter")])

    assert list(names.values()) == ["b + one/adapter", "b + two/adapter"]


def test_write_names_comes_back_in_order(tmp_path):
    names = {("m", "a"): "Zed", ("m", None): "Ünder the base"}
    write_names(names, tmp_path / "models.json")

    assert list(read_names(tmp_path / "models.json").items()) == list(names.items())


def test_read_names_of_another_form_says_where(tmp_path):
    (tmp_path / "models.json").write_text('[{"model": "m", "adapter": null}]')

    with pytest.raises(SchemaError, match=r"models\.json: 0\.name: Field required"):
        read_names(tmp_path / "models.json")
