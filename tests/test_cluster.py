"""What a worker raised comes back as what it was."""

from __future__ import annotations

import pytest

from reviewllm import cluster
from reviewllm.errors import EngineError, SchemaError


def test_own_error_is_found_in_the_text_of_rays() -> None:
    text = "ray::Map()\n  File x\nreviewllm.errors.SchemaError: /a/b.parquet: not readable\n\nThe above exception ...\nray.UserCode"
    found = cluster.own_error(RuntimeError(text), EngineError)
    assert (type(found), str(found)) == (SchemaError, "/a/b.parquet: not readable")


def test_own_error_of_others_keeps_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "log_folder", lambda: "/logs")
    found = cluster.own_error(RuntimeError("reviewllm.errors.Nonsense: x"), EngineError)
    assert type(found) is EngineError
    assert "Nonsense: x" in str(found)
    assert "/logs" in str(found)
