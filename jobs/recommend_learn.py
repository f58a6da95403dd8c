"""The commands of jobs/recommend.py before ranking: examples to learn from, and profiles."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from pydantic import Field, model_validator

from reviewllm.cluster import ClusterConfig, ray_session
from reviewllm.config import JobConfig, ModelWhere, part, save
from reviewllm.evaluation.staging import alone
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.merged import MERGED
from reviewllm.generation.model import make_variant
from reviewllm.progress import step
from reviewllm.prompts.config import PromptConfig
from reviewllm.prompts.tasks import TaskName
from reviewllm.recommend.answering import Answerer
from reviewllm.recommend.make_profiles import ASKED, FAILED, KEPT, Profiler, make_profiles
from reviewllm.recommend.names import NameConfig, Names, read_names
from reviewllm.recommend.prepare import read_all_sequences
from reviewllm.recommend.profiles import FOLDER, Profiles, read_profiles
from reviewllm.recommend.split import Target
from reviewllm.recommend.tuning import TuningConfig, write_tuning_examples
from reviewllm.summary import record_step
from reviewllm.table_files import read_table
from reviewllm.tables import ITEMS

OUT = Path("out/recommend")


class ExamplesJob(JobConfig, TuningConfig, NameConfig):
    """Make fine-tuning examples of the sequences."""

    profiles: bool = Field(
        False,
        description="show the users' interests, of <out>/profiles/validation, for which nothing was seen that is held out",
    )
    out: Path = Field(OUT, description="folder of the run")


class ProfileJob(JobConfig, ClusterConfig, GenerationConfig, PromptConfig, NameConfig):
    """Say what each user likes, in keywords."""

    task: TaskName = Field("profile", description="what prompts ask for; no other task makes profiles")
    base_model: ModelWhere | None = Field(
        None, description="base: a Hugging Face folder or hub name; not needed by --engine rule"
    )
    adapter: Path | None = Field(None, description="adapter of the base; none: the bare base")
    target: Target = Field(
        "test", description="which item is held out of what is summarised: test, validation, or next for none"
    )
    out: Path = Field(OUT, description="folder of the run")

    @model_validator(mode="after")
    def _check_job(self) -> ProfileJob:
        if self.task != "profile":
            raise ValueError(f"--task {self.task} makes no profiles; leave the option out")
        if self.engine == "vllm" and self.base_model is None:
            raise ValueError("a model is asked for without --base-model; name one, or pass --engine rule")
        return self


def names_of(out: Path, config: NameConfig) -> Names:
    """The names of a run's items."""
    return read_names(out / "items", ids=config.ids, max_chars=config.max_name_chars)


def examples(config: ExamplesJob) -> None:
    """Write examples/train."""
    with step("recommend examples") as running:
        sequences = read_all_sequences(config.out)
        items = pl.DataFrame(read_table(config.out / "items", ITEMS.only(("item_id", "category"))))
        folder = config.out / "examples" / "train"
        profiles = read_profiles(config.out / FOLDER / "validation") if config.profiles else Profiles()
        made = write_tuning_examples(
            sequences, items, names_of(config.out, part(config, NameConfig)), profiles, folder, part(config, TuningConfig)
        )
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


def profile_users(config: ProfileJob) -> None:
    """Bring profiles/<target> up to date."""
    with alone(config.out), step("recommend profile") as running:
        sequences = read_all_sequences(config.out)
        folder = config.out / FOLDER / config.target
        counts = make_profiles(
            sequences,
            Profiler(names_of(config.out, part(config, NameConfig)), _profile_answerer(config)),
            folder,
            target=config.target,
            cluster=lambda: ray_session(part(config, ClusterConfig)),
            on_progress=lambda now, users: running.show(now.rows_seen, users, f"{now.engines.failed} failed"),
        )
        save(config, config.out / "config" / "recommend-profile.yaml")
        rows = counts[KEPT] + counts[ASKED]
        record_step(
            config.out,
            "recommend profile",
            config,
            rows_in=sequences.height,
            rows_out=rows - counts[FAILED],
            seconds=running.seconds,
            counts=dict(counts),
        )
        running.result = (
            f"{sequences.height} users = {counts[KEPT]} with the history of before + {counts[ASKED]} asked + "
            f"{sequences.height - rows} without a history; {counts[FAILED]} without keywords -> {folder}"
        )


def _profile_answerer(config: ProfileJob) -> Answerer | None:
    if config.engine == "rule" or config.base_model is None:
        return None
    generation = part(config, GenerationConfig)
    variant = make_variant(
        base_model=config.base_model,
        adapter=config.adapter,
        prompt=part(config, PromptConfig),
        generation=generation,
        live_adapter=False,
    )
    return Answerer(variant, generation, "constrained", config.out / MERGED)
