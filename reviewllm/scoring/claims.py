"""Checkable claims of a review, each with a verdict by the product's data: supported, contradicted or unsupported.

The rules know values and their neighbours, no grammar. Left out on purpose, as no data of a product can decide them: time and
prices, what the user measures (a height, a dog, a distance), wishes and conditions, differences ("2 inches too short"),
words of packaging, and other things than the product ("my black dress", "black tea").
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from reviewllm.attributes.units import same_quantity
from reviewllm.attributes.values import Quantity
from reviewllm.scoring.facts import Facts, product_facts
from reviewllm.scoring.mentions import Mention, Words, matches_at, read_text, without_overlaps, words_of
from reviewllm.scoring.vocabulary import IMPLIED, NOT_BEHIND_COLOUR, Kind, listed

Verdict = Literal["supported", "contradicted", "unsupported"]


class Claim(NamedTuple):
    """One claim: the characters `start` to `end` of the review are its `text`."""

    start: int
    end: int
    kind: Kind
    text: str
    verdict: Verdict


_NOT = listed("not isn't wasn't aren't weren't ain't never isn’t wasn’t aren’t weren’t nor")
_NO_FEATURE = listed("no without non un doesn't don't didn't doesn’t don’t isnt lacks") | _NOT
MOST_CLAIMS = 100  # of a review; the rest of a catalogue or an attack are not read
_AROUND = 300  # characters of a sentence on each side of a claim that are looked at
_NEAR = 3  # words before a claim in which a "not" is its own
_CLAUSE = re.compile(r"[,;:.!?()\n]|\b(?:but|and|however|only|just)\b", re.IGNORECASE)
_OWN = listed("my our his her their your")
_USED_ON = _OWN | listed("on onto for some any through into against off over like than")
_PACKAGING = listed("free bag bags baggie wrap wrapper wrapping packaging package box boxes envelope sleeve")
_OTHERS = listed("for my with on to than like other unlike vs versus your fit fits from of another different our")
_SENTENCE_END = re.compile(r"[.!?](?=\s)|\n")
_WISH = re.compile(
    r"\b(?:wish|hop(?:e|ed|ing)|would|should|could|if|want(?:ed)?|expect(?:ed|ing)?|prefer(?:red)?|looking for|need(?:ed)?|"
    r"instead of|rather than|thought|except|assum(?:e|ed))\b",
    re.IGNORECASE,
)
_COMPARES = re.compile(
    r"\b(?:than|like|unlike|compared?|comparison|previous(?:ly)?|earlier|last|old(?:er)?|other|another|"
    r"also (?:have|own|bought)|before|same|already|first one|second)\b",
    re.IGNORECASE,
)
_BODY = re.compile(
    r"\b(?:i['’]?m|i am|i weigh|my (?:height|weight|waist|hips?|bust|size|chest|feet|foot|wrist)|"
    r"(?:he|she|son|daughter|husband|wife)(?: is|['’]s)|years? old|lost|walk(?:ed)?|drove|drive|ran|hik(?:e|ed)|"
    r"usually wear|normally wear|i wear|weighs? me)\b",
    re.IGNORECASE,
)
_CUES: dict[Kind, re.Pattern[str]] = {
    "colour": re.compile(r"\b(?:colou?r(?:ed|s)?|shade|hue|tone)\b", re.IGNORECASE),
    "material": re.compile(r"\b(?:made (?:out )?(?:of|from|with)|real|genuine|solid|pure|material|fabric)\b", re.IGNORECASE),
    "flavour": re.compile(
        r"\b(?:flavou?r(?:ed|s)?|scent(?:ed|s)?|smell(?:s|ed)?|tast(?:e|es|ed)|fragrance|aroma|odou?r)\b", re.IGNORECASE
    ),
}
_DIFFERENCE = re.compile(
    r"\s*(?:too|short(?:er)?|long(?:er)?|big(?:ger)?|small(?:er)?|wide(?:r)|tall(?:er)?|thick(?:er)|thin(?:ner)|more|less|off|above|"
    r"below|away|apart|from|of (?:space|room|water|flour|sugar|coffee|milk|clearance)|dog|"
    r"cat|puppy|baby|pup|waist|inseam|tv|monitor|trip|drop)\b",
    re.IGNORECASE,
)
_MONEY_OR_STARS = re.compile(r"\s*(?:stars?|bucks|dollars?|cents?|usd|%|percent)\b", re.IGNORECASE)
# Words before a number that make a distance of it.
_DISTANCE = _OWN | frozenset(["within", "from", "about", "every", "after"])
# Units that a review says of its use as often as of the product: a claim only where the product states the like.
_LASTS = re.compile(r"\b(?:battery|lasts?|runtime|timer|rated|holds? (?:a )?charge|warranty|guarantee)\b", re.IGNORECASE)
_OF_USE = listed("s min h d day week month year ms degC degF °C °F mi km mph % percent cup tsp tbsp drop")


def find_claims(text: str, facts: Facts, history: Sequence[str] = ()) -> list[Claim]:
    """Find the claims of a review in order of their places.

    Supported is what title or attributes say, or, in a sentence that compares, the title of one of the user's earlier
    purchases. Contradicted is what the product states another value of: another colour, another length and no equal one,
    another polarity of a feature. Everything else that could be checked is unsupported.

    Args:
        text: of the review; its first 10,000 characters are read.
        facts: of `product_facts`.
        history: titles of the user's earlier purchases.

    >>> facts = product_facts("Alder black steel kettle, 1 lb")
    >>> [(claim.text, claim.verdict) for claim in find_claims("The red kettle has 16 oz and is dishwasher safe.", facts)]
    [('red', 'contradicted'), ('16 oz', 'supported'), ('dishwasher safe', 'unsupported')]
    """
    words, mentions = read_text(text)
    mentions = without_overlaps([*mentions, *_named_values(words, facts), *_unknown_brands(words, facts)])
    if not mentions:
        return []
    reader = _Reader(words, facts, history)
    claims: list[Claim] = []
    for one in mentions[:MOST_CLAIMS]:
        verdict = reader.verdict(one)
        if verdict is None:
            continue
        claim = Claim(one.start, one.end, one.kind, text[one.start : one.end], verdict)
        if not claims or claims[-1].start != one.start:
            claims.append(claim)
        elif verdict == "supported":  # of two readings of the same words
            claims[-1] = claim
    return claims


def _named_values(text: Words, facts: Facts) -> Iterator[Mention]:
    """Short values of attributes that the review repeats."""
    if not facts.phrases:
        return
    for place, word in enumerate(text.words):
        for phrase in facts.phrases.get(word, ()):
            if matches_at(text, place, phrase):
                yield Mention(text.starts[place], text.ends[place + len(phrase) - 1], "attribute", " ".join(phrase))


def _unknown_brands(text: Words, facts: Facts) -> Iterator[Mention]:
    """A name before a word of the product, where the product has a brand: "the Corvo kettle" of an Alder kettle."""
    if "brand" not in facts.stated:
        return
    for place in range(1, len(text.words) - 1):
        start, end = text.starts[place], text.ends[place]
        name = text.text[start:end]
        if (
            name[0].isupper()
            and name[1:].islower()
            and len(name) > 2
            and text.words[place - 1] in ("the", "this", "my", "these", "a")
            and text.words[place] not in facts.words
            and text.words[place + 1] in facts.words
            and text.text[text.starts[place + 1]].islower()
            and text.text[end : text.starts[place + 1]] == " "
        ):
            yield Mention(start, end, "brand", text.words[place])


class _Reader:
    """One review beside its product; what surrounds a mention is only looked at where it is asked for."""

    def __init__(self, words: Words, facts: Facts, history: Sequence[str]) -> None:
        self._words, self._facts, self._history = words, facts, history
        self._ends: list[int] | None = None  # where sentences end
        self._place_of = dict(zip(words.starts, range(len(words.starts)), strict=True))

    def verdict(self, mention: Mention) -> Verdict | None:
        """The verdict on a mention; None where it is no claim about the product, whether the data have it or not."""
        if mention.kind == "attribute":
            return "supported"
        if not self._is_claim(mention):
            return None
        if isinstance(mention.value, Quantity):
            verdict = self._quantity(mention, mention.value)
        else:
            verdict = self._by_value(mention, mention.value)
        if verdict in ("contradicted", "unsupported") and self._is_of_an_earlier_purchase(mention):
            return "supported"
        return verdict

    def _is_claim(self, mention: Mention) -> bool:
        if _WISH.search(self._sentence(mention)) or self._is_of_another_thing(mention):
            return False
        if isinstance(mention.value, Quantity):
            return self._is_of_the_product(mention, mention.value)
        return not mention.unsure or self._has_cue(mention)

    def _by_value(self, mention: Mention, value: str) -> Verdict | None:
        kind, stated = mention.kind, self._facts.stated.get(mention.kind, frozenset())
        if kind == "compatibility":
            return self._device(value)
        has = value in stated or (kind == "brand" and self._facts.words.issuperset(value.split()))
        has = has or not stated.isdisjoint(IMPLIED.get(value, ()))
        if kind == "feature":
            if self._is_denied(mention, _NO_FEATURE):
                return "supported" if value in self._facts.absent else "contradicted" if has else "unsupported"
            return "supported" if has else "contradicted" if value in self._facts.absent else "unsupported"
        if self._is_denied(mention, _NOT):
            return "contradicted" if has else "supported" if stated else None
        return "supported" if has else "contradicted" if stated else "unsupported"

    def _device(self, name: str) -> Verdict:
        words = set(words_of(name).words)
        if words <= self._facts.words:
            return "supported"
        plain = {word for word in words if not any(letter.isdigit() for letter in word)}
        other_model = bool(plain) and plain <= self._facts.words
        return (
            "contradicted"
            if other_model and any(any(c.isdigit() for c in word) for word in self._facts.words)
            else "unsupported"
        )

    def _quantity(self, mention: Mention, claimed: Quantity) -> Verdict | None:
        alike = [same_quantity(claimed, stated) for stated in self._facts.quantities]
        if self._is_denied(mention, _NOT):
            return "contradicted" if True in alike else "supported" if False in alike else None
        return "supported" if True in alike else "contradicted" if False in alike else "unsupported"

    def _is_of_the_product(self, mention: Mention, claimed: Quantity) -> bool:
        """Whether a quantity is one of the product, and not of its use, its user, or a difference."""
        sentence = self._sentence(mention)
        if claimed.unit in _OF_USE and not _LASTS.search(sentence):
            return False
        after = self._words.text[mention.end : mention.end + 40]
        if _DIFFERENCE.match(after) or _MONEY_OR_STARS.match(after):
            return False
        return self._before(mention) not in _DISTANCE and not _BODY.search(sentence)

    def _is_of_an_earlier_purchase(self, mention: Mention) -> bool:
        """Whether a comparison speaks of what the user bought before."""
        return bool(self._history) and bool(_COMPARES.search(self._sentence(mention))) and self._in_history(mention)

    def _is_of_another_thing(self, mention: Mention) -> bool:
        """Whether the words describe something else than the product."""
        before, after = self._before(mention), self._after(mention)
        if mention.kind == "brand":
            return before in _OTHERS or bool(_COMPARES.search(self._sentence(mention)))
        if mention.kind == "colour" and after in NOT_BEHIND_COLOUR:
            return True
        if mention.kind == "material" and (after in _PACKAGING or before in _USED_ON):
            return after not in self._facts.words or after == ""
        if mention.kind in ("colour", "feature"):
            return before in _OWN and after not in self._facts.words
        return mention.kind == "size" and bool(_BODY.search(self._sentence(mention)))

    def _in_history(self, mention: Mention) -> bool:
        for title in self._history:
            facts = product_facts(title)
            if isinstance(mention.value, Quantity):
                if any(same_quantity(mention.value, stated) for stated in facts.quantities):
                    return True
            elif mention.value in facts.stated.get(mention.kind, ()) or facts.words.issuperset(mention.value.split()):
                return True
        return False

    def _is_denied(self, mention: Mention, deniers: frozenset[str]) -> bool:
        """Whether a "not" stands within three words before, in the same clause."""
        place = self._place(mention)
        near = range(max(0, place - _NEAR), place)
        for at in reversed(near):
            if self._words.words[at] in deniers:
                return not _CLAUSE.search(self._words.text[self._words.ends[at] : mention.start])
        return False

    def _place(self, mention: Mention) -> int:
        """The number of the first word of a mention; a sign may stand before it."""
        start = mention.start
        while start not in self._place_of and start < mention.end:
            start += 1
        return self._place_of.get(start, 0)

    def _before(self, mention: Mention) -> str:
        """The word before a mention; empty where there is none."""
        place = self._place(mention) - 1
        return self._words.words[place] if place >= 0 else ""

    def _after(self, mention: Mention) -> str:
        """The word behind a mention, without a sign between them; empty where there is none."""
        end = mention.end
        place = self._place_of.get(end + 1)
        return self._words.words[place] if place is not None and self._words.text[end] in " -" else ""

    def _has_cue(self, mention: Mention) -> bool:
        """Whether something tells what a doubtful word means: a cue of its kind, or the product itself behind it."""
        cue = _CUES.get(mention.kind)
        return self._after(mention) in self._facts.words or (cue is not None and bool(cue.search(self._sentence(mention))))

    def _sentence(self, mention: Mention) -> str:
        """The sentence around a mention, as far as 300 characters of it."""
        if self._ends is None:
            self._ends = [end.end() for end in _SENTENCE_END.finditer(self._words.text)]
        after = bisect_right(self._ends, mention.start)
        start = self._ends[after - 1] if after else 0
        end = self._ends[after] if after < len(self._ends) else len(self._words.text)
        return self._words.text[max(start, mention.start - _AROUND) : min(end, mention.end + _AROUND)]
