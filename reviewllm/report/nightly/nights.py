"""Which nights are published below a place, and which of them a night is compared with."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from reviewllm.backfill.night import GENERATIONS_FOLDER, Manifest, published_folder, read_manifest
from reviewllm.errors import PublishError
from reviewllm.place import Place

_LISTED = 20


class Nights(NamedTuple):
    """The published nights with their manifests, oldest first, and what else lies there.

    `unreadable`: nights whose manifest cannot be read, with the reason. `begun`: nights that were staged, or whose files lie
    there without a manifest, and that are not published.
    """

    published: dict[datetime.date, Manifest]
    unreadable: dict[datetime.date, str]
    begun: list[datetime.date]


def find_nights(data: Place) -> Nights:
    """List the nights of a place; one bad manifest does not hide the others."""
    nights = Nights({}, {}, [])
    for day in _days(data.folders(GENERATIONS_FOLDER), "dt="):
        try:
            manifest = read_manifest(data, day)
        except PublishError as error:
            nights.unreadable[day] = str(error)
            continue
        if manifest is not None:
            nights.published[day] = manifest
        elif data.files(published_folder(day)):
            nights.begun.append(day)
    staged = _days(data.folders(f"{GENERATIONS_FOLDER}/.staging"), "")
    nights.begun.extend(day for day in staged if day not in nights.published and day not in nights.begun)
    return nights._replace(begun=sorted(nights.begun))


def choose_night(data: Place, nights: Nights, day: datetime.date | None) -> datetime.date:
    """The night that was asked for; else the newest.

    Raises:
        PublishError: it is not published, or cannot be read, or no night is published; the message lists those that are.
    """
    published = [*nights.published]
    if day in nights.unreadable:
        raise PublishError(nights.unreadable[day])
    if not published:
        other = f"; of {len(nights.unreadable)} night(s) there the manifest cannot be read" if nights.unreadable else ""
        raise PublishError(
            f"{data.where}/{GENERATIONS_FOLDER}: no night is published there{other}; jobs/backfill.py publishes one, and --data "
            f"names the folder that holds {GENERATIONS_FOLDER}/"
        )
    if day is None:
        return published[-1]
    if day not in nights.published:
        older = "" if len(published) <= _LISTED else f" ({len(published) - _LISTED} older ones too)"
        raise PublishError(
            f"{data.where}/{published_folder(day)}: is not published; the published nights are: "
            f"{', '.join(map(str, published[-_LISTED:]))}{older}; name one with --date"
        )
    return day


def comparable(fingerprint: str, earlier: Mapping[datetime.date, Manifest]) -> Sequence[datetime.date]:
    """The nights, of earlier ones, that a night of this fingerprint is compared with, oldest first.

    Those of the same fingerprint; where it is new, those of the fingerprint that ran last before it, so that what the change
    did is seen on its first night and is no alarm on the nights that follow. Nights without a written row tell nothing.
    """
    written = {day: manifest for day, manifest in sorted(earlier.items()) if manifest.written}
    if not written:
        return []
    same = [day for day, manifest in written.items() if manifest.fingerprint == fingerprint]
    last = [*written.values()][-1].fingerprint
    return same or [day for day, manifest in written.items() if manifest.fingerprint == last]


def _days(folders: Sequence[str], prefix: str) -> list[datetime.date]:
    days = []
    for folder in folders:
        if folder.startswith(prefix):
            with contextlib.suppress(ValueError):  # a folder of another name is no night
                days.append(datetime.date.fromisoformat(folder.removeprefix(prefix)))
    return sorted(days)
