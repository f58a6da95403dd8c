"""The part of the leakage check that looks at what others wrote."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from reviewllm.examples.evidence import MAX_EVIDENCE_CHARS
from reviewllm.tables import EVIDENCE_COLUMNS

Broken = tuple[pl.DataFrame, str]  # rows with the example_id of those that break a rule, and the rule

_SEEN = pl.Schema({"example_id": pl.String, "text": pl.UInt64})  # of each text once, its hash
_COMPACT_ROWS = 1_000_000


class EvidenceCheck:
    """Reads shards of examples as they are written: what they show, and what no example may show.

    A hidden review is the reference of a backfill example, an evaluated one that of simple or hard. Any example may show their
    words, so only all of them together tell; until then the hashes of texts that are shown stay in memory.
    """

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self._seen = [pl.DataFrame(schema=_SEEN)]
        self._compact = 0
        self._secret: dict[str, list[pl.Series]] = {"a hidden review": [], "an evaluated reference": []}

    def add(self, examples: pl.DataFrame) -> Iterator[Broken]:
        """Look at one shard; gives each rule with the entries that break it by themselves."""
        split = examples["split"][0]
        if split != "train":
            words = examples["reference"].drop_nulls().str.slice(0, MAX_EVIDENCE_CHARS).hash()
            self._secret["a hidden review" if split == "backfill" else "an evaluated reference"].append(words)
        for name in EVIDENCE_COLUMNS["both"]:
            if examples[name].null_count() == len(examples):
                continue
            entries = _entries(examples, name)
            rules = {
                "own": "see a review of the user's own as another's",
                "late": "see another's review that is not earlier than the purchase",
                "strange": f"see a review of another item than {name} says",
            }
            for flag, rule in rules.items():
                if entries[flag].any():
                    yield entries.filter(flag), rule
            self._seen.append(entries[["example_id", "text"]])
        if sum(map(len, self._seen)) > 2 * self._compact + _COMPACT_ROWS:  # popular reviews are shown in many shards
            self._seen = [pl.concat(self._seen).unique("text", keep="first", maintain_order=True)]
            self._compact = len(self._seen[0])

    def close(self) -> Iterator[Broken]:
        """Gives each rule with the examples that show what no example may."""
        seen = pl.concat(self._seen)
        for whose, texts in self._secret.items():
            broken = seen.filter(pl.col("text").is_in(pl.concat([pl.Series(dtype=pl.UInt64), *texts]).implode()))
            yield broken, f"see the words of {whose} as another's review"


def _entries(examples: pl.DataFrame, name: str) -> pl.DataFrame:
    """Of every review that a column shows: example_id, whether it breaks a rule (own, late, strange), and the hash of its text."""
    entry = pl.col("entry").struct
    is_same = entry.field("item_id") == pl.col("item_id")
    return (
        examples.lazy()
        .select("example_id", "user_id", "item_id", "purchased_at", entry=pl.col(name))
        .explode("entry")
        .filter(pl.col("entry").is_not_null())
        .select(
            "example_id",
            own=entry.field("user_id") == pl.col("user_id"),
            late=entry.field("purchased_at") >= pl.col("purchased_at"),
            strange=~is_same if name == "item_evidence" else is_same,
            text=entry.field("review").hash(),
        )
        .collect()
    )
