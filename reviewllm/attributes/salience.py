"""Which attributes matter most, for a prompt that has no room for all and a catalogue that has too many."""

from __future__ import annotations

from collections.abc import Mapping

from reviewllm.attributes.values import Value

# What a buyer would name first, and what a reader would take as an error first.
_FIRST = (
    *("brand", "product_type", "item_form", "model", "model_name", "style", "color", "material", "size", "dimensions"),
    *("weight", "capacity", "volume", "length", "width", "height", "scent", "flavor", "pattern", "count"),
)
_PLACE = {name: place for place, name in enumerate(_FIRST)}
FREE_TEXT = ("categories", "features", "description")
# What tells the shop's copies apart, not the product's nature.
_BOOKKEEPING = frozenset(
    (
        *("asin", "upc", "ean", "gtin", "isbn_10", "isbn_13", "item_model_number", "part_number", "best_sellers_rank"),
        *("date_first_available", "is_discontinued_by_manufacturer", "discontinued_by_manufacturer", "department"),
        *("manufacturer", "customer_reviews", "domestic_shipping", "international_shipping", "shipping_weight"),
        *("package_dimensions", "package_weight", "warranty_description"),
    )
)
_LONG_TEXT = 200  # characters; longer text is prose, whatever its name


def by_salience(attributes: Mapping[str, Value]) -> list[str]:
    """Order the names: identity and physical facts first, then other facts, the shop's own notes, free text last.

    Names of equal rank stay in the order of `attributes`.

    >>> by_salience({"description": ["..."], "asin": "B1", "lid": "glass", "power": {"value": 5, "unit": "W"}, "color": "red"})
    ['color', 'power', 'lid', 'asin', 'description']
    """
    return sorted(attributes, key=lambda name: _rank(name, attributes[name]))


def _rank(name: str, value: Value) -> tuple[int, int]:
    if name in FREE_TEXT:
        return 4, FREE_TEXT.index(name)
    if isinstance(value, str) and len(value) > _LONG_TEXT:
        return 4, -1
    if name in _PLACE:
        return 0, _PLACE[name]
    if name in _BOOKKEEPING:
        return 3, 0
    is_measured = isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, dict) for one in value))
    return (1 if is_measured else 2), 0
