"""Shards through an endpoint: the same rows, prompts and scores as through an engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import entry, example
from generation.endpoint_server import KEY, EndpointServer, error, text, texts
from pydantic import SecretStr

from reviewllm.errors import BudgetError, EngineError
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.endpoint_config import EndpointConfig
from reviewllm.generation.endpoint_shards import EndpointRun, write_shards
from reviewllm.generation.model import endpoint_variant, row_seed
from reviewllm.generation.pipeline import RunCounts
from reviewllm.generation.score_shard import ShardScorer
from reviewllm.generation.tasks import GenerationSpec, Piece, Task
from reviewllm.prompts.config import PromptConfig
from reviewllm.prompts.renderer import Prompt, PromptRenderer
from reviewllm.prompts.tokenizer import load_tokenizer
from reviewllm.table_files import read_table, write_table
from reviewllm.tables import EXAMPLES, GENERATIONS

PROMPTS = [PromptConfig(max_prompt_tokens=400, rating=rating) for rating in (True, False)]
SHARDS = [
    [
        example(example_id="good", history=[entry(1, review="Ünï \U0001f600 .")], reference="It works."),
        example(example_id="refused", title="A hose that is refused"),
    ],
    [example(example_id="too long", title="\U0001f600" * 300), example(example_id="last")],
]


def run(
    server: EndpointServer,
    base: Path,
    folder: Path,
    *,
    on_progress: Callable[[RunCounts], None] | None = None,
    generation: GenerationConfig | None = None,
    **options: Any,
) -> EndpointRun:
    """Both shards, with ratings and without them."""
    for number, rows in enumerate(SHARDS):
        write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), folder / "examples" / f"{number}.parquet", EXAMPLES)
    endpoint = EndpointConfig(url=server.url, model="gpt-test", price_per_million_prompt_tokens=1.0, **options)
    generation = generation or GenerationConfig(max_new_tokens=50)
    spec = GenerationSpec(
        generation=generation,
        model=base,
        live_adapters=True,
        variants=[
            endpoint_variant(endpoint, base_model=str(base), prompt=prompt, generation=generation) for prompt in PROMPTS
        ],
        source=str(folder / "examples"),
        target=str(folder / "out"),
        for_publication=False,
    )
    tasks = [
        Task([Piece(f"{number}.parquet")], variant, f"{variant}-{number}.parquet")
        for variant in range(2)
        for number in range(2)
    ]
    return write_shards(
        tasks,
        spec,
        endpoint,
        key=SecretStr(KEY),
        journal=folder / "endpoints" / "gpt.jsonl",
        score=ShardScorer(spec),
        on_progress=on_progress,
    )


def test_shards_every_row_is_there_and_says_what_it_is(
    server: EndpointServer, random_base: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.rule = lambda call: error(400, "policy") if "is refused" in call.prompt else text("It works.", delay_s=0.05)
    seen: list[RunCounts] = []
    done = run(server, random_base, tmp_path, on_progress=seen.append)
    rows = read_table(tmp_path / "out", GENERATIONS).to_pylist()
    assert len(rows) == 2 * 4
    for row in rows:
        assert (row["model"], row["adapter"], row["is_generated"]) == ("gpt-test", None, True)
        assert row["seed"] == row_seed(row["example_id"], 0)
        if row["example_id"] == "refused":
            assert (row["review"], row["error_class"]) == (None, "Refused")
            assert row["error"] == "the endpoint refused the request: 400: policy"
        elif row["example_id"] == "too long":
            assert (row["error_stage"], row["error_class"], row["attempts"]) == ("render", "PromptTooLong", 0)
        else:
            assert (row["review"], row["completion_tokens"], row["finish_reason"]) == ("It works.", 3, "stop")
            assert row["prompt_tokens"] > 100
        if row["example_id"] == "good":
            assert row["rouge1"] == pytest.approx(100)
    assert len({row["fingerprint"] for row in rows}) == 2
    counts = done.counts
    assert (counts.shards, counts.rows, counts.failed, counts.completion_tokens) == (4, 8, 4, 4 * 3)
    assert counts.failures == {"Refused": 2, "PromptTooLong": 2}
    assert done.costs["paid"] == done.costs["all"] == (4, 0, 4 * 10, 4 * 3, 4 * 10 / 1e6)
    assert max(now.rows_seen for now in seen) == 8
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} == {".parquet", ".jsonl"}
    assert not [file for file in files if KEY.encode() in file.read_bytes()]
    assert KEY not in "".join(capfd.readouterr())


def test_shards_prompts_are_those_of_the_renderer_as_text(server: EndpointServer, random_base: Path, tmp_path: Path) -> None:
    run(server, random_base, tmp_path)
    tokenizer = load_tokenizer(str(random_base))
    expected = set()
    for config in PROMPTS:
        for prompt in PromptRenderer(tokenizer, config).render([row for rows in SHARDS for row in rows]):
            if isinstance(prompt, Prompt):
                ids = [number for number in prompt.token_ids if number not in tokenizer.all_special_ids]
                expected.add(tokenizer.backend_tokenizer.decode(ids))
    sent = {call.prompt for call in server.calls}
    assert sent == expected
    assert len(sent) == 2 * 3
    (shown,) = (prompt for prompt in sent if "Ünï \U0001f600 ." in prompt and "%Rating" in prompt)
    assert shown.startswith("### Instruction:\n")
    assert shown.endswith("### The user purchased a new item:\n Garden hose. %Rating: 2.0.\n### Response:\n")


def test_shards_again_ask_for_nothing_that_is_known(server: EndpointServer, random_base: Path, tmp_path: Path) -> None:
    first = run(server, random_base, tmp_path)
    asked = len(server.calls)
    again = run(server, random_base, tmp_path)
    assert len(server.calls) == asked == 2 * 3
    assert again.counts[:5] == first.counts[:5]
    assert [again.costs[name].requests for name in ("paid", "used", "all")] == [0, 6, 6]


def test_shards_stop_where_the_one_who_watches_says_so(server: EndpointServer, random_base: Path, tmp_path: Path) -> None:
    server.rule = lambda call: text("It works.", delay_s=3 if "is refused" in call.prompt else 0)

    def stop(counts: RunCounts) -> None:
        if counts.rows_seen:
            raise BudgetError("enough")

    with pytest.raises(BudgetError, match="enough"):
        run(server, random_base, tmp_path, on_progress=stop)
    assert [json.loads(line)["text"] for line in (tmp_path / "endpoints" / "gpt.jsonl").read_text().splitlines()] == [
        "It works."
    ]


def test_shards_that_are_finished_stay_where_the_endpoint_gives_out(
    server: EndpointServer, random_base: Path, tmp_path: Path
) -> None:
    server.rule = lambda call: (
        error(429, "no quota", code="insufficient_quota") if "%Rating" not in call.prompt else text("It works.")
    )
    with pytest.raises(EngineError, match="for want of money"):
        run(server, random_base, tmp_path)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"0-0.parquet", "0-1.parquet"}


def test_shards_of_drafts_have_the_one_that_is_chosen(server: EndpointServer, random_base: Path, tmp_path: Path) -> None:
    server.rule = lambda call: texts(
        "", "It is useless.", "It is a fine hose and works.", "A fine hose.", "A fine hose, it works."
    )
    run(server, random_base, tmp_path, generation=GenerationConfig(max_new_tokens=50, temperature=1, drafts=5))
    rows = {(row["example_id"], row["with_rating"]): row for row in read_table(tmp_path / "out", GENERATIONS).to_pylist()}
    rated, unrated = rows["good", True], rows["good", False]
    assert (rated["drafts"], rated["drafts_passed"], rated["review"]) == (5, 1, "It is useless.")  # two stars
    assert rated["completion_tokens"] == 3  # as the endpoint bills them
    # The user's one review is a word: two drafts are longer than four. Without stars none is held against them.
    assert (unrated["drafts_passed"], unrated["chosen_because"]) == (2, "the first of two that passed")
    assert unrated["review"] == "It is useless."
    assert rows["last", True]["drafts_passed"] == 1
    assert (rows["last", False]["drafts_passed"], rows["last", False]["review"][:8]) == (4, "It is a ")
