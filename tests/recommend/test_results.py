"""What an evaluation writes and prints."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from reviewllm.recommend.evaluate import Measured, asked_users, measure
from reviewllm.recommend.published import BEAUTY
from reviewllm.recommend.rankings import IN_HISTORY, Ranking
from reviewllm.recommend.results import plain_text, write_results
from reviewllm.table_files import read_table
from reviewllm.tables import COMPARISONS, METRICS

# The targets: y for a, w for b, q for c; d has one item only.
SEQUENCES = pl.DataFrame(
    {"user_id": ["a", "b", "c", "d"], "item_ids": [["x", "y"], ["y", "x", "w"], ["w", "y", "q"], ["x"]]}
)


def ranking(*rows: tuple[str, str, int]) -> Ranking:
    """Rows of user, item and rank."""
    return Ranking(pl.DataFrame(rows, schema=["user_id", "item_id", "rank"], orient="row"), {})


def measured(**systems: Ranking) -> Measured:
    """Systems on all users' test items; the last one is the candidate."""
    return measure(systems, asked_users(SEQUENCES, "test"), run="r", target="test", candidate=list(systems)[-1])


def test_write_results_and_plain_text_say_what_is_missing(tmp_path: Path) -> None:
    systems = {"one": ranking(("a", "y", 1)), "two": ranking(("a", "y", 1), ("b", "w", 1), ("c", "q", 3), ("d", "x", 1))}
    systems["two"] = systems["two"]._replace(dropped={IN_HISTORY: 4})
    found = measured(**systems)
    write_results(found, tmp_path, about={"target": "test"}, paper=None)
    assert read_table(tmp_path / "metrics.parquet", METRICS).equals(found.metrics)
    assert read_table(tmp_path / "comparisons.parquet", COMPARISONS).num_rows == 2
    report = json.loads((tmp_path / "metrics.json").read_text())
    assert (report["target"], report["users"], report["systems"]["one"]["users_missing"]) == ("test", 3, 2)
    text = plain_text(found, target="test", bases={"one": "-", "two": "tiny"}, paper=None, sample="3 of 4 users, shop")
    assert "one: 2 users have no row, and count as misses" in text
    assert "two: 1 users of its rows are not measured; lists at most 1 items" in text
    assert f"HR of the list; 4 rows dropped, {IN_HISTORY}" in text
    assert "the paper did not measure these data" in text
    assert "two against one, HR@10: +66.67" in text
    assert "3 users: too few users" in text


def test_plain_text_shows_the_paper_s_rows_with_base_and_sample() -> None:
    found = measured(one=ranking(("a", "y", 1)))
    lines = plain_text(found, target="test", bases={"one": "tiny"}, paper=BEAUTY, sample="3 of 3 users").splitlines()
    (paper,) = [line for line in lines if "PALR v2" in line]
    assert paper.split(maxsplit=4)[2:] == ["7.21", "4.46", "LLaMA 7B, tuned on 20 % of users; the paper, all 22363 users"]
    assert any(line.startswith("  one") and line.endswith("tiny; ours, 3 of 3 users") for line in lines)
