"""Which file is read as what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reviewllm.errors import ConfigError, SourceError
from reviewllm.sources.plan import Plan, make_plan

pytestmark = pytest.mark.filterwarnings("error")

META = {"asin": "I1", "title": "Guitar"}


def names(plan: Plan) -> tuple[list[str], list[str]]:
    return [s.file.name for s in plan.interactions], [s.file.name for s in plan.items]


@pytest.fixture
def folder(tmp_path: Path, write_lines: Callable[..., Path], review: Callable[..., dict[str, Any]]) -> Path:
    """A folder with one file of reviews and one of items, whose names do not tell."""
    write_lines("raw/a.json", [review()])
    write_lines("raw/b.json.gz", [META])
    return tmp_path / "raw"


def plan(reviews: list[Path], items: list[Path] | None = None, **column_names: str) -> Plan:
    return make_plan(reviews, items or [], column_names=column_names)


def test_make_plan_finds_items_among_reviews(folder: Path) -> None:
    assert names(plan([folder])) == (["a.json"], ["b.json.gz"])
    assert names(plan([folder / "b.json.gz", folder / "a.json"])) == (["a.json"], ["b.json.gz"])


def test_make_plan_takes_items_from_their_own_path_only(folder: Path, write_lines: Callable[..., Path]) -> None:
    other = write_lines("other.json", [META])
    assert names(plan([folder], [other])) == (["a.json"], ["other.json"])
    assert names(plan([folder], [folder])) == (["a.json"], ["b.json.gz"])


def test_make_plan_refuses_a_path_of_the_other_kind(folder: Path) -> None:
    with pytest.raises(SourceError, match=r"a\.json: passed as items, but nothing"):
        plan([folder], [folder / "a.json"])
    with pytest.raises(SourceError, match=r"b\.json\.gz: passed as reviews, but nothing"):
        plan([folder / "a.json", folder / "b.json.gz"], [folder])
    with pytest.raises(SourceError, match=r"b\.json\.gz: no file of reviews or purchases"):
        plan([folder / "b.json.gz"])


def test_make_plan_without_paths_is_an_error() -> None:
    with pytest.raises(SourceError, match="no file of reviews or purchases"):
        plan([])


def test_make_plan_refuses_a_renamed_column_that_no_file_has(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no file has the column of review=commnet"):
        plan([folder], review="commnet", user_id="reviewerID")


def test_make_plan_refuses_an_unknown_file_in_a_folder(folder: Path, write_lines: Callable[..., Path]) -> None:
    write_lines("raw/c.json", [{"foo": 1}])
    with pytest.raises(SourceError, match=r"c\.json: of no known format; its fields are foo"):
        plan([folder])
