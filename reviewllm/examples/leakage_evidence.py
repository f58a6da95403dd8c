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
        self._add_references(examples)
        for name in EVIDENCE_COLUMNS["both"]:
            if examples[name].null_count() == len(examples):
                continue
            entries = _entries(examples, name)
            yield entries.filter(pl.col("user_id") == pl.col("own_user")), "see a review of the user's own as another's"
            late = pl.col("purchased_at") >= pl.col("own_time")
            yield entries.filter(late), "see another's review that is not earlier than the purchase"
            same = pl.col("item_id") == pl.col("own_item")
            strange = entries.filter(~same if name == "item_evidence" else same)
            yield strange, f"see a review of another item than {name} says"
            texts = entries.select("example_id", text=pl.col("review").hash())
            self._seen.append(texts.unique("text", keep="first", maintain_order=True))
        self._compact_seen()

    def close(self) -> Iterator[Broken]:
        """Gives each rule with the examples that show what no example may."""
        seen = pl.concat(self._seen)
        for whose, texts in self._secret.items():
            broken = seen.filter(pl.col("text").is_in(pl.concat([pl.Series(dtype=pl.UInt64), *texts]).implode()))
            yield broken, f"see the words of {whose} as another's review"

    def _add_references(self, examples: pl.DataFrame) -> None:
        cut = pl.col("reference").str.slice(0, MAX_EVIDENCE_CHARS)
        known = examples.filter(pl.col("reference").is_not_null()).select("split", text=cut.hash())
        self._secret["a hidden review"].append(known.filter(pl.col("split") == "backfill")["text"])
        self._secret["an evaluated reference"].append(known.filter(pl.col("split").is_in(["simple", "hard"]))["text"])

    def _compact_seen(self) -> None:
        """Popular reviews are shown in many shards."""
        if sum(map(len, self._seen)) > 2 * self._compact + _COMPACT_ROWS:
            self._seen = [pl.concat(self._seen).unique("text", keep="first", maintain_order=True)]
            self._compact = len(self._seen[0])


def _entries(examples: pl.DataFrame, name: str) -> pl.DataFrame:
    """Every review that a column shows, with the example's id, user, item and time."""
    own = {"own_user": "user_id", "own_item": "item_id", "own_time": "purchased_at"}
    shown = examples.select("example_id", *(pl.col(theirs).alias(mine) for mine, theirs in own.items()), entry=pl.col(name))
    return shown.explode("entry").drop_nulls("entry").unnest("entry")
