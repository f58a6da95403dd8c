"""One spelling of an attribute's name: 'Item Weight:', 'itemWeight' and 'item_weight' are all `weight`."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from reviewllm.attributes.units import unit_of

_LONGEST = 80  # characters
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_AXES = re.compile(r"\(?\bl ?x ?w ?x ?h\b\)?", re.IGNORECASE)  # 'Item Dimensions LxWxH'
_WORD = re.compile(r"[^\W_]+")
_IN_BRACKETS = re.compile(r"[(\[]([^()\[\]]{1,20})[)\]]\W*\Z")
# Units that people put at the end of a name; no word that ends names for another reason ('plug_in', 'age_min').
_ENDINGS = frozenset(
    ("kg", "g", "mg", "lb", "lbs", "oz", "mm", "cm", "inch", "inches", "ft", "ml", "gb", "tb", "mah", "watts", "volts")
)

_ALIASES = {
    **dict.fromkeys(("item_weight", "product_weight", "net_weight"), "weight"),
    **dict.fromkeys(("colour", "colors", "color_name", "colour_name", "item_color", "product_color"), "color"),
    **dict.fromkeys(("materials", "material_type", "item_material", "product_material"), "material"),
    **dict.fromkeys(("size_name", "item_size"), "size"),
    **dict.fromkeys(("brand_name", "item_brand"), "brand"),
    **dict.fromkeys(
        ("item_dimensions", "product_dimensions", "product_dimension", "item_dimension", "dimension"), "dimensions"
    ),
    **dict.fromkeys(("item_package_dimensions", "parcel_dimensions"), "package_dimensions"),
    **dict.fromkeys(("item_package_weight", "parcel_weight"), "package_weight"),
    **{
        f"{owner}_{side}": side for owner in ("item", "product") for side in ("length", "width", "height", "depth", "volume")
    },
    **dict.fromkeys(("item_capacity", "volume_capacity", "capacity_name"), "capacity"),
    **dict.fromkeys(("style_name",), "style"),
    **dict.fromkeys(("pattern_name",), "pattern"),
    **dict.fromkeys(("flavour", "flavor_name", "flavour_name"), "flavor"),
    **dict.fromkeys(("scent_name",), "scent"),
    **dict.fromkeys(("number_of_pieces", "number_of_items", "unit_count", "piece_count", "item_count"), "count"),
    **dict.fromkeys(("feature", "bullet_points", "about_this_item", "key_features"), "features"),
    **dict.fromkeys(("product_description", "item_description"), "description"),
    **dict.fromkeys(("category",), "categories"),
}
# Objects of these names hold the attributes themselves.
CONTAINERS = frozenset(
    (
        "attributes",
        "details",
        "product_details",
        "specifications",
        "specs",
        "technical_details",
        "properties",
        "tech1",
        "tech2",
    )
)
# Whatever stands under these is a sign or a name, not a number: '0012', the brand '360'.
_IDENTIFIER = re.compile(
    r"(?:^|_)(?:upc|ean|gtin|isbn|asin|sku|id|code|part_number|model_number|part_no|model_no|model|date|version)(?:_|$)"
    r"|^(?:brand|manufacturer|title|author|publisher|artist)$"
)


class Name(NamedTuple):
    """A name in its one spelling; with `bare` and `unit` where it ends in a unit, as 'weight_kg' or 'Weight (lbs)' do."""

    name: str
    bare: str | None = None
    unit: str | None = None


@lru_cache(maxsize=2**16)
def canonical_name(text: str) -> Name:
    """Spell a name; an empty name is one without a letter or a digit.

    >>> canonical_name("Item Weight:").name, canonical_name("Colour Name").name, canonical_name("Width (cm)")
    ('weight', 'color', Name(name='width_cm', bare='width', unit='cm'))
    """
    text = text[: 4 * _LONGEST]
    name = _spelled(text)
    bracketed = _IN_BRACKETS.search(text)
    if bracketed and (unit := unit_of(bracketed[1])):
        return Name(name, _spelled(text[: bracketed.start()]) or None, unit)
    bare, _, ending = name.rpartition("_")
    if bare and ending in _ENDINGS:
        return Name(name, aliased(bare), unit_of(ending))
    return Name(name)


def joined_name(outer: str, inner: str) -> str:
    """The name of a member of an object: 'width' in 'dimensions' is 'dimensions_width'."""
    if not outer or not inner:
        return outer or inner
    return aliased(f"{outer}_{inner}"[:_LONGEST].rstrip("_"))


def aliased(name: str) -> str:
    """The name under which this one is kept."""
    return _ALIASES.get(name, name)


@lru_cache(maxsize=2**16)
def is_identifier(name: str) -> bool:
    """Tell whether values of this name are signs or names, never numbers, as those of 'item_model_number' are."""
    return bool(_IDENTIFIER.search(name))


def _spelled(text: str) -> str:
    words = _WORD.findall(_CAMEL.sub("_", _AXES.sub(" ", text)).lower())
    return aliased("_".join(words)[:_LONGEST].rstrip("_"))
