"""Tables and comparisons -> findings in plain words, by rule: what the comparisons carry, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reviewllm.evaluation.baselines import REAL
from reviewllm.evaluation.comparisons import Side
from reviewllm.evaluation.figures import FIGURES
from reviewllm.report.content import Cell, Compared, FigureTable, Finding, Outcome, ScoreRow, ScoreTable, Verdict
from reviewllm.report.score_tables import LABELS, rating_label, row_label

_AGREED: dict[Outcome, tuple[Verdict, str]] = {  # where all scores agree
    "higher": ("better", "beats {} on every score"),
    "lower": ("worse", "is behind {} on every score"),
    "no difference": ("same", "shows no difference from {}"),
    "too few users": ("unknown", "cannot be told apart from {}: there are too few users"),
}

_LEADING = "sbert_cosine"  # nearness in meaning, which a text by other words can reach


def findings(
    tables: Sequence[ScoreTable], figures: Sequence[FigureTable], comparisons: Sequence[Compared], candidate: Side
) -> tuple[Finding, ...]:
    """Say which model scores highest and whether the candidate should be trusted over the others, on each set.

    Args:
        tables: both tables, of one run.
        figures: those without a reference, for the polite texts, those of the products, for the unsupported claims, and the
            likelihood of the real reviews.
        comparisons: of the candidate with the others, and of models with themselves without ratings.
        candidate: the model whose adoption is to be decided.
    """
    found: list[Finding] = []
    for table in tables:
        if not table.rows:
            found.append(_unknown(f"The {table.split} set has no rows, so nothing can be said about it."))
            continue
        mine = [pair for pair in comparisons if pair.split == table.split]
        found.append(_standing(table, mine, candidate))
        found += _against_models(table, mine, candidate)
        found += _against_baselines(table, mine, candidate)
        found += _ratings(table, mine, candidate) if table.split == "hard" else []
    found += [finding for table in figures if table.split == "hard" for finding in _polite(table, candidate)]
    found += [finding for table in figures for finding in _likelihood(table, comparisons, candidate)]
    found += [finding for table in figures for finding in _claims(table, candidate)]
    return tuple(found)


def _standing(table: ScoreTable, pairs: Sequence[Compared], candidate: Side) -> Finding:
    """Where the candidate stands among all others, and who has the highest means, which says nothing yet about how sure."""
    n = table.rows[0].n
    subject = f"On the {table.split} set ({n:,} purchase{'s' if n > 1 else ''})"
    tops: dict[str, list[str]] = {}
    for metric in table.metrics:
        told = [(value, row) for row in table.rows if (value := row.cells[metric].value) is not None]
        for value, best in sorted(told, key=lambda one: -one[0])[:1]:
            tops.setdefault(row_label(best), []).append(f"{LABELS[metric]} {value:.2f}")
    highest = "highest means: " + "; ".join(f"{name} ({', '.join(values)})" for name, values in tops.items())
    leading = table.rows[0].cells[_LEADING]
    if leading.value is None:
        claim = f"{subject} {LABELS[_LEADING]} says nothing: {leading.unread_of} references cannot be scored by this."
        return Finding(claim=claim, verdict="unknown", evidence=(highest,) if tops else ())
    mine = [pair for pair in pairs if Side(pair.model, pair.with_rating) == candidate and pair.metric == _LEADING]
    if not mine:
        return Finding(
            claim=f"{subject} {_side_label(candidate)} is compared with nothing.", verdict="unknown", evidence=(highest,)
        )
    ahead, behind = len(_of(mine, "higher")), len(_of(mine, "lower"))
    level = len(mine) - ahead - behind
    claim = (
        f"{subject}, in {LABELS[_LEADING]}, {_side_label(candidate)} is ahead of {ahead} of {len(mine)} other ways to write, "
        f"not to be told from {level}, and behind {behind}."
    )
    return Finding(claim=claim, verdict="none", evidence=(highest,))


def _against_models(table: ScoreTable, pairs: Sequence[Compared], candidate: Side) -> list[Finding]:
    """The candidate against its base and against every endpoint, asked in the same way."""
    return [
        _compare(table, row, [pair for pair in pairs if _is(pair, candidate, row)], candidate)
        for row in table.rows
        if row.kind in ("base", "endpoint") and row.with_rating == candidate.with_rating and row.model != candidate.model
    ]


def _compare(table: ScoreTable, row: ScoreRow, pairs: Sequence[Compared], candidate: Side) -> Finding:
    subject = f"On the {table.split} set, {_side_label(candidate)}"
    against = f"its base {row.model}" if row.kind == "base" else row_label(row)
    scored = [pair for pair in pairs if pair.metric in LABELS]
    if not scored:
        reason = (
            "no score can read the references"
            if len(_unread(table)) == len(table.metrics)
            else "the two have no rows in common"
        )
        return _unknown(f"{subject} cannot be compared with {against}: {reason}.")
    return _judged(subject, against, scored, table)


def _unread(table: ScoreTable) -> list[str]:
    """The scores that cannot read the references, by their names in the tables."""
    return [LABELS[name] for name in table.metrics if all(row.cells[name].value is None for row in table.rows)]


def _judged(subject: str, against: str, pairs: Sequence[Compared], table: ScoreTable) -> Finding:
    if unread := _unread(table):
        against = f"{against} (without {' and '.join(unread)}, which cannot score the references)"
    outcomes = {pair.verdict for pair in pairs}
    if len(outcomes) == 1:
        verdict, words = _AGREED[outcomes.pop()]
        claim = f"{subject} {words.format(against)}."
    else:
        verdict, claim = "mixed", f"{subject}, against {against}: {_by_outcome(pairs)}."
    return Finding(claim=claim, verdict=verdict, evidence=tuple(map(_evidence, pairs)))


def _against_baselines(table: ScoreTable, pairs: Sequence[Compared], candidate: Side) -> list[Finding]:
    """Whether a text that no model wrote does as well."""
    rules = {(row.model, row.with_rating): row for row in table.rows if row.kind == "baseline"}
    mine = [
        pair
        for pair in pairs
        if Side(pair.model, pair.with_rating) == candidate
        and (pair.other, pair.other_with_rating) in rules
        and pair.metric in LABELS
    ]
    if not mine:
        return []
    subject = f"On the {table.split} set, {_side_label(candidate)}"
    ahead, level, unknown = (_of(mine, outcome) for outcome in ("lower", "no difference", "too few users"))
    if unknown:
        return [_unknown(f"{subject} cannot be told apart from texts copied by rule: there are too few users.")]
    if not ahead and not level:
        scores = "every score that can read the references" if _unread(table) else "every score"
        return [Finding(claim=f"{subject} beats every text copied by rule on {scores}.", verdict="better")]
    won = len(mine) - len(ahead) - len(level)
    claim = (
        f"{subject}, against texts copied by rule, is ahead in {won} of {len(mine)} comparisons, not to be told apart in "
        f"{len(level)}, and behind in {len(ahead)}{f': behind {_listed(ahead)}' if ahead else ''}."
    )
    return [Finding(claim=claim, verdict="worse" if ahead else "mixed", evidence=tuple(map(_evidence, ahead or level)))]


def _ratings(table: ScoreTable, pairs: Sequence[Compared], candidate: Side) -> list[Finding]:
    """Whether it helps a model to be shown ratings."""
    # A candidate without ratings is compared with itself both ways around.
    own = [
        pair for pair in pairs if pair.model == pair.other == candidate.model and pair.with_rating and pair.metric in LABELS
    ]
    subject, against = f"{candidate.model} (w/ rating)", f"{candidate.model} (w/o rating)"
    if own:
        return [_judged(f"On the {table.split} set, {subject}", against, own, table)]
    if len(_unread(table)) == len(table.metrics):
        return [
            _unknown(
                f"Whether ratings help {candidate.model} on the {table.split} set cannot be told: no score can read the references."
            )
        ]
    only = rating_label(with_rating=candidate.with_rating)
    return [
        _unknown(
            f"Whether ratings help {candidate.model} on the {table.split} set cannot be told: it was evaluated {only} only."
        )
    ]


def _likelihood(table: FigureTable, comparisons: Sequence[Compared], candidate: Side) -> list[Finding]:
    """Whether the real reviews are likelier to the candidate than to its base, asked in the same way."""
    cells = {(row.model, row.with_rating): row.cells["reference_nll"] for row in table.rows if "reference_nll" in row.cells}
    return [
        _likelier(pair, cells)
        for pair in comparisons
        if pair.split == table.split and pair.metric == "reference_nll" and (pair.other, pair.other_with_rating) in cells
        for row in table.rows
        if row.kind == "base" and row.with_rating == candidate.with_rating and _is(pair, candidate, row)
    ]


_LIKELIER: dict[Outcome, tuple[Verdict, str]] = {
    "lower": ("better", "likelier to {} than to its base {}"),
    "higher": ("worse", "less likely to {} than to its base {}"),
    "no difference": ("same", "as likely to {} as to its base {}, as far as the data tell"),
    "too few users": (
        "unknown",
        "not to be told likelier or less likely to {} than to its base {}: there are too few users",
    ),
}


def _likelier(pair: Compared, cells: Mapping[tuple[str, bool], Cell]) -> Finding:
    mine, theirs = cells[pair.model, pair.with_rating], cells[pair.other, pair.other_with_rating]
    verdict, words = _LIKELIER[pair.verdict]
    said = words.format(_side_label(Side(pair.model, pair.with_rating)), pair.other)
    return Finding(
        claim=f"On the {pair.split} set, the real reviews are {said} ({mine.value:.3f} against {theirs.value:.3f} nats a token).",
        verdict=verdict,
        evidence=(_evidence(pair),),
    )


def _polite(table: FigureTable, candidate: Side) -> list[Finding]:
    """How often a dissatisfied user is given a satisfied text: the paper's 'polite' models."""
    mine, people, evidence = _figure("polite", table, candidate)
    if mine is None or people is None:
        return []
    if mine.value is None or people.value is None:
        return [_not_read("How many texts for 1 or 2 stars sound positive", mine, people, evidence)]
    claim = (
        f"Of {mine.n} purchases of 1 or 2 stars, {_side_label(candidate)} answers {mine.value:.0f} % with a text that "
        f"sounds positive; of the real reviews {people.value:.0f} % sound so."
    )
    return [Finding(claim=claim, verdict="none", evidence=evidence)]


def _claims(table: FigureTable, candidate: Side) -> list[Finding]:
    """How much of what the candidate claims about products is not in their data, beside the customers' own reviews."""
    mine, people, evidence = _figure("hallucination", table, candidate)
    if mine is None:
        return []
    if mine.value is None:
        subject = f"How much of what texts of the {table.split} set claim is not in the product's data"
        return [_not_read(subject, mine, people, evidence)]
    told = people is not None and people.value is not None
    own = f"; of the real reviews' own claims {people.value:.0f} % are not" if people and told else ""
    claim = (
        f"On the {table.split} set, {mine.n} texts of {_side_label(candidate)} make checkable claims about the product; "
        f"{mine.value:.0f} % of a text's claims are not in the product's data{own}."
    )
    return [Finding(claim=claim, verdict="none", evidence=evidence)]


def _not_read(subject: str, mine: Cell, people: Cell | None, evidence: tuple[str, ...]) -> Finding:
    """That a figure without a reference cannot be told, as its rules are made for English."""
    real = f", and {people.unread_of} real reviews" if people and people.unread else ""
    claim = f"{subject} cannot be told: {mine.unread_of} texts{real} cannot be scored, as they are not English."
    return Finding(claim=claim, verdict="unknown", evidence=evidence)


def _figure(name: str, table: FigureTable, candidate: Side) -> tuple[Cell | None, Cell | None, tuple[str, ...]]:
    """A figure of the candidate and of the real reviews, None where the table has none, and those of others as evidence."""
    rows = [row for row in table.rows if name in row.cells]
    of = {(row.model, row.with_rating): row.cells[name] for row in rows}
    others = ", ".join(
        f"{row_label(row)} {value:.0f} %"
        for row in rows
        if row.kind in ("base", "endpoint") and (value := row.cells[name].value) is not None
    )
    evidence = (f"{FIGURES[name].label}: {others}",) if others else ()
    return of.get((candidate.model, candidate.with_rating)), of.get((REAL.name, False)), evidence


def _is(pair: Compared, candidate: Side, row: ScoreRow) -> bool:
    return Side(pair.model, pair.with_rating) == candidate and (pair.other, pair.other_with_rating) == (
        row.model,
        row.with_rating,
    )


def _of(pairs: Sequence[Compared], outcome: Outcome) -> list[Compared]:
    return [pair for pair in pairs if pair.verdict == outcome]


def _listed(pairs: Sequence[Compared]) -> str:
    """Names of the others with their scores: 'own latest review (ROUGE-1, ROUGE-L); ...'."""
    named: dict[str, list[str]] = {}
    for pair in pairs:
        named.setdefault(_other_label(pair), []).append(LABELS[pair.metric])
    return ", ".join(f"the {name} ({', '.join(labels)})" for name, labels in named.items())


def _by_outcome(pairs: Sequence[Compared]) -> str:
    """Group the metrics: 'higher on ROUGE-1 and ROUGE-L; no difference on sbert_cosine'."""
    words: dict[Outcome, str] = {"higher": "higher on", "lower": "lower on", "no difference": "no difference on"}
    words["too few users"] = "too few users to tell on"
    groups = {word: [LABELS[pair.metric] for pair in _of(pairs, outcome)] for outcome, word in words.items()}
    return "; ".join(f"{word} {' and '.join(labels)}" for word, labels in groups.items() if labels)


def _evidence(pair: Compared) -> str:
    effect = "" if pair.effect_size is None else f", effect size {pair.effect_size:+.2f}"
    told = "" if pair.verdict in ("higher", "lower") else f": {pair.verdict}"
    if pair.verdict == "no difference" and not pair.ci_low <= 0 <= pair.ci_high:
        told = ": no difference after the correction"
    figure = FIGURES[pair.metric]
    digits = max(2, figure.digits)
    return (
        f"{figure.label} {pair.difference:+.{digits}f} [{pair.ci_low:+.{digits}f}, {pair.ci_high:+.{digits}f}] against "
        f"{_other_label(pair)}{effect}, corrected p {p_text(pair.p_corrected)}{told}"
    )


def verdict_text(metric: str, verdict: Outcome) -> str:
    """A verdict in a table; of a figure that is better where it is lower, with what it means.

    >>> verdict_text("rouge1", "higher"), verdict_text("reference_nll", "lower"), verdict_text("hallucination", "higher")
    ('higher', 'lower: better', 'higher: worse')
    """
    if FIGURES[metric].better != "lower" or verdict not in ("higher", "lower"):
        return verdict
    return f"{verdict}: {'better' if verdict == 'lower' else 'worse'}"


def p_text(p: float) -> str:
    """A p-value to two digits.

    >>> p_text(0.0004), p_text(0.0123)
    ('< 0.001', '0.012')
    """
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def _side_label(side: Side) -> str:
    return f"{side.model} ({rating_label(with_rating=side.with_rating)})"


def _other_label(pair: Compared) -> str:
    return f"{pair.other} ({rating_label(with_rating=pair.other_with_rating)})"


def _unknown(claim: str) -> Finding:
    return Finding(claim=claim, verdict="unknown")
