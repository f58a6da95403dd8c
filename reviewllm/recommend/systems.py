"""Which systems an evaluation measures: candidates and recommendations that lie in a run's folder, or that are named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa

from reviewllm.errors import ConfigError, InputError
from reviewllm.recommend.rankings import (
    Ranking,
    is_recommendations,
    nothing_ranked,
    read_candidates,
    read_recommendations,
    refuse_several,
)
from reviewllm.recommend.split import Target
from reviewllm.table_files import read_table
from reviewllm.tables import Column, Table

_USERS = Table("users", (Column("user_id", pa.string(), "who is measured"),))


def read_systems(given: Sequence[str], sequences: pl.DataFrame, *, target: Target, out: Path) -> dict[str, Ranking]:
    """Read every system, by name, in the order in which they are given.

    Args:
        given: paths of CANDIDATES or RECOMMENDATIONS, files or folders, or 'name=path'; none for all that `out` has of the target.
            Without a name, a system has its retriever's, or that of its base and adapter; recommendations of `out` have their
            folder's.

    Raises:
        ConfigError: two systems have the same name, or a name is given to a path that holds several.
        InputError: there is none, or a folder holds those of several runs or of another target.
        SchemaError: a file does not fit its table.
    """
    found: dict[str, Ranking] = {}
    for one in given or _in_folder(out, target):
        name, _, path = one.partition("=") if "=" in one and not Path(one).exists() else ("", "", one)
        refuse_several(Path(path), target)
        read = read_recommendations if is_recommendations(Path(path)) else read_candidates
        # A model that named nothing of the catalogue has no row, and every user is a miss.
        rankings = read(Path(path), sequences, target) or {Path(path).stem: nothing_ranked()}
        if name and len(rankings) != 1:
            raise ConfigError(f"--systems {one}: holds {len(rankings)} systems ({', '.join(rankings)}); leave the name out")
        named = dict(zip([name], rankings.values(), strict=True)) if name else rankings
        twice = sorted(found.keys() & named.keys())
        if twice:
            raise ConfigError(f"--systems {one}: {twice[0]!r} is there already; name them apart with name=path")
        found |= named
    return found


def read_users(path: Path) -> list[str]:
    """Read user ids: lines of text, or the column user_id of a table.

    Raises:
        InputError: the path cannot be read, or holds none.
    """
    if path.is_dir() or path.suffix == ".parquet":
        users = list(dict.fromkeys(read_table(path, _USERS)["user_id"].to_pylist()))
    else:
        try:
            users = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"--users {path}: cannot be read: {error}; name a file of user ids, or a table") from error
    if not users:
        raise InputError(f"--users {path}: holds no user id")
    return users


def _in_folder(out: Path, target: Target) -> list[str]:
    """Retrievers first, so that the ranking is compared with them."""
    candidates = [str(path) for path in _tables(out / "candidates" / target)]
    found = [*candidates, *(f"{path.stem}={path}" for path in _tables(out / "recommendations" / target))]
    if not found:
        raise InputError(
            f"{out}: has neither candidates/{target} nor recommendations/{target}; run `jobs/recommend.py retrieve --target "
            f"{target}` first, or name --systems"
        )
    return found


def _tables(folder: Path) -> list[Path]:
    paths = [path for path in sorted(folder.glob("*")) if path.is_dir() or path.suffix == ".parquet"]
    return [path for path in paths if not path.name.startswith((".", "_"))]
