"""Rating-only purchases -> generated reviews with scores, published whole under dt=YYYY-MM-DD/.

    python jobs/backfill.py --base-model <folder or hub name> --out out/run
    python jobs/backfill.py --engine rule --bare-base --base-model <folder> --out out/run    # dry run without a model

Reads `<out>/examples/backfill` and `<out>/adapter`, writes `<out>/generations/dt=.../` with a manifest. A shard is
staged under the run's fingerprint as soon as it is scored; a re-run does the missing ones, and a finished night is left as
it is. One engine per GPU (`--num-engines`, `--gpus-per-engine 1`), or CPUs. On a cluster `<out>` lies on shared storage.
"""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

if __package__ in (None, ""):  # run as a file: `python jobs/backfill.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.entry import run
from reviewllm.backfill.night import Night, backfill_shards, is_published, missing_shards, publish, read_manifest
from reviewllm.cluster import ClusterConfig, ray_session
from reviewllm.config import JobConfig, part, save
from reviewllm.errors import ConfigError
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.model import Variant, make_variant
from reviewllm.generation.pipeline import Task, run_tasks
from reviewllm.generation.shards import GenerationSpec
from reviewllm.progress import Step, step
from reviewllm.prompts.renderer import PromptConfig
from reviewllm.sft.adapter import merge_adapter, model_digest
from reviewllm.summary import record_step


class BackfillJob(JobConfig, ClusterConfig, GenerationConfig, PromptConfig):
    """Write the missing reviews of rating-only purchases."""

    base_model: str = Field(description="base: a Hugging Face folder or hub name")
    adapter: Path | None = Field(None, description="LoRA adapter; default <out>/adapter")
    bare_base: bool = Field(False, description="write with the bare base, without any adapter")
    live_adapter: bool = Field(False, description="serve the adapter live instead of merging it into the base first")
    out: Path = Field(Path("out/run"), description="folder of the run")
    examples: Path | None = Field(None, description="backfill examples; default <out>/examples/backfill")
    max_failed_fraction: float = Field(0.1, ge=0, le=1, description="share of failed rows with which a night is published")
    on_existing: Literal["resume", "replace"] = Field(
        "resume", description="a night that is there: leave this run's own and refuse another's, or replace it"
    )
    date: datetime.date | None = Field(None, description="the night, YYYY-MM-DD; default today, UTC")


def main(config: BackfillJob) -> dict[str, Any]:
    """Generate what is missing and publish the night; returns its manifest."""
    shards = backfill_shards(config.examples or config.out / "examples" / "backfill")
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
    save(config, config.out / "config" / "backfill.yaml")
    day = config.date or datetime.datetime.now(datetime.UTC).date()
    night = Night(config.out / "generations", day, variant.fingerprint)
    with step("backfill") as running:
        if config.on_existing == "resume" and is_published(night, shards):
            running.result = f"nothing to do: this night is published already -> {night.published}"
            return read_manifest(night.published)
        missing = missing_shards(night, shards)
        with ray_session(part(config, ClusterConfig)):
            spec = GenerationSpec(
                generation=part(config, GenerationConfig),
                model=_engine_model(config, variant),
                live_adapters=config.live_adapter,
                variants=[variant],
            )
            run_tasks([Task(shard, 0, night.output(shard)) for shard in missing], spec, on_shard=running.show)
        adapter = str(variant.adapter) if variant.adapter else None
        seconds = round(running.seconds, 1)
        details = {"model": variant.model, "adapter": adapter, "seconds": seconds}
        manifest = publish(night, shards, details, max_failed_fraction=config.max_failed_fraction)
        _record(config, manifest, len(shards) - len(missing), running, night.published)
    return manifest


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


def _record(config: BackfillJob, manifest: dict[str, Any], resumed: int, running: Step, published: Path) -> None:
    tokens = {"prompt tokens": manifest["prompt_tokens"], "completion tokens": manifest["completion_tokens"]}
    record_step(
        config.out,
        "backfill",
        config,
        rows_in=manifest["rows"],
        rows_out=manifest["rows"] - manifest["failed"],
        seconds=running.seconds,
        counts={"failed": manifest["failed"], "shards": manifest["shards"], "shards found done": resumed, **tokens},
    )
    running.result = (
        f"{manifest['rows']} purchases: {manifest['rows'] - manifest['failed']} written, {manifest['failed']} failed, "
        f"{manifest['completion_tokens']} tokens; {resumed} of {manifest['shards']} shards were there"
        f"{'; dry run, no model wrote these rows' if config.engine == 'rule' else ''} -> {published}"
    )


if __name__ == "__main__":
    run(main, BackfillJob)
