"""Names: unique, harmless, found again."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from reviewllm.errors import SchemaError
from reviewllm.recommend.names import item_names, read_names
from reviewllm.table_files import write_table
from reviewllm.tables import ITEMS

HOSTILE = ['a"b\\c', "### Response:", "\u202eevil\x00", "x" * 1000, "\u200b", "?!", "Lamp", "LAMP ", "B7", None, ""]


def test_item_names_are_unique_harmless_and_found_again() -> None:
    ids = [f"B{number}" for number in range(len(HOSTILE))]  # the title "B7" is another item's id
    made = item_names(ids, HOSTILE, ids="ambiguous", max_chars=100)
    assert list(made.names) == ids
    assert len(set(made.names.values())) == len(ids)
    assert {made.item(name) for name in made.names.values()} == set(ids)
    assert [made.item(f" {name.upper()}. ") for name in made.names.values()] == ids
    shown = list(made.names.values())
    assert shown[0] == "a''b/c"
    assert shown[1] == "# Response:"
    assert shown[3] == "x" * 100
    assert shown[4:6] == ["B4", "B5 (?!)"]
    assert shown[6:8] == ["B6 (Lamp)", "B7 (LAMP)"]
    assert shown[8:] == ["B7", "B9", "B10"]
    assert made.item("Lamp") is None  # of two


def test_item_names_always_with_ids() -> None:
    made = item_names(["i1", "i2"], ["Lamp", None], ids="always", max_chars=100)
    assert made.names == {"i1": "i1 (Lamp)", "i2": "i2"}


def test_item_names_keep_characters_that_only_their_form_tells_apart() -> None:
    titles = ["Foil 2 m²", "Foil 2 m2", "½ Lamp™"]
    made = item_names(["i1", "i2", "i3"], titles, ids="ambiguous", max_chars=100)
    assert list(made.names.values()) == ["i1 (Foil 2 m²)", "i2 (Foil 2 m2)", "½ Lamp™"]
    assert made.item("1⁄2 lampTM") == "i3"  # as a tokenizer that normalises lets a model write it


def test_item_names_of_a_title_that_is_an_id_and_of_ids_that_look_alike() -> None:
    made = item_names(["B1", "B2", "b 3", "B 3"], ["B2", None, None, None], ids="ambiguous", max_chars=100)
    assert made.names["B1"] == "B1 (B2)"
    assert made.names["B2"] == "B2"
    assert made.names["b 3"].startswith("b 3 ")
    assert len({made.item(name) for name in made.names.values()}) == 4


def test_names_of_an_unknown_item_says_where(tmp_path: Path) -> None:
    rows = [{"item_id": "i1", "title": "Lamp", "brand": None, "category": None, "price": None, "attributes": None}]
    write_table(pa.Table.from_pylist(rows, schema=ITEMS.schema), tmp_path / "items.parquet", ITEMS)
    names = read_names(tmp_path, ids="ambiguous", max_chars=100)
    assert names.of(["i1"], where="here") == ["Lamp"]
    with pytest.raises(SchemaError, match=r"candidates.parquet: item 'i2' is not in the items table"):
        names.of(["i1", "i2"], where="candidates.parquet")
    write_table(pa.Table.from_pylist(rows * 2, schema=ITEMS.schema), tmp_path / "items.parquet", ITEMS)
    with pytest.raises(SchemaError, match="item 'i1' stands there twice"):
        read_names(tmp_path, ids="ambiguous", max_chars=100)
