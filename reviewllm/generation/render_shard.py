"""First stage of a shard: its examples as prompts."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from reviewllm.errors import ProductError, PromptError
from reviewllm.generation.failures import BAD_ATTRIBUTES, PROMPT_TOO_LONG
from reviewllm.generation.tasks import GenerationSpec, read_examples, to_stream
from reviewllm.place import Place
from reviewllm.prompts.renderer import Prompt, PromptRenderer
from reviewllm.prompts.tasks import TASKS
from reviewllm.prompts.tokenizer import Ids, load_tokenizer
from reviewllm.scoring.words import words
from reviewllm.tables import EVIDENCE_COLUMNS
from reviewllm.texts import is_blank

_CARRIED = ("example_id", "user_id", "item_id", "category", "rating", "title", "attributes", "split", "reference")


class ShardRenderer:
    """Ray Data actor: reads a shard's examples and makes their prompts, on other CPUs than the engine's.

    A batch is one task; what it gives is the task with `prompts`: an Arrow stream of the examples with the titles alone of
    their histories and the texts alone of reviews by others, with prompt_ids (null where no prompt can be made), choice_ids
    (null unless likelihoods are asked for), reference_ids and reference_bytes (the real review as a response, and the UTF-8
    bytes of its text; null unless its likelihood is asked for, and without a prompt or a review), new_user_ids (the prompt
    without the history; null as these, and where it is not asked for), history_kept, attributes_kept, attributes_given, and
    prompt_error with its prompt_error_class; where rows are asked for several drafts, usual_words too.
    """

    def __init__(self, spec: GenerationSpec) -> None:
        self._spec = spec
        tokenizer = load_tokenizer(str(spec.variants[0].base))
        self._renderers = [PromptRenderer(tokenizer, variant.prompt) for variant in spec.variants]
        self._source = Place(spec.source, flag="--examples")

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Render one shard.

        Raises:
            SchemaError: the shard does not fit the table.
        """
        (task,) = batch.to_pylist()
        examples = read_examples(self._source, task["files"], task["rows"])
        prompt = self._spec.variants[task["variant"]].prompt
        rows = _rows(examples, (*TASKS[prompt.task].columns, *EVIDENCE_COLUMNS[prompt.evidence]))
        prompts = self._renderers[task["variant"]].render(rows)
        made = [prompt if isinstance(prompt, Prompt) else None for prompt in prompts]
        errors = [prompt if isinstance(prompt, PromptError) else None for prompt in prompts]
        ids = pa.array([prompt.token_ids if prompt else None for prompt in made], pa.list_(pa.int32()))
        rendered = examples.select(_CARRIED).append_column("history_titles", history_titles(examples))
        rendered = rendered.append_column("evidence_reviews", evidence_reviews(examples))
        rendered = rendered.append_column("prompt_ids", ids)
        rendered = rendered.append_column("choice_ids", self._choices(self._renderers[task["variant"]], rows, made))
        renderer = self._renderers[task["variant"]]
        responses, sizes = self._responses(renderer, examples["reference"].to_pylist(), made)
        for name, values in (("reference_ids", responses), ("new_user_ids", self._of_new_users(renderer, rows, responses))):
            rendered = rendered.append_column(name, pa.array(values, pa.list_(pa.int32())))
        rendered = rendered.append_column("reference_bytes", pa.array(sizes, pa.int32()))
        for name in ("history_kept", "attributes_kept", "attributes_given"):
            column = pa.array([getattr(prompt, name) if prompt else None for prompt in made], pa.int32())
            rendered = rendered.append_column(name, column)
        for name, text in (("prompt_error", str), ("prompt_error_class", _error_class)):
            column = pa.array([text(error) if error else None for error in errors], pa.string())
            rendered = rendered.append_column(name, column)
        if self._spec.generation.drafts > 1:
            rendered = rendered.append_column("usual_words", usual_words(examples))
        slim = batch.select(["variant", "output"])
        return slim.append_column("prompts", pa.array([to_stream(rendered)], pa.large_binary()))

    def _choices(self, renderer: PromptRenderer, rows: list[dict[str, Any]], made: Sequence[Prompt | None]) -> pa.Array:
        """The ids of the choices of every row that has a prompt; nulls where nobody asks for their likelihood."""
        kind = pa.list_(pa.list_(pa.int32()))
        if self._spec.answers != "likelihood":
            return pa.nulls(len(rows), kind)
        able = [row for row, prompt in zip(rows, made, strict=True) if prompt]
        choices = iter(renderer.render_choices(able))
        return pa.array([next(choices) if prompt else None for prompt in made], kind)

    def _of_new_users(
        self, renderer: PromptRenderer, rows: list[dict[str, Any]], responses: Sequence[Ids | None]
    ) -> list[Ids | None]:
        """The prompt of every row as if its user were new, for those whose real review's likelihood is told."""
        if not self._spec.history_worth:
            return [None] * len(rows)
        prompts = renderer.render([{**row, "history": []} for row in rows])
        return [
            prompt.token_ids if isinstance(prompt, Prompt) and response else None
            for prompt, response in zip(prompts, responses, strict=True)
        ]

    def _responses(
        self, renderer: PromptRenderer, reviews: Sequence[str | None], made: Sequence[Prompt | None]
    ) -> tuple[list[Ids | None], list[int | None]]:
        """Each real review as training renders a response, and its bytes; None as the class says.

        As in training, a blank review is none, nor one of which only the end token is left.
        """
        most = self._spec.reference_tokens
        texts = [review or "" for review in reviews]
        ids = renderer.render_responses(texts, max_tokens=most) if most else [[]] * len(texts)
        told = [
            bool(prompt) and not is_blank(text) and len(response) > 1
            for prompt, text, response in zip(made, texts, ids, strict=True)
        ]
        sizes = [
            renderer.response_bytes(text, max_tokens=most) if one else None for text, one in zip(texts, told, strict=True)
        ]
        return [response if one else None for response, one in zip(ids, told, strict=True)], sizes


def history_titles(examples: pa.Table) -> pa.Array:
    """The titles of each example's history, as a list of strings: what scores need of it, a hundredth of the whole."""
    history = examples["history"].combine_chunks()
    lengths = pc.list_value_length(history).to_numpy()
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), history.flatten().field("title"))


def evidence_reviews(examples: pa.Table) -> pa.Array:
    """The reviews by others that each example carries, as a list of strings, which scores need; null where it carries none."""
    frame = pl.DataFrame(examples.select(EVIDENCE_COLUMNS["both"]))
    texts = [pl.col(name).list.eval(pl.element().struct.field("review")).fill_null([]) for name in frame.columns]
    both = frame.select(both=pl.concat_list(texts))["both"]
    lists = pl.select(pl.when(both.list.len() > 0).then(both)).to_series()
    return lists.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.list_(pa.string()))


def usual_words(examples: pa.Table) -> pa.Array:
    """The median words of the reviews in each example's history; null without any.

    A review is counted once for all rows of its user.
    """
    histories = examples["history"].combine_chunks()
    reviews = histories.flatten().field("review").to_pylist()
    counted = {review: len(words(review)) for review in set(reviews)}
    counts = iter([counted[review] for review in reviews])
    lengths = pc.list_value_length(histories).to_pylist()
    return pa.array([median([next(counts) for _ in range(length)]) if length else None for length in lengths], pa.float64())


def _error_class(error: PromptError) -> str:
    return BAD_ATTRIBUTES if isinstance(error, ProductError) else PROMPT_TOO_LONG


def _rows(examples: pa.Table, names: Sequence[str]) -> list[dict[str, Any]]:
    """What a prompt is made of, row by row; column by column this is ten times as fast as the table's own `to_pylist`."""
    history = examples["history"].combine_chunks()
    flat = history.flatten()
    more = [name for name in ("category", "attributes") if flat.field(name).null_count < len(flat)]
    shown = ["title", "review", "rating", *more]
    entries = [
        dict(zip(shown, values, strict=True))
        for values in zip(*(flat.field(name).to_pylist() for name in shown), strict=True)
    ]
    lengths = pc.list_value_length(history).to_numpy()
    ends = np.cumsum(lengths)
    columns = [examples[name].to_pylist() for name in names]
    histories = [entries[start:end] for start, end in zip(ends - lengths, ends, strict=True)]
    return [dict(zip((*names, "history"), values, strict=True)) for values in zip(*columns, histories, strict=True)]
