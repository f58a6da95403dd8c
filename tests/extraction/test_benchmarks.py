"""OA-Mine and WDC PAVE lines, and lines that are neither."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reviewllm.errors import RejectedBudgetError, SourceError
from reviewllm.extraction.benchmarks import read_benchmark

OA = {
    "input": "Diesel Men's Sneaker",
    "category": "Shoes",
    "target_scores": {"Brand": {"Diesel": 1}, "Shoe type": {"Sneaker": 1}},
}
WDC = {
    "id": 7,
    "category": "Computers",
    "input_title": "HP Xeon",
    "input_description": "2.0GHz\n4-core",
    "target_scores": {"Manufacturer": {"Hewlett-Packard": {"pid": [0]}, "HP": {"pid": [0]}}, "Cache": {"n/a": 1}},
}


def lines(*rows: Any) -> bytes:
    return b"".join(row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows)


def test_read_benchmark_knows_both_forms(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes(lines(OA, WDC))
    (shoe, computer), rejected = read_benchmark(tmp_path / "train.jsonl")
    assert (shoe.product_id, shoe.category, shoe.title, shoe.description) == (
        "train-1",
        "Shoes",
        "Diesel Men's Sneaker",
        None,
    )
    assert shoe.values == {"brand": ("Diesel",), "shoe_type": ("Sneaker",)}
    assert (computer.product_id, computer.description) == ("7", "2.0GHz 4-core")
    assert computer.values == {"manufacturer": ("Hewlett-Packard", "HP"), "cache": ()}
    assert rejected == []


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"{not json\n", "the line is not JSON"),
        (b"[1]\n", "expected a JSON object, found a list"),
        (b"[" * 100_000 + b"\n", "the line nests too deeply"),
        ({**OA, "input": 5}, "expected text, found a int"),
        ({**OA, "input": " "}, "missing or blank"),
        ({"input": "x", "category": "Shoes"}, "target_scores is missing"),
        ({**OA, "target_scores": {"Brand": "Diesel"}}, "'Brand' is no object of values"),
        ({**OA, "target_scores": {"Brand": {}, "brand": {}}}, "is blank or there twice"),
    ],
)
def test_read_benchmark_lines_that_are_no_products_are_told(tmp_path: Path, bad: Any, reason: str) -> None:
    (tmp_path / "bad.jsonl").write_bytes(lines(OA, bad, OA))
    products, ((file, line, why),) = read_benchmark(tmp_path / "bad.jsonl", max_rejected_fraction=0.5)
    assert [product.product_id for product in products] == ["bad-1", "bad-3"]
    assert (file, line) == ("bad.jsonl", 2)
    assert reason in why
    with pytest.raises(RejectedBudgetError, match=r"1 of 3 lines are no products.*--max-rejected-fraction 0.01; line 2"):
        read_benchmark(tmp_path / "bad.jsonl")


def test_read_benchmark_ids_that_come_twice_get_a_place(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(WDC, WDC))
    products, _ = read_benchmark(tmp_path / "a.jsonl")
    assert [product.product_id for product in products] == ["7", "7-a-2"]


def test_read_benchmark_huge_and_hostile_text_is_data(tmp_path: Path) -> None:
    page = "<script>alert(1)</script> " * 40_000  # a megabyte
    endless = b'{"input": "' + b"x" * 5_000_000 + b'"}\n'
    (tmp_path / "a.jsonl").write_bytes(lines({**WDC, "input_description": page}, endless, OA))
    (huge, shoe), (rejected,) = read_benchmark(tmp_path / "a.jsonl", max_rejected_fraction=0.5)
    assert huge.description == page.strip()
    assert shoe.title == OA["input"]
    assert rejected.reason == "the line is longer than 4000000 bytes"


def test_read_benchmark_a_file_that_is_cut_off_or_none_fails(tmp_path: Path) -> None:
    whole = gzip.compress(lines(*[OA] * 500))
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"cut.jsonl.gz: cannot be read"):
        read_benchmark(tmp_path / "cut.jsonl.gz")
    (tmp_path / "other.jsonl").write_bytes(lines({"asin": "B1"}))
    with pytest.raises(SourceError, match=r"holds no product of OA-Mine's or WDC PAVE's form; line 1: .*missing"):
        read_benchmark(tmp_path / "other.jsonl")


@pytest.mark.parametrize(
    ("file", "products", "values"), [("oa-mine/test.jsonl.gz", 491, 2451), ("wdc-pave/test.jsonl.gz", 354, 1607)]
)
def test_read_benchmark_the_real_files_are_read_whole(
    shared_data: Callable[[str], Path], file: str, products: int, values: int
) -> None:
    read, rejected = read_benchmark(shared_data(f"data/attributes/{file}"))
    assert (len(read), rejected) == (products, [])
    assert sum(bool(accepted) for product in read for accepted in product.values.values()) == values
