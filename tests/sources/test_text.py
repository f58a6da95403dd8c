"""Cleaning: what goes, what stays, and what holds for any text."""

from __future__ import annotations

import re
from collections import Counter

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewllm.sources.text import MARKS, PICTURES, SCRIPTS, clean, clean_names

pytestmark = pytest.mark.filterwarnings("error")


def clean_one(text: str | None) -> str | None:
    result: str | None = clean(pl.Series([text], dtype=pl.String), Counter())[0]
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
        ("dollars&cents, salt&notes, ?a=1&copy=2, &notit; R&B;", "dollars&cents, salt&notes, ?a=1&copy=2, &notit; R&B;"),
        ("Tom &amp Jerry &copy 5&frac12", "Tom & Jerry © 5½"),
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
        ("[[VIDEOID:5c532f5f5d94b55721fdf6748ddcc641]] I want you", "I want you"),
        ("[[VIDEOID:mo2M1XZ]]Loud.[[videoid:8644a011]]", "Loud."),
        ("cut off [[VIDEOID:8644a0", "cut off"),
        ("on [[ASIN:B003O86MY8 Rock Symphonies]]). As", "on Rock Symphonies). As"),
        (
            "than [[ASIN:0756405017 Blood Price (BLOOD SERIES)]], [[ASIN:B001UW58WW Garrett]]",
            "than Blood Price (BLOOD SERIES), Garrett",
        ),
        ("all-elastic[[ASIN:B019ZK0WS0 compression sleeve]].", "all-elastic compression sleeve."),
        ("see [[ASIN:B00003CX9U Empire of the Sun [Blu-ray]]]!", "see Empire of the Sun [Blu-ray]!"),
        ("see [[ASIN:B00003CX9U]] too", "see too"),
        ("see [[ASIN:B00003CX9U Empire of", "see Empire of"),
        ("see [[ASIN:B00003", "see"),
        ("see &#91;[ASIN:B00003CX9U Tom &amp; Co]]", "see Tom & Co"),
        ("[[ASIN:[[ASIN:B00003CX9U A]] b]] [[VIDEOID:[[VIDEOID:1]]", "A b]]"),
        ("a matrix [[1, 2], [3, 4]]", "a matrix [[1, 2], [3, 4]]"),
        ("[[VIDEOID:8644a01103c90ab8f83af816b83881be]]", None),
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
    assert clean(texts, Counter()).to_list() == ["a & b", None, "c", None, "d e"]
    assert clean(texts, Counter()).name == "review"


def test_clean_of_no_rows_is_no_rows() -> None:
    assert clean(pl.Series([], dtype=pl.String), Counter()).to_list() == []


def test_clean_of_markup_nested_too_deep_leaves_no_tag() -> None:
    nested = "<" * 50 + "b" + ">b" * 50 + "end"
    cleaned = clean_one(nested)
    assert cleaned is not None
    assert "<" not in cleaned
    assert cleaned.endswith("end")


PIECES = ["<", ">", "&", "lt;", "gt;", "amp;", "#60;", "#x3c", "b", "br", "span", "script", "style", "/", "!--", "-->"]
PIECES += ["[[ASIN:", "[[VIDEOID:", "B00003CX9U", "[", "]]", "&#91;", "[["]
PIECES += [" ", "=", '"', "'", "class", "3", "\x00", "\n", "\u200b", "&lt;", "&amp;", "é", "<b>", "</script>"]


@settings(deadline=None)  # a busy machine is no failure
@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=25).map("".join)))
def test_clean_any_text_leaves_no_tag_and_is_idempotent(text: str) -> None:
    cleaned = clean_one(text)
    assert clean_one(cleaned) == cleaned
    if cleaned is not None:
        assert not re.search(r"</?[a-zA-Z!][^<>]*>", cleaned)
        assert not re.search(r"\[\[(ASIN|VIDEOID):", cleaned)
        assert not re.search(r"[\x00-\x1f\x7f]|\s{2}|^\s|\s$", cleaned)


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(alphabet=st.characters(categories=["L", "N"]), min_size=1))
def test_clean_words_are_unchanged(text: str) -> None:
    assert clean_one(text) == text


def test_clean_counts_the_texts_that_had_marks() -> None:
    noted: Counter[str] = Counter()
    texts = ["[[VIDEOID:1]] [[VIDEOID:2]] a <b>b</b>", None, "[[1]] <i>c</i>", "&#91;[ASIN:B00003CX9U d]]"]
    assert clean(pl.Series(texts), noted).to_list() == ["a b", None, "[[1]] c", "d"]
    assert +noted == {MARKS: 2}


PAGE = "\n\n\nvar aPageStart = (new Date()).getTime();\nvar ue_t0=ue_t0||+new Date();\nwindow.ue_ihb = (window.ue_ihb || 0) + 1;"


@pytest.mark.parametrize(
    ("name", "expected", "note"),
    [
        (PAGE, None, SCRIPTS),
        (f"Guitar Stand {PAGE}", "Guitar Stand", SCRIPTS),
        ("Guitar<script>f(1); var x = 1;</script>Stand", "Guitar Stand", SCRIPTS),
        (f"{PAGE}</script> Guitar <b>Stand</b>", "Guitar Stand", SCRIPTS),
        ("Strings (function(a){var b=a.performance;})(window);", "Strings (", SCRIPTS),
        ("window.ue_ihb = 1; if (x) {}", None, SCRIPTS),
        ("A Function (of Time) {New}", "A Function (of Time) {New}", None),
        ("Var Free = Chords", "Var Free = Chords", None),
        ('<img src="https://x.com/a.png" class="nav-categ-image" alt="Digital Music"/>', "Digital Music", PICTURES),
        ("<img alt='Men&#39;s &amp; Boys' src=a>\n", "Men's & Boys", PICTURES),
        ('<img src="a.png" data-alt="x"/>', None, None),
        ('<img src="a.png" alt=""/>', None, None),
        ('<img src="a.png" alt="x"/> Books', "Books", None),
        ("Books", "Books", None),
        (None, None, None),
    ],
)
def test_clean_names_one_name(name: str | None, expected: str | None, note: str | None) -> None:
    noted: Counter[str] = Counter()
    texts = pl.Series("title", ["before", name, "<i>behind</i>"])
    assert clean_names(texts, noted).to_list() == ["before", expected, "behind"]
    assert +noted == ({note: 1} if note else {})
    assert texts.to_list() == ["before", name, "<i>behind</i>"]


def test_clean_of_a_review_leaves_code_and_pictures_alone() -> None:
    assert clean_one("It ran var x = 1; twice <img alt='no words of mine'>") == "It ran var x = 1; twice"
