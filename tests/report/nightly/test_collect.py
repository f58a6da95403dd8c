"""A place with nights -> content: what is right, what drifted, and every odd input."""

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from reviewllm.backfill.night import MANIFEST, Night, published_folder
from reviewllm.errors import PublishError, SchemaError
from reviewllm.place import below
from reviewllm.report.nightly.collect import collect_night
from reviewllm.report.nightly.content import NightReport, nightly_json
from reviewllm.report.nightly.page import render_night
from reviewllm.tables import SUPERSEDED
from tests.backfill.conftest import FINGERPRINT, NIGHT
from tests.report.nightly.conftest import LEDGER, Rows, Shop, failed, texts

DAY = dt.timedelta(days=1)
MORNING = dt.datetime(2026, 11, 22, 7, tzinfo=dt.UTC)
Week = Callable[..., Shop]


def _collect(shop: Shop, **options: Any) -> NightReport:
    return collect_night(shop.data, created_at=MORNING, **options)


def _change_manifest(shop: Shop, day: dt.date, **changes: Any) -> None:
    name = f"{published_folder(day)}/{MANIFEST}"
    shop.data.write(name, json.dumps(json.loads(shop.data.read(name)) | changes).encode())


def _parts(shop: Shop, day: dt.date) -> list[str]:
    return [file.name for file in shop.data.files(published_folder(day)) if file.name.endswith(".parquet")]


def _verdicts(report: NightReport) -> set[str]:
    return {finding.verdict for finding in report.findings}


def _said(report: NightReport) -> str:
    return "\n".join(line for finding in report.findings for line in (finding.claim, *finding.evidence))


def _with(rows: Rows, **changes: Any) -> Rows:
    return [row | changes for row in rows]


def test_collect_night_like_those_before_is_fine(week: Week) -> None:
    shop = week()
    shop.publish_rows(NIGHT, [*texts(598, seed=9), failed("EmptyOutput"), failed("PromptTooLong")])

    report = _collect(shop)

    assert report.findings[0].claim == "The night of 2026-11-21 is fine: it is like the nights before."
    assert _verdicts(report) <= {"fine", "note"}
    assert (report.rows, report.written, report.failed) == (600, 598, 2)
    assert [night.date for night in report.nights] == [NIGHT - 3 * DAY, NIGHT - 2 * DAY, NIGHT - DAY, NIGHT]
    assert [night.compared for night in report.nights] == [True, True, True, False]
    assert {column.name for column in report.columns} == set(texts(1, seed=0)[0]) - {"finish_reason", "review"}
    assert report.identity.changed == ()
    assert NightReport.model_validate_json(nightly_json(report)) == report


@pytest.mark.parametrize("seed", range(10, 22))
def test_collect_steady_nights_raise_no_alarm(week: Week, seed: int) -> None:
    shop = week(nights=2)
    shop.publish_rows(NIGHT, texts(600, seed=seed))

    assert "look" not in _verdicts(_collect(shop))


@pytest.mark.parametrize(
    ("rows", "about"),
    [
        (texts(600, seed=9, tokens=75), "the texts drifted (completion_tokens, words)"),
        (texts(600, seed=9, cut=0.2), "the texts drifted (cut at the limit)"),
        (_with(texts(600, seed=9), history_kept=0), "the purchases drifted (history_kept)"),
        ([*texts(540, seed=9), *[failed("EmptyOutput")] * 60], "more rows failed than before"),
        ([*texts(599, seed=9), failed("KilledEngine")], "engines died or hung on 1 row"),
        (texts(600, seed=9, slope=5), "the texts drifted (sentiment); sentiment rises less with the stars than before"),
    ],
    ids=["longer", "cut", "no histories", "failed", "killed", "flat"],
)
def test_collect_night_unlike_those_before_wants_a_look(week: Week, rows: Rows, about: str) -> None:
    shop = week()
    shop.publish_rows(NIGHT, rows)

    report = _collect(shop)

    assert report.findings[0].claim == f"The night of 2026-11-21 is published, and wants a look: {about}."
    assert report.findings[0].verdict == "look"


def test_collect_names_a_new_fingerprint_beside_a_drift_and_forgets_it_the_next_night(week: Week) -> None:
    shop = week()
    shop.publish_rows(NIGHT, texts(600, seed=8, tokens=90), fingerprint="e" * 64, adapter="new")
    shop.publish_rows(NIGHT + DAY, texts(600, seed=9, tokens=90), fingerprint="e" * 64, adapter="new")

    changed, after = _collect(shop, day=NIGHT), _collect(shop, day=NIGHT + DAY)

    assert "The fingerprint is new (adapter): the likely reason." in _said(changed)
    assert (changed.identity.changed, changed.identity.night_before) == (("adapter",), NIGHT - DAY)
    assert "look" not in _verdicts(after)
    assert [night.date for night in after.compared] == [NIGHT]


def test_collect_names_drifting_purchases_beside_drifting_texts(week: Week) -> None:
    shop = week()
    shop.publish_rows(NIGHT, _with(texts(600, seed=9, tokens=90), rating=1.0))

    assert "The fingerprint is as before, and the purchases drifted too: a likely reason." in _said(_collect(shop))


GERMAN = {"sentiment": None, "claims": None, "review": "Sehr gut, gerne wieder."}


def test_collect_a_night_that_is_not_english_gives_no_figures_of_english_and_no_calm(week: Week) -> None:
    shop = week()
    shop.publish_rows(NIGHT, _with(texts(600, seed=9), **GERMAN))

    report = _collect(shop)

    assert report.findings[0].claim.endswith("wants a look: the texts drifted (not English).")
    assert "sentiment, claims, hallucination: 600 of 600 texts cannot be scored by them, as they are not English." in _said(
        report
    )
    assert not {"sentiment", "claims", "hallucination"} & {column.name for column in report.columns}
    assert (report.stars, report.nights[-1].means.get("sentiment")) == ((), None)
    assert "Sentiment rises" not in _said(report)
    assert "texts that sentiment and claims cannot read" in render_night(report)


def test_collect_nights_that_are_never_english_are_calm_and_say_so(shop: Shop) -> None:
    for number in range(3, -1, -1):
        shop.publish_rows(NIGHT - number * DAY, _with(texts(600, seed=number), **GERMAN))

    report = _collect(shop)

    assert "look" not in _verdicts(report)
    assert "600 of 600 texts cannot be scored by them" in _said(report)


def test_collect_a_few_texts_that_are_not_english_are_counted_and_their_growth_is_seen(week: Week) -> None:
    shop = week()
    rows = texts(600, seed=9)
    shop.publish_rows(NIGHT, [*_with(rows[:40], **GERMAN), *rows[40:]])

    report = _collect(shop)

    (share,) = [share for share in report.shares if share.name == "not English"]
    assert (share.count, share.of, share.count_before, share.of_before) == (40, 600, 0, 3 * 600)
    assert share.drift.stability == "drifted"  # from 0 to 7 %
    assert "sentiment, claims, hallucination leave out 40 of 600 texts, which are not English." in _said(report)
    (sentiment,) = [column for column in report.columns if column.name == "sentiment"]
    assert (sentiment.rows, sentiment.drift.stability) == (560, "steady")


def test_collect_first_night_cannot_be_told(shop: Shop) -> None:
    shop.publish_rows(NIGHT, texts(600, seed=1))

    report = _collect(shop)

    assert report.findings[0].claim == (
        "The night of 2026-11-21 is published. Whether it is like the nights before cannot be told yet."
    )
    assert {one.drift.stability for one in report.figures} == {"unknown"}
    assert report.identity.night_before is None


def test_collect_few_rows_cannot_be_told(week: Week) -> None:
    shop = week()
    shop.publish_rows(NIGHT, texts(40, seed=1))

    report = _collect(shop)

    assert report.findings[0].verdict == "unknown"
    assert "With so few rows, whether these drifted cannot be told yet: rating," in _said(report)


def test_collect_empty_night_says_so(week: Week) -> None:
    shop = week(nights=1)
    shop.publish_rows(NIGHT, [])

    report = _collect(shop)

    assert [finding.claim for finding in report.findings] == [
        "The night of 2026-11-21 is published and empty: no purchase was left to write."
    ]
    assert (report.columns, report.stars, report.samples, report.failures) == ((), (), (), ())


def test_collect_night_after_an_empty_one_is_compared_with_those_before(week: Week) -> None:
    shop = week(nights=2)
    shop.publish_rows(NIGHT, [], fingerprint="e" * 64)
    shop.publish_rows(NIGHT + DAY, texts(600, seed=9))

    report = _collect(shop)

    assert [night.date for night in report.compared] == [NIGHT - 2 * DAY, NIGHT - DAY]
    assert report.nights[-2].means == {}


def test_collect_night_in_which_all_failed_wants_a_look(shop: Shop) -> None:
    shop.publish_rows(NIGHT, [failed("EngineFailed")] * 5)

    report = _collect(shop)

    assert "nothing was written" in report.findings[0].claim
    assert [(one.error_class, one.count, one.share) for one in report.failures] == [("EngineFailed", 5, 1.0)]


def test_collect_window_is_of_published_nights(week: Week) -> None:
    shop = week(nights=5, rows=20)
    shop.publish_rows(NIGHT, texts(20, seed=9))

    assert [night.date for night in _collect(shop, nights=2).nights] == [NIGHT - 2 * DAY, NIGHT - DAY, NIGHT]


def test_collect_reads_older_nights_as_far_as_their_columns_go(week: Week) -> None:
    shop = week(nights=1, rows=900)
    manifest = shop.publish_rows(NIGHT, texts(900, seed=9))
    (earlier,) = _parts(shop, NIGHT - DAY)
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(shop.data.parquet(earlier).read().drop_columns(["words", "sentiment"]), sink)
    shop.data.write(earlier, sink.getvalue())
    _change_manifest(shop, NIGHT - DAY, schema_version=2)

    report = _collect(shop)

    stability = {column.name: column.drift.stability for column in report.columns}
    assert (stability["words"], stability["sentiment"], stability["prompt_tokens"]) == ("unknown", "unknown", "steady")
    assert "as far as can be told" in report.findings[0].claim
    assert "Of another version of the tables, and compared as far as their columns go: 2026-11-20." in _said(report)
    assert manifest.schema_version == report.identity.schema_version


def test_collect_without_a_ledger_says_that_cost_and_speed_are_unknown(shop: Shop) -> None:
    shop.publish_rows(NIGHT, texts(30, seed=9), ledger={})

    said = _said(_collect(shop))

    assert "How fast it was is not known" in said
    assert "What it cost is not known" in said
    assert "prediction" not in said


def test_collect_tells_cost_speed_and_prediction(week: Week) -> None:
    shop = week()
    shop.publish_rows(NIGHT, texts(600, seed=9), ledger={**LEDGER, "run_seconds": 210.0, "cost": 12.0})

    said = _said(_collect(shop))

    assert "It wrote 5 rows and 250 tokens per second; by engine 125 tokens per second, 250 in the median" in said
    assert "slow: 50\N{NO-BREAK SPACE}% of the usual speed" in said
    assert "It cost 12.00 for 2 GPU hours, 20.00 a thousand reviews (10.00 in the median of 3 nights before)." in said
    assert "took 50,000 tokens instead of 40,000 (1.25 times) and 3 min of generation instead of 80 s (2.50 times)." in said


def test_collect_leaves_a_damaged_earlier_night_out_and_refuses_to_report_a_damaged_one(week: Week) -> None:
    shop = week(nights=2)
    manifest = shop.publish_rows(NIGHT, texts(600, seed=9))
    (file,) = _parts(shop, NIGHT - DAY)
    shop.data.write(file, b"no Parquet")

    report = _collect(shop)

    assert [night.date for night in report.nights] == [NIGHT - 2 * DAY, NIGHT]
    assert "the night of 2026-11-20 is damaged" in report.findings[0].claim
    shop.data.write(f"{published_folder(NIGHT)}/{manifest.files[0].name}", b"no Parquet")
    with pytest.raises(SchemaError, match=manifest.files[0].name):
        _collect(shop)


def test_collect_says_that_files_and_manifest_differ(shop: Shop) -> None:
    shop.publish_rows(NIGHT, texts(10, seed=9))
    _change_manifest(shop, NIGHT, written=11)

    assert "hold 10 rows, its manifest says 11" in _said(_collect(shop))


def test_collect_names_nights_that_are_not_published(shop: Shop) -> None:
    shop.publish_rows(NIGHT, texts(10, seed=9))
    shop.data.write(f"{published_folder(NIGHT - DAY)}/part-00000-a.parquet", b"without a manifest")
    shop.data.write(f"{published_folder(NIGHT - 2 * DAY)}/{MANIFEST}", b"{}")
    earlier = _collect(shop)
    shop.data.write(f"generations/.staging/{NIGHT + DAY}/ffff/shard.parquet", b"begun")
    later = _collect(shop)

    assert "Left out, since they were begun and not published: 2026-11-20." in _said(earlier)
    assert "1 night(s) are left out, since their manifest cannot be read." in _said(earlier)
    assert earlier.findings[0].verdict == "unknown"
    assert later.findings[0].claim.endswith("wants a look: a later night (2026-11-22) is not published.")


def test_collect_newest_night_of_days_ago_is_no_calm(shop: Shop) -> None:
    shop.publish_rows(NIGHT, texts(10, seed=9))
    later = MORNING + 3 * DAY

    assert "the newest night is 4 days old" in collect_night(shop.data, created_at=later).findings[0].claim
    assert "days old" not in collect_night(shop.data, NIGHT, created_at=later).findings[0].claim


def test_collect_counts_what_is_superseded(week: Week) -> None:
    shop = week(nights=1, rows=5)
    shop.publish_rows(NIGHT, texts(5, seed=9))
    marks = {
        NIGHT: [NIGHT - DAY, NIGHT - DAY],
        NIGHT + DAY: [NIGHT, NIGHT - DAY],
    }
    for day, nights in marks.items():
        rows = [{"example_id": "e", "user_id": "u", "night": night, "superseded_at": MORNING} for night in nights]
        name = Night(shop.data, day, FINGERPRINT).superseded
        shop.data.write_table(name, pa.Table.from_pylist(rows, schema=SUPERSEDED.schema), SUPERSEDED)

    report = _collect(shop, day=NIGHT)

    assert (report.superseded_then, report.superseded_since) == (2, 1)


def test_collect_shows_a_text_for_each_star(shop: Shop) -> None:
    shop.publish_rows(NIGHT, texts(200, seed=9))

    samples = _collect(shop).samples

    assert [row.rating for row in samples] == [1, 2, 3, 4, 5]
    assert all(f"for {row.rating:g} stars" in row.review for row in samples)


def test_collect_from_an_object_store_and_of_a_date_that_is_not_there(s3_server: str) -> None:
    shop = Shop(below(s3_server, "nightly"))
    shop.publish_rows(NIGHT, texts(30, seed=9))

    assert _collect(shop).written == 30
    with pytest.raises(PublishError, match="the published nights are: 2026-11-21"):
        _collect(shop, day=NIGHT - DAY)
