"""Sequences -> profiles: what each user likes, asked of a model once for each history."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa

from reviewllm.examples.shards import write_shards
from reviewllm.generation.pipeline import RunCounts
from reviewllm.prompts.tasks.profile import MAX_KEYWORD_CHARS, MAX_KEYWORDS
from reviewllm.prompts.tasks.recommend import HISTORY_ITEMS
from reviewllm.prompts.text import neutralise
from reviewllm.recommend.answering import Answerer, Cluster, answer_shards, read_answers
from reviewllm.recommend.asking import USERS_AT_ONCE
from reviewllm.recommend.keywords import RULE_VERSION, KeywordRule
from reviewllm.recommend.names import Names
from reviewllm.recommend.ranking import read_list
from reviewllm.recommend.rows import example_row, example_table
from reviewllm.recommend.split import Target, held_out
from reviewllm.recommend.tables import PROFILES
from reviewllm.table_files import read_table, replace_folder, table_files, write_table

RULE = "rule"
KEPT, ASKED, FAILED = "kept", "asked", "without keywords"


class Profiler(NamedTuple):
    """Who makes profiles: a model, or (None) the rule."""

    names: Names
    answerer: Answerer | None

    @property
    def model(self) -> str:
        """What `model` says in a row."""
        return self.answerer.variant.model if self.answerer else RULE

    @property
    def fingerprint(self) -> str:
        """sha256 of all that decides a profile beside the history."""
        if self.answerer:
            return self.answerer.variant.fingerprint
        return hashlib.sha256(f"{RULE} {RULE_VERSION}".encode()).hexdigest()


class _User(NamedTuple):
    user_id: str
    items: list[str]
    names: list[str]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(json.dumps(self.names, ensure_ascii=False).encode()).hexdigest()


def make_profiles(
    sequences: pl.DataFrame,
    profiler: Profiler,
    folder: Path,
    *,
    target: Target,
    cluster: Cluster,
    on_progress: Callable[[RunCounts, int], None] | None = None,
) -> Counter[str]:
    """Bring the PROFILES in `folder` up to date: users whose history is as it was keep theirs, the others are asked.

    A profile without keywords is asked for again. Users that are no longer in the sequences lose theirs. The folder is replaced
    in one rename.

    Args:
        sequences: SEQUENCES.
        target: whose history is summarised; of a `test` profile no test item was seen.
        cluster: connects to Ray; only entered where an engine has to answer.

    Raises:
        SchemaError: an item has no name, or the profiles that are there do not fit their table.
        ReviewLLMError: the engine cannot be used; finished shards are kept.
    """
    digest = hashlib.sha256(f"{profiler.fingerprint} {target}".encode()).hexdigest()[:16]
    work = folder.with_name(f".profiles-{digest}")
    shutil.rmtree(work / "examples", ignore_errors=True)
    known = _known(folder, profiler.fingerprint)
    counts: Counter[str] = Counter()
    shards: list[str] = []
    for users in _shards(sequences, profiler.names, target):
        asked = [user for user in users if user.sha256 != known.get(user.user_id)]
        counts.update({KEPT: len(users) - len(asked), ASKED: len(asked)})
        if profiler.answerer:
            rows = [example_row(one.user_id, one.user_id, one.items, one.names, asked=None, split=target) for one in asked]
            shards += write_shards(example_table(rows), work / "examples", first=len(shards), rows=USERS_AT_ONCE)
    if profiler.answerer:
        answer_shards(
            shards,
            profiler.answerer,
            work,
            cluster=cluster,
            on_progress=lambda now: on_progress(now, counts[ASKED]) if on_progress else None,
        )
    counts[FAILED] = _write(sequences, profiler, folder, work, shards, target=target, known=known)
    return counts


def _known(folder: Path, fingerprint: str) -> dict[str, str]:
    """The history that each profile is of: of those that were made alike and have keywords."""
    if not folder.exists():
        return {}
    rows = pl.DataFrame(read_table(table_files(folder, PROFILES), PROFILES))
    rows = rows.filter(pl.col("keywords").is_not_null() & (pl.col("fingerprint") == fingerprint))
    return dict(rows.select("user_id", "history_sha256").rows())


def _shards(sequences: pl.DataFrame, names: Names, target: Target) -> Iterator[list[_User]]:
    """Users with a history, some at a time, by user; of each what a prompt shows at most."""
    for part in sequences.sort("user_id").iter_slices(USERS_AT_ONCE):
        users = []
        for user_id, item_ids in part.select("user_id", "item_ids").rows():
            history, _ = held_out(item_ids, target)
            if history:
                shown = history[-HISTORY_ITEMS:]
                users.append(_User(user_id, shown, names.of(shown, where="sequences")))
        yield users


def _write(
    sequences: pl.DataFrame,
    profiler: Profiler,
    folder: Path,
    work: Path,
    shards: Sequence[str],
    *,
    target: Target,
    known: Mapping[str, str],
) -> int:
    """Put kept and new profiles in place; returns how many have no keywords."""
    kept = pl.DataFrame(read_table(table_files(folder, PROFILES), PROFILES)) if known else None
    rule = None if profiler.answerer else KeywordRule(profiler.names)
    remaining = iter(shards)
    told: dict[str, dict[str, Any]] = {}
    finished = work / "finished"
    shutil.rmtree(finished, ignore_errors=True)
    failed = 0
    for number, users in enumerate(_shards(sequences, profiler.names, target)):
        asked = [user for user in users if user.sha256 != known.get(user.user_id)]
        if rule:
            found = [(one or None, None if one else "no name has a word") for one in rule.keywords([u.items for u in asked])]
        else:
            told = read_answers(work, next(remaining)) if asked else {}
            found = [_keywords(told[user.user_id]) for user in asked]
        rows = [_row(user, *one, profiler) for user, one in zip(asked, found, strict=True)]
        failed += sum(row["keywords"] is None for row in rows)
        parts = [pa.Table.from_pylist(rows, schema=PROFILES.schema)]
        if kept is not None:
            same = [user.user_id for user in users if user.sha256 == known.get(user.user_id)]
            parts.append(PROFILES.check(kept.filter(pl.col("user_id").is_in(same)).to_arrow(), where=str(folder)))
        write_table(pa.concat_tables(parts), finished / f"part-{number:05d}.parquet", PROFILES)
    folder.parent.mkdir(parents=True, exist_ok=True)
    replace_folder(finished, folder)
    shutil.rmtree(work, ignore_errors=True)
    return failed


def _keywords(answer: Mapping[str, Any]) -> tuple[list[str] | None, str | None]:
    """Keywords as they are shown, or why there are none."""
    if answer["review"] is None:
        return None, str(answer["error"])
    texts = read_list(answer["review"], Counter()) or []
    words = (neutralise(text, max_chars=MAX_KEYWORD_CHARS).replace('"', "''").replace("\\", "/") for text in texts)
    found = list(dict.fromkeys(word for word in words if any(letter.isalnum() for letter in word)))[:MAX_KEYWORDS]
    return (found, None) if found else (None, "the answer is no JSON list of keywords")


def _row(user: _User, keywords: list[str] | None, error: str | None, profiler: Profiler) -> dict[str, Any]:
    return {
        "user_id": user.user_id,
        "keywords": keywords,
        "error": error,
        "history_sha256": user.sha256,
        "model": profiler.model,
        "fingerprint": profiler.fingerprint,
    }
