"""How much of their histories prompts show, and how much of a prompt is how the user's prompt before began.

    python benchmarks/histories.py --examples <run>/examples/train --base-model <folder> [--rows 4000]

Reads examples with every review a target (`prepare --targets all --first-target 1`), renders them in order, and prints a line for
each kind of prompt: of all rows, and of those whose history is longer than the prompt.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reviewllm.prompts.config import PromptConfig
from reviewllm.prompts.renderer import Prompt, PromptRenderer
from reviewllm.prompts.tokenizer import load_tokenizer
from reviewllm.sft.sequences import shared_prefix
from reviewllm.table_files import read_table, table_files
from reviewllm.tables import EXAMPLES

KINDS = {
    "paper": {},
    "paper, similar": {"history_selection": "similar"},
    "paper, spread": {"history_selection": "spread"},
    "paper, user facts": {"user_facts": True},
    "dialogue": {"prompt_form": "dialogue"},
    "dialogue, user facts": {"prompt_form": "dialogue", "user_facts": True},
}


class Sums(NamedTuple):
    """Of many prompts: rows, tokens, history entries shown and given, tokens that began the user's prompt before."""

    rows: int = 0
    tokens: int = 0
    kept: int = 0
    given: int = 0
    shared: int = 0

    def line(self, most: int) -> str:
        """As a row of a table."""
        shown = f"{self.kept / self.rows:.2f} | {100 * self.kept / max(1, self.given):.1f} %"
        return f"{self.rows} | {shown} | {self.tokens / self.rows:.0f} of {most} | {100 * self.shared / self.tokens:.1f} %"


def measure(rows: list[dict[str, object]], prompts: list[Prompt], cut: list[bool]) -> Sums:
    """Sum up the prompts that are `cut`; prompts of one user stand together, in order of time."""
    sums = Sums()
    before: tuple[object, np.ndarray] = None, np.array([])
    for row, prompt, counts in zip(rows, prompts, cut, strict=True):
        ids = np.array(prompt.token_ids)
        shared = shared_prefix(before[1], ids) if before[0] == row["user_id"] else 0
        before = row["user_id"], ids
        if counts:
            more = Sums(1, len(prompt.token_ids), prompt.history_kept, prompt.history_given, shared)
            sums = Sums(*(one + other for one, other in zip(sums, more, strict=True)))
    return sums


def main() -> None:
    """Render and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=Path, required=True)
    parser.add_argument("--base-model", required=True)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--max-prompt-tokens", default="768,1536")
    asked = parser.parse_args()
    rows = read_table(table_files(asked.examples, EXAMPLES), EXAMPLES).slice(0, asked.rows).to_pylist()
    tokenizer = load_tokenizer(asked.base_model)
    print(
        "| prompts | rows | entries shown | of all | tokens | the beginning of the prompt before |\n|---|---|---|---|---|---|"
    )
    for tokens, (name, options) in itertools.product(map(int, asked.max_prompt_tokens.split(",")), KINDS.items()):
        config = PromptConfig.model_validate({"max_prompt_tokens": tokens, **options})
        prompts = [one for one in PromptRenderer(tokenizer, config).render(rows) if isinstance(one, Prompt)]
        cut = [one.history_kept < one.history_given or one.reviews_shortened for one in prompts]
        for which, some in (("all", [True] * len(rows)), ("cut", cut)):
            print(f"| {name}, {which} | {measure(rows, prompts, some).line(tokens)} |", flush=True)


if __name__ == "__main__":
    main()
