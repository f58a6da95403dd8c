"""Users' interests in keywords, as they are read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from reviewllm.errors import InputError
from reviewllm.recommend.tables import PROFILES
from reviewllm.table_files import read_table, table_files

FOLDER = "profiles"


class Profiles:
    """Keywords by user, held as columns: a dictionary of all users would be many times as large."""

    def __init__(self, rows: pl.DataFrame | None = None) -> None:
        """Take user_id and keywords; None for no profile at all."""
        self._rows = pl.DataFrame(schema={"user_id": pl.String, "keywords": pl.List(pl.String)}) if rows is None else rows

    @property
    def shown(self) -> bool:
        """Whether there is any."""
        return not self._rows.is_empty()

    def of(self, users: Iterable[str]) -> dict[str, list[str]]:
        """The keywords of those of some users that have any."""
        asked = pl.DataFrame({"user_id": list(users)}, schema={"user_id": pl.String})
        return dict(self._rows.join(asked, on="user_id", how="semi").select("user_id", "keywords").rows())


def read_profiles(folder: Path) -> Profiles:
    """The profiles of a folder; users without keywords are left out.

    Raises:
        InputError: it is not there.
        SchemaError: it does not fit.
    """
    if not folder.exists():
        raise InputError(
            f"{folder}: is not there; run `jobs/recommend.py profile --target {folder.name}` first, which asks for each user's "
            "keywords"
        )
    rows = pl.DataFrame(read_table(table_files(folder, PROFILES), PROFILES.only(("user_id", "keywords"))))
    return Profiles(rows.drop_nulls("keywords").unique("user_id", keep="first", maintain_order=True))
