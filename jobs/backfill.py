"""Rating-only purchases -> generated reviews with scores, published whole under dt=YYYY-MM-DD/.

    python jobs/backfill.py --base-model <folder or hub name> --out out/run
    python jobs/backfill.py --engine rule --bare-base --base-model <folder> --out out/run    # dry run without a model
    python jobs/backfill.py ... --plan                     # what it will take; no engine is started
    python jobs/backfill.py ... --probe 200                # the same, measured with 200 rows
    python jobs/backfill.py replay ... --date 2026-11-21   # that night's dead letters once more, by the same options
    python jobs/backfill.py verify --out out/run --date 2026-11-21
    python jobs/backfill.py forget --out out/run --user <user id>

Reads `examples/backfill`, `interactions` and `generations` below `--data` (default `--out`; a folder, s3:// or gs://, see
docs/storage.md) and `<out>/adapter` or one at `--adapter s3://...`; writes `generations/dt=.../`, `dead_letters/` and
`ledger/` below `--data`. What earlier nights published is left out. A shard is staged under the run's fingerprint as soon as
it is scored; a re-run does the missing ones. One engine per GPU (`--num-engines`, `--gpus-per-engine 1`), or CPUs. On a
cluster `--out` and `--data` lie on shared storage.
"""

from __future__ import annotations

import datetime
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

if __package__ in (None, ""):  # run as a file: `python jobs/backfill.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.entry import run_job
from reviewllm.backfill.finish import finish, recover
from reviewllm.backfill.forget import finish_forgetting, forget_users
from reviewllm.backfill.lock import only_run
from reviewllm.backfill.monitor import tell_published
from reviewllm.backfill.night import GENERATIONS_FOLDER, LOCK, Manifest, Night, data_place, read_dead_letters
from reviewllm.backfill.predict import Prediction, PriceConfig, known_speed
from reviewllm.backfill.run import (
    NightConfig,
    NightRun,
    find_night,
    generate_missing,
    missing_shards,
    predict_night,
    probe_night,
    publish_night,
)
from reviewllm.backfill.verify import verify_night
from reviewllm.backfill.work import Shard, Work, WorkConfig
from reviewllm.cluster import ClusterConfig, ray_session
from reviewllm.config import Command, Commands, Day, JobConfig, ModelWhere, Where, part, save
from reviewllm.errors import ConfigError, PublishError
from reviewllm.fetch import fetch_folder
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.merged import MERGED, merged_model
from reviewllm.generation.model import Variant, make_variant
from reviewllm.generation.pipeline import RunCounts
from reviewllm.place import Place, below, is_uri
from reviewllm.progress import Step, step
from reviewllm.prompts.config import PromptConfig
from reviewllm.scoring.config import ScoringConfig
from reviewllm.summary import record_step


class DataConfig(JobConfig):
    """Where the data lies."""

    out: Path = Field(Path("out/run"), description="folder of the run")
    data: Where | None = Field(
        None, description="folder or URI (s3://, gs://) of examples/, generations/, dead_letters/ and ledger/; default <out>"
    )

    @property
    def root(self) -> str:
        """Path or URI of the data."""
        return self.data or str(self.out)

    def place(self) -> Place:
        """The place of the data."""
        return data_place(self.root)


class BackfillJob(
    DataConfig, ClusterConfig, GenerationConfig, PromptConfig, WorkConfig, NightConfig, PriceConfig, ScoringConfig
):
    """Write the missing reviews of rating-only purchases.

    As the first word: replay (the dead letters of the night --date once more, with the same options), verify or forget (see
    their --help).
    """

    base_model: ModelWhere = Field(description="base: a Hugging Face folder or hub name")
    adapter: Where | None = Field(
        None, description="LoRA adapter, a folder or a URI that jobs/train.py --adapter-copy wrote; default <out>/adapter"
    )
    bare_base: bool = Field(False, description="write with the bare base, without any adapter")
    live_adapter: bool = Field(False, description="serve the adapter live instead of merging it into the base first")
    examples: Where | None = Field(None, description="backfill examples; default <data>/examples/backfill")
    interactions: Where | None = Field(
        None, description="tell where a user has written a review since; default <data>/interactions where it is there"
    )
    date: Day | None = Field(None, description="the night, YYYY-MM-DD; default today, UTC")
    plan: bool = Field(False, description="say what the night will take, and end")
    probe: int | None = Field(
        None, ge=1, description="write so many rows, say what the night will take, keep nothing, and end"
    )


class VerifyJob(DataConfig):
    """Recompute counts, checksums, order and duplicates of a published night."""

    date: Day = Field(description="the night, YYYY-MM-DD")


class ForgetJob(DataConfig):
    """Remove users from all nights, their dead letters and staging, and write nothing for them any more."""

    user: list[Annotated[str, StringConstraints(min_length=1)]] = Field(
        min_length=1, description="a user's id as it stands; once for each user"
    )


def main(config: BackfillJob, *, replay: bool = False) -> Manifest | None:
    """Generate what is missing and publish the night; returns its manifest, None after --plan and --probe."""
    generation, price = part(config, GenerationConfig), part(config, PriceConfig)
    variant = make_variant(
        base_model=config.base_model,
        adapter=_adapter(config),
        prompt=part(config, PromptConfig),
        generation=generation,
        live_adapter=config.live_adapter,
        scoring=part(config, ScoringConfig),
        max_hallucination=config.max_hallucination,
        max_copied_words=config.max_copied_words,
    )
    if variant.adapter and not variant.canaries:
        print(
            f"warning: adapter {variant.adapter} has no canary that tells it from its base, so nothing proves that it acts"
        )
    data, interactions = config.place(), _interactions(config)
    examples = Place(config.examples or below(config.root, "examples/backfill"), flag="--examples")
    data.check_writable()
    if replay and config.date is None:
        raise ConfigError("replay: name the night whose dead letters are to run again with --date")
    day = config.date or datetime.datetime.now(datetime.UTC).date()
    with only_run(data, LOCK) as still_held, step("backfill") as running:
        recover(data, day=day)
        finish_forgetting(data)
        night = find_night(
            Night(data, day, variant.fingerprint),
            examples,
            interactions,
            variant,
            config=part(config, NightConfig),
            generation=generation,
            price=price,
            wanted=part(config, WorkConfig),
            replay=replay,
        )
        missing = missing_shards(night)
        prediction = predict_night(night, missing, known_speed(data, variant.fingerprint, generation, price))
        _tell_plan(night.work, prediction)
        if config.plan:
            running.result = "planned; nothing was written"
            return None
        if config.probe:
            running.result = _probe(config, night, missing) if missing else "no rows are left to probe with"
            return None
        if night.is_done and night.standing:
            finish(night.night, night.standing, night.work.superseded)
            tell_published(part(config, ClusterConfig), data, night.standing)
            what = "it has no dead letters" if replay else "this night is published already"
            running.result = f"nothing to do: {what} -> {data.where}/{night.night.published}"
            return night.standing
        save(config, config.out / "config" / "backfill.yaml")
        return _write(config, night, missing, prediction, running, still_held)


def _write(
    config: BackfillJob,
    night: NightRun,
    missing: list[Shard],
    prediction: Prediction,
    running: Step,
    still_held: Callable[[], None],
) -> Manifest:
    shards, counts = len(night.work.shards), RunCounts()
    if missing:
        with ray_session(part(config, ClusterConfig)):
            model = _engine_model(config, night.variant)
            counts = generate_missing(night, missing, model, live_adapter=config.live_adapter, step=running)
    manifest = publish_night(night, counts, prediction, seconds=running.seconds, still_held=still_held)
    tell_published(part(config, ClusterConfig), night.night.data, manifest)
    tokens = {"prompt tokens": manifest.prompt_tokens, "completion tokens": manifest.completion_tokens}
    record_step(
        config.out,
        "backfill",
        config,
        rows_in=manifest.rows,
        rows_out=manifest.written,
        seconds=running.seconds,
        counts={
            "failed": manifest.failed,
            "shards": shards,
            "shards found done": shards - len(missing),
            "attributes_dropped": counts.attributes_dropped,
            **tokens,
        },
    )
    predicted = "" if prediction.seconds is None else f", {prediction.seconds:.0f} s"
    print(
        f"  predicted: {prediction.rows} rows, {prediction.tokens} tokens{predicted}; actual: {counts.rows} rows, "
        f"{counts.prompt_tokens + counts.completion_tokens} tokens, {counts.seconds:.0f} s"
    )
    if manifest.failed:
        classes = Counter(read_dead_letters(night.night.data, night.night.day, manifest)["error_class"].to_pylist())
        failures = ", ".join(f"{count} {name}" for name, count in classes.most_common())
        print(f"  dead letters: {failures} -> {night.night.data.where}/{night.night.dead_letters}; replay runs them again")
    running.result = (
        f"{manifest.rows} purchases: {manifest.written} written, {manifest.failed} failed, "
        f"{manifest.completion_tokens} tokens; {shards - len(missing)} of {shards} shards were there before"
        f"{_dropped(counts)}"
        f"{'; dry run, no model wrote these rows' if config.engine == 'rule' else ''} -> "
        f"{night.night.data.where}/{night.night.published}"
    )
    return manifest


def _dropped(counts: RunCounts) -> str:
    """How many prompts do not show all attributes, of the rows that this run wrote itself."""
    return f"; {counts.attributes_dropped} prompts without all attributes" if counts.attributes_dropped else ""


def _probe(config: BackfillJob, night: NightRun, missing: list[Shard]) -> str:
    with ray_session(part(config, ClusterConfig)):
        model = _engine_model(config, night.variant)
        speed, counts = probe_night(night, missing, model, live_adapter=config.live_adapter, rows=config.probe or 0)
    print(f"  probed: {predict_night(night, missing, speed).text(datetime.datetime.now(datetime.UTC))}")
    working = counts.seconds - counts.start_seconds
    return (
        f"{counts.rows} rows in {working:.1f} s after {counts.start_seconds:.1f} s of start, {counts.failed} failed; "
        "nothing was kept"
    )


def _tell_plan(work: Work, prediction: Prediction) -> None:
    counts = work.counts
    staged = counts.pending - prediction.rows
    print(
        f"  purchases: {counts.read} = {counts.pending} to write + {counts.published} published + {counts.reviewed} reviewed since "
        f"+ {counts.failed} in dead letters + {counts.filtered} not asked for + {counts.over_limit} over --limit"
    )
    if staged:
        print(f"  {staged} of those to write are written already, by a run of this night that has not ended")
    if work.superseded.num_rows:
        print(f"  {work.superseded.num_rows} published, and reviewed since: superseded by their users' own reviews")
    print(f"  planned: {prediction.text(datetime.datetime.now(datetime.UTC))}", flush=True)


def _interactions(config: BackfillJob) -> Place | None:
    """The interactions that were named; else those below the data, where there are some."""
    place = Place(config.interactions or below(config.root, "interactions"), flag="--interactions")
    return place if config.interactions or place.files() else None


def _adapter(config: BackfillJob) -> Path | None:
    """The adapter that writes; a night by the bare base has to be asked for."""
    if config.bare_base:
        if config.adapter:
            raise ConfigError(f"--bare-base and --adapter {config.adapter} exclude each other; leave one out")
        return None
    if config.adapter and is_uri(config.adapter):
        return fetch_folder(config.adapter, config.out / ".adapters", flag="--adapter")
    adapter = Path(config.adapter or config.out / "adapter")
    if not adapter.is_dir():
        raise ConfigError(
            f"{adapter}: no adapter is there; train one with jobs/train.py, name one with --adapter, or pass --bare-base to "
            "write without any"
        )
    return adapter


def _engine_model(config: BackfillJob, variant: Variant) -> Path:
    """What the engine loads."""
    alone = config.live_adapter or config.engine == "rule"
    return variant.base if alone else merged_model(variant, config.out / MERGED)


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


def forget(config: ForgetJob) -> dict[datetime.date, Counter[str]]:
    """Forget users; returns the rows, by user, removed from each night."""
    data = config.place()
    if not data.exists(GENERATIONS_FOLDER):
        raise PublishError(
            f"{data.where}: has no {GENERATIONS_FOLDER}/, so nothing was removed; name the nights' folder with --data"
        )
    with step("forget") as running, only_run(data, LOCK):
        recover(data)
        finish_forgetting(data)
        removed = forget_users(data, config.user)
        rows = sum(removed.values(), Counter[str]())
        for user in config.user:
            if user not in rows:
                print(f"  warning: no night has a row of user {user!r}; if the id is right, nothing will be written for it")
        running.result = (
            f"{rows.total()} rows of {len(rows)} users removed from {len(removed)} nights; nothing will be written for the "
            f"{len(config.user)} named"
        )
    return removed


COMMANDS: Commands = {
    "": Command(main, BackfillJob),
    "replay": Command(replay, BackfillJob),
    "verify": Command(verify, VerifyJob),
    "forget": Command(forget, ForgetJob),
}


if __name__ == "__main__":
    run_job(COMMANDS, __doc__)
