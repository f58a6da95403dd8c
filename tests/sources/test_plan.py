"""Which file is read as what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
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


def test_make_plan_names_what_it_does_not_read(folder: Path, write_lines: Callable[..., Path]) -> None:
    (folder / "README.md").touch()
    other = write_lines("other.json", [META])
    assert plan([folder], [other]).notes == ["not read: README.md, b.json.gz"]
    assert plan([folder], [folder]).notes == plan([folder]).notes == ["not read: README.md"]
    for number in range(9):
        (folder / f"{number}.txt").touch()
    assert plan([folder]).notes == ["not read: 0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 5 more"]


@pytest.mark.parametrize(
    ("name", "category"), [("Toys_5.json", "Toys"), ("part-00000.json", "unknown"), ("a.json", "unknown")]
)
def test_make_plan_takes_a_category_from_a_name_of_amazons_only(
    write_lines: Callable[..., Path], review: Callable[..., dict[str, Any]], name: str, category: str
) -> None:
    (source,) = plan([write_lines(name, [review()])]).interactions
    assert source.category == category


def write_orders(path: Path, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    row = {"user_id": ["U"], "item_id": ["I"], "rating": [5], "purchased_at": ["2014-02-28"], **columns}
    pl.DataFrame(row).write_parquet(path)
    return path


def test_make_plan_names_no_category_by_the_file_of_a_firm(tmp_path: Path) -> None:
    (source,) = plan([write_orders(tmp_path / "Orders.parquet", review=["x"])]).interactions
    assert source.category == "unknown"


def test_make_plan_names_tables_without_reviews_and_what_they_have_instead(tmp_path: Path) -> None:
    path = write_orders(tmp_path / "o.parquet", comment=["fine"], channel=["web"])
    assert plan([path]).notes == ["without the column 'review'; not read of them: channel, comment; files: o.parquet"]
    assert plan([path], review="comment").notes == []


def test_make_plan_names_floating_point_ids(tmp_path: Path) -> None:
    path = write_orders(tmp_path / "o.parquet", review=["x"], user_id=[146.0])
    assert plan([path]).notes == ["ids that are floating-point numbers (146.0 is read as 146): o.parquet: user_id"]


@pytest.mark.parametrize("name", ["orders/category=Toys/part-0.snappy.parquet", "orders/_delta_log/0.json", "orders/a.csv"])
def test_make_plan_refuses_layouts_that_it_does_not_read(tmp_path: Path, name: str) -> None:
    write_orders(tmp_path / "orders" / "part-0.parquet")
    write_orders(tmp_path / name)
    for paths in ([tmp_path / "orders"], [tmp_path]):
        with pytest.raises(
            SourceError, match=r"is partitioned by category|is a Delta table|holds (orders/)?a\.csv, which is CSV"
        ):
            plan(paths)


def test_make_plan_refuses_other_formats_by_name(tmp_path: Path, write_lines: Callable[..., Path]) -> None:
    with pytest.raises(SourceError, match=r"meta\.json\.gz: holds Python literals"):
        plan([write_lines("meta.json.gz", ["{'asin': '0001', 'title': 'Rake'}"])])


def test_make_plan_refuses_a_column_twice_before_any_row_is_read(tmp_path: Path) -> None:
    write_orders(tmp_path / "o.parquet", user=["x"])
    table = pq.read_table(tmp_path / "o.parquet")
    pq.write_table(table.rename_columns(["user_id", "item_id", "rating", "purchased_at", "user_id"]), tmp_path / "o.parquet")
    with pytest.raises(SourceError, match=r"o\.parquet: has 2 columns 'user_id'"):
        plan([tmp_path / "o.parquet"])
