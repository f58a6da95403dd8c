"""What several tests share: tokenizers, rows, and the folder of real data."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from browser import ARGUMENTS
from hypothesis import settings
from pyarrow import fs

from reviewllm.sft.samples import SAMPLES, Sample, SampleFile
from reviewllm.tiny_base import TinyBaseConfig, make_tiny_base, train_tokenizer

# The tests reach no hub, and leave usage statistics of Ray and vLLM off.
os.environ.update(HF_HUB_OFFLINE="1", RAY_USAGE_STATS_ENABLED="0", VLLM_NO_USAGE_STATS="1")
# Credentials of the S3 server that the tests start; here, so that a Ray that is started first has them too.
os.environ.update(AWS_ACCESS_KEY_ID="k", AWS_SECRET_ACCESS_KEY="s", AWS_EC2_METADATA_DISABLED="true")

# A change is green or red by itself: the same examples in every run. `make test-fuzz` draws others.
settings.register_profile("same", derandomize=True)
settings.register_profile("fuzz", max_examples=2000)
settings.load_profile("same")

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
WORDS = ["A fine rake. I love the grip.", "Broken lamp, never again.", "The price of the kettle is good.", "(1) 5.0 stars"]


def day(number: int) -> dt.datetime:
    """Noon of a day in 2020, UTC."""
    return dt.datetime(2020, 1, 1, 12, tzinfo=dt.UTC) + dt.timedelta(days=number)


def entry(number: int, *, title: str = "Rake", review: str = "I love it.", rating: float = 5.0) -> dict[str, Any]:
    """One history entry, bought on day `number`."""
    return {"item_id": f"i{number}", "title": title, "rating": rating, "review": review, "purchased_at": day(number)}


def example(
    *, history: list[dict[str, Any]] | None = None, reference: str | None = "Fine.", split: str = "train", **changed: Any
) -> dict[str, Any]:
    """One row of the examples table."""
    row = {
        "example_id": "e1",
        "user_id": "u1",
        "item_id": "new",
        "category": "Garden",
        "rating": 2.0,
        "title": "Garden hose",
        "attributes": None,
        "purchased_at": day(100),
        "history": history or [],
        "reference": reference,
        "split": split,
    }
    return {**row, **changed}


def free_port() -> int:
    """A port of loopback that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def sample(example_id: str, token_ids: list[int], prompt_tokens: int, *, user: str = "u") -> Sample:
    """One training sample."""
    return Sample(example_id, user, np.array(token_ids, dtype=np.int32), prompt_tokens)


def sample_file(file: Path, samples: list[Sample]) -> SampleFile:
    """Samples, all of them trained on, in a file."""
    rows = [{**one._asdict(), "token_ids": one.token_ids.tolist(), "validation": False} for one in samples]
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, SAMPLES) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=SAMPLES))
    return SampleFile(file)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """A byte-level BPE tokenizer of 300 tokens with one BOS."""
    return train_tokenizer(WORDS, vocabulary=300, context=2048)


@pytest.fixture(scope="session")
def random_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama base of 32 hidden units with random weights."""
    folder = tmp_path_factory.mktemp("base")
    config = TinyBaseConfig(base_vocabulary=300, base_hidden=32, base_layers=1, base_steps=0)
    return make_tiny_base([WORDS], folder, config, context=1024)


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """A path below `shared/` beside the project; the test that asks for one that is absent is skipped."""

    def find(relative: str) -> Path:
        path = SHARED / relative
        if not path.exists():
            pytest.skip(f"needs {relative} in the folder shared/ beside the project, which is not there")
        return path

    return find


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that need a browser, so that they can be left out and run by themselves; begin with those that take longest."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    """Tests with a Ray or an engine first, of these the ones that are timed last: by then the other process has ended."""
    ray = item.get_closest_marker("ray")
    return 2 if ray is None else int(ray.kwargs.get("timed", False))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Under `--dist loadfile` one process runs all files with a Ray or an engine: two at once on two cores only slow each other.

    (xdist 3.8's own groups have no effect under pytest 9.2.)
    """
    from xdist.scheduler import LoadFileScheduling

    class OneRay(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "ray" if _has_ray(config.rootpath / file) else file

    return OneRay(config, log)


@cache
def _has_ray(file: Path) -> bool:
    return "mark.ray" in file.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium, driven by playwright; tests are skipped where there is none.

    Of a module and not of the session: while it is open, its thread counts as running an event loop, and `asyncio.run` of
    other tests would fail.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium on PATH, which is not there")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield running
        running.close()


@contextmanager
def moto(**environment: str) -> Iterator[str]:
    """host:port of a real S3 server on loopback, which starts empty."""
    address = f"127.0.0.1:{free_port()}"
    host, port = address.split(":")
    command = [sys.executable, "-m", "moto.server", "-H", host, "-p", port]
    server = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(150):
            try:
                urllib.request.urlopen(f"http://{address}/moto-api/", timeout=2)
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=20)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """A URI of an empty bucket on a real S3 server on loopback."""
    with moto() as address:
        where = f"s3://bucket/runs?endpoint_override={address}&scheme=http&region=us-east-1"
        fs.FileSystem.from_uri(f"{where}&allow_bucket_creation=true")[0].create_dir("bucket")
        yield where
