"""What counts as a text at all: the one definition of blank, for a text and for a column of texts."""

from __future__ import annotations

import re
from typing import TypeVar

import polars as pl

# Characters without ink, in a notation that Python and polars read alike: neither asks its own edition of Unicode, so that both
# always agree. What no edition has assigned yet counts as ink: it may be next year's emoji.
_WITHOUT_INK = "".join(
    (
        r"\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",  # control characters and spaces (Cc, Z)
        r"\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb",
        r"\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff",  # format (Cf)
        r"\ue000-\uf8ff\U000f0000-\U0010ffff",  # private use (Co)
        r"\ufdd0-\ufdef",  # and at the end of each plane: noncharacters
        *(rf"\U{plane:04x}fffe\U{plane:04x}ffff" for plane in range(15)),
        # fillers, joiners of accents, variation selectors, the empty braille cell: letters and marks that show nothing
        r"\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0",
    )
)
_INK = f"[^{_WITHOUT_INK}]"
_INK_IN_PYTHON = re.compile(rf"[^{_WITHOUT_INK}\ud800-\udfff]")  # halves of characters: no column can hold one

Texts = TypeVar("Texts", pl.Expr, pl.Series)


def is_blank(text: str | None) -> bool:
    """Whether there is no text, or nothing in it that a person could see: spaces, control characters, marks without width.

    >>> is_blank(" \\n\\u200b"), is_blank(None), is_blank("ok")
    (True, True, False)
    """
    return text is None or _INK_IN_PYTHON.search(text) is None


def are_blank(texts: Texts) -> Texts:
    """`is_blank` of every text of a column; never null.

    >>> are_blank(pl.Series([" \\n\\u200b", None, "ok"])).to_list()
    [True, True, False]
    """
    return ~texts.str.contains(_INK).fill_null(False)
