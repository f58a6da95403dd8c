"""What a word is, for every score that counts words.

ROUGE has a rule of its own by default, which is the packages' and the paper's; `rouge_words` is the one for any script.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# Scripts that put no space between words: Thai, Lao, Burmese, Khmer, kana (without the dot and the lines between words) and
# Chinese characters.
_SPACELESS = (
    "\u0e01-\u0e7f\u0e81-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_MARKS = "".join(chr(code) for code in range(0x300, 0xFFFF) if unicodedata.category(chr(code))[0] == "M")
_CHARACTER = rf"[{_SPACELESS}][{_MARKS}]*"
_EMOJI = "[\u2600-\u27bf\U0001f000-\U0001faff]"


def _run(no_letters: str) -> str:
    """A run of letters and digits of the other scripts, with their marks, as Devanagari's vowels are."""
    letters = rf"[^\W{_SPACELESS}{no_letters}]"
    return rf"{letters}+(?:[{_MARKS}]+{letters}*)*"


_ROUGE_WORD = re.compile(rf"{_run('_')}|{_CHARACTER}|{_EMOJI}")
_ASCII_ROUGE_WORD = re.compile("[a-z0-9]+")


@lru_cache
def _pattern(no_letters: str, is_ascii: bool) -> re.Pattern[str]:
    run = rf"[^\W{no_letters}]+" if is_ascii else _run(no_letters)
    return re.compile(rf"{run}(?:['’]{run})*" if is_ascii else rf"{run}(?:['’]{run})*|{_CHARACTER}")


def word_pattern(text: str, no_letters: str = "") -> re.Pattern[str]:
    """What finds the words of a text, with apostrophes inside: of ASCII, which most are, the same in a quarter of the time.

    Args:
        text: that is to be looked through.
        no_letters: what parts words beside what always does.
    """
    return _pattern(no_letters, text.isascii())


def words(text: str) -> list[str]:
    """The words of a text in lower case: runs of letters and digits of any script, with apostrophes inside.

    Of a script without spaces each character is a word, as is usual where none is to be learned or looked up.

    >>> words("Don't buy it: 2 of 3 broke!"), words("非常好, buy!")
    (["don't", 'buy', 'it', '2', 'of', '3', 'broke'], ['非', '常', '好', 'buy'])
    """
    text = text.lower()
    return word_pattern(text).findall(text)


def rouge_words(text: str) -> list[str]:
    """The words of a text of any script, as ROUGE compares them: on ASCII text those of the package `rouge_score`.

    Compatibility forms and case are folded; a character of a script without spaces is a word, and so is an emoji.

    >>> rouge_words("Don't buy_it"), rouge_words("Größe 很好👍")
    (['don', 't', 'buy', 'it'], ['grösse', '很', '好', '👍'])
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    return (_ASCII_ROUGE_WORD if text.isascii() else _ROUGE_WORD).findall(text)


def is_spaceless(text: str) -> bool:
    """Whether some of a text is in a script without spaces, where a word is a character.

    >>> is_spaceless("不锈钢 kettle"), is_spaceless("Kessel")
    (True, False)
    """
    return bool(re.search(f"[{_SPACELESS}]", text))
