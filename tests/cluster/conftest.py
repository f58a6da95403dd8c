"""One network with a Ray cluster for all tests that take machines away, and the table of what they saw."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from faults import Faults
from namespaces import why_not
from ray_machines import RayMachines, ray_machines

_FAULTS = Faults()


@pytest.fixture
def faults() -> Faults:
    """Takes what happened, for the table that is printed after the tests."""
    return _FAULTS


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skips where there can be no network namespaces."""
    reason = why_not()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def machines(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayMachines]:
    """A cluster over network namespaces, of which tests take machines away."""
    with ray_machines(tmp_path_factory.mktemp("machines")) as cluster:
        yield cluster


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the faults."""
    if _FAULTS.seen:
        terminalreporter.section("faults")
        for line in _FAULTS.lines():
            terminalreporter.line(line)
