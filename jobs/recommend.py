"""What a user buys next: purchases -> sequences -> retrievers' candidates -> ranking by a language model -> evaluation.

    python jobs/recommend.py prepare --interactions out/run/interactions --items out/run/items --out out/next
    python jobs/recommend.py train-sasrec --out out/next
    python jobs/recommend.py retrieve --target test --out out/next
    python jobs/recommend.py profile --base-model <base> --out out/next
    python jobs/recommend.py examples --out out/next
    python jobs/train.py --task recommend --base-model <base> --out out/next
    python jobs/recommend.py rank --base-model <base> --adapter out/next/adapter --out out/next
    python jobs/recommend.py explain --base-model <base> --recommendations out/next/recommendations/test/palr-v2 --out out/next
    python jobs/recommend.py evaluate --out out/next

`prepare` reads one source: a table of interactions, a file of sequences (`--sequences`), or MovieLens (`--movielens`); it writes
`sequences/` (a row for each user) and `items/`. Raw review files go through jobs/prepare.py first. `train-sasrec` writes `sasrec/`;
`retrieve` writes `candidates/<target>/<retriever>.parquet`. What is held out is the `--target`: `test` a user's last item,
`validation` the one before it, `next` nothing: what a firm runs every night, with the model that it has.
`evaluate` measures everything in `candidates/<target>` and `recommendations/<target>`, or `--systems`, and writes
`recommend-metrics/`: `metrics.parquet`, `comparisons.parquet`, `metrics.json`.
`profile` writes `profiles/<target>`, keywords of what each user likes, asked anew only where the history changed; `retrieve
--retriever profile` goes by them, and `--profiles` shows them in prompts. `examples` writes `examples/train` for jobs/train.py.
`rank` writes `recommendations/<target>/<name>`, or `recommendations/dt=<date>` for `--target next`; `explain` gives them reasons.
Interrupted, the same command goes on after the last finished shard. `--engine rule` asks no model.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import polars as pl
from pydantic import Field

if __package__ in (None, ""):  # run as a file: `python jobs/recommend.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.entry import run_job
from jobs.recommend_learn import OUT, ExamplesJob, ProfileJob, examples, names_of, profile_users
from jobs.recommend_rank import ExplainJob, RankJob, explain, rank_candidates
from reviewllm.config import Command, Commands, JobConfig, NamedPath, part, save
from reviewllm.errors import ConfigError
from reviewllm.evaluation.staging import alone
from reviewllm.progress import step
from reviewllm.recommend.evaluate import asked_users, measure
from reviewllm.recommend.histories import catalogue, make_histories
from reviewllm.recommend.names import NameConfig
from reviewllm.recommend.prepare import read_all_sequences, write_sequences
from reviewllm.recommend.profiles import FOLDER, read_profiles
from reviewllm.recommend.published import published_for
from reviewllm.recommend.ranks import Retriever
from reviewllm.recommend.results import plain_text, write_results
from reviewllm.recommend.retrieve import BOUND_AT, Popular, retrieve
from reviewllm.recommend.sasrec_retriever import SasrecConfig, load_sasrec
from reviewllm.recommend.similar import ProfileRetriever
from reviewllm.recommend.sources import Source, read_interactions, read_movielens, read_sequences
from reviewllm.recommend.split import Target
from reviewllm.recommend.systems import read_systems, read_users
from reviewllm.summary import record_step


class PrepareJob(JobConfig):
    """Read one source of purchases and make a sequence for each user."""

    interactions: Path | None = Field(None, description="interactions table, as jobs/prepare.py writes it")
    items: Path | None = Field(None, description="with --interactions: items table, as jobs/prepare.py writes it")
    sequences: Path | None = Field(None, description="lines of 'user item item ...', oldest first, plain or gzipped")
    datamaps: Path | None = Field(
        None, description="with --sequences: JSON with id2user and id2item, for the ids of the lines"
    )
    item_names: Path | None = Field(None, description="with --sequences: lines of 'item name ...', plain or gzipped")
    movielens: Path | None = Field(None, description="folder with ratings.dat and movies.dat of MovieLens 1M")
    core: int = Field(5, ge=1, description="users and items with fewer interactions are dropped, until none is left")
    max_rejected_fraction: float = Field(0.01, ge=0, le=1, description="share of unusable lines that is accepted")
    out: Path = Field(OUT, description="folder of the run")


def prepare(config: PrepareJob) -> None:
    """Write sequences and items."""
    with step("recommend prepare") as running:
        source = _source(config)
        with alone(config.out):  # a ranking at work reads its tables twice
            made = write_sequences(
                source,
                config.out,
                core=config.core,
                max_rejected_fraction=config.max_rejected_fraction,
                keep_items=config.items is not None and config.items.resolve() == (config.out / "items").resolve(),
            )
        save(config, config.out / "config" / "recommend-prepare.yaml")
        counts = {**made.counts, "rejected lines": source.rejected.height}
        record_step(
            config.out,
            "recommend prepare",
            config,
            rows_in=made.rows_in,
            rows_out=made.interactions,
            seconds=running.seconds,
            counts=counts,
        )
        running.result = (
            f"{made.rows_in} interactions = {made.interactions} kept + {made.repeats} repeats + {made.below_core} below the "
            f"{config.core}-core + {made.too_short} of users with fewer than 3; {source.rejected.height} lines rejected; "
            f"{made.rows.height} users, {made.items} items -> {config.out}"
        )


class TrainSasrecJob(JobConfig, SasrecConfig):
    """Train the retriever SASRec on the sequences, without the two items that are held out of each."""

    out: Path = Field(OUT, description="folder of the run")


class RetrieveJob(JobConfig, NameConfig):
    """Write the best items of every user by one retriever."""

    retriever: Literal["sasrec", "popular", "profile"] = Field(
        "sasrec", description="who retrieves; profile goes by the keywords of `profile` for the same target"
    )
    target: Target = Field("test", description="which item is held out: test the last, validation the one before, next none")
    num_candidates: int = Field(100, ge=1, description="candidates of each user")
    sasrec: Path | None = Field(None, description="folder of `train-sasrec`; default <out>/sasrec")
    out: Path = Field(OUT, description="folder of the run")


class EvaluateJob(JobConfig):
    """Measure candidates and recommendations on the items held out, by full ranking."""

    systems: list[NamedPath] = Field(
        [], description="table of candidates or recommendations, or name=table; default: all of <out>"
    )
    target: Literal["validation", "test"] = Field("test", description="which item is to be found")
    users: Path | None = Field(
        None,
        description="measure on these users: lines of ids, or any table with user_id; default: all with an item held out",
    )
    candidate: str | None = Field(None, description="system that is compared with each other one; default: the last")
    run_name: str = Field("recommend", description="name of the run in the metrics")
    out: Path = Field(OUT, description="folder of the run")


def train(config: TrainSasrecJob) -> None:
    """Train SASRec and keep it."""
    from reviewllm.recommend.train_sasrec import train_sasrec

    with step("recommend sasrec") as running:
        sequences = read_all_sequences(config.out)
        sasrec = part(config, SasrecConfig)
        retriever, epochs = train_sasrec(sequences, sasrec, on_epoch=lambda epoch: running.say(epoch.told))
        retriever.save(config.out / "sasrec", sasrec)
        save(config, config.out / "config" / "recommend-sasrec.yaml")
        best = max((epoch for epoch in epochs if epoch.ndcg10 is not None), key=lambda epoch: epoch.ndcg10 or 0.0)
        record_step(
            config.out,
            "recommend sasrec",
            config,
            rows_in=sequences.height,
            rows_out=sequences.height,
            seconds=running.seconds,
            counts={"epochs": len(epochs), "best epoch": best.number, "HR@10": best.hr10, "NDCG@10": best.ndcg10},
        )
        running.result = f"{len(epochs)} epochs, the best is {best.told} -> {config.out / 'sasrec'}"


def retrieve_candidates(config: RetrieveJob) -> None:
    """Write candidates."""
    with step("recommend retrieve") as running:
        sequences = read_all_sequences(config.out)
        file = config.out / "candidates" / config.target / f"{config.retriever}.parquet"
        retriever = _retriever(config, sequences)
        with alone(config.out):
            found = retrieve(
                retriever, sequences, file, target=config.target, k=config.num_candidates, on_progress=running.show
            )
        save(config, config.out / "config" / f"recommend-retrieve-{config.target}-{config.retriever}.yaml")
        record_step(
            config.out,
            f"recommend retrieve {config.target} {config.retriever}",
            config,
            rows_in=sequences.height,
            rows_out=found.rows,
            seconds=running.seconds,
            counts=found._asdict(),
        )
        among = min(config.num_candidates, BOUND_AT)
        bound = "" if found.hit_ratio is None else f"; HR@{among} {100 * found.hit_ratio:.2f} % of {found.asked} users"
        running.result = f"{found.rows} candidates of {found.users} users, none for {found.without}{bound} -> {file}"


def evaluate(config: EvaluateJob) -> None:
    """Measure and print."""
    with step("recommend evaluate") as running:
        sequences = read_all_sequences(config.out)
        systems = read_systems(config.systems, sequences, target=config.target, out=config.out)
        asked = asked_users(sequences, config.target, read_users(config.users) if config.users else None)
        candidate = config.candidate or list(systems)[-1]
        if candidate not in systems:
            raise ConfigError(f"--candidate {candidate!r}: there is no such system; there are {', '.join(systems)}")
        found = measure(systems, asked, run=config.run_name, target=config.target, candidate=candidate)
        items = sequences["item_ids"].explode()
        paper = published_for(sequences.height, items.n_unique(), len(items))
        about = {
            "run": config.run_name,
            "target": config.target,
            "candidate": candidate,
            "users_file": str(config.users or ""),
        }
        write_results(found, config.out / "recommend-metrics", about=about, paper=paper)
        save(config, config.out / "config" / "recommend-evaluate.yaml")
        record_step(
            config.out,
            "recommend evaluate",
            config,
            rows_in=asked.height,
            rows_out=asked.height,
            seconds=running.seconds,
            counts={"systems": len(systems), "users": found.users},
        )
        running.result = f"{len(systems)} systems on {found.users} users -> {config.out / 'recommend-metrics'}"
    sample = f"{found.users} of {sequences.height} users, {paper.name if paper else config.out.name}"
    bases = {name: ranking.base for name, ranking in systems.items()}
    print("\n" + plain_text(found, target=config.target, bases=bases, paper=paper, sample=sample))


def _retriever(config: RetrieveJob, sequences: pl.DataFrame) -> Retriever:
    if config.retriever == "sasrec":
        return load_sasrec(config.sasrec or config.out / "sasrec")
    if config.retriever == "profile":
        profiles = read_profiles(config.out / FOLDER / config.target)
        return ProfileRetriever(profiles, names_of(config.out, part(config, NameConfig)))
    item_ids = catalogue(sequences)
    return Popular(make_histories(sequences, item_ids, "next" if config.target == "next" else "validation"), item_ids)


def _source(config: PrepareJob) -> Source:
    given = [name for name in ("interactions", "sequences", "movielens") if getattr(config, name) is not None]
    if len(given) != 1:
        found = " and ".join(f"--{name}" for name in given) or "none"
        raise ConfigError(f"expected one of --interactions, --sequences and --movielens, found {found}")
    for name, needed in (("items", "interactions"), ("datamaps", "sequences"), ("item_names", "sequences")):
        if getattr(config, name) is not None and given != [needed]:
            raise ConfigError(f"--{name.replace('_', '-')} belongs to --{needed}; leave it out with --{given[0]}")
    if config.interactions:
        return read_interactions(config.interactions, config.items)
    if config.sequences:
        return read_sequences(config.sequences, datamaps=config.datamaps, item_names=config.item_names)
    assert config.movielens
    return read_movielens(config.movielens)


COMMANDS: Commands = {
    "prepare": Command(prepare, PrepareJob),
    "train-sasrec": Command(train, TrainSasrecJob),
    "retrieve": Command(retrieve_candidates, RetrieveJob),
    "evaluate": Command(evaluate, EvaluateJob),
    "examples": Command(examples, ExamplesJob),
    "profile": Command(profile_users, ProfileJob),
    "rank": Command(rank_candidates, RankJob),
    "explain": Command(explain, ExplainJob),
}


if __name__ == "__main__":
    run_job(COMMANDS, __doc__)
