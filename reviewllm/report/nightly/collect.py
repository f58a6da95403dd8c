"""A place with published nights -> the content of the report of one of them.

generations/dt=*/_manifest.json, part-*.parquet   which nights there are; of each of the window, the columns of figures
generations/_superseded/*.parquet                 how many rows users' own reviews have taken the place of
generations/.staging/*                            nights that were begun and not published
dead_letters/dt=*/part-*.parquet                  failures by class
Time, cost and prediction are those of the ledger, whose row the manifest holds too.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import NamedTuple

import polars as pl
from pydantic import ValidationError

from reviewllm.backfill.night import GENERATIONS_FOLDER, SCHEMA_VERSION, Manifest, published_files
from reviewllm.errors import SchemaError, StorageError
from reviewllm.place import Place
from reviewllm.report.content import GeneratedReview
from reviewllm.report.nightly.columns import columns_of, share_of
from reviewllm.report.nightly.content import NOT_ENGLISH, Finding, Identity, NightReport, NightRow, Share, Taken
from reviewllm.report.nightly.failures import dead_letters, failures_by_class
from reviewllm.report.nightly.findings import RULES, findings
from reviewllm.report.nightly.measure import Measures, measure
from reviewllm.report.nightly.nights import Nights, choose_night, comparable, find_nights
from reviewllm.report.nightly.stars import stars_of
from reviewllm.tables import GENERATIONS, SUPERSEDED

_LATE = datetime.timedelta(days=2)  # after its date, by when a night that runs every day has a successor


class MeasuredNight(NamedTuple):
    """A night that was read."""

    day: datetime.date
    manifest: Manifest
    measures: Measures
    letters: pl.DataFrame  # dead letters by class


def collect_night(
    data: Place, day: datetime.date | None = None, *, nights: int = 14, created_at: datetime.datetime | None = None
) -> NightReport:
    """Read a night, and up to `nights` published nights before it.

    Memory holds a row group of figures, and a sample of each night; texts are read of one row group, for the few that are
    shown. A night before that is damaged is left out, and a note says so.

    Args:
        day: None for the newest published night.
        created_at: the time to put on the report; None for now.

    Raises:
        PublishError: the night is not published.
        SchemaError, StorageError: a file of it is damaged.
    """
    created_at = created_at or datetime.datetime.now(datetime.UTC)
    found = find_nights(data)
    chosen = choose_night(data, found, day)
    tonight = _read(data, chosen, found.published[chosen])
    earlier, damaged = _read_all(data, [its for its in found.published.items() if its[0] < chosen][-nights:])
    days = comparable(tonight.manifest.fingerprint, {night.day: night.manifest for night in earlier})
    before = [night for night in earlier if night.day in days]
    measured = [night.measures for night in before]
    then, since = _superseded(data, chosen)
    manifest = tonight.manifest
    report = NightReport(
        title=f"Generated reviews: the night of {chosen}",
        created_at=created_at,
        where=data.where,
        date=chosen,
        published_at=manifest.published_at,
        notes=(*_lateness(found, chosen, created_at, newest=day is None), *_oddities(tonight, earlier, found), *damaged),
        rows=manifest.rows,
        written=manifest.written,
        failed=manifest.failed,
        superseded_then=then,
        superseded_since=since,
        failures=failures_by_class(
            tonight.letters, manifest.rows, [night.letters for night in before], sum(night.manifest.rows for night in before)
        ),
        shares=_shares(tonight, before),
        identity=_identity(tonight, [*found.published.items()]),
        columns=columns_of(tonight.measures, measured),
        stars=stars_of(tonight.measures, measured),
        nights=tuple(_row(night, compared=night in before) for night in (*earlier, tonight)),
        samples=_samples(data, tonight),
        rules=RULES,
    )
    return report.model_copy(update={"findings": findings(report)})


def _read(data: Place, day: datetime.date, manifest: Manifest) -> MeasuredNight:
    return MeasuredNight(day, manifest, measure(data, day, manifest), dead_letters(data, day, manifest))


def _read_all(data: Place, nights: Sequence[tuple[datetime.date, Manifest]]) -> tuple[list[MeasuredNight], list[Finding]]:
    read, damaged = [], []
    for day, manifest in nights:
        try:
            read.append(_read(data, day, manifest))
        except (SchemaError, StorageError) as error:
            claim = f"The night of {day} is left out of the comparison, since it cannot be read: {error}"
            damaged.append(Finding(claim=claim, verdict="look", about=f"the night of {day} is damaged"))
    return read, damaged


def _shares(tonight: MeasuredNight, before: Sequence[MeasuredNight]) -> tuple[Share, ...]:
    """Failed rows, of all; texts that were cut at --max-new-tokens, of those of which it is known; texts that are not English."""
    measured = [night.measures for night in before]
    failed = [(night.manifest.failed, night.manifest.rows) for night in (tonight, *before)]
    cut = [(night.measures.stopped["length"], night.measures.stopped.total()) for night in (tonight, *before)]
    unread = [(its.unread, its.scored) for its in (tonight.measures, *measured)]
    shares = [
        share_of("failed", "rows that are dead letters", failed[0], failed[1:], tonight.measures, measured),
        share_of("cut at the limit", "texts that reached --max-new-tokens", cut[0], cut[1:], tonight.measures, measured),
    ]
    if any(count for count, _ in unread):
        meaning = "texts that sentiment and claims cannot read"
        shares.append(share_of(NOT_ENGLISH, meaning, unread[0], unread[1:], tonight.measures, measured))
    return tuple(shares)


def _identity(tonight: MeasuredNight, nights: Sequence[tuple[datetime.date, Manifest]]) -> Identity:
    manifest = tonight.manifest
    day, before = next((its for its in reversed(nights) if its[0] < tonight.day), (None, None))
    return Identity(
        **manifest.model_dump(include={"model", "adapter", "fingerprint", "fingerprints", "code_version", "schema_version"}),
        with_rating=next(iter(tonight.measures.with_rating)) if len(tonight.measures.with_rating) == 1 else None,
        night_before=day,
        changed=_changes(manifest, before) if before else (),
    )


def _changes(manifest: Manifest, before: Manifest) -> tuple[str, ...]:
    if manifest.fingerprint == before.fingerprint:
        return ()
    named = {"base": "model", "adapter": "adapter", "code version": "code_version"}
    changed = [what for what, name in named.items() if getattr(manifest, name) != getattr(before, name)]
    return tuple(changed) or ("weights of base or adapter, prompt, sampling, engine or scorers",)


def _row(night: MeasuredNight, *, compared: bool) -> NightRow:
    manifest, measures = night.manifest, night.measures
    taken = _taken(manifest)
    return NightRow(
        date=night.day,
        **manifest.model_dump(include={"rows", "written", "failed", "prompt_tokens", "completion_tokens", "fingerprint"}),
        length_stopped=measures.stopped["length"] if measures.stopped else None,
        compared=compared,
        taken=taken,
        rows_per_second=taken.rows_per_second,
        tokens_per_second=taken.tokens_per_second,
        means={name: its.mean for name, its in measures.sums.items()},
    )


def _taken(manifest: Manifest) -> Taken:
    try:
        return Taken.model_validate(manifest.ledger)
    except ValidationError:  # of another version: it only informs
        return Taken()


def _superseded(data: Place, day: datetime.date) -> tuple[int, int]:
    """Rows of earlier nights that this night found superseded, and rows of this night that were superseded since."""
    then = since = 0
    for file in data.files(f"{GENERATIONS_FOLDER}/_superseded"):
        if file.name.endswith(".parquet"):
            nights = pl.Series(data.read_columns(file.name, SUPERSEDED, ["night"])["night"])
            then += len(nights) if file.name.endswith(f"dt={day.isoformat()}.parquet") else 0
            since += int((nights == day).sum())
    return then, since


def _samples(data: Place, night: MeasuredNight) -> tuple[GeneratedReview, ...]:
    """One text for each star, the first in a row group from the middle of the night."""
    files = published_files(data, night.day, night.manifest)
    rows = next(data.batches(files[len(files) // 2], GENERATIONS, [*GeneratedReview.model_fields]), None) if files else None
    if rows is None:
        return ()
    written = rows.filter(pl.col("review").is_not_null())
    some = written.group_by(pl.col("rating").round().alias("stars"), maintain_order=True).first().sort("stars").head(5)
    return tuple(GeneratedReview(**row) for row in some.drop("stars").to_dicts())


def _lateness(found: Nights, day: datetime.date, now: datetime.datetime, *, newest: bool) -> list[Finding]:
    """What a reader of the newest night must know: that a later one was begun, or that it is not last night's."""
    notes = []
    begun = sorted(night for night in (*found.begun, *found.unreadable) if night > day)
    if begun:
        named = ", ".join(map(str, begun))
        claim = f"Begun and not published, or published with a manifest that cannot be read: {named}."
        notes.append(Finding(claim=claim, verdict="look", about=f"a later night ({named}) is not published"))
    elif newest and now.date() - day >= _LATE:
        days = (now.date() - day).days
        claim = f"The newest published night is {days} days old."
        notes.append(Finding(claim=claim, verdict="look", about=f"the newest night is {days} days old"))
    return notes


def _oddities(tonight: MeasuredNight, earlier: Sequence[MeasuredNight], found: Nights) -> list[Finding]:
    notes = []
    for night in (tonight, *earlier):
        if night.measures.rows != night.manifest.written:
            claim = (
                f"The files of the night of {night.day} hold {night.measures.rows} rows, its manifest says "
                f"{night.manifest.written}; jobs/backfill.py verify tells more."
            )
            notes.append(Finding(claim=claim, verdict="look", about=f"files and manifest of {night.day} differ"))
    old = [night.day for night in (tonight, *earlier) if night.manifest.schema_version != SCHEMA_VERSION]
    if old:
        claim = f"Of another version of the tables, and compared as far as their columns go: {', '.join(map(str, old))}."
        notes.append(Finding(claim=claim, verdict="note"))
    unread = [f"{day}: {reason}" for day, reason in found.unreadable.items() if day < tonight.day]
    if unread:
        claim = f"{len(unread)} night(s) are left out, since their manifest cannot be read."
        notes.append(Finding(claim=claim, verdict="note", evidence=tuple(unread)))
    unpublished = [str(day) for day in found.begun if day < tonight.day]
    if unpublished:
        claim = f"Left out, since they were begun and not published: {', '.join(unpublished)}."
        notes.append(Finding(claim=claim, verdict="note"))
    return notes
