"""What a night will take: rows and tokens from a sample of its work, time and cost from what was measured before."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import Field

from reviewllm.backfill.work import Shard
from reviewllm.config import StageConfig
from reviewllm.errors import SchemaError
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.tasks import read_examples
from reviewllm.place import Place
from reviewllm.prompts.renderer import Prompt, PromptRenderer
from reviewllm.tables import LEDGER

_SHARDS = 8
_ROWS = 32
_TELLING_ROWS = 200


class PriceConfig(StageConfig):
    """What engines cost, and how fast they are where that is known."""

    price_per_gpu_hour: float = Field(0.0, ge=0, description="price of one GPU for an hour, in any currency")
    tokens_per_second: float | None = Field(
        None, gt=0, description="prompt and completion tokens of one engine in a second; default: what earlier nights had"
    )


class Speed(NamedTuple):
    """What was measured: completion tokens of a row, tokens that one engine takes in a second, and where that is from.

    `guessed` says that no completion was measured; `prompt_tokens` of a row are None where a sample of the work tells them.
    """

    completion_tokens: float
    tokens_per_second: float | None
    origin: str
    guessed: bool = False
    prompt_tokens: float | None = None


class Prediction(NamedTuple):
    """What a night will take; seconds, gpu_hours and cost are None where nothing tells the speed."""

    rows: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float | None
    gpu_hours: float | None
    cost: float | None
    origin: str
    guessed: bool

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens."""
        return self.prompt_tokens + self.completion_tokens

    def text(self, now: datetime.datetime) -> str:
        """The prediction in words; its end is counted from `now`."""
        guess = " (a guess: half of --max-new-tokens)" if self.guessed and self.rows else ""
        line = f"{self.rows} rows, {self.prompt_tokens} prompt and {self.completion_tokens} completion tokens{guess}"
        if self.seconds is None:
            return f"{line}; no speed is known yet: --probe 200 measures it, --tokens-per-second states it"
        end = now + datetime.timedelta(seconds=self.seconds)
        return (
            f"{line}, {self.seconds:.0f} s of generation until {end:%Y-%m-%d %H:%M} UTC, {self.gpu_hours:.2f} GPU hours, "
            f"cost {self.cost:.2f} (speed: {self.origin})"
        )


def mean_prompt_tokens(examples: Place, shards: Sequence[Shard], renderer: PromptRenderer) -> float:
    """Mean tokens of a prompt, over rows spread over shards that are spread over the work; 0 without any.

    Raises:
        SchemaError: a file is damaged.
    """
    lengths: list[int] = []
    for shard in shards[:: max(1, len(shards) // _SHARDS)]:
        file, rows = shard.pieces[0]
        numbers = list(rows or [])
        some = read_examples(examples, [file], [numbers[:: max(1, len(numbers) // _ROWS)]])
        lengths += [len(prompt.token_ids) for prompt in renderer.render(some.to_pylist()) if isinstance(prompt, Prompt)]
    return sum(lengths) / len(lengths) if lengths else 0.0


def known_speed(data: Place, fingerprint: str, generation: GenerationConfig, price: PriceConfig) -> Speed:
    """What is known before the run: what the configuration states, else the last night of this fingerprint, else nothing.

    Of those nights one counts whose last run had rows enough to tell (200); a replay of a few does not, where there are others.
    """
    nights = [row for row in read_ledger(data) if row["fingerprint"] == fingerprint and row["rows"] > row["dead_letters"]]
    nights.sort(key=lambda row: (row["run_rows"] >= _TELLING_ROWS, row["night"]))
    if not nights:
        guess = generation.drafts * generation.max_new_tokens / 2
        return Speed(guess, price.tokens_per_second, "--tokens-per-second", guessed=True)
    last = nights[-1]
    completion = last["completion_tokens"] / (last["rows"] - last["dead_letters"])
    working = last["run_seconds"] - last["start_seconds"]
    if price.tokens_per_second is None and working > 0 and last["run_tokens"] > 0:
        return Speed(completion, last["run_tokens"] / working / last["engines"], f"the night of {last['night']}")
    return Speed(completion, price.tokens_per_second, "--tokens-per-second")


def predict(rows: int, prompt_tokens: float, speed: Speed, generation: GenerationConfig, price: PriceConfig) -> Prediction:
    """Rows times tokens of a row, by the engines' speed: seconds = tokens / (speed of one engine * engines)."""
    mean = prompt_tokens if speed.prompt_tokens is None else speed.prompt_tokens
    prompts, completions = round(rows * mean), round(rows * speed.completion_tokens)
    seconds = gpu_hours = cost = None
    if speed.tokens_per_second:
        seconds = (prompts + completions) / (speed.tokens_per_second * generation.num_engines)
        gpu_hours = gpu_hours_of(seconds, generation)
        cost = gpu_hours * price.price_per_gpu_hour
    return Prediction(rows, prompts, completions, seconds, gpu_hours, cost, speed.origin, speed.guessed)


def gpu_hours_of(seconds: float, generation: GenerationConfig) -> float:
    """Hours of all reserved GPUs."""
    return seconds / 3600 * generation.num_engines * generation.gpus_per_engine


def read_ledger(data: Place) -> list[dict[str, Any]]:
    """All rows of the ledger, oldest night first; it only informs, so a file that cannot be read is left out."""
    rows: list[dict[str, Any]] = []
    for file in data.files("ledger"):
        if file.name.endswith(".parquet"):
            with contextlib.suppress(SchemaError):
                rows += data.read_table(file.name, LEDGER).to_pylist()
    return rows
