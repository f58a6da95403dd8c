"""The tables of recommendation: the contract between retrievers, profiles, ranking and evaluation.

A firm's own retriever is a Parquet file of `CANDIDATES`. Declared and checked as the tables in `reviewllm.tables` are.
"""

from __future__ import annotations

import pyarrow as pa

from reviewllm.tables import TIMESTAMP, Column, Table

SEQUENCES = Table(
    "sequences",
    (
        Column("user_id", pa.string(), "the shop's id of the user; one row for each"),
        Column(
            "item_ids",
            pa.list_(pa.field("item", pa.string(), nullable=False)),
            "what the user bought, oldest first, each item once; the last is the test item, the one before it validation",
        ),
    ),
)

CANDIDATES = Table(
    "candidates",
    (
        Column("user_id", pa.string(), "for whom"),
        Column("item_id", pa.string(), "an item that the user may buy next, none of the user's history"),
        Column("rank", pa.int32(), "place in the retriever's order, 1 is the best; each place of a user once"),
        Column("score", pa.float64(), "the retriever's own, higher is better; null where it has none", nullable=True),
        Column("retriever", pa.string(), "who retrieved it"),
    ),
)

PROFILES = Table(
    "profiles",
    (
        Column("user_id", pa.string(), "whose profile it is"),
        Column(
            "keywords",
            pa.list_(pa.field("item", pa.string(), nullable=False)),
            "what the user likes, in a few words each, the strongest first; null where none could be made",
            nullable=True,
        ),
        Column("error", pa.string(), "why there are none; null where there are", nullable=True),
        Column("history_sha256", pa.string(), "of the names of the history that was summarised: another one is asked anew"),
        Column("model", pa.string(), "who wrote them"),
        Column("fingerprint", pa.string(), "sha256 of all that decides them beside the history"),
    ),
)

RECOMMENDATIONS = Table(
    "recommendations",
    (
        Column("user_id", pa.string(), "for whom"),
        Column("item_id", pa.string(), "what to show"),
        Column("rank", pa.int32(), "1 is the best; each place of a user once"),
        Column("source", pa.string(), "model where the ranking model placed it, retriever where it is the fall-back"),
        Column(
            "log_likelihood",
            pa.float64(),
            "natural logarithm of the likelihood of the item's name as the answer; null unless ranked by likelihood",
            nullable=True,
        ),
        Column(
            "reason",
            pa.string(),
            "one sentence why, in the user's own terms; null where none was asked for, or none held",
            nullable=True,
        ),
        Column("retriever", pa.string(), "whose candidates were ranked"),
        Column("model", pa.string(), "the base that ranked"),
        Column("adapter", pa.string(), "the adapter that ranked; null for the bare base", nullable=True),
        Column("method", pa.string(), "generate or likelihood"),
        Column("fingerprint", pa.string(), "sha256 of all that decides the ranking; equal in all rows of a run"),
        Column("generated_at", TIMESTAMP, "UTC"),
    ),
)
