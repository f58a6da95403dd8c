"""What a night will take: rows and tokens from a sample of its work, time and cost from what was measured before."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa
from pydantic import Field

from reviewllm.backfill.work import Work
from reviewllm.config import StageConfig
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.tasks import read_examples
from reviewllm.place import Place
from reviewllm.prompts.renderer import Prompt, PromptRenderer
from reviewllm.tables import LEDGER

_SHARDS = 8
_ROWS = 32


class PriceConfig(StageConfig):
    """What engines cost, and how fast they are where that is known."""

    price_per_gpu_hour: float = Field(0.0, ge=0, description="price of one GPU for an hour, in any currency")
    tokens_per_second: float | None = Field(
        None, gt=0, description="prompt and completion tokens of one engine in a second; default: what earlier nights had"
    )


class Speed(NamedTuple):
    """What was measured: completion tokens of a row, tokens that one engine takes in a second, and where that is from."""

    completion_tokens: float
    tokens_per_second: float | None
    origin: str


class Prediction(NamedTuple):
    """What a night will take; seconds, gpu_hours and cost are None where nothing tells the speed."""

    rows: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float | None
    gpu_hours: float | None
    cost: float | None
    origin: str

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens."""
        return self.prompt_tokens + self.completion_tokens

    def text(self, now: datetime.datetime) -> str:
        """The prediction in words; its end is counted from `now`."""
        line = f"{self.rows} rows, {self.prompt_tokens} prompt and {self.completion_tokens} completion tokens"
        if self.seconds is None:
            return f"{line}; no speed is known yet: --probe 200 measures it, --tokens-per-second states it"
        end = now + datetime.timedelta(seconds=self.seconds)
        return (
            f"{line}, {self.seconds:.0f} s of generation until {end:%Y-%m-%d %H:%M} UTC, {self.gpu_hours:.2f} GPU hours, "
            f"cost {self.cost:.2f} (speed: {self.origin})"
        )


def mean_prompt_tokens(examples: Place, work: Work, renderer: PromptRenderer) -> float:
    """Mean tokens of a prompt, over the first rows of a few shards spread over the work; 0 without any.

    Raises:
        SchemaError: a file is damaged.
    """
    step = max(1, len(work.shards) // _SHARDS)
    lengths: list[int] = []
    for shard in work.shards[::step]:
        file, rows = shard.pieces[0]
        some = read_examples(examples, [file], [list(rows or [])[:_ROWS]])
        lengths += [len(prompt.token_ids) for prompt in renderer.render(some.to_pylist()) if isinstance(prompt, Prompt)]
    return sum(lengths) / len(lengths) if lengths else 0.0


def known_speed(data: Place, fingerprint: str, generation: GenerationConfig, price: PriceConfig) -> Speed:
    """What is known before the run: what the configuration states, else the last night of this fingerprint, else nothing."""
    nights = [row for row in read_ledger(data) if row["fingerprint"] == fingerprint and row["run_seconds"] > 0]
    written = [row for row in nights if row["rows"] > row["dead_letters"]]
    if written:
        last = written[-1]
        completion = last["completion_tokens"] / (last["rows"] - last["dead_letters"])
        speed = last["run_tokens"] / last["run_seconds"] / last["engines"]
        if price.tokens_per_second is None and speed > 0:
            return Speed(completion, speed, f"the night of {last['night']}")
    else:
        completion = generation.max_new_tokens / 2  # a guess: half of what is allowed
    return Speed(completion, price.tokens_per_second, "--tokens-per-second")


def predict(work: Work, prompt_tokens: float, speed: Speed, generation: GenerationConfig, price: PriceConfig) -> Prediction:
    """Rows times tokens of a row, by the engines' speed: seconds = tokens / (speed of one engine * engines)."""
    rows = work.counts.pending
    prompts, completions = round(rows * prompt_tokens), round(rows * speed.completion_tokens)
    if speed.tokens_per_second is None:
        return Prediction(rows, prompts, completions, None, None, None, speed.origin)
    seconds = (prompts + completions) / (speed.tokens_per_second * generation.num_engines)
    gpu_hours = gpu_hours_of(seconds, generation)
    return Prediction(rows, prompts, completions, seconds, gpu_hours, gpu_hours * price.price_per_gpu_hour, speed.origin)


def gpu_hours_of(seconds: float, generation: GenerationConfig) -> float:
    """Hours of all reserved GPUs."""
    return seconds / 3600 * generation.num_engines * generation.gpus_per_engine


def read_ledger(data: Place) -> list[dict[str, Any]]:
    """All rows of the ledger, oldest night first.

    Raises:
        SchemaError: one is damaged.
    """
    files: Sequence[str] = [file.name for file in data.files("ledger") if file.name.endswith(".parquet")]
    return pa.concat_tables([LEDGER.schema.empty_table(), *(data.read_table(file, LEDGER) for file in files)]).to_pylist()  # type: ignore[no-any-return]
