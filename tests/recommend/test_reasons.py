"""Reasons: what a user may read must hold against the item's data."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from conftest import day
from recommend.answers import StoppedError, answer_by_rule, answer_with, no_engine
from recommend.shop import items_table, write_run

from reviewllm.errors import InputError, SchemaError
from reviewllm.files import write_text
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.model import make_variant
from reviewllm.prompts.config import PromptConfig
from reviewllm.recommend.answering import Answerer
from reviewllm.recommend.reasons import ASKED, KEPT, NO_SENTENCE, UNSUPPORTED, Sources, add_reasons
from reviewllm.recommend.tables import RECOMMENDATIONS
from reviewllm.table_files import read_table, write_table
from reviewllm.tables import EXAMPLES, INTERACTIONS

SEQUENCES = {"u1": ["i0", "i1", "i4"], "u2": ["i5", "i6", "i0"]}


def recommendation(user: str, item: str, rank: int) -> dict[str, Any]:
    return {
        "user_id": user,
        "item_id": item,
        "rank": rank,
        "source": "model",
        "log_likelihood": None,
        "reason": "an old one",
        "retriever": "own",
        "model": "base",
        "adapter": None,
        "method": "generate",
        "fingerprint": "f",
        "generated_at": day(1),
    }


def bought(user: str, item: str, number: int, review: str | None) -> dict[str, Any]:
    return {
        "purchase_id": f"{user}{item}",
        "user_id": user,
        "item_id": item,
        "category": "Garden",
        "rating": 4.0,
        "review": review,
        "purchased_at": day(number),
    }


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    out = write_run(tmp_path, SEQUENCES, {})
    folder = out / "recommendations" / "test" / "palr"
    for number, (user, items) in enumerate({"u1": ["i3", "i2", "i7"], "u2": ["i3", "i7"]}.items()):
        rows = [recommendation(user, item, rank) for rank, item in enumerate(items, start=1)]
        table = pa.Table.from_pylist(rows, schema=RECOMMENDATIONS.schema)
        write_table(table, folder / f"part-{number:05d}.parquet", RECOMMENDATIONS)
    write_text('{"rows": 5, "target": "test"}', folder / "_manifest.json")
    reviews = [
        bought("u1", "i1", 2, "Leaks."),
        bought("u1", "i0", 1, "Solid rake."),
        bought("u1", "i4", 3, "Held out."),
        bought("u2", "i5", 1, None),
    ]
    table = pa.Table.from_pylist(reviews, schema=INTERACTIONS.schema)
    write_table(table, out / "interactions" / "part.parquet", INTERACTIONS)
    return Sources(folder, out / "sequences", out / "interactions", pl.DataFrame(items_table()), "test")


@pytest.fixture
def answerer(random_base: Path) -> Answerer:
    generation = GenerationConfig(engine="rule", max_new_tokens=100)
    prompt = PromptConfig(task="reason", max_prompt_tokens=900)
    variant = make_variant(base_model=str(random_base), adapter=None, prompt=prompt, generation=generation)
    return Answerer(variant, generation, "text", Path("nowhere"))


def asked(sources: Sources, answerer: Answerer) -> Path:
    with pytest.raises(StoppedError):
        add_reasons(sources, answerer, first=2, cluster=no_engine)
    (work,) = sources.recommendations.parent.glob(".reasons-*")
    return work


def explained(sources: Sources, answerer: Answerer) -> tuple[dict[tuple[str, str], str | None], Counter[str]]:
    counts = add_reasons(sources, answerer, first=2, cluster=no_engine)
    rows = read_table(sources.recommendations, RECOMMENDATIONS).to_pylist()
    return {(row["user_id"], row["item_id"]): row["reason"] for row in rows}, counts


def test_reasons_are_asked_with_the_reviews_of_the_history(sources: Sources, answerer: Answerer) -> None:
    work = asked(sources, answerer)
    rows = {row["example_id"]: row for row in read_table(work / "examples", EXAMPLES).to_pylist()}
    assert len(rows) == 4
    one = rows['["u1", "i3"]']
    assert (one["title"], one["category"]) == ("Steel shovel", "Garden")
    assert [(entry["title"], entry["review"]) for entry in one["history"]] == [
        ("Steel rake", "Solid rake."),
        ("Garden hose", "Leaks."),
    ]
    assert rows['["u2", "i7"]']["history"] == []


def test_reasons_without_reviews_show_names(sources: Sources, answerer: Answerer) -> None:
    work = asked(sources._replace(interactions=None), answerer)
    rows = {row["example_id"]: row for row in read_table(work / "examples", EXAMPLES).to_pylist()}
    assert [entry["title"] for entry in rows['["u2", "i3"]']["history"]] == ["Gel pens", "Paper tray"]


def test_reasons_that_claim_what_the_item_does_not_say_are_left_out(sources: Sources, answerer: Answerer) -> None:
    texts = {
        '["u1", "i3"]': "You like solid tools, and this shovel is of steel. It will last.",
        '["u1", "i2"]': "This red reel weighs 5 lbs.",
        '["u2", "i3"]': "and so on and on",
    }
    answer_with(answerer, asked(sources, answerer), texts, "It suits your desk.")
    reasons, counts = explained(sources, answerer)
    assert reasons == {
        ("u1", "i3"): "You like solid tools, and this shovel is of steel.",
        ("u1", "i2"): None,
        ("u1", "i7"): None,  # the third, which was not asked for
        ("u2", "i3"): None,
        ("u2", "i7"): "It suits your desk.",
    }
    assert counts == {ASKED: 4, KEPT: 2, UNSUPPORTED: 1, NO_SENTENCE: 1}
    manifest = json.loads((sources.recommendations / "_manifest.json").read_text())
    assert manifest["rows"] == 5
    assert manifest["reasons"]["counts"][UNSUPPORTED] == 1
    assert [path.name for path in sources.recommendations.parent.iterdir()] == ["palr"]


def test_reasons_by_the_rule_engine_name_the_latest_purchase(sources: Sources, answerer: Answerer) -> None:
    answer_by_rule(answerer, asked(sources, answerer))
    reasons, counts = explained(sources, answerer)
    assert reasons["u1", "i3"] == "You bought Garden hose, so Steel shovel may suit you."
    assert counts[KEPT] == 4


def test_reasons_of_what_was_never_ranked(sources: Sources, answerer: Answerer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run `jobs/recommend.py rank` for this target first"):
        add_reasons(sources._replace(recommendations=tmp_path / "none"), answerer, first=1, cluster=no_engine)


def test_reasons_of_another_target_or_of_a_file_that_was_cut_off_are_refused(sources: Sources, answerer: Answerer) -> None:
    with pytest.raises(InputError, match=r"was ranked for --target test, not for next"):
        add_reasons(sources._replace(target="next"), answerer, first=1, cluster=no_engine)
    (sources.recommendations / "part-00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(SchemaError, match=r"part-00001.parquet: not a readable Parquet file"):
        add_reasons(sources, answerer, first=1, cluster=no_engine)
    (sources.recommendations / "_manifest.json").write_text("{")
    with pytest.raises(SchemaError, match=r"_manifest.json: cannot be read as JSON"):
        add_reasons(sources, answerer, first=1, cluster=no_engine)
