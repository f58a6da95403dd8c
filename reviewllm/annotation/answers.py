"""The CSV files that annotators send back -> their answers; a file that is wrong or partial is refused, line by line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from reviewllm.annotation.key import Key
from reviewllm.errors import InputError

COLUMNS = ("export_id", "annotator", "pair_id", "answer", "answered_at")
_SEPARATORS = ",;\t"  # as the page writes it, and as spreadsheets do
_SHOWN_LETTERS = 60  # of a wrong value, in a message


class Answer(NamedTuple):
    """One answer; `answered_at` is null where the file has no time with a zone, as after some spreadsheets."""

    is_similar: bool
    answered_at: datetime | None


@dataclass(frozen=True)
class Sheet:
    """The answers of one annotator by pair id, and the file that they came in."""

    file: Path
    annotator: str
    answers: Mapping[str, Answer]


def read_sheets(paths: Sequence[Path], key: Key, *, allow_partial: bool) -> list[Sheet]:
    """Read the answers of all annotators, in the order of the key; of a folder, all `*.csv` in it.

    Takes what spreadsheets make of a CSV file: a byte order mark, other line ends, semicolons, quotes, empty lines at the end,
    another form of the time. A missing answer is never filled in.

    Args:
        allow_partial: take files in which pairs are missing.

    Raises:
        InputError: a file cannot be used; the message has the file, the line, and what was expected there.
    """
    sheets: dict[str, Sheet] = {}
    for file in _files(paths):
        sheet = read_sheet(file, key, allow_partial=allow_partial)
        if sheet.annotator in sheets:
            raise InputError(
                f"{file}: holds answers of {sheet.annotator}, and so does {sheets[sheet.annotator].file}; keep the one that "
                "counts, such as the later download, and remove the other"
            )
        sheets[sheet.annotator] = sheet
    return [sheets[annotator] for annotator in key.annotators if annotator in sheets]


def read_sheet(file: Path, key: Key, *, allow_partial: bool) -> Sheet:
    """Read one annotator's file; see `read_sheets`."""
    annotators: set[str] = set()
    answers: dict[str, Answer] = {}
    known = {pair.pair_id for pair in key.pairs}
    for line, row in _rows(file):
        where = f"{file}, line {line}"
        _check_origin(row, key, where)
        annotators.add(row["annotator"])
        if len(annotators) > 1:
            raise InputError(f"{where}: answers of {' and '.join(sorted(annotators))} in one file; give each its own")
        if row["pair_id"] not in known:
            raise InputError(f"{where}: pair {_shown(row['pair_id'])} is none of this export's; was the file edited?")
        if row["pair_id"] in answers:
            raise InputError(f"{where}: pair {row['pair_id']} is answered a second time; keep one of the two lines")
        if row["answer"] not in ("0", "1"):
            raise InputError(
                f"{where}: answer {_shown(row['answer'])}; expected 1 (the same) or 0 (not), and no line for a pair without answer"
            )
        answers[row["pair_id"]] = Answer(row["answer"] == "1", _time(row["answered_at"]))
    if not answers:
        raise InputError(f"{file}: holds no answer, only the names of its columns; leave it out")
    missing = [pair.pair_id for pair in key.pairs if pair.pair_id not in answers]
    if missing and not allow_partial:
        raise InputError(
            f"{file}: {len(missing)} of {len(key.pairs)} pairs have no answer, first of them {', '.join(missing[:3])}; let "
            f"{annotators.pop()} finish the page and download again, or pass --allow-partial to count what is there"
        )
    return Sheet(file, annotators.pop(), answers)


def _files(paths: Sequence[Path]) -> list[Path]:
    found: dict[Path, Path] = {}  # a file that is named twice is read once
    for path in paths:
        if not path.exists():
            raise InputError(f"--answers {path}: no file and no folder is there")
        files = sorted(entry for entry in path.iterdir() if entry.suffix.lower() == ".csv") if path.is_dir() else [path]
        if not files:
            raise InputError(f"--answers {path}: no CSV file is in this folder; put the annotators' files there")
        found.update((file.resolve(), file) for file in files)
    return list(found.values())


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row by column, with its line number; empty lines are left out."""
    text = _text(file)
    separator = max(_SEPARATORS, key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    columns: list[str] = []
    try:
        for fields in reader:
            values = [field.strip() for field in fields]
            if not any(values):
                continue
            where = f"{file}, line {reader.line_num}"
            if not columns:
                columns = _check_columns(values, where)
            elif len(values) < len(columns) or any(values[len(columns) :]):
                raise InputError(f"{where}: has {len(values)} fields; expected {len(columns)}, as in the first line")
            else:
                yield reader.line_num, dict(zip(columns, values, strict=False))
    except csv.Error as error:
        raise InputError(f"{file}, line {reader.line_num}: is not CSV ({error}); ask for a new download") from error


def _text(file: Path) -> str:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{file}, line {line}: is not UTF-8; save it as CSV UTF-8, or take the file as the page downloaded it"
        ) from error
    if not text.strip():
        raise InputError(f"{file}: is empty; ask for a new download")
    return text


def _check_columns(found: list[str], where: str) -> list[str]:
    if missing := [column for column in COLUMNS if column not in found]:
        raise InputError(
            f"{where}: lacks the column(s) {', '.join(missing)}; expected {','.join(COLUMNS)}, as the page writes them"
        )
    if twice := [column for column in COLUMNS if found.count(column) > 1]:
        raise InputError(f"{where}: has the column(s) {', '.join(twice)} more than once")
    return found


def _check_origin(row: Mapping[str, str], key: Key, where: str) -> None:
    """An answer counts for the export and the annotators that the key knows, and for no others."""
    if row["export_id"] != key.export_id:
        raise InputError(
            f"{where}: export {_shown(row['export_id'])}; this run's is {key.export_id!r}: these answers belong to another "
            "export, and count with its key alone"
        )
    if row["annotator"] not in key.annotators:
        raise InputError(
            f"{where}: annotator {_shown(row['annotator'])} got no page; expected {key.annotators[0]} to {key.annotators[-1]}"
        )


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _shown(value: str) -> str:
    return repr(value if len(value) <= _SHOWN_LETTERS else f"{value[:_SHOWN_LETTERS]}...")
