"""What a folder's names and a file's first bytes mean; what cannot be read as it is meant is refused by name, with a way out."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from reviewllm.errors import SourceError

# In a folder only these are data; a file that is named itself may be called anything.
SUFFIXES = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz", ".parquet")
HEAD_BYTES = 64 * 2**10  # enough to tell a format by

# What lies beside data and is none.
_NO_DATA_SUFFIXES = (
    *(".md", ".txt", ".rst", ".pdf", ".html", ".log", ".png", ".jpg", ".jpeg", ".svg", ".py", ".ipynb", ".sh", ".sql"),
    *(".yaml", ".yml", ".toml", ".cfg", ".ini", ".crc", ".md5", ".sha1", ".sha256"),
)
_NO_DATA_NAMES = ("readme", "license", "licence", "notice", "citation", "md5sums", "sha256sums")

_LOGS = {"_delta_log": "a Delta", ".hoodie": "a Hudi"}
_ICEBERG = re.compile(r"(?:^|/)metadata/[^/]*\.metadata\.json(?:\.gz)?$")
_PARTITION = re.compile(r"(?P<column>[^=]+)=.*")


class _Format(NamedTuple):
    """A format that is not read: its name, the ends of its files' names, their first bytes, and what to do."""

    name: str
    suffixes: tuple[str, ...]
    magic: bytes
    way_out: str


_AS_PARQUET = "write it as Parquet or as JSON lines (one object on every line)"
_UNZIP = "unpack it; of packed files only gzip is read"
_CSV = _Format(
    "CSV",
    (".csv", ".csv.gz", ".tsv", ".tsv.gz"),
    b"",
    "write it as Parquet, for example with: python -c \"import polars; polars.read_csv('IN.csv', infer_schema=False)"
    ".write_parquet('OUT.parquet')\"",
)
_OTHER_FORMATS = (
    _CSV,
    _Format("ORC", (".orc",), b"ORC", _AS_PARQUET),
    _Format("Avro", (".avro",), b"Obj\x01", _AS_PARQUET),
    _Format("Arrow or Feather", (".arrow", ".arrows", ".feather", ".ipc"), b"ARROW1", _AS_PARQUET),
    _Format("Excel", (".xlsx", ".xls"), b"\xd0\xcf\x11\xe0", _AS_PARQUET),
    _Format("SQLite", (".sqlite", ".sqlite3", ".db"), b"SQLite format 3\x00", _AS_PARQUET),
    _Format("gzipped Parquet", (".parquet.gz",), b"PAR1", _UNZIP),
    _Format("Zstandard", (".zst", ".zstd"), b"\x28\xb5\x2f\xfd", _UNZIP),
    _Format("bzip2", (".bz2",), b"BZh", _UNZIP),
    _Format("xz", (".xz",), b"\xfd7zXZ\x00", _UNZIP),
    _Format("a ZIP archive", (".zip",), b"PK\x03\x04", _UNZIP),
    _Format("a tar archive", (".tar", ".tar.gz", ".tgz"), b"", _UNZIP),
)
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")  # of UTF-16 and UTF-32; that of UTF-8 is read
# Three columns or more, of which a comma, a semicolon, a tab or a bar comes after the first.
_CSV_LINE = re.compile(r'"?[\w .-]*"?([,;\t|])"?[\w .:-]*"?(?:\1[^\n]*)')
_PYTHON_LINE = re.compile(r"\{\s*u?'[^'\n]*'\s*:")


class Names(NamedTuple):
    """The names of a folder's data files, and those of files beside them that are no data."""

    data: list[str]
    others: list[str]


def sort_names(where: str, names: Iterable[str]) -> Names:
    """Sort the files of a folder, by their names relative to it; hidden ones and those marked by '_' are left out.

    Raises:
        SourceError: the folder, or one within, is a Delta, Iceberg or Hudi table, or partitioned; or a file may hold data
            and would not be read.
    """
    found = Names([], [])
    for name in sorted(names):
        *folders, file = PurePosixPath(name).parts
        _refuse_logged(where, name, folders)
        columns = [match["column"] for folder in folders if (match := _PARTITION.fullmatch(folder))]
        if file.startswith((".", "_")) or any(one.startswith((".", "_")) and "=" not in one for one in folders):
            continue
        if columns:
            raise SourceError(
                f"{where}: is partitioned by {', '.join(dict.fromkeys(columns))} ({name}); values in folder names are not read, "
                "and without them the rows would lack them; write it anew with those columns in the files, for example with: "
                "python -c \"import polars; polars.scan_parquet('IN/**/*.parquet', hive_partitioning=True)"
                ".sink_parquet('OUT.parquet')\""
            )
        if file.lower().endswith(SUFFIXES):
            found.data.append(name)
        elif _is_no_data(file):
            found.others.append(name)
        else:
            _refuse_in_folder(where, name)
    return found


def refuse_within_table(path: Path, columns: Collection[str]) -> None:
    """Refuse a path that lies within a Delta, Iceberg or Hudi table, or in the partition of one of `columns`.

    Raises:
        SourceError: it does.
    """
    for folder in path.resolve().parents:
        for log in _LOGS:
            if (folder / log).is_dir():
                _refuse_logged(str(folder), f"{log}/", [log])
        for file in (folder / "metadata").glob("*.metadata.json*"):
            _refuse_logged(str(folder), f"metadata/{file.name}", ["metadata"])
    for part in (path if path.is_dir() else path.parent).resolve().parts:
        match = _PARTITION.fullmatch(part)
        if match and match["column"] in columns:
            raise SourceError(
                f"{path}: lies in the folder '{part}', whose name holds the column '{match['column']}'; values in folder names "
                "are not read; write the files anew with that column in them"
            )


def refuse_other_format(path: Path, head: bytes) -> None:
    """Refuse a file that is neither Parquet nor JSON lines, as far as its name and first bytes tell.

    Raises:
        SourceError: with what it is, and what to do.
    """
    named = _by_name(path.name)
    for other in _OTHER_FORMATS:
        if other.magic and head.startswith(other.magic):
            raise SourceError(f"{path}: is {(named or other).name}, which is not read; {(named or other).way_out}")
    if head.startswith(_BYTE_ORDER_MARKS) or (b"\x00" in head[:4] and head[:4].strip(b"\x00\r\n ").startswith((b"{", b"["))):
        raise SourceError(
            f"{path}: is UTF-16 or UTF-32, and only UTF-8 is read; write it anew: iconv -f UTF-16 -t UTF-8 IN > OUT"
        )
    lines = head.decode("utf-8-sig", "replace").lstrip().split("\n")
    if _is_array(lines):
        raise SourceError(
            f"{path}: is one JSON array, and only JSON lines are read; write one object on every line: "
            'python -c "import json, sys; [print(json.dumps(row)) for row in json.load(sys.stdin)]" < IN > OUT'
        )
    if any(isinstance(_json(line), dict) for line in lines):
        return  # what else is there are bad lines
    if _PYTHON_LINE.match(lines[0]):
        raise SourceError(
            f"{path}: holds Python literals and not JSON, as Amazon's metadata of 2014 does; write it as JSON lines: "
            'python -c "import ast, json, sys; [print(json.dumps(ast.literal_eval(line))) for line in sys.stdin]" < IN > OUT'
        )
    if named or _CSV_LINE.match(lines[0]):
        raise SourceError(f"{path}: is {(named or _CSV).name}, which is not read; {(named or _CSV).way_out}")


def _refuse_logged(where: str, name: str, folders: list[str]) -> None:
    kinds = [kind for log, kind in _LOGS.items() if log in folders]
    kind = kinds[0] if kinds else "an Iceberg" if _ICEBERG.search(name) else None
    if kind:
        raise SourceError(
            f"{where}: is {kind} table ({name}); its folder also holds rows that were removed or replaced, only its log tells "
            "which, and that is not read; write the table's present rows as plain Parquet (in Spark: "
            "spark.table(...).write.parquet(...)), and name that folder"
        )


def _refuse_in_folder(where: str, name: str) -> None:
    if other := _by_name(name):
        raise SourceError(
            f"{where}: holds {name}, which is {other.name} and not read; {other.way_out}, or take it out of the folder"
        )
    raise SourceError(
        f"{where}: holds {name}, which would not be read: in a folder, data has a name ending in {', '.join(SUFFIXES)}; rename "
        "it so, name the file itself, or take it out of the folder"
    )


def _by_name(name: str) -> _Format | None:
    return next((other for other in _OTHER_FORMATS if name.lower().endswith(other.suffixes)), None)


def _is_no_data(file: str) -> bool:
    return file.lower().endswith(_NO_DATA_SUFFIXES) or file.lower().partition(".")[0] in _NO_DATA_NAMES


def _is_array(lines: list[str]) -> bool:
    """Whether the text begins with an array that is not one bad line among others."""
    return lines[0].startswith("[") and (_json(lines[0]) is None or not any(line.strip() for line in lines[1:]))


def _json(line: str) -> object:
    """The value on a line; None where there is none."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
