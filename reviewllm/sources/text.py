"""Clean shop text: no markup, no entities, no control characters, one space between words."""

from __future__ import annotations

import html

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
# Control characters, the zero-width space, the word joiner and the byte-order mark; not the joiner inside emoji.
_INVISIBLE = r"[\p{Cc}\x{200B}\x{2060}\x{FEFF}&&[^\s]]"
_NOT_ONE_SPACE = r"\s{2,}|[^\S ]"


def clean(texts: pl.Series) -> pl.Series:
    """Clean a string column of HTML and noise; null where nothing is left (or was there).

    Tags go (line breaks and block tags become a space), scripts and styles go with their content, entities become
    their character however often they were escaped, control characters go and white space collapses to one space.
    A '<' that opens no tag stays, as in '5 < 6' and '<3'. The result holds no tag, and cleaning it again changes
    nothing.

    >>> clean(pl.Series(["Fine<br />strings &amp; <b>picks</b>", "5 < 6, I <3 it", "<p></p>"])).to_list()
    ['Fine strings & picks', '5 < 6, I <3 it', None]
    """
    texts = _tidy(texts)
    rows = texts.str.contains(r"[&<]").fill_null(False).arg_true()
    for _ in range(_MAX_ROUNDS):
        before = texts.gather(rows)
        after = _strip_markup_once(before)
        texts = texts.scatter(rows, after)
        rows = rows.filter(before != after)
        if rows.is_empty():
            break
    else:
        texts = texts.scatter(rows, _tidy(texts.gather(rows).str.replace_all(r"[&<]", " ")))
    return texts.set(are_blank(texts), None)


def _strip_markup_once(texts: pl.Series) -> pl.Series:
    return _tidy(
        _tidy(_unescape(texts))
        .str.replace_all(_UNSEEN, " ")
        .str.replace_all(_BLOCK_TAG, " ")
        .str.replace_all(_TAG, "")
        .str.replace(_CUT_OFF_TAG, "")
    )


def _unescape(texts: pl.Series) -> pl.Series:
    """Replace entities; the standard library knows all 2,231 of them but takes one text at a time."""
    rows = texts.str.contains("&", literal=True).arg_true()
    if rows.is_empty():
        return texts
    escaped = texts.gather(rows).str.replace_all(_ENDLESS_ENTITY, "")
    # scatter changes its own series, and the caller still compares with this one.
    return texts.clone().scatter(rows, pl.Series([html.unescape(text) for text in escaped.to_list()], dtype=pl.String))


def _tidy(texts: pl.Series) -> pl.Series:
    return texts.str.replace_all(_INVISIBLE, "").str.replace_all(_NOT_ONE_SPACE, " ").str.strip_chars()
