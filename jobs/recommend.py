"""What a user buys next: purchases -> sequences -> retrievers' candidates -> ranking by a language model -> evaluation.

    python jobs/recommend.py prepare --interactions out/run/interactions --items out/run/items --out out/next

`prepare` reads one source: a table of interactions, a file of sequences (`--sequences`), or MovieLens (`--movielens`); it writes
`sequences/` (a row for each user) and `items/`. Raw review files go through jobs/prepare.py first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from pydantic import Field

if __package__ in (None, ""):  # run as a file: `python jobs/recommend.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jobs.entry import run
from reviewllm.config import JobConfig, save
from reviewllm.errors import ConfigError
from reviewllm.progress import step
from reviewllm.recommend.prepare import write_sequences
from reviewllm.recommend.sources import Source, read_interactions, read_movielens, read_sequences
from reviewllm.summary import record_step

OUT = Path("out/recommend")


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


if __name__ == "__main__":
    commands: dict[str, tuple[Callable[..., object], type[JobConfig]]] = {
        "prepare": (prepare, PrepareJob),
    }
    name, *rest = sys.argv[1:] or [""]
    if name not in commands:
        print(__doc__, file=sys.stdout if name in ("-h", "--help") else sys.stderr)
        sys.exit(name not in ("-h", "--help") and 2)
    run(*commands[name], rest)
