"""One night from its work to its publication: what is staged already, what the engines still have to write, and what it took."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from reviewllm.backfill.finish import finish
from reviewllm.backfill.forgotten import read_forgotten
from reviewllm.backfill.monitor import Monitor
from reviewllm.backfill.night import Manifest, Night, published_nights
from reviewllm.backfill.predict import Prediction, PriceConfig, Speed, gpu_hours_of, mean_prompt_tokens, predict
from reviewllm.backfill.publish import Publication, publish
from reviewllm.backfill.staging import drop_failed, staged_shards
from reviewllm.backfill.work import Shard, Work, WorkConfig, find_work
from reviewllm.config import StageConfig
from reviewllm.errors import BudgetError, ConfigError, InputError, PublishError
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.model import Variant
from reviewllm.generation.pipeline import RunCounts, run_tasks
from reviewllm.generation.tasks import GenerationSpec, Piece, Task, new_run, read_examples
from reviewllm.place import Place
from reviewllm.progress import Step
from reviewllm.prompts.renderer import PromptRenderer
from reviewllm.prompts.tokenizer import load_tokenizer
from reviewllm.tables import EVIDENCE_COLUMNS

_PROBED_SHARDS = 8


class NightConfig(StageConfig):
    """How a night meets what is there already, and when it stops."""

    max_failed_fraction: float = Field(0.1, ge=0, le=1, description="share of failed rows with which a night is published")
    max_hallucination: float | None = Field(
        None,
        ge=0,
        le=100,
        description="percent: a text of whose claims about the product a larger share has no support in the product's data is a "
        "dead letter, and so is one that is not English, whose claims cannot be read; default: whatever it claims, it is "
        "published",
    )
    max_copied_words: int | None = Field(
        None,
        ge=0,
        description="a text that repeats more words in a row of one review by another, which its example carries (prepare "
        "--evidence), is a dead letter; default: whatever it copies, it is published",
    )
    on_existing: Literal["fail", "resume", "replace"] = Field(
        "resume",
        description="a night that is there or begun: refuse it, go on with it and add what is pending, or replace it",
    )
    allow_mixed: bool = Field(False, description="let rows of several fingerprints into one night")
    grace_seconds: float = Field(30, ge=0, description="after SIGTERM, time for the shards under way to end")


class NightRun(NamedTuple):
    """A night with its work: what is to be written, by what, and beside which other nights."""

    night: Night
    examples: Place
    variant: Variant
    config: NightConfig
    generation: GenerationConfig
    price: PriceConfig
    others: dict[datetime.date, Manifest]
    standing: Manifest | None  # the night as it is published already, where this run adds to it
    work: Work

    @property
    def is_done(self) -> bool:
        """Whether the night is published and nothing has become pending since."""
        return self.standing is not None and not self.work.shards


def find_night(
    night: Night,
    examples: Place,
    interactions: Place | None,
    variant: Variant,
    *,
    config: NightConfig,
    generation: GenerationConfig,
    price: PriceConfig,
    wanted: WorkConfig,
    replay: bool,
) -> NightRun:
    """Find the night's work.

    Args:
        examples: rating-only purchases with their histories.
        interactions: tell where a user has written a review since; None: nobody has.
        replay: take the night's dead letters, and nothing else.

    Raises:
        ConfigError: a replay is to replace the night.
        PublishError: the night is there or begun, and `config` does not let this run add to it; or it is not there to replay; or
            a narrowed run would replace it by less.
        InputError: there are no examples, some stand there twice, or they carry no reviews by others, whose words are bounded.
    """
    nights = published_nights(night.data)
    standing = nights.get(night.day)
    before = standing.rows if standing else 0
    place = f"{night.data.where}/{night.published}"
    if replay and config.on_existing == "replace":
        raise ConfigError("replay adds to a night: leave out --on-existing replace")
    if replay and standing is None:
        raise PublishError(f"{place}: is not published, so it has no dead letters to replay; name the night with --date")
    if config.on_existing == "fail" and (standing or night.data.files(night.staging_root)):
        raise PublishError(f"{place}: is {'there' if standing else 'begun'} already (--on-existing fail)")
    if config.on_existing == "replace":
        nights.pop(night.day, None)
        standing = None
    elif standing and standing.fingerprint != night.fingerprint and not config.allow_mixed:
        raise PublishError(
            f"{place} was written by another run (fingerprint {standing.fingerprint[:12]}, this one is "
            f"{night.fingerprint[:12]}: another base, adapter, prompt or sampling); choose another --date, or pass "
            "--on-existing replace, or --allow-mixed"
        )
    if standing and wanted.limit is not None and not replay:
        wanted = wanted.model_copy(update={"limit": max(0, wanted.limit - before)})
    work = find_work(
        examples,
        night.data,
        wanted,
        nights,
        interactions=interactions,
        replay=night.day if replay else None,
        forgotten=read_forgotten(night.data),
    )
    narrowed = wanted.since or wanted.category or wanted.limit is not None
    if config.on_existing == "replace" and narrowed and work.counts.pending < before:
        raise PublishError(
            f"{place}: has {before} purchases, and --since, --category and --limit leave {work.counts.pending} to replace them "
            "with; leave those out, or move the night away"
        )
    if config.max_copied_words is not None:
        _check_evidence(examples, work)
    others = {day: manifest for day, manifest in nights.items() if day != night.day}
    return NightRun(night, examples, variant, config, generation, price, others, standing, work)


def _check_evidence(examples: Place, work: Work) -> None:
    """Without reviews by others nothing can be held against the bound; an export has them in all of its examples or in none."""
    for piece in itertools.islice(work.pieces, 1):
        rows = read_examples(examples, [piece.file], [list(piece.rows or [0])[:1]])
        if all(rows[name].null_count for name in EVIDENCE_COLUMNS["both"]):
            raise InputError(
                f"--max-copied-words: the examples in {examples.where} carry no reviews by others to hold a text against; "
                "prepare them with --evidence item (or both), or leave the option out"
            )


def predict_night(run: NightRun, missing: list[Shard], speed: Speed) -> Prediction:
    """What the shards that are missing will take at this speed; reads and renders a sample of them."""
    renderer = PromptRenderer(load_tokenizer(str(run.variant.base)), run.variant.prompt)
    tokens = mean_prompt_tokens(run.examples, missing, renderer)
    return predict(sum(shard.rows for shard in missing), tokens, speed, run.generation, run.price)


def probe_night(
    run: NightRun, missing: list[Shard], model: Path, *, live_adapter: bool, rows: int
) -> tuple[Speed, RunCounts]:
    """Write some rows of the missing shards aside, keep none of them, and return the speed that they had.

    The rows are the first ones of shards that are spread over the work: neighbours share their prompts' beginnings.

    Raises:
        ReviewLLMError: as `run_tasks`.
    """
    spread = missing[:: max(1, len(missing) // _PROBED_SHARDS)]
    shards: list[Shard] = []
    for left, shard in zip(range(len(spread), 0, -1), spread, strict=True):
        file, numbers = shard.pieces[0]
        some = list(numbers or [])[: -(-(rows - sum(one.rows for one in shards)) // left)]
        if some:
            shards.append(Shard(shard.name, [Piece(file, some)], len(some)))
    folder = f"{run.night.staging_root}/probe"
    try:
        tasks = [Task(shard.pieces, 0, f"{folder}/{shard.name}") for shard in shards]
        counts = run_tasks(tasks, _spec(run, model, live_adapter), grace_seconds=run.config.grace_seconds)
    finally:
        run.night.data.delete_folder(folder)
    tokens = counts.prompt_tokens + counts.completion_tokens
    working = max(1e-9, counts.seconds - counts.start_seconds)
    written = max(1, counts.rows - counts.failed)
    speed = Speed(
        completion_tokens=counts.completion_tokens / written,
        tokens_per_second=tokens / working / run.generation.num_engines or None,
        origin=f"{counts.rows} rows just now",
        prompt_tokens=counts.prompt_tokens / max(1, counts.rows),
    )
    return speed, counts


def generate_missing(run: NightRun, missing: list[Shard], model: Path, *, live_adapter: bool, step: Step) -> RunCounts:
    """Let engines write the shards that are missing.

    Raises:
        BudgetError: too many rows failed; the shards with failed rows are given up, so that a re-run writes them anew.
        ReviewLLMError: as `run_tasks`.
    """
    rows = sum(shard.rows for shard in missing)
    others = run.work.counts.pending - rows + (run.standing.rows if run.standing else 0)
    budget = run.config.max_failed_fraction
    monitor = Monitor(step, data=run.night.data, rows=rows, others=others, max_failed_fraction=budget)
    tasks = [Task(shard.pieces, 0, f"{run.night.staging}/{shard.name}") for shard in missing]
    with _giving_up_failed(run):
        return run_tasks(tasks, _spec(run, model, live_adapter), on_progress=monitor, grace_seconds=run.config.grace_seconds)


def missing_shards(run: NightRun) -> list[Shard]:
    """The shards that engines have to write: not staged, or with failed rows that another try may mend."""
    staged = _staged(run)
    return [shard for shard in run.work.shards if shard.name not in staged]


def publish_night(
    run: NightRun, counts: RunCounts, prediction: Prediction, *, seconds: float, still_held: Callable[[], None]
) -> Manifest:
    """Publish what is staged, with what it took, and finish the night.

    Args:
        counts: of this run's generation.
        seconds: of this run until now.
        still_held: raises where the run's lock was lost.

    Raises:
        BudgetError: too many rows failed; the shards with failed rows are given up, so that a re-run writes them anew.
        PublishError, StorageError: as `publish`.
    """
    staged = _staged(run, accept_transient=True)
    missing = [shard.name for shard in run.work.shards if shard.name not in staged]
    if missing:
        raise PublishError(
            f"{run.night.data.where}/{run.night.staging}: {len(missing)} of {len(run.work.shards)} shards are not there or "
            "damaged; run again"
        )
    own = frozenset({run.night.fingerprint})
    details = {
        "model": run.variant.model,
        "adapter": str(run.variant.adapter) if run.variant.adapter else None,
        "seconds": round(seconds, 1),
        "ledger": _ledger(run, counts, prediction),
    }
    publication = Publication(
        others=run.others,
        earlier=run.standing,
        replaces=run.config.on_existing == "replace",
        max_failed_fraction=run.config.max_failed_fraction,
        fingerprints=None if run.config.allow_mixed else own,
        forgotten=read_forgotten(run.night.data),
        before_commit=still_held,
    )
    with _giving_up_failed(run):
        files = [staged[shard.name] for shard in run.work.shards]
        manifest = publish(run.night, run.examples, run.work, files, details, publication)
    finish(run.night, manifest, run.work.superseded)
    return manifest


@contextmanager
def _giving_up_failed(run: NightRun) -> Iterator[None]:
    """After a night that is refused for its failed rows, let a re-run try them: what made them fail may have been mended."""
    try:
        yield
    except BudgetError:
        drop_failed(run.night)
        raise


def _staged(run: NightRun, *, accept_transient: bool = False) -> dict[str, str]:
    mixed = run.config.allow_mixed
    return staged_shards(run.night, run.work.shards, any_fingerprint=mixed, accept_transient=accept_transient)


def _spec(run: NightRun, model: Path, live_adapter: bool) -> GenerationSpec:
    return GenerationSpec(
        generation=run.generation,
        model=model,
        live_adapters=live_adapter,
        variants=[run.variant],
        source=run.examples.uri,
        target=run.night.data.uri,
        max_hallucination=run.config.max_hallucination,
        max_copied_words=run.config.max_copied_words,
        run=new_run(),
    )


def _ledger(run: NightRun, counts: RunCounts, prediction: Prediction) -> dict[str, Any]:
    gpu_hours = gpu_hours_of(counts.seconds, run.generation)
    before = run.standing.ledger if run.standing else {}
    return {
        "run_rows": counts.rows,
        "run_tokens": counts.prompt_tokens + counts.completion_tokens,
        "run_seconds": round(counts.seconds, 1),
        "start_seconds": round(counts.start_seconds, 1),
        "engines": run.generation.num_engines,
        "gpu_hours": before.get("gpu_hours", 0.0) + gpu_hours,
        "cost": before.get("cost", 0.0) + gpu_hours * run.price.price_per_gpu_hour,
        "predicted_rows": prediction.rows,
        "predicted_tokens": prediction.tokens,
        "predicted_seconds": prediction.seconds,
    }
