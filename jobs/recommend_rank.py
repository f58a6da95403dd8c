"""The commands of jobs/recommend.py that rank: recommendations, and the reasons for them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import polars as pl
from pydantic import Field, model_validator

from jobs.recommend_learn import OUT, names_of
from reviewllm.cluster import ClusterConfig, ray_session
from reviewllm.config import Day, JobConfig, ModelWhere, part, save
from reviewllm.evaluation.staging import alone
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.merged import MERGED
from reviewllm.generation.model import make_variant
from reviewllm.progress import step
from reviewllm.prompts.config import PromptConfig
from reviewllm.prompts.tasks import TaskName
from reviewllm.recommend.answering import Answerer
from reviewllm.recommend.asking import Inputs
from reviewllm.recommend.names import NameConfig, Names
from reviewllm.recommend.profiles import FOLDER, Profiles, read_profiles
from reviewllm.recommend.rank import rank
from reviewllm.recommend.ranker import RankConfig, Ranker
from reviewllm.recommend.rankings import MANIFEST
from reviewllm.recommend.reasons import ASKED as REASONS_ASKED
from reviewllm.recommend.reasons import KEPT as REASONS_KEPT
from reviewllm.recommend.reasons import Sources, add_reasons
from reviewllm.recommend.split import Target
from reviewllm.summary import record_step
from reviewllm.table_files import read_table
from reviewllm.tables import ITEMS


class RankJob(JobConfig, ClusterConfig, GenerationConfig, PromptConfig, RankConfig, NameConfig):
    """Rank a retriever's candidates by a language model."""

    task: TaskName = Field("recommend", description="what prompts ask for; no other task ranks")
    base_model: ModelWhere = Field(description="base: a Hugging Face folder or hub name")
    adapter: Path | None = Field(None, description="adapter trained with --task recommend; none: the bare base")
    target: Target = Field("test", description="which item is held out: test, validation, or next for none")
    date: Day | None = Field(None, description="with --target next: day of the night")
    on_existing: Literal["keep", "replace"] = Field(
        "keep", description="with --date: leave a night that is there, or rank it anew, without its reasons"
    )
    retriever: str = Field("sasrec", description="whose candidates: <out>/candidates/<target>/<retriever>.parquet")
    candidates: Path | None = Field(None, description="a candidates table of your own instead")
    sample_users: int | None = Field(None, ge=1, description="rank for so many users alone, drawn by --ranking-seed")
    profiles: bool = Field(False, description="show the users' interests, of <out>/profiles/<target>")
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
        if self.date and self.run_name:
            raise ValueError("--run-name belongs to --target test and validation; with --target next the date is the name")
        return self

    @property
    def recommendations(self) -> Path:
        """Where the recommendations are put."""
        if self.date:
            return self.out / "recommendations" / f"dt={self.date}"
        method = "-likelihood" if self.method == "likelihood" else ""
        name = self.run_name or f"palr-{self.palr}{method}{'' if self.adapter else '-base'}"
        return self.out / "recommendations" / self.target / name


class ExplainJob(JobConfig, ClusterConfig, GenerationConfig, PromptConfig):
    """Say in a sentence why an item is recommended."""

    task: TaskName = Field("reason", description="what prompts ask for; no other task gives reasons")
    base_model: ModelWhere = Field(description="base: a Hugging Face folder or hub name")
    adapter: Path | None = Field(None, description="adapter of the base; none: the bare base")
    recommendations: Path = Field(description="folder that `rank` has written; its reasons are replaced")
    target: Target = Field("test", description="the target that it was written for")
    interactions: Path | None = Field(
        None, description="interactions table, whose reviews prompts show; without it they show names alone, and no ratings"
    )
    reasons: int = Field(3, ge=1, description="how many of a user's recommendations get one, the best first")
    out: Path = Field(OUT, description="folder of the run")

    @model_validator(mode="after")
    def _check_job(self) -> ExplainJob:
        if self.task != "reason":
            raise ValueError(f"--task {self.task} gives no reasons; leave the option out")
        return self


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
        live_adapter=False,
    )
    profiles = read_profiles(config.out / FOLDER / config.target) if config.profiles else Profiles()
    naming = part(config, NameConfig)
    return Ranker(
        part(config, RankConfig), variant, generation, naming, names_of(config.out, naming), profiles, config.out / MERGED
    )


def inputs_of(config: RankJob, names: Names) -> Inputs:
    """What is ranked."""
    own = config.out / "candidates" / config.target / f"{config.retriever}.parquet"
    return Inputs(
        config.out / "sequences",
        config.candidates or own,
        names.names.keys(),
        config.target,
        config.num_candidates,
        config.sample_users,
        config.ranking_seed,
    )


def rank_candidates(config: RankJob) -> None:
    """Write recommendations."""
    with alone(config.out), step("recommend rank") as running:
        if config.date and config.on_existing == "keep" and (config.recommendations / MANIFEST).is_file():
            running.result = f"{config.recommendations} is there, and stays; --on-existing replace ranks it anew"
            return
        ranker = ranker_of(config)
        save(config, config.out / "config" / "recommend-rank.yaml")
        made = rank(
            inputs_of(config, ranker.names),
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


def explain(config: ExplainJob) -> None:
    """Write the reasons of recommendations."""
    with alone(config.out), step("recommend explain") as running:
        generation = part(config, GenerationConfig)
        prompt = part(config, PromptConfig)
        if config.interactions is None:
            prompt = prompt.model_copy(update={"rating": False})
        variant = make_variant(
            base_model=config.base_model, adapter=config.adapter, prompt=prompt, generation=generation, live_adapter=False
        )
        items = pl.DataFrame(read_table(config.out / "items", ITEMS))
        counts = add_reasons(
            Sources(config.recommendations, config.out / "sequences", config.interactions, items, config.target),
            Answerer(variant, generation, "text", config.out / MERGED),
            first=config.reasons,
            cluster=lambda: ray_session(part(config, ClusterConfig)),
            on_progress=lambda now, rows: running.show(now.rows_seen, rows, f"{now.engines.failed} failed"),
        )
        save(config, config.out / "config" / "recommend-explain.yaml")
        record_step(
            config.out,
            "recommend explain",
            config,
            rows_in=counts[REASONS_ASKED],
            rows_out=counts[REASONS_KEPT],
            seconds=running.seconds,
            counts=dict(counts),
        )
        told = ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "no recommendation"
        running.result = f"{told} -> {config.recommendations}"
