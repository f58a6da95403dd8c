"""What is read of a night's files: exact sums, a sample that is the same each time, users and stars."""

import datetime as dt
import math

import numpy as np
import pyarrow as pa
import pytest

from reviewllm.errors import SchemaError
from reviewllm.report.nightly import measure as measure_module
from reviewllm.report.nightly.measure import COLUMNS, SAMPLE_ROWS, Sum, add_up, measure
from reviewllm.tables import SCORES, Table
from tests.backfill.conftest import NIGHT
from tests.report.nightly.conftest import Shop, failed, texts


def test_columns_are_figures_only_and_hold_every_score() -> None:
    assert {column.name for column in SCORES} < set(COLUMNS)
    assert not {"review", "user_id", "error"} & set(COLUMNS)


def test_measure_adds_up_what_is_there_and_leaves_out_what_is_null(shop: Shop) -> None:
    rows = [
        {"user_id": "a", "rating": 1.0, "sentiment": -40.0, "prompt_tokens": 10, "finish_reason": "length"},
        {"user_id": "a", "rating": 5.0, "sentiment": 60.0, "prompt_tokens": 20, "finish_reason": "stop"},
        {"user_id": "b", "rating": 5.0, "sentiment": 20.0, "prompt_tokens": 60, "finish_reason": "stop"},
        {"user_id": "c", "rating": 4.4, "sentiment": math.nan, "prompt_tokens": 30, "finish_reason": "stop"},
        {"user_id": "d", **failed("EmptyOutput")},
    ]
    manifest = shop.publish_rows(NIGHT, rows)

    found = measure(shop.data, NIGHT, manifest)

    assert (found.rows, found.users) == (4, 3)
    assert found.sums["prompt_tokens"] == Sum(4, 10 + 20 + 60 + 30, 10**2 + 20**2 + 60**2 + 30**2)
    assert found.sums["sentiment"].mean == pytest.approx((-40 + 60 + 20) / 3)
    assert sorted(found.sample["sentiment"]) == [-40, 20, 60]
    assert found.sentiment[1] == Sum(1, -40, 1600)
    assert found.sentiment[5] == Sum(2, 80, 60**2 + 20**2)
    assert found.stopped == {"stop": 3, "length": 1}
    assert found.with_rating == {True: 4}
    assert "rouge1" not in found.sums  # null throughout
    assert "rouge1" not in found.sample


def test_measure_samples_every_so_many_th_row_over_all_files_and_counts_all(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure_module, "SAMPLE_ROWS", 100)
    manifest = shop.publish_rows(NIGHT, [{"prompt_tokens": number} for number in range(250)])

    found = measure(shop.data, NIGHT, manifest)

    assert found.rows == found.users == found.sums["prompt_tokens"].n == 250
    assert found.sample["prompt_tokens"].tolist() == [*range(0, 250, 3)]  # 250 / 100, rounded up
    assert SAMPLE_ROWS == 20_000


def test_measure_keeps_the_step_of_the_sample_from_batch_to_batch() -> None:
    measuring = measure_module._Measuring(every=3)
    for start, stop in ((0, 4), (4, 5), (5, 10)):
        numbers = range(start, stop)
        frame = {
            "rating": [float(number) for number in numbers],
            "user_id": ["a" if number < 7 else "b" for number in numbers],
        }
        measuring.add(measure_module.pl.DataFrame(frame))

    found = measuring.measures()

    assert found.sample["rating"].tolist() == [0, 3, 6, 9]
    assert found.users == 2


def test_measure_takes_files_without_newer_columns(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = shop.publish_rows(NIGHT, texts(5, seed=0))
    name = f"generations/dt={NIGHT}/{manifest.files[0].name}"
    older = shop.data.parquet(name).read().drop_columns(["words", "sentiment", "finish_reason"])
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(older, sink)
    shop.data.write(name, sink.getvalue())

    found = measure(shop.data, NIGHT, manifest)

    assert found.rows == 5
    assert "prompt_tokens" in found.sums
    assert not {"words", "sentiment"} & set(found.sums)
    assert (found.sentiment, found.stopped) == ({}, {})


def test_measure_of_an_empty_night_is_empty(shop: Shop) -> None:
    shop.publish_rows(NIGHT - dt.timedelta(days=1), texts(2, seed=0))  # all that there was to write
    found = measure(shop.data, NIGHT, shop.publish_rows(NIGHT, []))

    assert (found.rows, found.users, found.sums, found.sample) == (0, 0, {}, {})


def test_measure_of_a_damaged_file_says_which(shop: Shop) -> None:
    manifest = shop.publish_rows(NIGHT, texts(5, seed=0))
    shop.data.write(f"generations/dt={NIGHT}/{manifest.files[0].name}", b"no Parquet")

    with pytest.raises(SchemaError, match=manifest.files[0].name):
        measure(shop.data, NIGHT, manifest)


def test_sum_has_mean_and_its_error() -> None:
    values = np.array([1.0, 2.0, 3.0, 6.0])
    summed = add_up([Sum(2, 3.0, 5.0), Sum(), Sum(2, 9.0, 45.0)])

    assert summed.mean == values.mean()
    assert summed.variance_of_mean == pytest.approx(values.var() / 4)


def test_tables_still_name_what_is_read_besides() -> None:
    assert isinstance(measure_module.GENERATIONS.only(measure_module._OTHERS), Table)
