"""Texts from anywhere become the same rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from conftest import day, entry, example

from reviewllm.evaluation.by_rule import without_prompts
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.engine import Completion
from reviewllm.generation.failures import Failure
from reviewllm.generation.model import make_variant
from reviewllm.generation.render_shard import ShardRenderer
from reviewllm.generation.rows import TO_SCORE, generation_rows, score_rows
from reviewllm.generation.tasks import UNSCORED, GenerationSpec, Piece, Task, from_stream, task_table
from reviewllm.prompts.config import PromptConfig
from reviewllm.table_files import write_table
from reviewllm.tables import EXAMPLES, GENERATIONS


def test_rows_have_every_column_and_the_tokens_that_were_told(random_base: Path, tmp_path: Path) -> None:
    names = ["by ids", "by number", "failed"]
    histories = [[entry(1, title="Red hose"), entry(2)], [], []]
    rows_of = [example(example_id=name, history=history) for name, history in zip(names, histories, strict=True)]
    examples = pa.Table.from_pylist(rows_of, schema=EXAMPLES.schema)
    write_table(examples, tmp_path / "shard.parquet", EXAMPLES)
    variant = make_variant(
        base_model=str(random_base), adapter=None, prompt=PromptConfig(max_prompt_tokens=400), generation=GenerationConfig()
    )
    spec = GenerationSpec(
        generation=GenerationConfig(),
        model=random_base,
        live_adapters=False,
        variants=[variant],
        source=str(tmp_path),
        target=str(tmp_path / "out"),
    )
    rendered = ShardRenderer(spec)(task_table([Task([Piece("shard.parquet")], 0, "out.parquet")]))
    prompts = from_stream(rendered["prompts"][0].as_py())
    results = [Completion("a", [1, 2], "stop"), Completion("b", [1], "length", 7), Failure("generate", "Refused", "no", 1)]
    rows = generation_rows(prompts, [5, 6, 7], results, variant)
    assert rows.schema.names == [*UNSCORED.names, *TO_SCORE, "attributes_given"]
    assert rows["completion_tokens"].to_pylist() == [2, 7, None]
    assert rows["finish_reason"].to_pylist() == ["stop", "length", None]
    assert rows["error_class"].to_pylist() == [None, None, "Refused"]
    assert rows["seed"].to_pylist() == [5, 6, 7]
    assert rows["reference"].to_pylist() == ["Fine."] * 3
    assert rows["history_titles"].to_pylist() == [["Red hose", "Rake"], [], []]
    scored = score_rows(rows)
    assert scored.schema == GENERATIONS.schema
    assert scored["claims"].to_pylist() == [0, 0, None]


def test_score_rows_within_a_bound_on_claims_has_no_text_whose_claims_cannot_be_read(random_base: Path) -> None:
    variant = make_variant(
        base_model=str(random_base), adapter=None, prompt=PromptConfig(max_prompt_tokens=400), generation=GenerationConfig()
    )
    asked = pa.Table.from_pylist([example(example_id=name) for name in "abcd"], schema=EXAMPLES.schema)
    texts = ["It is a fine hose.", "It is a wooden hose.", "Ein sehr guter Schlauch.", "10/10"]
    results = [Completion(text, [1], "stop") for text in texts]
    rows = generation_rows(without_prompts(asked), [0] * 4, results, variant)
    assert score_rows(rows)["review"].to_pylist() == texts
    bounded = score_rows(rows, max_hallucination=20.0)
    assert bounded["review"].to_pylist() == [texts[0], None, None, texts[3]]
    assert bounded["error_class"].to_pylist() == [None, "UnsupportedClaims", "UnsupportedClaims", None]
    assert (
        "the text is not English, so its claims cannot be held against --max-hallucination 20 %"
        in bounded["error"][2].as_py()
    )


def test_score_rows_within_a_bound_on_words_of_others(random_base: Path) -> None:
    """Whatever stands in the prompt, what the example carries is held against the text: of the item, and of neighbours."""
    variant = make_variant(
        base_model=str(random_base), adapter=None, prompt=PromptConfig(max_prompt_tokens=400), generation=GenerationConfig()
    )
    other = {"user_id": "o", "item_id": "new", "title": "Hose", "rating": 4.0, "purchased_at": day(1)}
    said = [{**other, "review": "It leaks a lot at the tap."}]
    asked = pa.Table.from_pylist(
        [
            example(example_id="item", item_evidence=said, neighbour_evidence=[]),
            example(example_id="neighbour", neighbour_evidence=said),
            example(example_id="none there", item_evidence=[]),
            example(example_id="not asked"),
        ],
        schema=EXAMPLES.schema,
    )
    results = [Completion("Sadly it leaks a lot, no more.", [1], "stop")] * 4
    rows = generation_rows(without_prompts(asked), [0] * 4, results, variant)
    assert rows["evidence_reviews"].to_pylist() == [[said[0]["review"]], [said[0]["review"]], None, None]
    scored = score_rows(rows, max_copied_words=4)
    assert scored["copied_from_others"].to_pylist() == [4, 4, None, None]
    bounded = score_rows(rows, max_copied_words=3, max_hallucination=20.0)
    assert bounded["review"].null_count == 2
    assert bounded["error_class"].to_pylist() == ["Copied", "Copied", None, None]
    assert bounded["error_stage"].to_pylist() == ["score", "score", None, None]
    assert bounded["error"][0].as_py() == (
        "the text repeats 4 words of another customer's review, more than --max-copied-words 3"
    )
    assert bounded["copied_from_others"].to_pylist() == [None] * 4
