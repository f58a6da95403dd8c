"""The words that a checkable claim of a review is made of, each once, with the value that it stands for.

Our own and short, written beside the titles of Amazon Reviews 2023. The lists of libraries do not fit: CSS knows "peru" and
"snow" as colours and no "multicolored", and none of them has materials. A hyphen counts as a space.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

VERSION = "2"  # raise it with any change of what counts as a claim or as its support

Kind = Literal[
    "quantity", "count", "colour", "material", "flavour", "size", "brand", "compatibility", "feature", "attribute"
]


class Term(NamedTuple):
    """A word or phrase: its words, what it says of which kind, and whether it often says something else.

    An `unsure` one ("orange", "glass") is a claim only where the product has it or a cue of its kind stands nearby.
    """

    words: tuple[str, ...]
    kind: Kind
    value: str
    unsure: bool = False


def listed(words: str) -> frozenset[str]:
    """The words of a text, parted by spaces."""
    return frozenset(words.split())


# Each entry: the value; behind a colon further words for it.
_COLOURS = """
black; white; red; green; blue: navy blue, royal blue, sky blue, light blue, dark blue; yellow; brown; purple: violet;
pink: hot pink; gray: grey, charcoal; beige; gold: golden; silver; tan; navy; bronze; turquoise: teal, aqua; burgundy:
maroon; ivory; khaki; magenta: fuchsia; rose gold: rosegold; multicolor: multicolored, multicolour, multi color, multi
colored; transparent: see through
"""
_UNSURE_COLOURS = """
orange; coral; lavender; olive; clear; chrome; cream; mint; peach; rainbow
"""
_MATERIALS = """
leather: leatherette; cotton; polyester; nylon; plastic; stainless steel: stainless; steel; aluminum: aluminium; wood:
wooden, walnut wood; bamboo; ceramic; porcelain; silicone; brass; copper; titanium; suede; velvet; denim; canvas;
wool; vinyl; acrylic; spandex: lycra, elastane; microfiber: microfibre; latex; granite; marble; fiberglass;
polycarbonate; linen; satin; fleece; cashmere; cast iron; styrofoam; neoprene; cardboard
"""
_UNSURE_MATERIALS = """
glass; rubber; metal; iron; paper; foam; memory foam; silk; felt; stone; zinc; carbon fiber: carbon fibre; mesh; cork;
oak; walnut; chrome
"""
_FLAVOURS = """
vanilla; chocolate; strawberry; raspberry; blueberry; peppermint; spearmint; cinnamon; eucalyptus; jasmine;
sandalwood; patchouli; coconut; watermelon; pineapple; mango; caramel; hazelnut; unscented
"""
_UNSURE_FLAVOURS = """
lavender; lemon; lime; orange; mint; cherry; apple; banana; grape; peach; rose; honey; ginger; almond; coffee; cedar;
pine; pumpkin
"""
_FEATURES = """
waterproof: water proof; water resistant: water repellent; dishwasher safe; machine washable; oven safe; wireless:
cordless; bluetooth; microwave safe: microwavable, microwaveable; rechargeable; adjustable; foldable: collapsible;
portable; reversible; magnetic; insulated; stretchable: stretchy; organic; vegan; gluten free; sugar free; dairy free;
hypoallergenic; bpa free; non stick: nonstick; non slip: anti slip, nonslip; shatterproof: shatter proof; leakproof:
leak proof; shockproof: shock proof; heat resistant; fireproof; rustproof: rust proof; scratch resistant; noise
cancelling: noise canceling; battery operated: battery powered; solar powered; dimmable; stackable; handmade: hand
made; kosher; non gmo; paraben free; cruelty free; double sided; touchscreen: touch screen; backlit; refillable;
reusable; disposable; washable; breathable; fragrance free; alcohol free; decaffeinated: decaf; caffeine free; self
adhesive
"""
# Brands that reviews of many categories name. A product's own brand is known from its data; these tell that another is meant.
_BRANDS = """
samsung; sony; panasonic; philips; bosch; dewalt; makita; black decker: black and decker; kitchenaid; cuisinart;
hamilton beach; keurig; logitech; microsoft; nintendo; lenovo; asus; nikon; epson; fujifilm; gopro; garmin; fitbit;
anker; belkin; otterbox; spigen; bose; jbl; sennheiser; skullcandy; nike; adidas; reebok; carhartt; hanes; crocs;
skechers; lego; hasbro; mattel; fisher price; crayola; sharpie; rubbermaid; tupperware; pyrex; oxo; contigo; hydro
flask; colgate; gillette; neutrogena; maybelline; loreal: l'oreal; revlon; nivea; aveeno; cetaphil; olay; garnier;
purina; fender; gibson; yamaha; casio; ernie ball; daddario: d'addario; behringer; korg; nestle; starbucks; folgers;
lipton; duracell; energizer; rayovac
"""
# A specific value says the general one too: of a steel knife it is true that it is metal.
IMPLIED: dict[str, tuple[str, ...]] = {
    "stainless steel": ("steel", "metal"),
    "cast iron": ("iron", "metal"),
    "memory foam": ("foam",),
    **dict.fromkeys(("steel", "aluminum", "brass", "copper", "titanium", "iron", "zinc"), ("metal",)),
    **dict.fromkeys(("acrylic", "vinyl", "polycarbonate"), ("plastic",)),
    **dict.fromkeys(("bamboo", "oak", "walnut"), ("wood",)),
    **dict.fromkeys(("canvas", "denim"), ("cotton",)),
    "porcelain": ("ceramic",),
    "rose gold": ("gold", "pink"),
    "navy": ("blue",),
    "blue": ("navy",),
    "waterproof": ("water resistant",),
    "machine washable": ("washable",),
    "dishwasher safe": ("washable",),
    "fragrance free": ("unscented",),
}
# "black tea" is not black: words behind a colour that make another thing of both.
NOT_BEHIND_COLOUR = listed(
    "friday market tea wine rice beans bean pepper light lights noise hair hairs skin eyes eye nails marks mark spots "
    "spot bumps circles heads head meat belt carpet house bread sugar chocolate onion onions flag flags hat box man "
    "woman men women people guy lady eyed haired standard stars thumb card cards hot screen smoke mold mould cheeks "
    "undertones undertone patches lips line lines cross dots flakes residue stains stain"
)
SIZES = {
    "xxs": "xxs",
    "xs": "xs",
    "xl": "xl",
    "xxl": "xxl",
    "2xl": "xxl",
    "xxxl": "xxxl",
    "3xl": "xxxl",
    "4xl": "4xl",
    "5xl": "5xl",
    "small": "s",
    "medium": "m",
    "large": "l",
    "s": "s",
    "m": "m",
    "l": "l",
    "sm": "s",
    "med": "m",
    "lg": "l",
    "x small": "xs",
    "extra small": "xs",
    "x large": "xl",
    "extra large": "xl",
    "xlarge": "xl",
    "xx large": "xxl",
}
_NUMBER_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
NUMBERS = {
    word: number
    for number, word in enumerate(
        ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"], start=1
    )
} | {"dozen": 12, "pair": 2, "couple": 2, "single": 1}


def _terms(entries: str, kind: Kind, *, unsure: bool = False) -> Iterator[Term]:
    for entry in " ".join(entries.split()).split(";"):
        value, _, others = (side.strip() for side in entry.partition(":"))
        for name in (value, *(other.strip() for other in others.split(",") if other.strip())):
            yield Term(tuple(name.split()), kind, value, unsure)


def _by_first_word(terms: Iterator[Term]) -> dict[str, tuple[Term, ...]]:
    """The terms that begin with each word, longest first; one of a kind that is sure goes before one that is not."""
    found: dict[str, list[Term]] = {}
    for term in terms:
        found.setdefault(term.words[0], []).append(term)
    return {word: tuple(sorted(some, key=lambda term: (-len(term.words), term.unsure))) for word, some in found.items()}


def _all_terms() -> Iterator[Term]:
    yield from _terms(_COLOURS, "colour")
    yield from _terms(_UNSURE_COLOURS, "colour", unsure=True)
    yield from _terms(_MATERIALS, "material")
    yield from _terms(_UNSURE_MATERIALS, "material", unsure=True)
    # Most reviews that name these speak of food that goes with the product, so each needs a cue.
    yield from _terms(_FLAVOURS, "flavour", unsure=True)
    yield from _terms(_UNSURE_FLAVOURS, "flavour", unsure=True)
    yield from _terms(_FEATURES, "feature")
    yield from _terms(_BRANDS, "brand")


TERMS = _by_first_word(_all_terms())
"""First word -> the terms that begin with it."""
