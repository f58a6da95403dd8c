"""Cleaning: what goes, what stays, and what holds for any text."""

from __future__ import annotations

import re

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewllm.sources.text import clean

pytestmark = pytest.mark.filterwarnings("error")


def clean_one(text: str | None) -> str | None:
    result: str | None = clean(pl.Series([text], dtype=pl.String))[0]
    return result


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("a<b>bold</b>c", "aboldc"),
        ("one<br />two<BR>three", "one two three"),
        ("<p>one</p><p>two</p>", "one two"),
        ('<span class="a-size-medium" id="t">Guitar</span>', "Guitar"),
        ('Guitar <span class="a-size-medium" id="productTi', "Guitar"),
        ('Guitar <span class="a" id="b">', "Guitar"),
        ("Guitar <br", "Guitar"),
        ('Guitar <a href="x.com', "Guitar"),
        ("a<script>var x = '<b>';</script>b<style>p {}</style>c", "a b c"),
        ("Title <script>never closed", "Title"),
        ("a<!-- hidden <b> -->b", "a b"),
        ("<!DOCTYPE html>x", "x"),
        ("Tom &amp; Jerry", "Tom & Jerry"),
        ("Tom &amp;amp; Jerry", "Tom & Jerry"),
        ("AT&T", "AT&T"),
        ("it&#39;s &#x22;ok&#x22;", 'it\'s "ok"'),
        ("&lt;b&gt;bold&lt;/b&gt;", "bold"),
        ("a&nbsp;&nbsp;b", "a b"),
        ("&#" + "9" * 5000 + ";x", "x"),
        ("nul\x00 bell\x07 zero\u200bwidth \ufeffmark", "nul bell zerowidth mark"),
        ("  much \t\n\r white\u00a0space  ", "much white space"),
        ("5 < 6 and 7 > 3", "5 < 6 and 7 > 3"),
        ("I <3 it", "I <3 it"),
        ("x <y for ever", "x <y for ever"),
        ("5 &lt; 6", "5 < 6"),
        ("naïve – 弦 🎸", "naïve – 弦 🎸"),
        ("\u3164", None),
        ("<b></b>", None),
        ("&nbsp;", None),
        (" \x00 ", None),
        ("", None),
        (None, None),
    ],
)
def test_clean_one_text(text: str | None, expected: str | None) -> None:
    assert clean_one(text) == expected


def test_clean_keeps_row_order_and_name() -> None:
    texts = pl.Series("review", ["a &amp; b", None, "c", "<i></i>", "d<br>e"])
    assert clean(texts).to_list() == ["a & b", None, "c", None, "d e"]
    assert clean(texts).name == "review"


def test_clean_of_no_rows_is_no_rows() -> None:
    assert clean(pl.Series([], dtype=pl.String)).to_list() == []


def test_clean_of_markup_nested_too_deep_leaves_no_tag() -> None:
    nested = "<" * 50 + "b" + ">b" * 50 + "end"
    cleaned = clean_one(nested)
    assert cleaned is not None
    assert "<" not in cleaned
    assert cleaned.endswith("end")


PIECES = ["<", ">", "&", "lt;", "gt;", "amp;", "#60;", "#x3c", "b", "br", "span", "script", "style", "/", "!--", "-->"]
PIECES += [" ", "=", '"', "'", "class", "3", "\x00", "\n", "\u200b", "&lt;", "&amp;", "é", "<b>", "</script>"]


@settings(deadline=None)  # a busy machine is no failure
@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=25).map("".join)))
def test_clean_any_text_leaves_no_tag_and_is_idempotent(text: str) -> None:
    cleaned = clean_one(text)
    assert clean_one(cleaned) == cleaned
    if cleaned is not None:
        assert not re.search(r"</?[a-zA-Z!][^<>]*>", cleaned)
        assert not re.search(r"[\x00-\x1f\x7f]|\s{2}|^\s|\s$", cleaned)


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(alphabet=st.characters(categories=["L", "N"]), min_size=1))
def test_clean_words_are_unchanged(text: str) -> None:
    assert clean_one(text) == text
