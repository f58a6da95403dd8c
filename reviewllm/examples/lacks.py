"""What the prompts will lack, counted part by part: titles of items, histories of targets, and what others wrote."""

from __future__ import annotations

import polars as pl

from reviewllm.examples.evidence_columns import ITEM, NEIGHBOUR

# One in twenty is worth a line; below that prompts are as they should be, with exceptions.
_WORTH_SAYING = 0.05
_MOST_LINES = 5  # categories that are named one by one

_TITLES = pl.Schema(
    {"category": pl.String, "stands_in": pl.String, "purchases": pl.Int64, "unknown": pl.Int64, "item_id": pl.String}
)
_NAMES = pl.Schema({"category": pl.String, "title": pl.String, "targets": pl.Int64})
_EVIDENCE = pl.Schema({"split": pl.String, "kind": pl.String, "targets": pl.Int64, "without": pl.Int64})
_NOBODY = {  # why there is none of a kind
    ITEM: "reviews of the item by others: nobody else had reviewed it before",
    NEIGHBOUR: "reviews of the category by neighbours: no user who reviewed the same had written one before",
}
_HISTORIES = pl.Schema({"split": pl.String, "why": pl.String, "targets": pl.Int64})


class Lacks:
    """Counts purchases of items without a title and targets without a history or evidence; `lines` says what is worth a line.

    What is held is a row for each category and each name that stands in for a title in a target.
    """

    def __init__(self) -> None:
        """Begin with nothing counted."""
        self._titles = pl.DataFrame(schema=_TITLES)
        self._names = pl.DataFrame(schema=_NAMES)
        self._histories = pl.DataFrame(schema=_HISTORIES)
        self._evidence = pl.DataFrame(schema=_EVIDENCE)

    def add_part(self, part: pl.DataFrame) -> None:
        """Count a part's purchases: category, item_id, and `stands_in` and `is_known` of `purchases.label_items`."""
        unknown = ~pl.col("is_known")
        counts = part.group_by("category", "stands_in").agg(
            purchases=pl.len().cast(pl.Int64),
            unknown=unknown.sum().cast(pl.Int64),
            item_id=pl.col("item_id").filter(unknown).min(),
        )
        both = pl.concat([self._titles, counts.select(_TITLES.names())])
        self._titles = both.group_by("category", "stands_in").agg(
            pl.col("purchases", "unknown").sum(), pl.col("item_id").min()
        )

    def add_targets(self, targets: pl.DataFrame) -> None:
        """Count a part's targets: category, title, stands_in, split, and the places of `purchases.place_histories`."""
        # Item ids are as many as the items, and no two of them share one.
        nameless = targets.filter(pl.col("stands_in").is_not_null() & (pl.col("title") != pl.col("item_id")))
        names = nameless.group_by("category", "title").agg(targets=pl.len().cast(pl.Int64))
        self._names = pl.concat([self._names, names]).group_by("category", "title").agg(pl.col("targets").sum())
        why = (
            pl.when(pl.col("history_end") > pl.col("history_start"))
            .then(None)
            .when(pl.col("user_end") == pl.col("history_start"))
            .then(pl.lit("without any review of the user"))
            .when(pl.col("left_out") > 0)
            .then(pl.lit("whose user's earlier reviews are all of the same time (--same-time before takes them)"))
            .otherwise(pl.lit("without an earlier review of the user"))
        )
        counts = targets.group_by("split", why.alias("why")).agg(targets=pl.len().cast(pl.Int64))
        self._histories = pl.concat([self._histories, counts]).group_by("split", "why").agg(pl.col("targets").sum())

    def add_evidence(self, targets: pl.DataFrame) -> None:
        """Count a part's targets: split, and the places of `EvidenceColumns.choose`."""
        for kind in (ITEM, NEIGHBOUR):
            asked = targets.filter(pl.col(kind).is_not_null())
            counts = asked.group_by("split").agg(
                kind=pl.lit(kind),
                targets=pl.len().cast(pl.Int64),
                without=(pl.col(kind).list.len() == 0).sum().cast(pl.Int64),
            )
            self._evidence = (
                pl.concat([self._evidence, counts]).group_by("split", "kind").agg(pl.col("targets", "without").sum())
            )

    def without_evidence(self) -> dict[str, int]:
        """How many targets have no evidence, by split and kind, where it was asked for."""
        rows = self._evidence.sort("split", "kind")
        return {f"{split} without {kind}": without for split, kind, _, without in rows.rows()}

    def lines(self) -> list[str]:
        """One line for each lack above a share."""
        return [*self._title_lines(), *self._history_lines(), *self._evidence_lines()]

    def _evidence_lines(self) -> list[str]:
        return [
            f"{split}: {without} of {total} targets ({without / total:.0%}) have no {_NOBODY[kind]}"
            for split, kind, total, without in self._evidence.sort("split", "kind").rows()
            if without > _WORTH_SAYING * total
        ]

    def _title_lines(self) -> list[str]:
        is_missing = pl.col("stands_in").is_not_null()
        shares = self._titles.group_by("category").agg(
            share=pl.col("purchases").filter(is_missing).sum() / pl.col("purchases").sum()
        )
        lacking: list[str] = shares.filter(pl.col("share") > _WORTH_SAYING)["category"].sort().to_list()
        if len(lacking) > _MOST_LINES:
            return [self._title_line(f"{len(lacking)} categories together", lacking)]
        return [self._title_line(category, [category]) for category in lacking]

    def _title_line(self, name: str, categories: list[str]) -> str:
        titles = self._titles.filter(pl.col("category").is_in(categories))
        missing = titles.drop_nulls("stands_in").group_by("stands_in").agg(pl.col("purchases").sum())
        kinds = missing.sort("purchases", "stands_in", descending=True).rows()
        names = self._names.filter(pl.col("category").is_in(categories))
        shared = f"; {names['targets'].sum()} targets share {names['title'].n_unique()} such names" if len(names) else ""
        unknown, first = titles.select(pl.col("unknown").sum(), pl.col("item_id").min()).row(0)
        absent = f"; {unknown} are of items that are not in the metadata at all, as {first!r}" if unknown else ""
        return (
            f"{name}: {sum(count for _, count in kinds)} of {titles['purchases'].sum()} purchases are of items without a title; "
            f"in its place stands {', '.join(f'{kind} ({count})' for kind, count in kinds)}{shared}{absent}"
        )

    def _history_lines(self) -> list[str]:
        lines = []
        for (split,), rows in self._histories.sort("split", "why").group_by("split", maintain_order=True):
            reasons = dict(rows.select("why", "targets").rows())
            total = sum(reasons.values())
            empty = total - reasons.pop(None, 0)
            if empty > _WORTH_SAYING * total:
                why = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
                lines.append(f"{split}: {empty} of {total} targets have no history: {why}")
        return lines
