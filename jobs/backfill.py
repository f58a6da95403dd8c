"""Rating-only purchases -> generated reviews with scores, published whole under dt=YYYY-MM-DD/.

    python jobs/backfill.py --base-model <folder or hub name> --out out/run
    python jobs/backfill.py --engine rule --bare-base --base-model <folder> --out out/run    # dry run without a model
    python jobs/backfill.py ... --plan                     # what it will take; no engine is started
    python jobs/backfill.py ... --probe 200                # the same, measured with 200 rows
    python jobs/backfill.py replay ... --date 2026-11-21   # the dead letters once more, by the same options
    python jobs/backfill.py verify --out out/run --date 2026-11-21
    python jobs/backfill.py forget --out out/run --user <user id>

Reads `examples/backfill`, `interactions` and `generations` below `--data` (default `--out`; a folder, s3:// or gs://) and
`<out>/adapter`; writes `generations/dt=.../`, `dead_letters/` and `ledger/` below `--data`. What earlier nights published is
left out. A shard is staged under the run's fingerprint as soon as it is scored; a re-run does the missing ones. One engine
per GPU (`--num-engines`, `--gpus-per-engine 1`), or CPUs. On a cluster `--out` and `--data` lie on shared storage.
"""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BeforeValidator, Field

if __package__ in (None, ""):  # run as a file: `python jobs/backfill.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.entry import run
from reviewllm.backfill.forget import forget_users, read_forgotten
from reviewllm.backfill.lock import only_run
from reviewllm.backfill.monitor import Monitor
from reviewllm.backfill.night import LOCK, Manifest, Night, published_nights
from reviewllm.backfill.predict import Prediction, PriceConfig, Speed, gpu_hours_of, known_speed, mean_prompt_tokens, predict
from reviewllm.backfill.publish import Publication, finish, publish, recover
from reviewllm.backfill.staging import staged_shards
from reviewllm.backfill.verify import verify_night
from reviewllm.backfill.work import Shard, Work, WorkConfig, find_work
from reviewllm.cluster import ClusterConfig, ray_session
from reviewllm.config import JobConfig, part, save
from reviewllm.errors import ConfigError, PublishError
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.model import Variant, make_variant
from reviewllm.generation.pipeline import RunCounts, run_tasks
from reviewllm.generation.tasks import GenerationSpec, Piece, Task, new_run
from reviewllm.place import Place, below
from reviewllm.progress import Step, step
from reviewllm.prompts.renderer import PromptConfig, PromptRenderer, load_tokenizer
from reviewllm.sft.adapter import merge_adapter, model_digest
from reviewllm.summary import record_step

Where = Annotated[str, BeforeValidator(str)]


class DataConfig(JobConfig):
    """Where the data lies."""

    out: Path = Field(Path("out/run"), description="folder of the run")
    data: Where | None = Field(
        None, description="folder or URI (s3://, gs://) of examples/, generations/, dead_letters/ and ledger/; default <out>"
    )

    def place(self) -> Place:
        """The place of the data."""
        return Place(self.data or str(self.out), flag="--data")


class BackfillJob(DataConfig, ClusterConfig, GenerationConfig, PromptConfig, WorkConfig, PriceConfig):
    """Write the missing reviews of rating-only purchases."""

    base_model: str = Field(description="base: a Hugging Face folder or hub name")
    adapter: Path | None = Field(None, description="LoRA adapter; default <out>/adapter")
    bare_base: bool = Field(False, description="write with the bare base, without any adapter")
    live_adapter: bool = Field(False, description="serve the adapter live instead of merging it into the base first")
    examples: Where | None = Field(None, description="backfill examples; default <data>/examples/backfill")
    interactions: Where | None = Field(
        None, description="tell where a user has written a review since; default <data>/interactions where it is there"
    )
    max_failed_fraction: float = Field(0.1, ge=0, le=1, description="share of failed rows with which a night is published")
    on_existing: Literal["fail", "resume", "replace"] = Field(
        "resume",
        description="a night that is there or begun: refuse it, go on with it and add what is pending, or replace it",
    )
    allow_mixed: bool = Field(False, description="let rows of several fingerprints into one night")
    date: datetime.date | None = Field(None, description="the night, YYYY-MM-DD; default today, UTC")
    plan: bool = Field(False, description="say what the night will take, and end")
    probe: int | None = Field(
        None, ge=1, description="write so many rows, say what the night will take, keep nothing, and end"
    )
    grace_seconds: float = Field(30, ge=0, description="after SIGTERM, time for the shards under way to end")


class VerifyJob(DataConfig):
    """Recompute counts, checksums, order and duplicates of a published night."""

    date: datetime.date = Field(description="the night, YYYY-MM-DD")


class ForgetJob(DataConfig):
    """Remove users from all nights, their dead letters and staging, and write nothing for them any more."""

    user: list[str] = Field(min_length=1, description="user ids")


class _Run(NamedTuple):
    """What a night is run with."""

    config: BackfillJob
    variant: Variant
    night: Night
    examples: Place
    nights: dict[datetime.date, Manifest]
    work: Work
    standing: Manifest | None  # the night, where it is published already


def main(config: BackfillJob, *, replay: bool = False) -> Manifest | None:
    """Generate what is missing and publish the night; returns its manifest, None after --plan and --probe."""
    variant = make_variant(
        base_model=config.base_model,
        adapter=_adapter(config),
        prompt=part(config, PromptConfig),
        generation=part(config, GenerationConfig),
    )
    if variant.adapter and not variant.canaries:
        print(
            f"warning: adapter {variant.adapter} has no canary that tells it from its base, so nothing proves that it acts"
        )
    data = config.place()
    data.check_writable()
    save(config, config.out / "config" / "backfill.yaml")
    night = Night(data, config.date or datetime.datetime.now(datetime.UTC).date(), variant.fingerprint)
    with only_run(data, LOCK), step("backfill") as running:
        recover(data)
        this = _find(config, variant, night, replay=replay)
        prediction = _predict(
            this, known_speed(data, variant.fingerprint, part(config, GenerationConfig), part(config, PriceConfig))
        )
        _tell_plan(this, prediction)
        if config.plan:
            running.result = "planned; nothing was written"
            return None
        if config.probe:
            running.result = _probe(this, config.probe, running)
            return None
        if this.standing and not this.work.shards and config.on_existing == "resume":
            finish(night, this.standing, this.work.superseded)
            running.result = f"nothing to do: this night is published already -> {data.where}/{night.published}"
            return this.standing
        return _write(this, prediction, running)


def _find(config: BackfillJob, variant: Variant, night: Night, *, replay: bool) -> _Run:
    """Which purchases; refuses a night that is not this run's."""
    nights = published_nights(night.data)
    standing = nights.get(night.day)
    place = f"{night.data.where}/{night.published}"
    begun = night.data.files(night.staging_root)
    if config.on_existing == "fail" and (standing or begun):
        raise PublishError(f"{place}: is {'there' if standing else 'begun'} already (--on-existing fail)")
    if config.on_existing == "replace":
        nights.pop(night.day, None)
    elif standing and standing.fingerprint != night.fingerprint and not config.allow_mixed:
        raise PublishError(
            f"{place} was written by another run (fingerprint {standing.fingerprint[:12]}, this one is "
            f"{night.fingerprint[:12]}: another base, adapter, prompt or sampling); choose another --date, or pass "
            "--on-existing replace, or --allow-mixed"
        )
    root = config.data or str(config.out)
    examples = Place(config.examples or below(root, "examples/backfill"), flag="--examples")
    interactions = Place(config.interactions or below(root, "interactions"), flag="--interactions")
    work = find_work(
        examples,
        night.data,
        part(config, WorkConfig),
        nights,
        interactions=interactions if config.interactions or interactions.files() else None,
        replay=replay,
        forgotten=read_forgotten(night.data),
    )
    return _Run(config, variant, night, examples, nights, work, standing)


def _write(this: _Run, prediction: Prediction, running: Step) -> Manifest:
    """Generate the shards that are not staged, publish, and record."""
    config, night, work = this.config, this.night, this.work
    done = {} if config.on_existing == "replace" else staged_shards(night, work.shards, any_fingerprint=config.allow_mixed)
    missing = [shard for shard in work.shards if shard.name not in done]
    adds = this.standing if config.on_existing != "replace" else None
    counts = RunCounts()
    if missing:
        with ray_session(part(config, ClusterConfig)):
            rows = sum(shard.rows for shard in missing)
            others = work.counts.pending - rows + (adds.rows if adds else 0)
            monitor = Monitor(running, rows=rows, others=others, max_failed_fraction=config.max_failed_fraction)
            tasks = [Task(shard.pieces, 0, f"{night.staging}/{shard.name}") for shard in missing]
            counts = run_tasks(tasks, _spec(this), on_progress=monitor, grace_seconds=config.grace_seconds)
    staged = done | {shard.name: f"{night.staging}/{shard.name}" for shard in missing}
    mixed = {name.split("/")[-2] for name in done.values()} if config.allow_mixed else set()
    manifest = publish(
        night,
        this.examples,
        work,
        [staged[shard.name] for shard in work.shards],
        {
            "model": this.variant.model,
            "adapter": str(this.variant.adapter) if this.variant.adapter else None,
            "seconds": round(running.seconds, 1),
            "ledger": _ledger(config, counts, prediction),
        },
        Publication(
            others={day: its for day, its in this.nights.items() if day != night.day},
            earlier=adds,
            replaces=config.on_existing == "replace",
            max_failed_fraction=config.max_failed_fraction,
            fingerprints=None if mixed else frozenset({night.fingerprint, *(adds.fingerprints if adds else ())}),
            forgotten=read_forgotten(night.data),
        ),
    )
    finish(night, manifest, work.superseded)
    _record(this, manifest, counts, len(done), prediction, running)
    return manifest


def _spec(this: _Run) -> GenerationSpec:
    return GenerationSpec(
        generation=part(this.config, GenerationConfig),
        model=_engine_model(this.config, this.variant),
        live_adapters=this.config.live_adapter,
        variants=[this.variant],
        source=this.examples.uri,
        target=this.night.data.uri,
        run=new_run(),
    )


def _predict(this: _Run, speed: Speed) -> Prediction:
    renderer = PromptRenderer(load_tokenizer(str(this.variant.base)), part(this.config, PromptConfig))
    tokens = mean_prompt_tokens(this.examples, this.work, renderer)
    return predict(this.work, tokens, speed, part(this.config, GenerationConfig), part(this.config, PriceConfig))


def _probe(this: _Run, rows: int, running: Step) -> str:
    """Write some rows aside, and predict by what that took."""
    shards: list[Shard] = []
    for shard in this.work.shards:
        wanted = rows - sum(one.rows for one in shards)
        if wanted <= 0:
            break
        file, numbers = shard.pieces[0]
        some = list(numbers or [])[:wanted]
        shards.append(Shard(shard.name, [Piece(file, some)], len(some)))
    folder = f"{this.night.staging_root}/probe"
    try:
        with ray_session(part(this.config, ClusterConfig)):
            tasks = [Task(shard.pieces, 0, f"{folder}/{shard.name}") for shard in shards]
            counts = run_tasks(tasks, _spec(this), grace_seconds=this.config.grace_seconds)
    finally:
        this.night.data.delete_folder(folder)
    working = counts.seconds - counts.start_seconds
    tokens = counts.prompt_tokens + counts.completion_tokens
    written = max(1, counts.rows - counts.failed)
    speed = Speed(
        counts.completion_tokens / written, tokens / working / this.config.num_engines, f"{counts.rows} rows just now"
    )
    print(f"  probed: {_predict(this, speed).text(datetime.datetime.now(datetime.UTC))}")
    return (
        f"{counts.rows} rows in {working:.1f} s after {counts.start_seconds:.1f} s of start, {counts.failed} failed; "
        "nothing was kept"
    )


def _tell_plan(this: _Run, prediction: Prediction) -> None:
    counts = this.work.counts
    print(
        f"  purchases: {counts.read} = {counts.pending} to write + {counts.published} published + {counts.reviewed} reviewed since "
        f"+ {counts.failed} in dead letters + {counts.filtered} not asked for + {counts.over_limit} over --limit"
    )
    if this.work.superseded.num_rows:
        print(f"  {this.work.superseded.num_rows} published rows are superseded by their users' own reviews")
    print(f"  planned: {prediction.text(datetime.datetime.now(datetime.UTC))}", flush=True)


def _ledger(config: BackfillJob, counts: RunCounts, prediction: Prediction) -> dict[str, object]:
    gpu_hours = gpu_hours_of(counts.seconds, part(config, GenerationConfig))
    return {
        "run_rows": counts.rows,
        "run_tokens": counts.prompt_tokens + counts.completion_tokens,
        "run_seconds": round(counts.seconds, 1),
        "engines": config.num_engines,
        "gpu_hours": gpu_hours,
        "cost": gpu_hours * config.price_per_gpu_hour,
        "predicted_rows": prediction.rows,
        "predicted_tokens": prediction.tokens,
        "predicted_seconds": prediction.seconds,
    }


def _adapter(config: BackfillJob) -> Path | None:
    """The adapter that writes; a night by the bare base has to be asked for."""
    if config.bare_base:
        if config.adapter:
            raise ConfigError(f"--bare-base and --adapter {config.adapter} exclude each other; leave one out")
        return None
    adapter = config.adapter or config.out / "adapter"
    if not adapter.is_dir():
        raise ConfigError(
            f"{adapter}: no adapter is there; train one with jobs/train.py, name one with --adapter, or pass --bare-base to "
            "write without any"
        )
    return adapter


def _engine_model(config: BackfillJob, variant: Variant) -> Path:
    """What the engine loads; an adapter is merged once, under a name of its own, and found again by the next night."""
    if variant.adapter is None or config.live_adapter or config.engine == "rule":
        return variant.base
    import ray

    name = f"{model_digest(variant.base)[:12]}-{model_digest(variant.adapter)[:12]}"
    merged = config.out.absolute() / ".merged" / name
    if not merged.is_dir():  # on a worker: the driver may have neither the memory for a base nor torch
        ray.get(ray.remote(merge_adapter).remote(variant.base, variant.adapter, merged))
    return merged


def _record(this: _Run, manifest: Manifest, counts: RunCounts, resumed: int, prediction: Prediction, running: Step) -> None:
    config, shards = this.config, len(this.work.shards)
    tokens = {"prompt tokens": manifest.prompt_tokens, "completion tokens": manifest.completion_tokens}
    record_step(
        config.out,
        "backfill",
        config,
        rows_in=manifest.rows,
        rows_out=manifest.written,
        seconds=running.seconds,
        counts={"failed": manifest.failed, "shards": shards, "shards found done": resumed, **tokens},
    )
    predicted = "" if prediction.seconds is None else f", {prediction.seconds:.0f} s"
    print(
        f"  predicted: {prediction.rows} rows, {prediction.tokens} tokens{predicted}; actual: {this.work.counts.pending} rows, "
        f"{counts.prompt_tokens + counts.completion_tokens} tokens, {counts.seconds:.0f} s"
    )
    running.result = (
        f"{manifest.rows} purchases: {manifest.written} written, {manifest.failed} failed, "
        f"{manifest.completion_tokens} tokens; {resumed} of {shards} shards were there"
        f"{'; dry run, no model wrote these rows' if config.engine == 'rule' else ''} -> "
        f"{this.night.data.where}/{this.night.published}"
    )


def replay(config: BackfillJob) -> Manifest | None:
    """Run the dead letters again, and add what is written to the night."""
    return main(config, replay=True)


def verify(config: VerifyJob) -> Manifest:
    """Verify a published night; returns its manifest."""
    with step("verify") as running:
        manifest = verify_night(config.place(), config.date)
        running.result = (
            f"{manifest.rows} purchases: {manifest.written} written, {manifest.failed} failed; all is as published"
        )
    return manifest


def forget(config: ForgetJob) -> dict[datetime.date, int]:
    """Forget users; returns the rows removed from each night."""
    data = config.place()
    with step("forget") as running, only_run(data, LOCK):
        recover(data)
        removed = forget_users(data, config.user)
        running.result = (
            f"{sum(removed.values())} rows removed from {len(removed)} nights; no later night writes for these users"
        )
    return removed


if __name__ == "__main__":
    commands = {"replay": (replay, BackfillJob), "verify": (verify, VerifyJob), "forget": (forget, ForgetJob)}
    name, *rest = sys.argv[1:] or [""]
    if name in commands:
        run(*commands[name], rest)  # type: ignore[arg-type]
    else:
        run(main, BackfillJob)
