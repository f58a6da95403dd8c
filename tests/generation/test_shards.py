"""What the actors do to one shard, called without Ray."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import entry, example

from reviewllm.errors import ConfigError, SchemaError
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.engine import Request
from reviewllm.generation.generate_shard import ShardGenerator
from reviewllm.generation.model import make_variant
from reviewllm.generation.render_shard import ShardRenderer, usual_words
from reviewllm.generation.rule_engine import RuleEngine
from reviewllm.generation.score_shard import ShardScorer
from reviewllm.generation.tasks import GenerationSpec, Piece, Task, from_stream, task_table
from reviewllm.prompts.config import PromptConfig
from reviewllm.prompts.renderer import Prompt, PromptRenderer
from reviewllm.prompts.tokenizer import load_tokenizer
from reviewllm.table_files import read_table, write_table
from reviewllm.tables import EXAMPLES, GENERATIONS

ROWS = [
    example(example_id="good", rating=5.0, history=[entry(1)], reference="Excellent: Garden hose."),
    example(example_id="told to fail"),
    example(example_id="too long", title="T" * 300),
]


PROMPT = PromptConfig(max_prompt_tokens=400)


def spec_of(base: Path, tmp_path: Path, prompt: PromptConfig = PROMPT, **config: Any) -> GenerationSpec:
    generation = GenerationConfig(engine="rule", **config)
    variant = make_variant(base_model=str(base), adapter=None, prompt=prompt, generation=generation)
    return GenerationSpec(
        generation=generation,
        model=base,
        live_adapters=False,
        variants=[variant],
        source=str(tmp_path),
        target=str(tmp_path / "out"),
    )


def generate(
    base: Path, tmp_path: Path, rows: list[dict[str, Any]], pieces: list[Piece], **config: Any
) -> list[dict[str, Any]]:
    write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), tmp_path / "shard.parquet", EXAMPLES)
    spec = spec_of(base, tmp_path, **config)
    rendered = ShardRenderer(spec)(task_table([Task(pieces, 0, "shard.parquet")]))
    generated = asyncio.run(ShardGenerator(spec)(rendered))
    (counts,) = ShardScorer(spec)(generated).to_pylist()
    written = read_table([tmp_path / "out" / "shard.parquet"], GENERATIONS).to_pylist()
    assert (counts["rows"], counts["output"], counts["handed_back"]) == (len(written), "shard.parquet", False)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["shard.parquet"]  # no journal is left
    return written


WHOLE = [Piece("shard.parquet")]


def test_shard_failing_rows_become_rows_with_an_error(random_base: Path, tmp_path: Path) -> None:
    good, failed, long = generate(random_base, tmp_path, ROWS, WHOLE, rule_faults={"told to fail": "error"})
    assert (good["review"], good["error"], good["finish_reason"]) == ("Excellent: Garden hose.", None, "stop")
    assert good["rouge1"] == pytest.approx(100)
    assert (good["history_kept"], good["attributes_kept"], good["attempts"]) == (1, None, 1)
    assert (failed["review"], failed["error"]) == (None, "the rule engine was told to fail on this row")
    assert (failed["error_stage"], failed["error_class"], failed["attempts"]) == ("generate", "EngineFailed", 3)
    assert failed["prompt_tokens"] > 0
    assert len(failed["prompt_sha256"]) == 64
    assert long["review"] is None
    assert "--max-prompt-tokens 400" in long["error"]
    assert (long["error_stage"], long["error_class"], long["attempts"]) == ("render", "PromptTooLong", 0)
    assert (long["prompt_tokens"], long["prompt_sha256"], long["rouge1"]) == (None, None, None)
    assert all(row["is_generated"] for row in (good, failed, long))


@pytest.mark.parametrize(
    ("fault", "error_class", "attempts"),
    [
        ("refuse", "Refused", 1),
        ("empty", "EmptyOutput", 1),
        ("garbage", "GarbageOutput", 1),
        ("loop", "LoopingOutput", 1),
        ("error", "EngineFailed", 2),
    ],
)
def test_shard_faults_have_a_class_and_only_transient_ones_are_tried_again(
    random_base: Path, tmp_path: Path, fault: str, error_class: str, attempts: int
) -> None:
    (row,) = generate(random_base, tmp_path, ROWS[:1], WHOLE, rule_faults={"*": fault}, row_attempts=2)
    assert (row["review"], row["error_class"], row["attempts"]) == (None, error_class, attempts)


def test_shard_a_row_that_fails_once_is_written(random_base: Path, tmp_path: Path) -> None:
    (row,) = generate(random_base, tmp_path, ROWS[:1], WHOLE, rule_faults={"good": "flaky"})
    assert (row["review"], row["error"]) == ("Excellent: Garden hose.", None)


def test_shard_of_some_rows_of_a_file_in_their_order(random_base: Path, tmp_path: Path) -> None:
    rows = generate(random_base, tmp_path, ROWS, [Piece("shard.parquet", [1, 0]), Piece("shard.parquet", [0])])
    assert [row["example_id"] for row in rows] == ["told to fail", "good", "good"]


def test_shard_whose_file_has_fewer_rows_by_now_is_refused(random_base: Path, tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="was changed while this job ran"):
        generate(random_base, tmp_path, ROWS, [Piece("shard.parquet", [3])])


def test_shard_prompts_are_those_of_the_renderer(random_base: Path, tmp_path: Path) -> None:
    histories = [[entry(1), entry(2), entry(3)], [], [entry(4)]]
    rows = [example(example_id=f"e{number}", history=history) for number, history in enumerate(histories)]
    written = generate(random_base, tmp_path, rows, [Piece("shard.parquet", [2, 1, 0])])
    renderer = PromptRenderer(load_tokenizer(str(random_base)), PromptConfig(max_prompt_tokens=400))
    for row, prompt in zip(written, renderer.render(rows[::-1]), strict=True):
        assert isinstance(prompt, Prompt)
        assert (row["prompt_tokens"], row["history_kept"]) == (len(prompt.token_ids), prompt.history_kept)
        assert row["prompt_sha256"] == hashlib.sha256(np.array(prompt.token_ids, np.int32).tobytes()).hexdigest()


def test_shard_of_the_task_attributes(random_base: Path, tmp_path: Path) -> None:
    rows = [
        example(example_id="whole", attributes='{"color": "red", "lid": "glass"}'),
        example(example_id="dropped", attributes=json.dumps({"color": "red", "lid": "glass " * 60})),
        example(example_id="none"),
        example(example_id="unreadable", attributes="{"),
    ]
    prompt = PromptConfig(task="attributes", max_prompt_tokens=700, max_attribute_tokens=100)
    write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), tmp_path / "shard.parquet", EXAMPLES)
    spec = spec_of(random_base, tmp_path, prompt)
    generated = asyncio.run(ShardGenerator(spec)(ShardRenderer(spec)(task_table([Task(WHOLE, 0, "shard.parquet")]))))
    (counts,) = ShardScorer(spec)(generated).to_pylist()
    assert (counts["rows"], counts["failed"], counts["attributes_dropped"]) == (4, 1, 1)
    written = read_table([tmp_path / "out" / "shard.parquet"], GENERATIONS).to_pylist()
    assert [row["attributes_kept"] for row in written] == [2, 1, 0, None]
    assert [row["review"] is None for row in written] == [False, False, False, True]
    assert (written[3]["error_stage"], written[3]["error_class"]) == ("render", "BadAttributes")
    renderer = PromptRenderer(load_tokenizer(str(random_base)), prompt)
    for row, made in zip(written[:3], renderer.render(rows[:3]), strict=True):
        assert isinstance(made, Prompt)
        assert row["prompt_sha256"] == hashlib.sha256(np.array(made.token_ids, np.int32).tobytes()).hexdigest()


class Told(RuleEngine):
    """A rule that finds every token of a real review as likely as one of e squared."""

    async def reference_log_likelihood(self, request: Request) -> float:  # type: ignore[override]
        return -2.0 * len(request.reference_ids)


def test_shard_has_the_likelihood_of_every_real_review(random_base: Path, tmp_path: Path) -> None:
    review = "Fine, ½ as long. " * 20
    rows = [
        example(example_id="short", reference="Très bien."),
        example(example_id="wrote nothing", reference="Très bien."),
        example(example_id="cut", reference=review),
        example(example_id="no review", reference=None),
        example(example_id="blank", reference=" \n"),
        example(example_id="too long", title="T" * 300),
    ]
    write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), tmp_path / "shard.parquet", EXAMPLES)
    spec = spec_of(random_base, tmp_path, rule_faults={"wrote nothing": "empty"})
    spec = spec.model_copy(update={"reference_tokens": 40})
    rendered = ShardRenderer(spec)(task_table([Task(WHOLE, 0, "shard.parquet")]))
    prompts = from_stream(rendered["prompts"][0].as_py())
    renderer = PromptRenderer(load_tokenizer(str(random_base)), PROMPT)
    short, cut = renderer.render_responses(["Très bien.", review], max_tokens=40)
    assert prompts["reference_ids"].to_pylist() == [short, short, cut, None, None, None]
    generator = ShardGenerator(spec)
    generator._engine = Told(spec.generation)
    ShardScorer(spec)(asyncio.run(generator(rendered)))
    written = read_table([tmp_path / "out" / "shard.parquet"], GENERATIONS).to_pylist()
    assert [row["error_class"] for row in written] == [None, "EmptyOutput", None, None, None, "PromptTooLong"]
    assert [row["reference_nll"] for row in written] == [2.0, 2.0, 2.0, None, None, None]
    shown = load_tokenizer(str(random_base)).decode(cut).strip()
    assert review.startswith(shown)
    sizes = [2.0 * len(short) / len("Très bien.".encode()), 2.0 * 40 / len(shown.encode())]
    assert [row["reference_nll_per_byte"] for row in written[:3]] == [sizes[0], sizes[0], pytest.approx(sizes[1])]


class Surprised(RuleEngine):
    """A rule to which a real review is the less likely the shorter the prompt."""

    async def reference_log_likelihood(self, request: Request) -> float:  # type: ignore[override]
        return -len(request.reference_ids) * 1000.0 / len(request.prompt_ids)


def test_shard_tells_what_the_history_is_worth_where_it_is_asked_for(random_base: Path, tmp_path: Path) -> None:
    rows = [
        example(example_id="known", history=[entry(1), entry(2)], reference="Fine."),
        example(example_id="new", reference="Fine."),
        example(example_id="no review", history=[entry(1)], reference=None),
        example(example_id="too long", title="T" * 300, reference="Fine."),
    ]
    write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), tmp_path / "shard.parquet", EXAMPLES)
    spec = spec_of(random_base, tmp_path).model_copy(update={"reference_tokens": 40, "history_worth": True})
    rendered = ShardRenderer(spec)(task_table([Task(WHOLE, 0, "shard.parquet")]))
    generator = ShardGenerator(spec)
    generator._engine = Surprised(spec.generation)
    ShardScorer(spec)(asyncio.run(generator(rendered)))
    written = read_table([tmp_path / "out" / "shard.parquet"], GENERATIONS).to_pylist()
    renderer = PromptRenderer(load_tokenizer(str(random_base)), PROMPT)
    known, alone = (prompt for prompt in renderer.render([rows[0], rows[1]]) if isinstance(prompt, Prompt))
    assert [row["reference_nll"] for row in written] == [
        pytest.approx(1000 / len(known.token_ids)),
        pytest.approx(1000 / len(alone.token_ids)),
        None,
        None,
    ]
    # Both are of one item, so without its history the first prompt is the new user's.
    without = pytest.approx(1000 / len(alone.token_ids))
    assert [row["reference_nll_without_history"] for row in written] == [without, without, None, None]


def test_shard_of_a_rule_has_no_likelihood(random_base: Path, tmp_path: Path) -> None:
    (row,) = generate(random_base, tmp_path, ROWS[:1], WHOLE)
    assert row["reference_nll"] is row["reference_nll_per_byte"] is row["reference_nll_without_history"] is None


def test_shard_of_dialogues_shows_the_attributes_of_the_history(random_base: Path, tmp_path: Path) -> None:
    old = {**entry(1), "category": "Tools", "attributes": '{"handle": "oak"}'}
    rows = [example(history=[old], attributes='{"color": "red"}'), example(example_id="new")]
    prompt = PromptConfig(task="attributes", prompt_form="dialogue", max_prompt_tokens=700, max_attribute_tokens=100)
    write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), tmp_path / "shard.parquet", EXAMPLES)
    spec = spec_of(random_base, tmp_path, prompt)
    (task,) = ShardRenderer(spec)(task_table([Task(WHOLE, 0, "shard.parquet")])).to_pylist()
    made = PromptRenderer(load_tokenizer(str(random_base)), prompt).render(rows)
    assert from_stream(task["prompts"])["prompt_ids"].to_pylist() == [
        one.token_ids for one in made if isinstance(one, Prompt)
    ]


def test_shard_shows_what_others_wrote(random_base: Path, tmp_path: Path) -> None:
    other = {
        "user_id": "o",
        "item_id": "new",
        "title": "Hose",
        "rating": 4.0,
        "review": "Leaks.",
        "purchased_at": entry(1)["purchased_at"],
    }
    rows = [example(item_evidence=[other]), example(example_id="new", item_evidence=[])]
    prompt = PromptConfig(evidence="item", max_prompt_tokens=700, max_evidence_tokens=100)
    write_table(pa.Table.from_pylist(rows, schema=EXAMPLES.schema), tmp_path / "shard.parquet", EXAMPLES)
    spec = spec_of(random_base, tmp_path, prompt)
    (task,) = ShardRenderer(spec)(task_table([Task(WHOLE, 0, "shard.parquet")])).to_pylist()
    made = [one for one in PromptRenderer(load_tokenizer(str(random_base)), prompt).render(rows) if isinstance(one, Prompt)]
    assert from_stream(task["prompts"])["prompt_ids"].to_pylist() == [one.token_ids for one in made]
    assert [one.evidence_tokens > 0 for one in made] == [True, False]


def asked_row(name: str, **asked: Any) -> dict[str, Any]:
    history = [entry(1, title="Steel rake"), entry(2, title="Garden gloves")]
    return example(example_id=name, history=history, attributes=json.dumps(asked))


RECOMMEND = PromptConfig(task="recommend", max_prompt_tokens=700)
ASKED = [
    asked_row("two", candidates=["Pen", "Garden rake", "Steel cup"], count=2),
    asked_row("free", count=1),
    asked_row("broken", count=0),
]


def answered(base: Path, tmp_path: Path, answers: Any) -> tuple[ShardGenerator, pa.Table, list[dict[str, Any]]]:
    write_table(pa.Table.from_pylist(ASKED, schema=EXAMPLES.schema), tmp_path / "shard.parquet", EXAMPLES)
    spec = spec_of(base, tmp_path, RECOMMEND).model_copy(update={"answers": answers, "scored": False})
    rendered = ShardRenderer(spec)(task_table([Task(WHOLE, 0, "shard.parquet")]))
    generator = ShardGenerator(spec)
    ShardScorer(spec)(asyncio.run(generator(rendered)))
    written = read_table([tmp_path / "out" / "shard.parquet"], GENERATIONS).to_pylist()
    return generator, from_stream(rendered["prompts"][0].as_py()), written


def test_shard_of_recommendations_has_a_schema_for_each_row(random_base: Path, tmp_path: Path) -> None:
    generator, prompts, (two, free, broken) = answered(random_base, tmp_path, "constrained")
    assert two["review"] == '["Garden rake","Steel cup"]'
    assert free["review"] == '["Garden gloves"]'
    assert (broken["review"], broken["error_class"]) == (None, "BadAttributes")
    assert (two["history_kept"], two["attributes_kept"]) == (2, None)
    schemas = generator._schemas(prompts, "recommend")
    assert [None if one is None else json.loads(one)["items"] for one in schemas] == [
        {"enum": ["Pen", "Garden rake", "Steel cup"]},
        None,
        None,
    ]
    assert generator._schemas(prompts, "review") == [None] * 3


def test_shard_of_likelihoods_has_one_for_each_choice(random_base: Path, tmp_path: Path) -> None:
    _, prompts, (two, free, broken) = answered(random_base, tmp_path, "likelihood")
    assert two["review"] == "[-3.0, -1.0, -2.0]"
    assert free["review"] == "[]"
    assert broken["error_class"] == "BadAttributes"
    tokenizer = load_tokenizer(str(random_base))
    texts = [tokenizer.decode(ids) for ids in prompts["choice_ids"][0].as_py()]
    assert texts == ['["Pen","', '["Garden rake","', '["Steel cup","']
    assert prompts["choice_ids"].to_pylist()[1:] == [[], None]


def test_shard_that_is_no_examples_table_is_named(random_base: Path, tmp_path: Path) -> None:
    generate(random_base, tmp_path, ROWS[:1], WHOLE)
    renderer = ShardRenderer(spec_of(random_base, tmp_path))
    with pytest.raises(SchemaError, match=r"lacks the column\(s\) title"):
        renderer(task_table([Task([Piece("out/shard.parquet")], 0, "x.parquet")]))


DRAFTS = {"drafts": 8, "temperature": 0.8}


def test_shard_of_drafts_rows_say_which_was_chosen_and_why(random_base: Path, tmp_path: Path) -> None:
    rows = [
        {**ROWS[0], "history": [entry(1, review="word " * 5)]},  # 20 words are not too many
        *ROWS[1:],
        example(example_id="short", rating=5.0, history=[entry(1, review="word " * 50)]),  # 13 words are not too few
        example(example_id="invents", attributes='{"color": "red"}', rating=5.0),
        example(example_id="wrote nothing"),
    ]
    faults = {"told to fail": "error", "invents": "invent", "wrote nothing": "empty"}
    good, failed, long, short, invents, nothing = generate(random_base, tmp_path, rows, WHOLE, rule_faults=faults, **DRAFTS)
    assert [row["drafts"] for row in (good, failed, long, short, invents, nothing)] == [8] * 6
    assert good["drafts_passed"] == 8
    assert good["chosen_because"] == "nearest to the others of 8 that passed"
    assert good["review"].startswith("Excellent: Garden hose.")
    assert good["completion_tokens"] == 8 * 3 + 4 * (5 + 6 + 5)  # each sentence is in four of them
    assert good["oracle_rouge1"] == good["oracle_rougeL"] == pytest.approx(100)  # the first is the real review
    assert good["rougeL"] < 100
    told = [(row["error_class"], row["drafts_passed"], row["chosen_because"]) for row in (failed, long, nothing)]
    assert told == [(name, None, None) for name in ("EngineFailed", "PromptTooLong", "EmptyOutput")]
    assert nothing["error"] == "none of 8 drafts is a text; of the first: the model wrote nothing"
    assert short["drafts_passed"] == 4  # those with two sentences more, and with three
    assert (invents["drafts_passed"], invents["chosen_because"]) == (0, "least bad: fails claims")


def test_shard_of_drafts_none_of_which_passes_is_a_dead_letter_where_it_is_to_be(random_base: Path, tmp_path: Path) -> None:
    rows = [example(example_id="invents", attributes='{"color": "red"}'), example(example_id="fine", rating=5.0)]
    (invents, fine) = generate(
        random_base, tmp_path, rows, WHOLE, rule_faults={"invents": "invent"}, if_no_draft_passes="dead-letter", **DRAFTS
    )
    assert (invents["review"], invents["completion_tokens"], invents["words"]) == (None, None, None)
    assert (invents["error_stage"], invents["error_class"], invents["attempts"]) == ("score", "NoDraftPassed", 1)
    assert invents["error"] == "none of 8 drafts passes every check; they fail: 8 claims"
    assert (invents["drafts"], invents["drafts_passed"], invents["chosen_because"]) == (8, 0, None)
    assert fine["error"] is None


def test_shard_without_drafts_has_the_rule_engines_first(random_base: Path, tmp_path: Path) -> None:
    (row,) = generate(random_base, tmp_path, ROWS[:1], WHOLE)
    assert (row["review"], row["drafts"], row["drafts_passed"], row["chosen_because"]) == (
        "Excellent: Garden hose.",
        None,
        None,
        None,
    )
    assert row["oracle_rouge1"] is None


def test_usual_words_are_the_median_of_the_history() -> None:
    histories = [
        [entry(1, review="one two"), entry(2, review="one"), entry(3, review="")],
        [],
        [entry(1, review="a b c")] * 2,
    ]
    rows = [example(history=history) for history in histories]
    assert usual_words(pa.Table.from_pylist(rows, schema=EXAMPLES.schema)).to_pylist() == [1.0, None, 3.0]


@pytest.mark.parametrize("other", [{"scored": False}, {"answers": "likelihood"}])
def test_spec_of_texts_that_are_no_reviews_takes_no_drafts(random_base: Path, tmp_path: Path, other: dict[str, Any]) -> None:
    spec = spec_of(random_base, tmp_path, **DRAFTS)
    with pytest.raises(ConfigError, match="--drafts 8: this job asks for no reviews"):
        GenerationSpec(**{**dict(spec), **other})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drafts": 2}, r"--drafts 2: written greedily \(--temperature 0\) all drafts are the same"),
        ({"if_no_draft_passes": "dead-letter"}, "--if-no-draft-passes dead-letter: a row's only text is not checked"),
    ],
)
def test_config_of_drafts_that_cannot_differ_or_are_none_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GenerationConfig(**options)
