"""What a word is, for every score that counts words; ROUGE has its own rule, which is the packages' and the paper's."""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+(?:['’]\w+)*")


def words(text: str) -> list[str]:
    """The words of a text in lower case: runs of letters and digits of any script, with apostrophes inside.

    A script without spaces gives one word for each run.

    >>> words("Don't buy it: 2 of 3 broke!")
    ["don't", 'buy', 'it', '2', 'of', '3', 'broke']
    """
    return _WORD.findall(text.lower())
