"""What the rule engine answers to tasks that ask for no review: words in common, no model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from reviewllm.prompts.tasks import TaskName
from reviewllm.prompts.tasks.recommend import answer_text, read_asked

RULE_COLUMNS = ("attributes", "history_titles")  # what these rules read of an example, beside its title
_COMMON = frozenset(["a", "an", "and", "for", "in", "of", "on", "the", "to", "with"])


def rule_recommendation(example: dict[str, Any]) -> str:
    """The candidates that share most words with the purchases, of equal ones the first; without candidates the newest purchases
    themselves, which is no recommendation, but is text of the right form.
    """
    asked = read_asked(example["attributes"])
    bought = example["history_titles"]
    names = asked.candidates or bought[::-1]
    known = Counter(word for name in bought for word in _words(name))
    ordered = sorted(names, key=lambda name: -sum(known[word] for word in _words(name)))
    return answer_text(ordered[: asked.count])


def rule_likelihoods(example: dict[str, Any]) -> list[float]:
    """Minus the place of each candidate in the rule's order of all of them, from 1."""
    asked = read_asked(example["attributes"])
    known = Counter(word for name in example["history_titles"] for word in _words(name))
    shared = [sum(known[word] for word in _words(name)) for name in asked.candidates]
    order = sorted(range(len(shared)), key=lambda place: -shared[place])
    places = {number: place for place, number in enumerate(order, start=1)}
    return [-float(places[number]) for number in range(len(shared))]


def rule_reason(example: dict[str, Any]) -> str:
    """A sentence that names the latest purchase."""
    bought = example["history_titles"]
    return f"You bought {bought[-1]}, so {example['title']} may suit you." if bought else f"{example['title']} may suit you."


def _words(name: str) -> list[str]:
    return [word for word in re.findall(r"\w+", name.casefold()) if word not in _COMMON]


RULE_ANSWERS: dict[TaskName, Callable[[dict[str, Any]], str]] = {
    "recommend": rule_recommendation,
    "reason": rule_reason,
}
