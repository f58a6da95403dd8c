"""What the commands of jobs/recommend.py do with a language model: examples to learn from, and ranking."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from pydantic import Field, model_validator

from reviewllm.cluster import ClusterConfig, ray_session
from reviewllm.config import Day, JobConfig, part, save
from reviewllm.evaluation.staging import alone
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.model import make_variant
from reviewllm.progress import step
from reviewllm.prompts.config import PromptConfig
from reviewllm.prompts.tasks import TaskName
from reviewllm.recommend.asking import Inputs
from reviewllm.recommend.names import NameConfig, Names, read_names
from reviewllm.recommend.prepare import read_all_sequences
from reviewllm.recommend.profiles import FOLDER, Profiles, read_profiles
from reviewllm.recommend.rank import RankConfig, Ranker, rank
from reviewllm.recommend.split import Target
from reviewllm.recommend.tuning import TuningConfig, write_tuning_examples
from reviewllm.summary import record_step
from reviewllm.table_files import read_table
from reviewllm.tables import ITEMS

OUT = Path("out/recommend")


class ExamplesJob(JobConfig, TuningConfig, NameConfig):
    """Make fine-tuning examples of the sequences."""

    profiles: bool = Field(False, description="show the users' interests, of <out>/profiles")
    out: Path = Field(OUT, description="folder of the run")


class RankJob(JobConfig, ClusterConfig, GenerationConfig, PromptConfig, RankConfig, NameConfig):
    """Rank a retriever's candidates by a language model."""

    task: TaskName = Field("recommend", description="what prompts ask for; no other task ranks")
    base_model: str = Field(description="base: a Hugging Face folder or hub name")
    adapter: Path | None = Field(None, description="adapter trained with --task recommend; none: the bare base")
    target: Target = Field("test", description="which item is held out: test, validation, or next for none")
    date: Day | None = Field(None, description="with --target next: day of the night")
    retriever: str = Field("sasrec", description="whose candidates: <out>/candidates/<target>/<retriever>.parquet")
    candidates: Path | None = Field(None, description="a candidates table of your own instead")
    sample_users: int | None = Field(None, ge=1, description="rank for so many users alone, drawn by --ranking-seed")
    profiles: bool = Field(False, description="show the users' interests, of <out>/profiles")
    run_name: str | None = Field(
        None,
        pattern=r"^[\w-]+$",
        description="name of the folder of recommendations/<target>; default: as palr-v2-likelihood-base",
    )
    out: Path = Field(OUT, description="folder of the run")

    @model_validator(mode="after")
    def _check_job(self) -> RankJob:
        if self.task != "recommend":
            raise ValueError(f"--task {self.task} ranks nothing; leave the option out")
        if (self.target == "next") != (self.date is not None):
            raise ValueError("--date belongs to --target next, which needs it")
        return self

    @property
    def recommendations(self) -> Path:
        """Where the recommendations are put."""
        if self.date:
            return self.out / "recommendations" / f"dt={self.date}"
        method = "-likelihood" if self.method == "likelihood" else ""
        name = self.run_name or f"palr-{self.palr}{method}{'' if self.adapter else '-base'}"
        return self.out / "recommendations" / self.target / name

    @property
    def inputs(self) -> Inputs:
        """What is ranked."""
        own = self.out / "candidates" / self.target / f"{self.retriever}.parquet"
        return Inputs(
            self.out / "sequences",
            self.candidates or own,
            self.target,
            self.num_candidates,
            self.sample_users,
            self.ranking_seed,
        )


def examples(config: ExamplesJob) -> None:
    """Write examples/train."""
    with step("recommend examples") as running:
        sequences = read_all_sequences(config.out)
        items = pl.DataFrame(read_table(config.out / "items", ITEMS.only(("item_id", "category"))))
        folder = config.out / "examples" / "train"
        made = write_tuning_examples(sequences, items, _names(config), _profiles(config), folder, part(config, TuningConfig))
        save(config, config.out / "config" / "recommend-examples.yaml")
        rows = made.recommend + made.retrieval
        record_step(
            config.out,
            "recommend examples",
            config,
            rows_in=sequences.height,
            rows_out=rows,
            seconds=running.seconds,
            counts=made._asdict(),
        )
        running.result = (
            f"{made.users} of {sequences.height} users, {made.too_short} others too short: {made.recommend} examples without "
            f"and {made.retrieval} with candidates, {made.enriched} cuts enriched, {made.swapped} items swapped -> {folder}"
        )


def ranker_of(config: RankJob) -> Ranker:
    """Who ranks, with what is known of items and users.

    Raises:
        ConfigError, AdapterError: base, adapter and prompt do not belong together.
        SchemaError: items or profiles do not fit their tables.
    """
    generation = part(config, GenerationConfig)
    variant = make_variant(
        base_model=config.base_model,
        adapter=config.adapter,
        prompt=part(config, PromptConfig),
        generation=generation,
    )
    return Ranker(part(config, RankConfig), variant, generation, _names(config), _profiles(config))


def rank_candidates(config: RankJob) -> None:
    """Write recommendations."""
    with alone(config.out), step("recommend rank") as running:
        ranker = ranker_of(config)
        save(config, config.out / "config" / "recommend-rank.yaml")
        made = rank(
            config.inputs,
            ranker,
            config.recommendations,
            cluster=lambda: ray_session(part(config, ClusterConfig)),
            on_progress=lambda now, users: running.show(now.rows_seen, users, f"{now.engines.failed} failed"),
        )
        counts = {**made.counts, "users answered now": made.engines.rows, "engine seconds": round(made.engines.seconds, 1)}
        record_step(
            config.out,
            "recommend rank",
            config,
            rows_in=made.users,
            rows_out=made.rows,
            seconds=running.seconds,
            counts=counts,
        )
        told = ", ".join(f"{count} {what}" for what, count in made.counts.items() if count)
        running.result = f"{made.users} users ({told}): {made.rows} recommendations -> {config.recommendations}"


def _names(config: ExamplesJob | RankJob) -> Names:
    return read_names(config.out / "items", ids=config.ids, max_chars=config.max_name_chars)


def _profiles(config: ExamplesJob | RankJob) -> Profiles:
    return read_profiles(config.out / FOLDER) if config.profiles else Profiles()
