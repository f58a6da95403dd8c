"""Clean shop text: no markup, no entities, no control characters, no leavings of web pages, one space between words."""

from __future__ import annotations

import html
import re
from collections import Counter
from html.entities import html5

import polars as pl

from reviewllm.texts import are_blank

# Text is cleaned in rounds, since a round may uncover markup: '&amp;lt;b&amp;gt;' -> '&lt;b&gt;' -> '<b>' -> ''. Real
# text settles after two; whoever nests deeper than this is not writing text, and loses the signs instead.
_MAX_ROUNDS = 6

_TAG = r"</?[a-zA-Z!][^<>]*>"
_BLOCK_TAG = r"(?i)</?(?:br|p|div|li|ul|ol|dl|dt|dd|tr|td|th|table|tbody|h[1-6]|hr|blockquote|pre)\b[^<>]*>"
_UNSEEN = r"(?is)<!--.*?-->|<script\b[^<>]*>.*?(?:</script\s*>|\z)|<style\b[^<>]*>.*?(?:</style\s*>|\z)"
# A tag cut off where the field was: either a name that nobody writes after '<' by chance, or a name and an attribute.
_CUT_OFF_TAG = (
    r"(?i)<(?:/?(?:span|div|br|img|font|table|tbody|td|tr|th|ul|ol|li|h[1-6]|em|strong|script|style)\b[^<>]*"
    r"|[a-z][a-z0-9]*\s+[a-z][a-z0-9_:-]*\s*=\s*[\"'][^<>]*)\z"
)
# html.unescape reads the digits with int(), which raises beyond 4,300 of them; no character needs so many.
_ENDLESS_ENTITY = r"&#[0-9]{8,};?|&#[xX][0-9a-fA-F]{8,};?"
# An entity by name has to end where it ends, or "dollars&cents" would hold a cent sign.
_ENTITY = re.compile(r"&(?:#[xX]?[0-9a-fA-F]+;?|[a-zA-Z][a-zA-Z0-9]*(?:;|(?![a-zA-Z0-9=])))")
# Amazon marks a film in a review, and a link to a product with its id and the user's words: `[[ASIN:B0002D0LXS Hercules Stand]]`.
_MARK = r"(?i)\[\[(?:VIDEOID|ASIN):"
_LINK = r"(?i)\[\[ASIN:\s*(?:[0-9a-z]{10}\b)?\s*((?:[^\[\]]|\[[^\[\]]*\])*)\]\]"
_FILM_OR_CUT_OFF_LINK = r"(?i)\[\[(?:VIDEOID:\s*[0-9a-z:_-]*(?:\s*\]\])?|ASIN:\s*(?:[0-9a-z]{10}\b|[0-9a-z]*\z)?)"
# The code of a page where a name should be, as in 'var aPageStart = (new Date()).getTime(); ...': to the script's end, or all.
_SCRIPT = (
    r"(?s)(?:<(?i:script)\b[^<>]*>|\bvar\s+[A-Za-z_$][\w$]*\s*=[^;]*;|\bfunction\s*[\w$]*\s*\([^()]*\)\s*\{"
    r"|\bwindow\.[\w$.]+\s*=).*?(?:</(?i:script)\s*>|\z)"
)
# Nothing but a picture, which says in its alternative text what it shows.
_PICTURE = r"""(?is)\A\s*<img\b[^<>]*?\salt\s*=\s*(?:"\s*([^"<>\s][^"<>]*)"|'\s*([^'<>\s][^'<>]*)')[^<>]*>\s*\z"""
MARKS, SCRIPTS, PICTURES = (
    "texts with [[VIDEOID:...]] or [[ASIN:...]] cut out, the words of links kept",
    "names with the script of a page cut out",
    "names read from the alternative text of a picture",
)
# Control characters, the zero-width space, the word joiner and the byte-order mark; not the joiner inside emoji.
_INVISIBLE = r"[\p{Cc}\x{200B}\x{2060}\x{FEFF}&&[^\s]]"
_NOT_ONE_SPACE = r"\s{2,}|[^\S ]"


def clean(texts: pl.Series, noted: Counter[str]) -> pl.Series:
    """Clean a string column of HTML and noise; null where nothing is left (or was there).

    Tags go (line breaks and block tags become a space), scripts and styles go with their content, entities become
    their character however often they were escaped, control characters go and white space collapses to one space.
    Amazon's marks of films go, and of its links to products the words stay; the texts that had any are added to `noted`.
    A '<' that opens no tag stays, as in '5 < 6' and '<3'. The result holds no tag and no mark, and cleaning it again
    changes nothing.

    >>> clean(pl.Series(["Fine<br />strings &amp; <b>picks</b>", "5 < 6, I <3 it", "<p></p>"]), Counter()).to_list()
    ['Fine strings & picks', '5 < 6, I <3 it', None]
    """
    texts = _tidy(texts)
    rows = texts.str.contains(r"[&<]|\[\[").fill_null(False).arg_true()
    marked = rows.clear()
    for _ in range(_MAX_ROUNDS):
        before = texts.gather(rows)
        marked = marked.append(rows.filter(before.str.contains(_MARK)))
        after = _strip_markup_once(before)
        texts = texts.scatter(rows, after)
        rows = rows.filter(before != after)
        if rows.is_empty():
            break
    else:
        texts = texts.scatter(rows, _tidy(texts.gather(rows).str.replace_all(r"[&<]|\[\[", " ")))
    noted[MARKS] += marked.n_unique()
    return texts.set(are_blank(texts), None)


def clean_names(texts: pl.Series, noted: Counter[str]) -> pl.Series:
    """Clean a column of titles, brands or categories: as `clean`, and a script's code is no name, a picture's text is one.

    >>> clean_names(pl.Series(['<img src="a.png" alt="Digital Music"/>', "var t = new Date(); f(t)"]), Counter()).to_list()
    ['Digital Music', None]
    """
    for pattern, name, what in ((_SCRIPT, " ", SCRIPTS), (_PICTURE, "$1$2", PICTURES)):
        rows = texts.str.contains(pattern).fill_null(False).arg_true()
        noted[what] += len(rows)
        texts = texts.clone().scatter(rows, texts.gather(rows).str.replace_all(pattern, name))
    return clean(texts, noted)


def _strip_markup_once(texts: pl.Series) -> pl.Series:
    return _tidy(
        _tidy(_unescape(_strip_marks(texts)))
        .str.replace_all(_UNSEEN, " ")
        .str.replace_all(_BLOCK_TAG, " ")
        .str.replace_all(_TAG, "")
        .str.replace(_CUT_OFF_TAG, "")
    )


def _strip_marks(texts: pl.Series) -> pl.Series:
    """Without Amazon's marks; a link that stands at a word without a space gets one."""
    rows = texts.str.contains(_MARK).arg_true()
    if rows.is_empty():
        return texts
    marked = texts.gather(rows).str.replace_all(r"(?i)\b\[\[(VIDEOID|ASIN):", " [[${1}:").str.replace_all(_LINK, "$1")
    return texts.clone().scatter(rows, marked.str.replace_all(_FILM_OR_CUT_OFF_LINK, " "))


def _unescape(texts: pl.Series) -> pl.Series:
    """Replace entities; the standard library knows all 2,231 names but takes one text at a time."""
    rows = texts.str.contains("&", literal=True).arg_true()
    if rows.is_empty():
        return texts
    escaped = texts.gather(rows).str.replace_all(_ENDLESS_ENTITY, "")
    # scatter changes its own series, and the caller still compares with this one.
    return texts.clone().scatter(
        rows, pl.Series([_ENTITY.sub(_character, text) for text in escaped.to_list()], dtype=pl.String)
    )


def _character(entity: re.Match[str]) -> str:
    return html.unescape(entity[0]) if entity[0][1] == "#" or entity[0][1:] in html5 else entity[0]


def _tidy(texts: pl.Series) -> pl.Series:
    return texts.str.replace_all(_INVISIBLE, "").str.replace_all(_NOT_ONE_SPACE, " ").str.strip_chars()
