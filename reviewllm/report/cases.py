"""Case studies, chosen by rule and never by hand: where the candidate was best, worst, most ahead, and most polite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from reviewllm.evaluation.comparisons import Side
from reviewllm.report.content import Case, Example, Output
from reviewllm.report.score_tables import LABELS
from reviewllm.scoring.sentiment import NEGATIVE_RATING

_BY = "sbert_cosine"


class _Rule(NamedTuple):
    words: str
    figure: str
    value: Callable[[Example, Output, Output | None], float | None]
    lowest: bool = False


def _score(output: Output | None, name: str) -> float | None:
    return None if output is None or output.review is None else output.scores.get(name)


def _nearness(_: Example, mine: Output, __: Output | None) -> float | None:
    return _score(mine, _BY)


def _difference(mine: Output, base: Output | None) -> float:
    ours, theirs = _score(mine, _BY), _score(base, _BY)
    return 0.0 if ours is None or theirs is None else ours - theirs


def _gain(_: Example, mine: Output, base: Output | None) -> float | None:
    difference = _difference(mine, base)
    return difference if difference > 0 else None


def _loss(_: Example, mine: Output, base: Output | None) -> float | None:
    difference = _difference(mine, base)
    return difference if difference < 0 else None


def _politeness(example: Example, mine: Output, _: Output | None) -> float | None:
    return _score(mine, "sentiment") if example.rating <= NEGATIVE_RATING else None


def _copied(_: Example, mine: Output, __: Output | None) -> float | None:
    return _score(mine, "copied_words") or None  # none copied is no case


def _copied_from_others(_: Example, mine: Output, __: Output | None) -> float | None:
    return _score(mine, "copied_from_others") or None


_RULES = (
    _Rule("Best", f"{LABELS[_BY]} {{:.1f}}", _nearness),
    _Rule("Worst", f"{LABELS[_BY]} {{:.1f}}", _nearness, lowest=True),
    _Rule("Largest gain over its base", f"{LABELS[_BY]} {{:+.1f}}", _gain),
    _Rule("Largest loss against its base", f"{LABELS[_BY]} {{:+.1f}}", _loss, lowest=True),
    _Rule("Most polite to a dissatisfied customer", "sentiment {:+.0f}", _politeness),
    _Rule("Longest run of words copied from the user's history", "{:.0f} words", _copied),
    _Rule("Longest run of words copied from another customer", "{:.0f} words", _copied_from_others),
)


def case_studies(examples: Sequence[Example], candidate: Side, base: str | None) -> tuple[Case, ...]:
    """Choose one example for each rule that applies; of equals the first.

    Args:
        examples: every evaluated example with what the models wrote.
        candidate: whose texts are looked at.
        base: name of the model that gains are counted from; None where none was evaluated.
    """
    pairs = [
        (example, mine, _of(example, Side(base, candidate.with_rating)) if base else None)
        for example in examples
        if (mine := _of(example, candidate)) is not None
    ]
    return tuple(case for rule in _RULES if (case := _chosen(rule, pairs)) is not None)


def _chosen(rule: _Rule, pairs: Sequence[tuple[Example, Output, Output | None]]) -> Case | None:
    valued = [(value, example) for example, mine, base in pairs if (value := rule.value(example, mine, base)) is not None]
    if not valued:
        return None
    choose = min if rule.lowest else max
    value, example = choose(valued, key=lambda one: one[0])
    return Case(rule=rule.words, figure=rule.figure.format(value), example=example)


def _of(example: Example, side: Side) -> Output | None:
    return next((one for one in example.outputs if (one.model, one.with_rating) == (side.model, side.with_rating)), None)
