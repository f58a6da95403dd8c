"""Answers: what a spreadsheet does to a file is taken, and whatever is wrong is refused with file and line."""

import datetime as dt
import pickle

import pytest
from annotated_run import csv_text

from reviewllm.annotation.answers import Answer, read_sheet, read_sheets
from reviewllm.errors import InputError

WHOLE = {"p1": 1, "p2": 0, "p3": 1}
NOON = dt.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=dt.UTC)


def test_read_sheet_reads_what_the_page_writes(key, write):
    sheet = read_sheet(write(csv_text(WHOLE)), key, allow_partial=False)

    assert sheet.annotator == "annotator-01"
    assert sheet.answers == {"p1": Answer(True, NOON), "p2": Answer(False, NOON), "p3": Answer(True, NOON)}


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\r\n", "\n"),
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", "\t"),
        lambda text: "\r\n".join(",".join(f'"{field}"' for field in line.split(",")) for line in text.split("\r\n") if line),
        lambda text: text + ",,,,\r\n\r\n",
        lambda text: text.replace("\r\n", ",,\r\n"),
        lambda text: text.replace(",", " , "),
        lambda text: "\n".join(reversed(text.split("\r\n")[1:-1])).join([text.split("\r\n")[0] + "\n", ""]),
        lambda text: "note," + text.replace("\r\nx1", "\r\nfine,x1"),
    ],
    ids=["mark", "lf", "semicolons", "tabs", "quotes", "empty lines", "empty columns", "spaces", "order", "more columns"],
)
def test_read_sheet_takes_what_spreadsheets_make_of_it(key, write, change):
    plain = read_sheet(write(csv_text(WHOLE), "plain.csv"), key, allow_partial=False)

    assert dict(read_sheet(write(change(csv_text(WHOLE))), key, allow_partial=False).answers) == dict(plain.answers)


@pytest.mark.parametrize(
    ("time", "expected"), [("2026-01-02T04:04:05.678+01:00", NOON), ("02.01.2026 03:04", None), ("", None)]
)
def test_read_sheet_keeps_only_a_time_that_is_certain(key, write, time, expected):
    file = write(csv_text(WHOLE).replace("2026-01-02T03:04:05.678Z", time))

    assert {answer.answered_at for answer in read_sheet(file, key, allow_partial=False).answers.values()} == {expected}


def _changed(old: str, new: str) -> str:
    assert old in csv_text(WHOLE)
    return csv_text(WHOLE).replace(old, new, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (csv_text(WHOLE, export_id="x2"), r"line 2: export 'x2'; this run's is 'x1'"),
        (csv_text(WHOLE, annotator="annotator-09"), r"line 2: annotator 'annotator-09' got no page; .*-01 to annotator-03"),
        (
            _changed("x1,annotator-01,p2", "x1,annotator-02,p2"),
            r"line 3: answers of annotator-01 and annotator-02 in one file",
        ),
        (_changed(",p2,", ",p9,"), r"line 3: pair 'p9' is none of this export's"),
        (_changed(",p2,", ",p1,"), r"line 3: pair p1 is answered a second time"),
        (_changed("p2,0", "p2,2"), r"line 3: answer '2'; expected 1 \(the same\) or 0"),
        (_changed("p2,0", "p2,"), r"line 3: answer ''; expected 1"),
        (_changed("p2,0", "p2,=cmd()"), r"line 3: answer '=cmd\(\)'"),
        (_changed("p2,0", "p2,0," + 6 * "x,"), r"line 3: has 12 fields; expected 5"),
        (_changed(",p2,0,2026-01-02T03:04:05.678Z", ""), r"line 3: has 2 fields; expected 5"),
        (
            _changed("pair_id,answer,", "pair,"),
            r"line 1: lacks the column\(s\) pair_id, answer; expected export_id,annotator,",
        ),
        (_changed("answered_at", "answered_at,answer"), r"line 1: has the column\(s\) answer more than once"),
        (csv_text({"p1": 1}), r"csv: 2 of 3 pairs have no answer, first of them p2, p3; let annotator-01 finish"),
        (csv_text({}), r"csv: holds no answer"),
        ("", r"csv: is empty"),
        (b"\xef\xbb\xbf\r\n", r"csv: is empty"),
        (csv_text(WHOLE).replace("p2", "p\u00e9").encode("latin-1"), r"line 3: is not UTF-8"),
        (csv_text(WHOLE).encode("utf-16"), r"line 1: is not UTF-8"),
        (_changed(",p2,", ',"p2"x,'), r"line 3: is not CSV"),
        (_changed(",p2,", ',"p2,'), r"line 4: is not CSV"),
        (_changed(",p2,", f",{200_000 * 'p'},"), r"line 3: is not CSV \(field larger"),
        (_changed(",p2,", f",{'p' * 100}\x1b[31m,"), r"line 3: pair 'p{60}\.\.\.' is none"),
    ],
)
def test_read_sheets_refuses(key, write, content, message):
    with pytest.raises(InputError, match=message) as refused:
        read_sheets([write(content)], key, allow_partial=False)

    assert str(refused.value).startswith(str(write(content)))
    assert "\x1b" not in str(refused.value)
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)  # noqa: S301


def test_read_sheets_takes_partial_files_when_asked(key, write):
    (sheet,) = read_sheets([write(csv_text({"p3": 0}))], key, allow_partial=True)

    assert dict(sheet.answers) == {"p3": Answer(False, NOON)}
    with pytest.raises(InputError, match="holds no answer"):
        read_sheets([write(csv_text({}))], key, allow_partial=True)


def test_read_sheets_reads_folders_and_files_once_in_the_order_of_the_key(key, write):
    file = write(csv_text(WHOLE, annotator="annotator-02"), "a.CSV")
    write(csv_text(WHOLE), "z.csv")
    write("no answers", "notes.txt")
    sheets = read_sheets([file.parent, file], key, allow_partial=False)

    assert [(sheet.annotator, sheet.file.name) for sheet in sheets] == [("annotator-01", "z.csv"), ("annotator-02", "a.CSV")]


def test_read_sheets_refuses_two_files_of_one_annotator(key, write):
    files = [write(csv_text(WHOLE)), write(csv_text(WHOLE), "annotator-01 (1).csv")]

    with pytest.raises(InputError, match=r"annotator-01 \(1\)\.csv: holds answers of annotator-01, and so does "):
        read_sheets(files, key, allow_partial=False)


def test_read_sheets_refuses_a_path_without_answers(key, tmp_path):
    with pytest.raises(InputError, match=r"--answers .*absent\.csv: no file and no folder is there"):
        read_sheets([tmp_path / "absent.csv"], key, allow_partial=False)
    with pytest.raises(InputError, match="no CSV file is in this folder"):
        read_sheets([tmp_path], key, allow_partial=False)
