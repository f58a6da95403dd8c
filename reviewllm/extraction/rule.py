"""The baseline that asks no model: what training products tell about words, shapes, codes and quantities of a category.

Each clue in a text proposes a value of an attribute, with the precision that it had on the training products, and the best
proposal is taken (a decision list: Rivest 1987, Yarowsky 1994):

    known    a run of words that was this attribute's value before                 "Gluten Free" -> specialty
    shape    a run with digits that looks like such a value                        "Pack of 12" -> pack_size
    code     a word that looks like such a value once its signs are left out       "435952-B21" -> part_number "435952B21"
    measure  a quantity, converted as it was before, told by the words beside it   "36 in. High" -> height "91.4"
    word     for values that do not stand in texts, the words that go with one     "bracelet" -> product_type "Bracelets"

Where nothing gives the attribute with which most titles begin (a brand), the title's first word or two are taken.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from reviewllm.extraction.benchmarks import Product
from reviewllm.extraction.candidates import code_shape, key, measures, runs, shape, squeezed, words
from reviewllm.extraction.schemas import Attributes

RULE_VERSION = "1"  # raise it with any change of what the rule finds
_LEAST = 0.35  # precision from which a proposal is taken: half of the F1 (Lipton, Elkan and Narayanaswamy 2014)
_MAX_CHARS = 4_000  # of a text that is looked at; beyond it a description repeats itself
_MAX_VALUES = 80  # of an attribute that words tell: more are no classes
_LITERAL = 0.8  # share of an attribute's values that stand in their texts, from which they are taken as they stand
_LEAD = 0.5  # share of the titles that begin with an attribute, from which an unknown beginning is taken for it
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)(.*)")


class _Clue(NamedTuple):
    """What of a text proposes a value; `place` is where the value stands in it."""

    kind: str
    sign: str
    attribute: str
    value: str
    place: tuple[int, int] | None


class RuleExtractor:
    """What was learned of the training products, by category."""

    def __init__(self, products: Sequence[Product]) -> None:
        """Learn from products with the values that people found."""
        by_category: defaultdict[str, list[Product]] = defaultdict(list)
        for product in products:
            by_category[product.category].append(product)
        self._categories = {category: _Category(several) for category, several in by_category.items()}

    def extract(self, product: Product, attributes: Attributes) -> dict[str, str]:
        """The values of a product that are found, of these attributes; none in a category that was not trained on."""
        known = self._categories.get(product.category)
        found = known.extract(_text(product)) if known else {}
        return {name: found[name] for name in attributes if found.get(name)}


class _Category:
    """The clues of one category and how often each was right."""

    def __init__(self, products: Sequence[Product]) -> None:
        self._values: defaultdict[str, Counter[str]] = defaultdict(Counter)
        texts = [_text(product) for product in products]
        for product in products:
            for name, accepted in product.values.items():
                self._values[name].update(accepted)
        self._literal = self._literal_attributes(products, texts)
        self._signs = self._learn_signs()
        self._factors = self._learn_factors(products, texts)
        self._seen: Counter[tuple[str, str, str]] = Counter()
        self._right: Counter[tuple[str, str, str]] = Counter()
        self._word_seen: Counter[str] = Counter()
        self._word_right: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for product, text in zip(products, texts, strict=True):
            self._count(product, text)
        self._lead = self._learn_lead(products)

    def extract(self, text: str) -> dict[str, str]:
        """The value of each attribute; "" where a clue says that there is none."""
        found: dict[str, str] = {}
        taken: list[tuple[int, int]] = []
        for precision, clue in sorted(self._proposals(text), key=lambda one: (-round(one[0], 1), -_length(one[1]), -one[0])):
            if precision < _LEAST:
                continue
            place = clue.place
            if clue.attribute in found or (place and any(place[0] < end and start < place[1] for start, end in taken)):
                continue
            found[clue.attribute] = clue.value
            if place:
                taken.append(place)
        return found | self._leading(text, found, taken)

    def _proposals(self, text: str) -> Iterator[tuple[float, _Clue]]:
        for clue in self._clues(text):
            sign = clue[:3]
            yield self._right[sign] / (self._seen[sign] + 1), clue
        for word in _word_signs(text):
            for name in self._values:
                for value, right in self._word_right.get((word, name), Counter[str]()).most_common(1):
                    yield right / (self._word_seen[word] + 1), _Clue("word", word, name, value, None)

    def _clues(self, text: str) -> Iterator[_Clue]:
        for start, end, run in runs(text):
            for kind, sign in (("known", key(run)), ("shape", shape(run)), ("code", code_shape(squeezed(run)))):
                for name in self._signs.get((kind, sign or ""), ()):
                    if kind == "code" and " " in run:
                        continue
                    value = (
                        squeezed(run) if kind == "code" else run if name in self._literal else self._canonical(name, sign)
                    )
                    yield _Clue(kind, sign or "", name, value, (start, end) if name in self._literal else None)
        for number, unit, contexts in measures(text):
            for name in self._values:
                if (name, unit) in self._factors:
                    factor, pattern = self._factors[name, unit]
                    value = pattern.format(number * factor)
                    yield from (_Clue("measure", f"{unit} {context}", name, value, None) for context in contexts)

    def _count(self, product: Product, text: str) -> None:
        """Add one product to how often each clue was seen, and was right."""
        clues: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)
        for clue in self._clues(text):
            clues[clue[:3]].add(clue.value)
        self._seen.update(clues.keys())
        self._right.update(sign for sign, values in clues.items() if values & set(product.values.get(sign[2], ())))
        for word in _word_signs(text):
            self._word_seen[word] += 1
            for name, values in self._values.items():
                if name not in self._literal and len(values) <= _MAX_VALUES:
                    self._word_right[word, name].update(product.values.get(name, ()) or ("",))

    def _literal_attributes(self, products: Sequence[Product], texts: Sequence[str]) -> set[str]:
        stand: Counter[str] = Counter()
        for product, text in zip(products, texts, strict=True):
            for name, accepted in product.values.items():
                stand[name] += sum(value in text for value in accepted)
        return {name for name, values in self._values.items() if stand[name] >= _LITERAL * values.total()}

    def _learn_signs(self) -> dict[tuple[str, str], list[str]]:
        """The attributes that a run of words, a shape or a code may be of."""
        signs: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for name, values in self._values.items():
            known = {("known", key(value)) for value in values}
            if name in self._literal:
                known |= {("shape", sign) for value in values if (sign := shape(value))}
            elif len(values) > _MAX_VALUES / 2:
                known |= {
                    ("code", code_shape(value)) for value in values if value == squeezed(value) and not value.isalpha()
                }
            for one in known:
                signs[one].append(name)
        return signs

    def _learn_factors(self, products: Sequence[Product], texts: Sequence[str]) -> dict[tuple[str, str], tuple[float, str]]:
        """For each attribute and unit, what a number in a text was multiplied by, and how the value was written."""
        ratios: defaultdict[tuple[str, str], Counter[tuple[float, str]]] = defaultdict(Counter)
        for product, text in zip(products, texts, strict=True):
            numbers = {(measure.number, measure.unit) for measure in measures(text)}
            for name, accepted in product.values.items():
                for match in filter(None, (_NUMBER.fullmatch(value) for value in accepted if name not in self._literal)):
                    decimals = len(match[1].partition(".")[2])
                    pattern = f"{{:.{decimals}f}}" + match[2].replace("{", "{{").replace("}", "}}")
                    for number, unit in numbers:
                        if number and float(match[1]):
                            ratios[name, unit][float(f"{float(match[1]) / number:.2g}"), pattern] += 1
        known = {3.0: 3.0, 2.5: 2.54, 30.0: 30.48, 28.0: 28.35, 0.45: 0.4536, 450.0: 453.6, 91.0: 91.44}
        best = {sign: counts.most_common(1)[0] for sign, counts in ratios.items()}
        return {sign: (known.get(ratio, ratio), pattern) for sign, ((ratio, pattern), times) in best.items() if times > 2}

    def _canonical(self, name: str, sign: str | None) -> str:
        """The commonest spelling of an attribute's value."""
        return next((value for value, _ in self._values[name].most_common() if key(value) == sign), sign or "")

    def _learn_lead(self, products: Sequence[Product]) -> tuple[str, int] | None:
        """The attribute with which most titles begin, and of how many words it is mostly."""
        leads = [
            (name, len(words(value)))
            for product in products
            for name, accepted in product.values.items()
            for value in accepted
            if name in self._literal and product.title.startswith(value)
        ]
        for name, times in Counter(name for name, _ in leads).most_common(1):
            if times >= _LEAD * len(products):
                return name, Counter(length for one, length in leads if one == name).most_common(1)[0][0]
        return None

    def _leading(self, text: str, found: dict[str, str], taken: list[tuple[int, int]]) -> dict[str, str]:
        if self._lead is None or self._lead[0] in found:
            return {}
        name, length = self._lead
        first = words(text)[:length]
        end = first[-1].end if first else 0
        free = first and not any(start < end for start, _ in taken)
        return {name: text[first[0].start : end]} if free else {}


def _length(clue: _Clue) -> int:
    return clue.place[1] - clue.place[0] if clue.place else 0


def _text(product: Product) -> str:
    return f"{product.title} \n {product.description or ''}"[:_MAX_CHARS]


def _word_signs(text: str) -> list[str]:
    """Words and pairs of words, which tell of values that do not stand in the text; "" is there in every text."""
    found = key(text).split()
    return sorted({"", *found, *(f"{one} {other}" for one, other in itertools.pairwise(found))})
