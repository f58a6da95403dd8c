"""The formats of raw files, told apart by their fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from reviewllm.errors import ConfigError, SourceError
from reviewllm.sources.files import DataFile
from reviewllm.tables import EXAMPLES, GENERATIONS, INTERACTIONS, ITEMS

INTERACTION_FIELDS = tuple(column.name for column in INTERACTIONS.columns)
# What metadata carries beside the columns of the items table; it goes into `attributes`, in this order.
ATTRIBUTE_FIELDS = ("details", "tech1", "tech2", "features", "description", "categories")
ITEM_FIELDS = tuple(column.name for column in ITEMS.columns)
ID_FIELDS = ("purchase_id", "user_id", "item_id")
_REQUIRED = ("user_id", "item_id", "rating", "purchased_at")

Kind = Literal["interactions", "items"]


@dataclass(frozen=True)
class Format:
    """A format by name, with `fields` from our names to the names in the file.

    `mark` is a field that a file of this format must have, beside what its kind asks for; `names_say_category` is true of a
    source that names its files by the category of what is in them.
    """

    name: str
    kind: Kind
    fields: Mapping[str, str]
    names_say_category: bool = False
    mark: str | None = None

    def matches(self, present: frozenset[str]) -> bool:
        """Tell whether a file with the fields `present` is of this format."""
        names = self.fields
        if self.mark and self.mark not in present:
            return False
        if self.kind == "interactions":
            return all(names[field] in present for field in _REQUIRED)
        others = {theirs for ours, theirs in names.items() if ours != "item_id"}
        return names["item_id"] in present and not others.isdisjoint(present) and present.isdisjoint(_REVIEW_MARKS)


# A file with one of these holds reviews, perhaps of a format that is not known; never items.
_REVIEW_MARKS = frozenset({"reviewerID", "reviewText", "overall", "user_id", "text", "timestamp", "purchased_at"})

TABLE_OF_INTERACTIONS = "table of interactions"

_AMAZON_REVIEWS = Format(
    "Amazon reviews 2014 or v2 (2018)",
    "interactions",
    {
        "user_id": "reviewerID",
        "item_id": "asin",
        "rating": "overall",
        "review": "reviewText",
        "purchased_at": "unixReviewTime",
    },
    names_say_category=True,
)
_AMAZON_2023_REVIEWS = Format(
    "Amazon Reviews 2023",
    "interactions",
    {
        "user_id": "user_id",
        "item_id": "parent_asin",
        "rating": "rating",
        "review": "text",
        "purchased_at": "timestamp",
    },
    names_say_category=True,
)
_AMAZON_2014_ITEMS = Format(  # published as Python literals, and read once it is JSON
    "Amazon metadata 2014",
    "items",
    {
        "item_id": "asin",
        "title": "title",
        "brand": "brand",
        "price": "price",
        "description": "description",
        "categories": "categories",
    },
    mark="categories",
)
_AMAZON_ITEMS = Format(
    "Amazon metadata v2 (2018)",
    "items",
    {
        "item_id": "asin",
        "title": "title",
        "brand": "brand",
        "category": "main_cat",
        "price": "price",
        "features": "feature",
        "description": "description",
        "details": "details",
        "tech1": "tech1",
        "tech2": "tech2",
        "categories": "category",
    },
)
_AMAZON_2023_ITEMS = Format(
    "Amazon Reviews 2023 metadata",
    "items",
    {
        "item_id": "parent_asin",
        "title": "title",
        "brand": "store",
        "category": "main_category",
        "price": "price",
        "features": "features",
        "description": "description",
        "details": "details",
        "categories": "categories",
    },
)


def known_formats(column_names: Mapping[str, str]) -> list[Format]:
    """Return the formats in the order in which they are tried; `column_names` renames the columns of a firm's tables.

    Raises:
        ConfigError: `column_names` has a name that no table here has.
    """
    unknown = sorted(set(column_names) - {*INTERACTION_FIELDS, *ITEM_FIELDS})
    if unknown:
        allowed = ", ".join(dict.fromkeys((*INTERACTION_FIELDS, *ITEM_FIELDS)))
        raise ConfigError(f"column_names: there is no column {', '.join(unknown)} to map to; allowed are {allowed}")
    return [
        Format(TABLE_OF_INTERACTIONS, "interactions", {name: column_names.get(name, name) for name in INTERACTION_FIELDS}),
        Format("table of items", "items", {name: column_names.get(name, name) for name in ITEM_FIELDS}),
        _AMAZON_REVIEWS,
        _AMAZON_2023_REVIEWS,
        _AMAZON_2023_ITEMS,
        _AMAZON_2014_ITEMS,
        _AMAZON_ITEMS,
    ]


def recognise(file: DataFile, present: frozenset[str], formats: Sequence[Format]) -> Format:
    """Return the first format that a file with the fields `present` has.

    Raises:
        SourceError: there is none, or the file is one that a job made of reviews.
    """
    for made in (EXAMPLES, GENERATIONS):
        if present.issuperset(column.name for column in made.columns):
            raise SourceError(
                f"{file.path}: is of the table '{made.name}', which was made of reviews and is none; name the folder of the "
                "reviews themselves"
            )
    for candidate in formats:
        if candidate.matches(present):
            return candidate
    if not present:
        raise SourceError(f"{file.path}: no line at its head is a JSON object; the file must hold one on every line")
    known = "; ".join(f"{f.name}: {', '.join(f.fields.values())}" for f in formats)
    raise SourceError(
        f"{file.path}: of no known format; its fields are {', '.join(sorted(present))}; known are the "
        f"formats ({known}); rename the columns of a table with column_names"
    )
