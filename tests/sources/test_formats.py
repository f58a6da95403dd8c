"""Telling formats by their fields."""

from __future__ import annotations

from pathlib import Path

import pytest

from reviewllm.errors import ConfigError, SourceError
from reviewllm.sources.files import DataFile
from reviewllm.sources.formats import known_formats, recognise
from reviewllm.tables import EXAMPLES, GENERATIONS, Table

pytestmark = pytest.mark.filterwarnings("error")

FILE = DataFile("x.json", Path("x.json"))


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ("reviewerID asin helpful reviewText overall summary unixReviewTime reviewTime", "Amazon reviews 2014 or v2 (2018)"),
        ("overall verified reviewTime reviewerID asin style unixReviewTime", "Amazon reviews 2014 or v2 (2018)"),
        ("rating title text asin parent_asin user_id timestamp", "Amazon Reviews 2023"),
        ("asin title brand main_cat category description feature price tech1", "Amazon metadata v2 (2018)"),
        ("asin price", "Amazon metadata v2 (2018)"),
        ("asin title price imUrl related salesRank brand categories", "Amazon metadata 2014"),
        ("main_category title price store features details parent_asin", "Amazon Reviews 2023 metadata"),
        ("user_id item_id rating purchased_at", "table of interactions"),
        ("item_id title rating", "table of items"),
    ],
)
def test_recognise_known_fields(fields: str, name: str) -> None:
    assert recognise(FILE, frozenset(fields.split()), known_formats({})).name == name


@pytest.mark.parametrize("fields", ["foo bar", "asin", "item_id", "reviewerID asin overall", "user_id parent_asin title"])
def test_recognise_unknown_fields_names_file_fields_and_formats(fields: str) -> None:
    with pytest.raises(SourceError, match=r"x\.json: of no known format") as error:
        recognise(FILE, frozenset(fields.split()), known_formats({}))
    assert all(word in str(error.value) for word in (*fields.split(), "unixReviewTime", "Amazon Reviews 2023"))


@pytest.mark.parametrize("made", [EXAMPLES, GENERATIONS])
def test_recognise_tables_that_were_made_of_reviews_are_no_reviews(made: Table) -> None:
    with pytest.raises(SourceError, match=f"x.json: is of the table '{made.name}', which was made of reviews"):
        recognise(FILE, frozenset(made.schema.names) | {"purchased_at"}, known_formats({}))


def test_recognise_no_fields_asks_for_json_lines() -> None:
    with pytest.raises(SourceError, match=r"x\.json: no line at its head is a JSON object"):
        recognise(FILE, frozenset(), known_formats({}))


def test_known_formats_renames_the_columns_of_tables() -> None:
    renamed = known_formats({"user_id": "customer", "purchased_at": "ordered_on"})
    assert (
        recognise(FILE, frozenset({"customer", "item_id", "rating", "ordered_on"}), renamed).fields["user_id"] == "customer"
    )


def test_known_formats_refuses_a_column_that_is_not_ours() -> None:
    with pytest.raises(ConfigError, match=r"no column customer.*allowed are purchase_id, user_id"):
        known_formats({"customer": "user_id"})
