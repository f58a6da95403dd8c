"""Candidates -> recommendations: examples by shards of users, through an engine, and put in place at once.

    .ranking-<fingerprint>/examples/    what is asked, in shards that are named by their content
                           answers/     what the engine answered to each: an interrupted run goes on from there
                           finished/    recommendations, until all are there

The folder is named by all that decides an answer beside the shard itself, so other work never finds it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from reviewllm.examples.shards import write_shards
from reviewllm.failpoints import reached
from reviewllm.files import write_text
from reviewllm.generation.pipeline import RunCounts
from reviewllm.prompts.tasks.recommend import Asked as AskedNames
from reviewllm.recommend.answering import Cluster, answer_shards, read_answers
from reviewllm.recommend.asking import Asked, Inputs, ask_by_shards, shuffled
from reviewllm.recommend.ranker import Ranker
from reviewllm.recommend.ranking import Place, fall_back, place_likeliest, place_named, read_likelihoods, read_list
from reviewllm.recommend.rankings import MANIFEST
from reviewllm.recommend.rows import example_row, example_table
from reviewllm.recommend.tables import RECOMMENDATIONS
from reviewllm.table_files import replace_folder, write_table

USERS = "users"
NO_CANDIDATE, NO_PROMPT, FELL_BACK = (
    "users without a candidate",
    "users without an answer",
    "users with the retriever's order",
)


class Ranking(NamedTuple):
    """What a run wrote; `engines` is what they did in this run alone, `counts` are of all shards."""

    users: int
    rows: int
    counts: Counter[str]
    engines: RunCounts


def rank(
    inputs: Inputs,
    ranker: Ranker,
    target: Path,
    *,
    cluster: Cluster,
    on_progress: Callable[[RunCounts, int], None] | None = None,
) -> Ranking:
    """Rank every user's candidates, and put RECOMMENDATIONS files and a manifest into `target`, in one rename.

    A user whose prompt cannot be made, or whose answer cannot be read, has the retriever's order where it is to fall back.

    Args:
        cluster: connects to Ray; only entered where an engine has to answer.
        on_progress: called now and then with the counts and the users of the run.

    Raises:
        SchemaError: a table does not fit.
        ReviewLLMError: the engine cannot be used; finished shards are kept.
    """
    work = work_folder(inputs, ranker, target)
    counts: Counter[str] = Counter()
    shards = _write_examples(inputs, ranker, work, counts)
    users = counts.pop(USERS, 0)
    reached("rank/asked")
    engines = answer_shards(
        [shard for shard in shards if shard],
        ranker.answerer,
        work,
        cluster=cluster,
        on_progress=lambda now: on_progress(now, users) if on_progress else None,
    )
    reached("rank/answered")
    finished = work / "finished"
    shutil.rmtree(finished, ignore_errors=True)
    rows = 0
    for number, (shard, asked) in enumerate(zip(shards, ask_by_shards(inputs, work / "spill", Counter()), strict=True)):
        told = read_answers(work, shard) if shard else {}
        table = _recommendations(asked, told, ranker, counts)
        write_table(table, finished / f"part-{number:05d}.parquet", RECOMMENDATIONS)
        rows += table.num_rows
    made = Ranking(users, rows, counts, engines)
    write_text(json.dumps(_manifest(made, ranker, inputs), indent=1) + "\n", finished / MANIFEST)
    reached("rank/finished")
    replace_folder(finished, target)
    shutil.rmtree(work, ignore_errors=True)
    return made


def work_folder(inputs: Inputs, ranker: Ranker, target: Path) -> Path:
    """Where a run puts what it has asked and been answered, until it is done."""
    decides = [ranker.fingerprint, inputs.target, target.name]
    digest = hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:16]
    return target.with_name(f".ranking-{digest}")


def _write_examples(inputs: Inputs, ranker: Ranker, work: Path, counts: Counter[str]) -> list[str | None]:
    """Write what is asked, a shard for each of `ask_by_shards`; returns their names, None for one in which nothing is asked."""
    folder = work / "examples"
    shutil.rmtree(folder, ignore_errors=True)
    names: list[str | None] = []
    for asked in ask_by_shards(inputs, work / "spill", counts):
        keywords = ranker.profiles.of(user.user_id for user in asked)
        table = example_table(
            [_row(user, keywords.get(user.user_id, []), ranker, inputs) for user in asked if user.candidates]
        )
        counts[NO_CANDIDATE] += len(asked) - table.num_rows
        counts[USERS] += len(asked)
        names += write_shards(table, folder, first=len(names), rows=max(1, len(asked))) or [None]
    return names


def _row(asked: Asked, keywords: list[str], ranker: Ranker, inputs: Inputs) -> dict[str, Any]:
    config, of = ranker.config, ranker.names.of
    shown = of(shuffled(asked, config.ranking_seed), where=str(inputs.candidates)) if config.palr == "v2" else []
    count = min(config.count, len(shown)) if shown else config.count
    return example_row(
        asked.user_id,
        asked.user_id,
        asked.history,
        of(asked.history, where=str(inputs.sequences)),
        asked=AskedNames(shown, keywords, count),
        split=inputs.target,
    )


def _recommendations(
    asked: Sequence[Asked], told: Mapping[str, dict[str, Any]], ranker: Ranker, counts: Counter[str]
) -> pa.Table:
    """The recommendations of a shard of users."""
    rows: list[dict[str, Any]] = []
    for user in asked:
        answer = told.get(user.user_id)
        placed = _places(user, answer, ranker, counts)
        if answer is not None:
            counts["prompt tokens"] += answer["prompt_tokens"] or 0
            counts["completion tokens"] += answer["completion_tokens"] or 0
        at = answer["generated_at"] if answer else dt.datetime.now(dt.UTC)
        rows += _rows(user, placed, ranker, at)
    return pa.Table.from_pylist(rows, schema=RECOMMENDATIONS.schema)


def _places(asked: Asked, answer: Mapping[str, Any] | None, ranker: Ranker, counts: Counter[str]) -> list[Place]:
    """A user's order: the model's, and the retriever's where it has none or says nothing."""
    config = ranker.config
    placed: list[Place] = []
    if answer is not None and answer["review"] is None:
        counts[NO_PROMPT] += 1
        counts[f"no answer: {answer['error_class']}"] += 1
    elif answer is not None and config.method == "likelihood":
        candidates = shuffled(asked, config.ranking_seed)
        likely = read_likelihoods(answer["review"], len(candidates), counts)
        placed = place_likeliest(likely, candidates) if likely else []
    elif answer is not None:
        named = read_list(answer["review"], counts)
        bought = frozenset(asked.history)
        free = config.palr == "v1"
        placed = place_named(named or [], asked.candidates, bought, ranker.names, counts, free=free)[: config.count]
    counts[FELL_BACK] += bool(asked.candidates) and not placed and config.falls_back
    counts["items by the model"] += len(placed)
    return fall_back(placed, asked.candidates) if config.falls_back else placed


def _rows(asked: Asked, placed: Sequence[Place], ranker: Ranker, at: dt.datetime) -> Iterator[dict[str, Any]]:
    variant = ranker.variant
    fixed = {
        "user_id": asked.user_id,
        "reason": None,
        "retriever": asked.retriever,
        "model": variant.model,
        "adapter": str(variant.adapter) if variant.adapter else None,
        "method": ranker.config.method,
        "fingerprint": ranker.fingerprint,
        "generated_at": at,
    }
    for number, place in enumerate(placed, start=1):
        yield {**fixed, **place._asdict(), "rank": number}


def _manifest(made: Ranking, ranker: Ranker, inputs: Inputs) -> dict[str, Any]:
    engines = made.engines
    told = engines.engines
    return {
        "fingerprint": ranker.fingerprint,
        "target": inputs.target,
        "model": ranker.variant.model,
        "adapter": str(ranker.variant.adapter) if ranker.variant.adapter else None,
        "ranking": ranker.config.model_dump(mode="json"),
        "users": made.users,
        "rows": made.rows,
        "counts": dict(made.counts),
        "this_run": {
            "users": engines.rows,
            "computed_tokens": told.prefix_queries - told.prefix_hits + engines.completion_tokens,
            "cached_tokens": told.prefix_hits,
            "seconds": round(engines.seconds, 1),
            "start_seconds": round(engines.start_seconds, 1),
        },
    }
