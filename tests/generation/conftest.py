"""What the tests of endpoints share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from generation.endpoint_server import EndpointServer


@pytest.fixture
def server() -> Iterator[EndpointServer]:
    """An endpoint on loopback."""
    with EndpointServer().running() as running:
        yield running
