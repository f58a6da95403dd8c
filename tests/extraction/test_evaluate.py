"""Answers of a shard as figures, with and without the values that a text does not state."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reviewllm.examples.shards import write_shards
from reviewllm.extraction.benchmarks import Product
from reviewllm.extraction.evaluate import score_work
from reviewllm.extraction.examples import asked_examples
from reviewllm.extraction.schemas import learn_schemas
from reviewllm.extraction.shards import answer_all, plan_work, rule_model
from reviewllm.generation.config import GenerationConfig
from reviewllm.table_files import read_table
from reviewllm.tables import METRICS

TRAINED = [
    Product(f"p{n}", "Racks", f"Edsal shelf, {n} in. wide", None, {"brand": ("Edsal",), "width": (f"{n * 2.54:.1f}",)})
    for n in range(20, 60)
]
ASKED = [Product("new", "Racks", "Edsal shelf, 61 in. wide", None, {"brand": ("Edsal",), "width": ("154.9",)})]


@pytest.mark.parametrize(("only_in_text", "recall"), [(False, 100.0), (True, 50.0)])
def test_score_work_counts_converted_values_unless_they_must_stand_in_the_text(
    tmp_path: Path, only_in_text: bool, recall: float
) -> None:
    schemas = learn_schemas(TRAINED)
    shards = write_shards(asked_examples(ASKED, schemas, split="test"), tmp_path / "examples")
    work = plan_work(tmp_path / "examples", shards, [rule_model(TRAINED)], schemas, constrained=True, near=tmp_path)
    answer_all(work, GenerationConfig(engine="rule"), cluster=pytest.fail)
    found = score_work(work, ASKED, run="test", only_in_text=only_in_text)
    assert {one.measure: one.value for one in found.scores["rule"].scores if one.slice == "all"}["recall"] == recall
    assert found.unreadable == {"rule": 0}
    assert json.loads((work.folder / "metrics.json").read_text())["only_in_text"] is only_in_text
    assert read_table(work.folder / "metrics.parquet", METRICS).num_rows > 0
