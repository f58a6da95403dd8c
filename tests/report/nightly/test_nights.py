"""Which nights are there, and which of them a night is compared with."""

import datetime as dt
from typing import Any

import pytest

from reviewllm.backfill.night import MANIFEST, Manifest, published_folder
from reviewllm.errors import PublishError
from reviewllm.report.nightly.nights import choose_night, comparable, find_nights
from tests.backfill.conftest import NIGHT
from tests.report.nightly.conftest import Shop, texts

DAY = dt.timedelta(days=1)


def _manifest(fingerprint: str, written: int = 1) -> Manifest:
    counts: dict[str, Any] = dict.fromkeys(("rows", "failed", "prompt_tokens", "completion_tokens", "id_buckets"), 0)
    texts_of = dict.fromkeys(("model", "adapter", "code_version", "written_ids_sha256", "failed_ids_sha256"), "x")
    return Manifest(
        **counts,
        **texts_of,
        date=NIGHT,
        schema_version=3,
        fingerprint=fingerprint,
        fingerprints={},
        published_at=dt.datetime.now(dt.UTC),
        written=written,
        seconds=0,
        dead_letters=None,
        ledger={},
        files=[],
    )


def test_find_nights_tells_published_unreadable_and_begun_apart(shop: Shop) -> None:
    shop.publish_rows(NIGHT - 2 * DAY, texts(3, seed=0))
    shop.data.write(f"{published_folder(NIGHT - DAY)}/{MANIFEST}", b"{}")
    shop.data.write(f"{published_folder(NIGHT)}/part-00000-a.parquet", b"killed before its manifest")
    shop.data.write(f"generations/.staging/{NIGHT + DAY}/ffff/shard.parquet", b"")
    shop.data.write("generations/dt=someday/part.parquet", b"")

    nights = find_nights(shop.data)

    assert [*nights.published] == [NIGHT - 2 * DAY]
    assert [*nights.unreadable] == [NIGHT - DAY]
    assert nights.begun == [NIGHT, NIGHT + DAY]


def test_choose_night_is_the_newest_or_the_one_asked_for(shop: Shop) -> None:
    for days in (3, 1):
        shop.publish_rows(NIGHT - days * DAY, texts(3, seed=days))
    nights = find_nights(shop.data)

    assert choose_night(shop.data, nights, None) == NIGHT - DAY
    assert choose_night(shop.data, nights, NIGHT - 3 * DAY) == NIGHT - 3 * DAY
    with pytest.raises(PublishError, match=r"dt=2026-11-21: is not published; .* are: 2026-11-18, 2026-11-20; name one"):
        choose_night(shop.data, nights, NIGHT)


def test_choose_night_without_any_says_what_is_missing(shop: Shop) -> None:
    with pytest.raises(PublishError, match=r"data/generations: no night is published there; jobs/backfill.py publishes one"):
        choose_night(shop.data, find_nights(shop.data), None)


def test_choose_night_with_a_manifest_that_cannot_be_read_says_why(shop: Shop) -> None:
    shop.data.write(f"{published_folder(NIGHT)}/{MANIFEST}", b"{}")
    nights = find_nights(shop.data)

    with pytest.raises(PublishError, match="is no manifest that can be read"):
        choose_night(shop.data, nights, NIGHT)
    with pytest.raises(PublishError, match=r"of 1 night\(s\) there the manifest cannot be read"):
        choose_night(shop.data, nights, None)


@pytest.mark.parametrize(
    ("earlier", "expected"),
    [
        ([], []),
        (["b", "a", "b"], [0, 2]),  # its own fingerprint, although another ran between
        (["c", "a", "c", "a"], [1, 3]),  # it is new: those of the fingerprint that ran last
    ],
)
def test_comparable_is_of_the_same_fingerprint_or_of_the_one_before(earlier: list[str], expected: list[int]) -> None:
    days = [NIGHT - number * DAY for number in range(len(earlier), 0, -1)]

    assert comparable("b", dict(zip(days, map(_manifest, earlier), strict=True))) == [days[place] for place in expected]


def test_comparable_leaves_nights_without_a_written_row_out() -> None:
    nights = {NIGHT - 2 * DAY: _manifest("a"), NIGHT - DAY: _manifest("b", written=0)}

    assert comparable("b", nights) == [NIGHT - 2 * DAY]
