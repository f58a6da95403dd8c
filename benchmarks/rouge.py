"""Our ROUGE beside the package `rouge_score`: the same numbers, how much faster.

    python benchmarks/rouge.py [--pairs 200] [--rounds 5] [--json FILE]

Pairs of texts of 80 and of 200 words, drawn from a vocabulary whose words are as unequally frequent as those of reviews
(Zipf's law), with and without stemmer. The two take turns in one process; a figure is the median over the rounds of the ratio
of their seconds for the same pairs. The largest difference of any score is over all pairs, and has to be 0.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rouge_score.rouge_scorer import RougeScorer

from reviewllm.scoring.rouge import Rouge, rouge

LENGTHS = (80, 200)
VOCABULARY = 5_000

Pairs = list[tuple[str, str]]


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=200, help="pairs of each length")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    figures: dict[str, float] = {}
    differences = []
    for words in LENGTHS:
        pairs = draw_pairs(arguments.pairs, words)
        figures[f"speedup_{words}_tokens"], us, theirs = compare(pairs, rounds=arguments.rounds, stem=False)
        stemmed, *_ = compare(pairs, rounds=arguments.rounds, stem=True)
        differences += [difference(pairs, stem=stem) for stem in (False, True)]
        print(
            f"{words} words: {us * 1e6:.0f} us a pair, rouge_score {theirs * 1e6:.0f} us, "
            f"{figures[f'speedup_{words}_tokens']:.1f} times as fast ({stemmed:.1f} with a stemmer)"
        )
    figures["max_abs_difference"] = max(differences)
    print(f"largest difference of any score: {figures['max_abs_difference']}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


def draw_pairs(count: int, words: int) -> Pairs:
    """Pairs of texts of so many words each."""
    draw = random.Random(words)
    vocabulary = [f"word{rank}s" for rank in range(VOCABULARY)]
    weights = [1 / (rank + 1) for rank in range(VOCABULARY)]
    texts = [" ".join(draw.choices(vocabulary, weights, k=words)) for _ in range(2 * count)]
    return list(zip(texts[::2], texts[1::2], strict=True))


def compare(pairs: Pairs, *, rounds: int, stem: bool) -> tuple[float, float, float]:
    """How many times as fast ours is, and the seconds of a pair of both; medians of the rounds."""
    scorer = RougeScorer(["rouge1", "rougeL"], use_stemmer=stem)
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(seconds(lambda: rouge(*zip(*pairs, strict=True), stem=stem)) / len(pairs))
        theirs.append(seconds(lambda: [scorer.score(*pair) for pair in pairs]) / len(pairs))
    ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
    return statistics.median(ratios), statistics.median(ours), statistics.median(theirs)


def seconds(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def difference(pairs: Pairs, *, stem: bool) -> float:
    """The largest difference of any score of any pair."""
    scorer = RougeScorer(["rouge1", "rougeL"], use_stemmer=stem)
    expected = [
        Rouge(*(100 * scored[name].fmeasure for name in ("rouge1", "rougeL")))
        for scored in (scorer.score(*pair) for pair in pairs)
    ]
    found = rouge(*zip(*pairs, strict=True), stem=stem)
    return max(
        abs(mine - theirs)
        for one, other in zip(found, expected, strict=True)
        for mine, theirs in zip(one, other, strict=True)
    )


if __name__ == "__main__":
    main()
