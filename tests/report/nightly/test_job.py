"""The command: where the report goes, and what it says of what it cannot do."""

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path

from tests.backfill.conftest import NIGHT
from tests.report.nightly.conftest import Shop, texts

ROOT = Path(__file__).resolve().parents[3]


def _nightly(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "jobs" / "report.py", "nightly", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_nightly_writes_beside_the_data_or_where_it_is_told(shop: Shop, tmp_path: Path) -> None:
    tonight = dt.datetime.now(dt.UTC).date()  # the command asks the clock too: an older newest night wants a look
    shop.publish_rows(tonight, texts(20, seed=0))
    data = tmp_path / "data"

    beside = _nightly("--data", data)
    elsewhere = _nightly("--data", data, "--date", str(tonight), "--nights", "3", "--to", tmp_path / "elsewhere")

    assert (beside.returncode, elsewhere.returncode) == (0, 0), beside.stderr + elsewhere.stderr
    assert beside.stdout.strip().endswith(f"cannot be told yet. -> {data}/reports/dt={tonight}/index.html")
    for folder in (data / "reports" / f"dt={tonight}", tmp_path / "elsewhere"):
        assert (folder / "index.html").read_text().startswith("<!DOCTYPE html>")
        assert json.loads((folder / "night.json").read_text())["rows"] == 20


def test_nightly_ends_with_one_message_where_there_is_no_such_night(shop: Shop, tmp_path: Path) -> None:
    nothing = _nightly("--data", tmp_path / "data")
    shop.publish_rows(NIGHT, texts(3, seed=0))
    other = _nightly("--data", tmp_path / "data", "--date", "2026-11-20")

    assert (nothing.returncode, other.returncode) == (2, 2)
    assert nothing.stderr.strip().startswith("PublishError: ")
    assert "no night is published there; jobs/backfill.py publishes one" in nothing.stderr
    assert "dt=2026-11-20: is not published; the published nights are: 2026-11-21; name one with --date" in other.stderr
    assert not (tmp_path / "data" / "reports").exists()
