"""One definition of blank: a text and a column of texts are judged alike, whatever is in them."""

from __future__ import annotations

import sys
import unicodedata

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewllm.texts import are_blank, is_blank

# Letters, marks and signs by their category, and yet without ink.
WITHOUT_INK = set("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
WITHOUT_INK |= {chr(number) for number in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))}
CHARACTERS = [chr(number) for number in range(sys.maxunicode + 1)]


def expected(character: str) -> bool | None:
    """Whether a character alone is blank; None where it is unassigned: editions of Unicode differ there."""
    category = unicodedata.category(character)
    if category == "Cn":
        return True if ord(character) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(character) <= 0xFDEF else None
    return category[0] in "CZ" or character.isspace() or character in WITHOUT_INK


def test_is_blank_every_character_by_its_category() -> None:
    wrong = [character for character in CHARACTERS if expected(character) not in (None, is_blank(character))]
    assert wrong == []


def test_are_blank_every_character_as_is_blank() -> None:
    characters = [character for character in CHARACTERS if unicodedata.category(character) != "Cs"]
    assert are_blank(pl.Series(characters)).to_list() == list(map(is_blank, characters))


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.text("\x00 \u200b\ue000\ufffe\u2060\u3164a") | st.none())
)
def test_are_blank_any_column_as_is_blank(texts: list[str | None]) -> None:
    frame = pl.DataFrame({"text": texts}, schema={"text": pl.String})
    assert frame.select(are_blank(pl.col("text")))["text"].to_list() == list(map(is_blank, texts))
    assert are_blank(frame["text"]).to_list() == list(map(is_blank, texts))


@pytest.mark.parametrize(
    ("text", "blank"),
    [
        (None, True),
        ("", True),
        (" \t\n\u200b\u202e\x00", True),
        ("\x00 ", True),
        ("\ue000\u200b", True),
        ("\u2060\ufffe", True),
        ("\ud800", True),
        ("\u3164", True),
        ("\u200d\ufe0f", True),
        ("\U0001f600", False),
        ("\ufffd", False),
        ("0", False),
        ("\u200b.", False),
    ],
)
def test_is_blank(text: str | None, blank: bool) -> None:
    assert is_blank(text) is blank
