"""Baselines as rows of generations."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from conftest import day, entry, example

from reviewllm.errors import InputError
from reviewllm.evaluation.baselines import BASELINES, REAL
from reviewllm.evaluation.by_rule import read_reviews, write_by_rule
from reviewllm.evaluation.contenders import Contender
from reviewllm.generation.model import Variant
from reviewllm.generation.tasks import Piece, Task
from reviewllm.prompts.config import PromptConfig
from reviewllm.table_files import read_table, write_table
from reviewllm.tables import EXAMPLES, GENERATIONS, INTERACTIONS

HISTORY = [entry(1, title="Hose", review="It leaks."), entry(2, title="Lamp", review=" ")]
SHARD = [
    example(example_id="a", split="simple", history=HISTORY, reference="It is fine."),
    example(example_id="b", split="simple", user_id="u2", history=[], reference="Good."),
]


def bought(number: int, user: str, item: str, review: str | None, **changed: object) -> dict[str, object]:
    row = {"purchase_id": f"p{number}", "user_id": user, "item_id": item, "category": "Garden", "rating": 2.0}
    return row | {"review": review, "purchased_at": day(number)} | changed


@pytest.fixture
def out(tmp_path: Path) -> Path:
    rows = [
        bought(1, "other", "new", "Not the hose I hoped for."),
        bought(2, "other", "elsewhere", "Also bad."),
        bought(3, "silent", "new", None),
        bought(4, "blank", "new", " \u200b"),
        bought(5, "far", "elsewhere", "Never read."),
    ]
    write_table(
        pa.Table.from_pylist(rows, schema=INTERACTIONS.schema), tmp_path / "interactions" / "x.parquet", INTERACTIONS
    )
    trained = [example(example_id="t", user_id="t", reference="Trained on.", rating=2.0)]
    for split, examples in (("simple", SHARD), ("train", trained)):
        table = pa.Table.from_pylist(examples, schema=EXAMPLES.schema)
        write_table(table, tmp_path / "examples" / split / "shard-0.parquet", EXAMPLES)
    return tmp_path


def contenders(out: Path) -> list[Contender]:
    rules = [*(rule for kind in BASELINES.values() for rule in kind), REAL]
    variant = Variant(model="", base=out, adapter=None, prompt=PromptConfig(), fingerprint="f" * 64)
    return [
        Contender(
            "baseline",
            rule.name,
            variant.model_copy(update={"model": rule.name, "prompt": PromptConfig(rating=rule.with_rating)}),
            rule,
        )
        for rule in rules
    ]


def test_read_reviews_are_those_of_the_evaluated_items_and_of_training(out: Path) -> None:
    examples = pl.DataFrame(pa.Table.from_pylist(SHARD, schema=EXAMPLES.schema))
    found = read_reviews(out / "interactions", out / "examples" / "train", examples)
    assert found.items.select("user_id", "review").rows() == [("other", "Not the hose I hoped for.")]
    assert found.histories == {"other": "Not the hose I hoped for.\nAlso bad."}
    assert found.trained["review"].to_list() == ["Trained on."]
    assert read_reviews(out / "interactions", out / "nowhere", examples).trained.is_empty()
    with pytest.raises(InputError, match=r"baselines copy from it; run jobs/prepare\.py"):
        read_reviews(out / "nowhere", out / "examples" / "train", examples)


def test_write_by_rule_writes_a_scored_row_for_every_example(out: Path) -> None:
    other = {
        "user_id": "o",
        "item_id": "new",
        "title": "Hose",
        "rating": 5.0,
        "review": "A good one!",
        "purchased_at": day(1),
    }
    shard = [SHARD[0] | {"item_evidence": []}, SHARD[1] | {"item_evidence": [other]}]
    table = pa.Table.from_pylist(shard, schema=EXAMPLES.schema)
    write_table(table, out / "examples" / "simple" / "shard-0.parquet", EXAMPLES)
    everyone = contenders(out)
    tasks = [Task([Piece("simple/shard-0.parquet")], number, f"{number}.parquet") for number in range(len(everyone))]
    examples = pl.DataFrame(pa.Table.from_pylist(SHARD, schema=EXAMPLES.schema))
    reviews = read_reviews(out / "interactions", out / "examples" / "train", examples)
    write_by_rule(tasks, everyone, reviews, examples=out / "examples", to=out / "written")
    rows = pl.DataFrame(read_table(out / "written", GENERATIONS))
    assert len(rows) == 2 * len(everyone)
    texts = {(row["model"], row["with_rating"], row["example_id"]): row["review"] for row in rows.to_dicts()}
    assert texts["own review of the most similar item", False, "a"] == "It leaks."
    assert texts["own latest review", False, "a"] is None  # it is blank
    assert texts["nearest user's review of the item", False, "b"] == "Not the hose I hoped for."
    assert texts["majority review", True, "a"] == texts["majority review", False, "b"] == "Trained on."
    failed = rows.filter(pl.col("review").is_null())
    assert set(failed["error_class"]) == {"NoSource"}
    assert failed.filter(pl.col("model") == "own latest review")["error"].unique().to_list() == [
        "the user has no review to copy"
    ]
    real = rows.filter(pl.col("model") == REAL.name)
    assert real["rougeL"].to_list() == [100.0, 100.0]
    assert real["completion_tokens"].to_list() == [0, 0]
    assert real["copied_from_others"].to_list() == [None, 1]  # what the real reviews of an item share: here one word
    assert rows["prompt_tokens"].null_count() == len(rows)


def test_write_by_rule_gives_every_shard_its_own_rows(out: Path) -> None:
    more = [
        example(example_id=name, split="simple", user_id=name, history=HISTORY[:1], reference=f"Of {name}.")
        for name in "cde"
    ]
    write_table(
        pa.Table.from_pylist(more, schema=EXAMPLES.schema), out / "examples" / "simple" / "shard-1.parquet", EXAMPLES
    )
    everyone = contenders(out)
    real = len(everyone) - 1
    wanted = [(0, 1), (real, 0), (real, 1)]  # as where a run was ended: not every model lacks every shard
    tasks = [Task([Piece(f"simple/shard-{shard}.parquet")], number, f"{number}-{shard}.parquet") for number, shard in wanted]
    asked = pl.DataFrame(pa.Table.from_pylist([*SHARD, *more], schema=EXAMPLES.schema))
    reviews = read_reviews(out / "interactions", out / "examples" / "train", asked)
    write_by_rule(tasks, everyone, reviews, examples=out / "examples", to=out / "written")
    found = {file.name: pl.DataFrame(read_table([file], GENERATIONS)) for file in (out / "written").iterdir()}
    assert {name: rows["example_id"].to_list() for name, rows in found.items()} == {
        "0-1.parquet": ["c", "d", "e"],
        f"{real}-0.parquet": ["a", "b"],
        f"{real}-1.parquet": ["c", "d", "e"],
    }
    assert found[f"{real}-1.parquet"]["review"].to_list() == ["Of c.", "Of d.", "Of e."]
    assert found["0-1.parquet"]["review"].to_list() == ["It leaks."] * 3
    write_by_rule([], everyone, reviews, examples=out / "examples", to=out / "nothing")
    assert not (out / "nothing").exists()
