"""Tables -> findings in plain words, by rule: what the intervals carry, and nothing else.

A difference counts where the two 95 % intervals do not overlap. That is stricter than a paired test (it misses small
differences that such a test would find), and it never claims more than the table shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from reviewllm.report.content import Finding, ScoreRow, ScoreTable, Verdict
from reviewllm.report.score_tables import LABELS, rating_label, row_label

MIN_ROWS = 20  # below about 20 clusters a percentile bootstrap interval is too narrow to decide anything

Difference = Literal["higher", "lower", "unclear"]

_AGREED: dict[Difference, tuple[Verdict, str]] = {  # where all scores agree
    "higher": ("better", "beats {} on every score"),
    "lower": ("worse", "is behind {} on every score"),
    "unclear": ("unclear", "shows no clear difference from {}"),
}


def findings(tables: Sequence[ScoreTable], bases: Mapping[str, str]) -> tuple[Finding, ...]:
    """Say whether each adapter beats its base on each set, and whether ratings help on the hard set.

    Args:
        tables: both tables, of one run.
        bases: the name of each adapted model with the name of its base, whether or not the base was evaluated.
    """
    found = []
    for table in tables:
        if not table.rows:
            found.append(_unknown(f"The {table.split} set has no rows, so nothing can be said about it."))
            continue
        adapted = [name for name in _models(table) if name in bases]
        if not adapted:
            found.append(
                _unknown(f"On the {table.split} set no adapter stands beside its base, so there is no gain to tell.")
            )
        found.extend(_adapter_against_base(table, name, bases[name]) for name in adapted)
        if table.split == "hard":
            found.extend(_with_against_without_rating(table, name) for name in adapted or _models(table))
    return tuple(found)


def difference(row: ScoreRow, other: ScoreRow, metric: str) -> Difference:
    """Say whether `row` is higher or lower than `other`: unclear where intervals overlap or rows are too few."""
    mine, theirs = row.cells[metric], other.cells[metric]
    if min(row.n, other.n) < MIN_ROWS:
        return "unclear"
    if mine.ci_low > theirs.ci_high:
        return "higher"
    return "lower" if mine.ci_high < theirs.ci_low else "unclear"


def _adapter_against_base(table: ScoreTable, adapted: str, base: str) -> Finding:
    for with_rating in (True, False):  # as the paper compares first; without ratings only where nothing else was run
        row, other = _row(table, adapted, with_rating=with_rating), _row(table, base, with_rating=with_rating)
        if row and other:
            return _compare(f"On the {table.split} set, {row_label(row)}", row, f"its base {base}", other)
    return _unknown(
        f"On the {table.split} set, {adapted} cannot be compared with its base {base}: "
        "the two were not evaluated with the same kind of prompt."
    )


def _with_against_without_rating(table: ScoreTable, model: str) -> Finding:
    row, other = _row(table, model, with_rating=True), _row(table, model, with_rating=False)
    if row and other:
        return _compare(f"On the {table.split} set, {row_label(row)}", row, row_label(other), other)
    only = rating_label(with_rating=row is not None)
    return _unknown(f"Whether ratings help {model} on the {table.split} set cannot be told: it was evaluated {only} only.")


def _compare(subject: str, row: ScoreRow, against: str, other: ScoreRow) -> Finding:
    outcomes = {metric: difference(row, other, metric) for metric in row.cells}
    if len(set(outcomes.values())) == 1:
        verdict, claim = _AGREED[next(iter(outcomes.values()))]
        claim = f"{subject} {claim.format(against)}."
    else:
        verdict, claim = "mixed", f"{subject}, against {against}: {_by_outcome(outcomes)}."
    if min(row.n, other.n) < MIN_ROWS:
        claim += f" With {row.n} row{'s' if row.n > 1 else ''} there are too few to tell."
    return Finding(claim=claim, verdict=verdict, evidence=tuple(_evidence(row, other, *pair) for pair in outcomes.items()))


def _by_outcome(outcomes: Mapping[str, Difference]) -> str:
    """Group the metrics: 'higher on ROUGE-1 and ROUGE-L; no clear difference on sbert_cosine'."""
    words: dict[Difference, str] = {"higher": "higher on", "lower": "lower on", "unclear": "no clear difference on"}
    groups = {word: [LABELS[metric] for metric, found in outcomes.items() if found == key] for key, word in words.items()}
    return "; ".join(f"{word} {' and '.join(labels)}" for word, labels in groups.items() if labels)


def _evidence(row: ScoreRow, other: ScoreRow, metric: str, outcome: Difference) -> str:
    mine, theirs = row.cells[metric], other.cells[metric]
    gain = f"{mine.value - theirs.value:+.2f}"
    return (
        f"{LABELS[metric]}: {mine.value:.2f} [{mine.ci_low:.2f}, {mine.ci_high:.2f}] against "
        f"{theirs.value:.2f} [{theirs.ci_low:.2f}, {theirs.ci_high:.2f}], {gain}"
        + (": no clear difference" if outcome == "unclear" else "")
    )


def _unknown(claim: str) -> Finding:
    return Finding(claim=claim, verdict="unknown")


def _models(table: ScoreTable) -> list[str]:
    return list(dict.fromkeys(row.model for row in table.rows))


def _row(table: ScoreTable, model: str, *, with_rating: bool) -> ScoreRow | None:
    return next((row for row in table.rows if row.model == model and row.with_rating == with_rating), None)
