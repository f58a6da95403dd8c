"""Models on held-back reviews -> what each wrote, with scores; figures with intervals, comparisons, the paper's two tables.

    python jobs/evaluate.py --base-model <folder or hub name> --out out/run          # base and adapter
    python jobs/evaluate.py --protocol review-llm --base-model ... --out out/run     # every baseline too, five repeats
    python jobs/evaluate.py --task attributes --serialisations json,markdown --base-model ... --out out/run

Reads `<out>/examples`, `<out>/interactions` (for baselines), `<out>/adapter` and, where it is there, `<out>/adapter-no-rating`
(an adapter is only evaluated with the kind of prompt it was trained on; `-<serialisation>` and `-seed<n>` as jobs/train.py names
them). Writes
`<out>/metrics` whole; what a run that was ended had written is taken up by the next. One engine serves all of them,
the adapters live, or (`--no-live-adapters`) each adapter has its own; endpoints are asked from this process, which alone has their
keys.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import polars as pl
import pyarrow as pa
from pydantic import ConfigDict, Field, SecretStr, model_validator

if __package__ in (None, ""):  # run as a file: `python jobs/evaluate.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.entry import run_job
from reviewllm.attributes.serialise import Serialisation
from reviewllm.cluster import ClusterConfig, ray_session
from reviewllm.config import Command, Commands, JobConfig, ModelWhere, part, save
from reviewllm.errors import ConfigError, InputError
from reviewllm.evaluation.baselines import BASELINES, REAL, Reviews
from reviewllm.evaluation.by_rule import read_reviews, trained_reviews
from reviewllm.evaluation.comparisons import Side
from reviewllm.evaluation.conclude import Conclusion, conclude
from reviewllm.evaluation.contenders import Contender, Lineup, find_contenders, names_of
from reviewllm.evaluation.judge import Judge, endpoint_judge
from reviewllm.evaluation.measures import MeasureConfig, check_measures, open_measures
from reviewllm.evaluation.reference import reference_tokens
from reviewllm.evaluation.results import Evaluation, describe, write_evaluation
from reviewllm.evaluation.rows import SPLITS
from reviewllm.evaluation.samples import sample_prompts
from reviewllm.evaluation.staging import Staging, alone
from reviewllm.evaluation.write import write_all
from reviewllm.examples.splits import example_files
from reviewllm.files import write_text
from reviewllm.generation.config import GenerationConfig
from reviewllm.generation.endpoint_check import check_endpoint
from reviewllm.generation.endpoint_config import EndpointConfig, keys_apart
from reviewllm.generation.merged import MERGED
from reviewllm.generation.pipeline import RunCounts
from reviewllm.generation.tasks import new_run
from reviewllm.progress import step
from reviewllm.prompts.config import PromptConfig, check_serialisations
from reviewllm.report.figure_tables import likelihood_tables
from reviewllm.report.likelihood import likelihood_text
from reviewllm.report.score_tables import plain_text, score_tables
from reviewllm.scoring.config import ScoringConfig
from reviewllm.sft.adapter import refuse_other_examples
from reviewllm.sft.tracking import TrackingConfig, tracking
from reviewllm.summary import record_step
from reviewllm.table_files import read_table, replace_folder
from reviewllm.tables import EXAMPLES

_PROTOCOL_REPEATS = 5  # Review-LLM, section 3.1


class EvaluateJob(JobConfig, ClusterConfig, GenerationConfig, PromptConfig, TrackingConfig, MeasureConfig, ScoringConfig):
    """Measure models on reviews that were held back."""

    model_config = ConfigDict(hide_input_in_errors=True)  # somebody may write a key into an endpoint's options

    base_model: ModelWhere = Field(description="base: a Hugging Face folder or hub name")
    out: Path = Field(Path("out/run"), description="folder of the run")
    protocol: Literal["review-llm"] | None = Field(
        None, description="the paper's experiment: every model and baseline there is, and five repeats"
    )
    models: list[str] = Field(
        [],
        description=f"what to compare: base, adapter, {', '.join(BASELINES)}, and names of --endpoints; default base, adapter and "
        "the endpoints, with --protocol all of them",
    )
    endpoints: dict[str, EndpointConfig] = Field(
        {},
        description="models behind OpenAI-compatible endpoints: name to url, model and so on, as JSON or in the YAML file",
    )
    max_response_tokens: int | None = Field(
        None,
        ge=2,
        description="tokens of a real review whose likelihood is told; default as the adapters were trained with, else as training "
        "has it",
    )
    history_worth: bool = Field(
        False,
        description="tell how likely the real review is without the user's history too, so what the history is worth: a further "
        "request a row, of the instruction, the item and the review",
    )
    repeats: int | None = Field(None, ge=1, description="repetitions; default 1, with --protocol 5")
    serialisations: list[Serialisation] = Field(
        [], description="ask base, adapter and endpoints in each of these forms of the attributes, with <adapter>-<form>"
    )
    adapter: Path | None = Field(None, description="adapter trained with ratings; default <out>/adapter")
    adapter_no_rating: Path | None = Field(
        None, description="adapter trained without ratings; default <out>/adapter-no-rating where it is there"
    )
    adapter_name: str = Field("Review-LLM", description="what the tables call base and adapter together")
    candidate: str | None = Field(
        None, description="name in the tables that is compared with all others; default the adapter, else the first model"
    )
    live_adapters: bool = Field(
        True,
        description="one engine serves base and adapters; --no-live-adapters merges each into the base, for an engine of its own: "
        "slower to start, and much faster on CPUs, where an adapter that is served live takes several times the base's time",
    )
    allow_other_examples: bool = Field(
        False, description="evaluate adapters that were trained on other examples than <out>/examples/train"
    )
    run_name: str = Field("evaluation", description="name of the run in the metrics")

    @model_validator(mode="after")
    def _check_serialisations(self) -> EvaluateJob:
        check_serialisations(self.serialisations, task=self.task)
        return self

    def lineup(self) -> Lineup:
        """The models that are asked for."""
        hosted = [name for name in self.endpoints if name != self.judge]  # a judge that writes too has to be named
        everything = ["base", "adapter", *hosted, *(BASELINES if self.protocol else ())]
        return Lineup(
            models=self.models or everything,
            base_model=self.base_model,
            adapter=self.adapter or self.out / "adapter",
            adapter_no_rating=self.adapter_no_rating or self.out / "adapter-no-rating",
            adapter_name=self.adapter_name,
            endpoints=self.endpoints,
            prompt=part(self, PromptConfig),
            generation=part(self, GenerationConfig),
            repeats=self.repeats or (_PROTOCOL_REPEATS if self.protocol else 1),
            live_adapters=self.live_adapters,
            scoring=part(self, ScoringConfig),
            serialisations=self.serialisations,
        )


def main(config: EvaluateJob) -> None:
    """Evaluate and show both tables."""
    print(f"\n{evaluate(config)}")


def evaluate(config: EvaluateJob) -> str:
    """Generate, score, summarise and compare; returns both tables as text."""
    if not config.rating:
        raise ConfigError("--no-rating: evaluate always writes with and without ratings; leave it out")
    shards = [file for split in SPLITS for file in _shards(config.out / "examples" / split, split)]
    if not shards:
        raise InputError(
            f"{config.out / 'examples'}: no simple and no hard examples: too few users within the bounds; run "
            "jobs/prepare.py with other --more-than-reviews and --fewer-than-reviews"
        )
    with alone(config.out):
        return _evaluate(config, shards)


def _evaluate(config: EvaluateJob, shards: Sequence[Path]) -> str:
    contenders = find_contenders(config.lineup())
    candidate = _candidate(config, contenders)
    if not config.allow_other_examples:
        adapters = [contender.variant.adapter for contender in contenders]
        refuse_other_examples(adapters, config.out / "examples" / "train", measured="users that are evaluated")
    check_measures(part(config, MeasureConfig), part(config, GenerationConfig))
    examples = read_table(shards, EXAMPLES)
    reviews = _reviews(config, contenders, examples)._replace(embedding=config.embedding)
    tokens = reference_tokens(contenders, part(config, GenerationConfig), asked=config.max_response_tokens)
    staging = Staging(config.out, shards, contenders, reference_tokens=tokens, history_worth=config.history_worth)
    sample_prompts(contenders, shards, staging.folder / "samples.json")  # before an engine starts: prompts can be made
    names = dict.fromkeys(one.name for one in contenders if one.kind == "endpoint")
    asked = {name: config.endpoints[name.partition(",")[0]] for name in names}  # "gpt, json" is gpt, in one of the forms
    judge = _judge(config)
    # Keys are read, and looked for among the options, before these are saved and before Ray takes over the environment.
    with keys_apart(asked | judge) as keys, step("evaluate") as running:
        asking = _asking(config, judge, keys)
        save(config, config.out / "config" / "evaluate.yaml")
        counts, costs = write_all(
            contenders,
            staging,
            reviews=reviews,
            generation=part(config, GenerationConfig),
            endpoints=asked,
            keys=keys,
            journals=config.out / "endpoints",
            cluster=lambda: ray_session(part(config, ClusterConfig)),
            on_progress=lambda name, now, rows: running.show(now.rows_seen, rows, f"{name}, {now.engines.failed} failed"),
            merged=None if config.live_adapters else config.out / MERGED,
        )
        measuring = open_measures(
            part(config, MeasureConfig),
            part(config, GenerationConfig),
            cluster=lambda: ray_session(part(config, ClusterConfig)),
            judge=asking,
        )
        with measuring as measures:
            found = conclude(
                staging.folder,
                examples,
                reviews,
                names=names_of(contenders),
                run=config.run_name,
                candidate=candidate,
                scoring=part(config, ScoringConfig),
                measures=measures,
            )
        tables = _tables(config, contenders, found)
        write_text(f"{tables}\n", staging.folder / "tables.txt")
        head = describe(
            contenders,
            candidate,
            shards,
            run=config.run_name,
            protocol=config.protocol,
            costs=costs,
            reference_tokens=staging.reference_tokens,
            history_worth=staging.history_worth,
        )
        write_evaluation(head, staging.folder)
        replace_folder(staging.folder, config.out / "metrics")
        _record(config, counts, examples, running.seconds, found)
        running.result = f"{_sum(found, head, counts)} -> {config.out / 'metrics'}"
    return tables


def _judge(config: EvaluateJob) -> dict[str, EndpointConfig]:
    """The endpoint that judges, by its name; none where none is asked for."""
    if config.judge is None:
        return {}
    if config.judge not in config.endpoints:
        raise ConfigError(
            f"--judge {config.judge}: is none of --endpoints ({', '.join(config.endpoints) or 'there are none'})"
        )
    return {config.judge: config.endpoints[config.judge]}


def _asking(config: EvaluateJob, judge: dict[str, EndpointConfig], keys: Mapping[str, SecretStr | None]) -> Judge | None:
    """The judge, looked at before it is asked; None where there is none."""
    for name, endpoint in judge.items():
        check_endpoint(name, endpoint, keys[name])
        return endpoint_judge(name, endpoint, key=keys[name], journal=config.out / "endpoints" / f"{name}.judge.jsonl")
    return None


def _sum(found: Conclusion, head: Evaluation, counts: RunCounts) -> str:
    """How many rows of how many models there are, how many have no text, and what this run wrote for it."""
    failed = pl.DataFrame(found.metrics).filter((pl.col("metric") == "failed") & (pl.col("model") != REAL.name))
    rows, without = failed["n"].sum(), round((failed["value"] * failed["n"]).sum() / 100)
    dropped = f", {counts.attributes_dropped} prompts without all attributes" if counts.attributes_dropped else ""
    return (
        f"{len(head.models) - 1} models and kinds of prompt on {sum(head.rows.values())} examples: {rows} rows, {without} without "
        f"a text; {counts.rows} written now by engines and endpoints, {counts.completion_tokens} tokens"
        f"{dropped}"
    )


def _tables(config: EvaluateJob, contenders: Sequence[Contender], found: Conclusion) -> str:
    """Both tables as text, with the protocol beside the paper's own."""
    kinds = {contender.name: contender.kind for contender in contenders}
    scores = [plain_text(table, paper=config.protocol is not None) for table in score_tables(found.metrics, kinds)]
    return "\n\n".join([*scores, likelihood_text(likelihood_tables(found.metrics, kinds), kinds)])


def _shards(folder: Path, split: str) -> list[Path]:
    return example_files(folder, split) if folder.is_dir() else []


def _candidate(config: EvaluateJob, contenders: Sequence[Contender]) -> Side:
    """The model whose adoption is to be decided."""
    names = [contender.name for contender in contenders[:-1]]
    adapters = [contender.name for contender in contenders if contender.kind == "adapter"]
    wanted = config.candidate or [*adapters, *names][0]
    if wanted not in names:
        raise ConfigError(f"--candidate {wanted}: is not among the models: {', '.join(dict.fromkeys(names))}")
    return Side(wanted, any(one.name == wanted and one.variant.prompt.rating for one in contenders))


def _reviews(config: EvaluateJob, contenders: Sequence[Contender], examples: pa.Table) -> Reviews:
    """What baselines copy from; without any baseline and without interactions, what was trained on is enough."""
    trained = config.out / "examples" / "train"
    interactions = config.out / "interactions"
    if any(contender.kind == "baseline" for contender in contenders[:-1]) or interactions.is_dir():
        return read_reviews(interactions, trained, pl.DataFrame(examples))
    known = trained_reviews(trained)
    return Reviews(known, known.clear(), {})


def _record(config: EvaluateJob, counts: RunCounts, examples: pa.Table, seconds: float, found: Conclusion) -> None:
    tokens = {"prompt tokens": counts.prompt_tokens, "completion tokens": counts.completion_tokens}
    whole = pl.DataFrame(found.metrics).filter(slice="all")
    record_step(
        config.out,
        "evaluate",
        config,
        rows_in=examples.num_rows,
        rows_out=counts.rows,
        seconds=seconds,
        counts={"failed": counts.failed, "attributes_dropped": counts.attributes_dropped, **tokens},
        tables=whole.to_dicts(),
    )
    means = whole.group_by("split", "model", "with_rating", "metric", maintain_order=True).agg(pl.col("value").mean())
    means = means.drop_nulls("value")  # a figure that cannot read the texts has none
    tracked = part(config, TrackingConfig)
    parameters = config.model_dump(mode="json")
    with tracking(tracked, out=config.out, run_name=config.run_name, run_id=new_run(), parameters=parameters) as tracker:
        tracker.log([{"step": 1, **{_tracked_name(*row[:4]): row[4] for row in means.iter_rows()}}])


def _tracked_name(split: str, model: str, with_rating: bool, metric: str) -> str:
    """A figure's name in MLflow, which takes letters, digits and few signs: others of a model's name stand by their number.

    >>> _tracked_name("hard", "für (v2)", True, "rouge1")
    'hard/für _28_v2_29_ with rating/rouge1'
    """
    plain = re.sub(r"[^\w\-. ]", lambda found: f"_{ord(found[0]):x}_", model)
    return f"{split}/{plain} {'with' if with_rating else 'without'} rating/{metric}"


COMMANDS: Commands = {"": Command(main, EvaluateJob)}


if __name__ == "__main__":
    run_job(COMMANDS, __doc__)
