"""What changed between two evaluations."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from reviewllm.errors import InputError
from reviewllm.report.changes import compare_runs, plain_text
from reviewllm.report.page import write_changes
from reviewllm.table_files import read_table, write_table
from reviewllm.tables import EXAMPLES, GENERATIONS


def changed_run(out: Path, to: Path, change: pl.Expr) -> Path:
    """A copy of a run with the adapter's ROUGE-1 changed."""
    shutil.copytree(out, to)
    file = to / "metrics" / "generations" / "0" / "part-0.parquet"
    rows = pl.DataFrame(read_table([file], GENERATIONS))
    better = pl.when(pl.col("adapter").is_not_null()).then(change).otherwise("rouge1")
    write_table(rows.with_columns(rouge1=better).to_arrow(), file, GENERATIONS)
    return to


def test_compare_runs_finds_what_is_higher_and_nothing_else(out_folder: Path, tmp_path: Path) -> None:
    after = changed_run(out_folder, tmp_path / "after", pl.col("rouge1") + 5)
    found = compare_runs(out_folder, after)
    moved = {(one.model, one.with_rating, one.metric) for one in found.changes if one.verdict == "higher"}
    assert moved == {("tiny + adapter", True, "rouge1"), ("tiny + adapter", False, "rouge1")}
    one = next(one for one in found.changes if one.verdict == "higher" and one.split == "simple")
    assert (one.before, one.after, one.difference, one.users) == (pytest.approx(32.0), pytest.approx(37.0), 5.0, 30)
    assert found.common == {"simple": 30, "hard": 30}
    assert found.settings == {}
    page = write_changes(found, tmp_path / "page").read_text()
    assert "Nothing: the same examples, options and models." in page
    assert "tiny + adapter (w/ rating)" in plain_text(found)


def test_compare_runs_only_what_both_asked_about(out_folder: Path, tmp_path: Path) -> None:
    after = changed_run(out_folder, tmp_path / "after", pl.col("rouge1"))
    shards = after / "examples" / "hard" / "shard-0.parquet"
    kept = pl.DataFrame(read_table([shards], EXAMPLES)).head(12)
    write_table(kept.to_arrow(), shards, EXAMPLES)
    file = after / "metrics" / "generations" / "0" / "part-0.parquet"
    rows = pl.DataFrame(read_table([file], GENERATIONS))
    known = (pl.col("split") == "simple") | pl.col("example_id").is_in(kept["example_id"].implode())
    write_table(rows.filter(known).to_arrow(), file, GENERATIONS)
    found = compare_runs(out_folder, after)
    assert found.common == {"simple": 30, "hard": 12}
    assert {one.verdict for one in found.changes if one.split == "hard"} == {"too few users"}


def test_compare_runs_without_anything_in_common_says_so(out_folder: Path, tmp_path: Path) -> None:
    after = tmp_path / "after"
    shutil.copytree(out_folder, after)
    for folder, table in ((after / "examples", EXAMPLES), (after / "metrics" / "generations", GENERATIONS)):
        for file in folder.rglob("*.parquet"):
            rows = pl.DataFrame(read_table([file], table)).with_columns(example_id=pl.col("example_id") + " of another run")
            write_table(rows.to_arrow(), file, table)
    with pytest.raises(InputError, match="no purchase was evaluated in both"):
        compare_runs(out_folder, after)
    with pytest.raises(InputError, match=r"run jobs/evaluate\.py on this output folder"):
        compare_runs(out_folder, tmp_path / "nowhere")


def test_compare_runs_does_not_compare_what_was_counted_otherwise_or_cannot_be_read(
    out_folder: Path, tmp_path: Path
) -> None:
    after = changed_run(out_folder, tmp_path / "after", pl.col("rouge1") + 5)
    head = after / "metrics" / "evaluation.json"
    written = head.read_text().replace('"rouge": "1"', '"rouge": "1, unicode words"').replace("tokenizer a", "tokenizer b")
    head.write_text(written)
    for out in (out_folder, after):
        file = out / "metrics" / "generations" / "0" / "part-0.parquet"
        rows = pl.DataFrame(read_table([file], GENERATIONS))
        unread = (pl.col("split") == "hard") & pl.col("example_id").str.ends_with("-3")
        unread |= (pl.col("split") == "simple") & pl.col("adapter").is_not_null()
        kept = pl.when(~unread)
        changed = rows.with_columns(sentiment=kept.then("sentiment"), claims=kept.then("claims"))
        write_table(changed.to_arrow(), file, GENERATIONS)
    found = compare_runs(out_folder, after)
    assert {one.metric for one in found.changes} == {
        *("meteor", "sbert_cosine", "sentiment_agreement", "reference_nll_per_byte")
    }
    assert {one.n for one in found.changes if one.metric == "sentiment_agreement" and one.split == "hard"} == {29}
    assert ("tiny + adapter", "simple") not in {
        (one.model, one.split) for one in found.changes if one.metric == "sentiment_agreement"
    }
    assert found.untold[2].endswith(": of at most 512 tokens, tokenizer a before, of at most 512 tokens, tokenizer b after")
    assert found.untold[:2] == (
        "ROUGE-1 is not compared, as it was counted otherwise: 1 before, 1, unicode words after",
        "ROUGE-L is not compared, as it was counted otherwise: 1 before, 1, unicode words after",
    )
    unread_texts = "simple set: 30 of 30 texts of tiny + adapter (w/ rating) cannot be scored by this"
    assert f"agrees with stars, {unread_texts}" in found.untold
    assert f"hallucination, {unread_texts}" in found.untold
    assert unread_texts in plain_text(found)
    assert unread_texts in write_changes(found, tmp_path / "page").read_text()
