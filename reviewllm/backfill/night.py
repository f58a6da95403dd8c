"""Nights: where their files lie, and what their manifests say.

generations/dt=2026-11-21/part-00000-<run>.parquet   what readers see, with `_manifest.json` and `_SUCCESS`
generations/_superseded/dt=2026-11-21.parquet        published rows whose user has written a review since, as that night saw it
generations/.staging/2026-11-21/<fingerprint>/       finished shards of a night that is not published yet
generations/.lock                                    held by the run that is at work
dead_letters/dt=2026-11-21/part-<run>.parquet        rows of the night that failed; its manifest names the file
ledger/dt=2026-11-21.parquet, .json                  one row: counts, tokens, time, cost, predicted and actual

The manifest is what makes a night: it names its files, and is written when all of them are there. On a file system the
whole folder appears in one rename; an object store has none, so there a reader goes by the manifest (`published_files`).
"""

from __future__ import annotations

import datetime
from typing import Annotated, Any, NamedTuple

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from reviewllm.errors import InputError, PublishError
from reviewllm.place import Place
from reviewllm.tables import DEAD_LETTERS

GENERATIONS_FOLDER = "generations"
LOCK = f"{GENERATIONS_FOLDER}/.lock"
MANIFEST = "_manifest.json"
SUCCESS = "_SUCCESS"
_FOLDERS = ("examples", GENERATIONS_FOLDER, "dead_letters", "ledger")  # of a run
SCHEMA_VERSION = 6  # of a night's files; raise it with any change of the generations table or of the digests


class PublishedFile(BaseModel):
    """A file of a night: its name in the night's folder, rows, bytes and sha256."""

    model_config = ConfigDict(frozen=True)

    name: Annotated[str, StringConstraints(pattern=r"^part-[0-9A-Za-z-]+\.parquet$")]  # so it lies nowhere else
    rows: int
    bytes: int
    sha256: str


class Manifest(BaseModel):
    """What is known of a published night."""

    model_config = ConfigDict(frozen=True)

    date: datetime.date
    schema_version: int
    fingerprint: str  # of the run that published it
    fingerprints: dict[str, int]  # generations by fingerprint: one, unless --allow-mixed
    model: str
    adapter: str | None
    code_version: str
    published_at: datetime.datetime
    rows: int  # purchases that the night took care of: written + failed
    written: int
    failed: int  # dead letters
    prompt_tokens: int  # of what was written
    completion_tokens: int
    seconds: float  # of the run that published it
    id_rule: int = 1  # by which purchase_ids were made where the source has none; nights of rule 1 do not say so
    id_buckets: int  # into which ids are parted for the two digests
    written_ids_sha256: str
    failed_ids_sha256: str
    dead_letters: PublishedFile | None  # below dead_letters/dt=.../; None: no row failed
    ledger: dict[str, Any]  # the night's row of the ledger table
    files: list[PublishedFile]


def data_place(where: str) -> Place:
    """The place of a run's data; a folder above or below it is refused: there no night would count as published.

    Raises:
        ConfigError: it is no place.
        InputError: it has nothing of a run, and a folder right below it, or one above it, has nights.
    """
    data = Place(where, flag="--data")
    folders = data.folders()
    if not {*_FOLDERS}.isdisjoint(folders):
        return data
    below_it = [name for name in folders if data.exists(f"{name}/{GENERATIONS_FOLDER}")]
    meant = [f"{data.where.rstrip('/')}/{name}" for name in below_it]
    path, mark, query = data.uri.rstrip("/").partition("?")
    shown = data.where
    while path.rpartition("/")[2] in _FOLDERS or path.rpartition("/")[2].startswith("dt="):
        path, shown = path.rpartition("/")[0], shown.rstrip("/").rpartition("/")[0]
        if Place(f"{path}{mark}{query}").exists(GENERATIONS_FOLDER):
            meant.append(shown or ".")
    if meant:
        raise InputError(
            f"--data {data.where}: has no {GENERATIONS_FOLDER}/, so nothing there counts as published, but {meant[0]} has; name "
            "that one"
        )
    return data


class Night(NamedTuple):
    """A night of a run: below `data`, on a date, by a fingerprint."""

    data: Place
    day: datetime.date
    fingerprint: str

    @property
    def published(self) -> str:
        """What readers see."""
        return published_folder(self.day)

    @property
    def staging_root(self) -> str:
        """Where every run of this night stages."""
        return f"{GENERATIONS_FOLDER}/.staging/{self.day.isoformat()}"

    @property
    def staging(self) -> str:
        """Where this run stages: another fingerprint stages elsewhere, so rows are never shared between two."""
        return f"{self.staging_root}/{self.fingerprint[:16]}"

    @property
    def dead_letters(self) -> str:
        """The folder of the night's dead letters."""
        return f"dead_letters/dt={self.day.isoformat()}"

    @property
    def superseded(self) -> str:
        """What this night saw superseded."""
        return f"{GENERATIONS_FOLDER}/_superseded/dt={self.day.isoformat()}.parquet"

    @property
    def ledger(self) -> str:
        """The night's row of the ledger, without ending."""
        return f"ledger/dt={self.day.isoformat()}"


def published_folder(day: datetime.date) -> str:
    """The folder of a published night."""
    return f"{GENERATIONS_FOLDER}/dt={day.isoformat()}"


def read_dead_letters(data: Place, day: datetime.date, manifest: Manifest | None) -> pa.Table:
    """The dead letters of a night; none where it is not published.

    Raises:
        SchemaError: they are missing or damaged.
    """
    if manifest is None or manifest.dead_letters is None:
        return DEAD_LETTERS.schema.empty_table()
    return data.read_table(f"dead_letters/dt={day.isoformat()}/{manifest.dead_letters.name}", DEAD_LETTERS)


def read_manifest(data: Place, day: datetime.date) -> Manifest | None:
    """The manifest of a night; None where it is not published.

    Raises:
        PublishError: it is no manifest.
        StorageError: it cannot be read.
    """
    name = f"{published_folder(day)}/{MANIFEST}"
    if not data.exists(name):
        return None
    try:
        return Manifest.model_validate_json(data.read(name))
    except ValidationError as error:
        raise PublishError(
            f"{data.where}/{name}: is no manifest that can be read ({_reason(error)}); move the night away"
        ) from error


def published_nights(data: Place) -> dict[datetime.date, Manifest]:
    """The manifests of all published nights, oldest first.

    Raises:
        PublishError: one is unreadable, or a folder of a night has files and no manifest. (An object store may have such: what a
            killed publication left.)
    """
    found = {}
    for folder in data.folders(GENERATIONS_FOLDER):
        if folder.startswith("dt="):
            try:
                day = datetime.date.fromisoformat(folder.removeprefix("dt="))
            except ValueError:
                continue
            manifest = read_manifest(data, day)
            if manifest is not None:
                found[day] = manifest
            elif data.local and data.files(f"{GENERATIONS_FOLDER}/{folder}"):
                raise PublishError(
                    f"{data.where}/{GENERATIONS_FOLDER}/{folder}: has files and no {MANIFEST}, so nothing tells which purchases it "
                    "holds, and they would be written twice; put the manifest back, or move the folder away"
                )
    return found


def published_files(data: Place, day: datetime.date, manifest: Manifest) -> list[str]:
    """The files of a night, as its manifest names them."""
    return [f"{published_folder(day)}/{file.name}" for file in manifest.files]


def _reason(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:3])
