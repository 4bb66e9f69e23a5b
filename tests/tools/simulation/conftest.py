import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """A simulated world silences the bridge's log; other tests of this process look at it."""
    ours = logging.getLogger("bridge")
    before = ours.level
    yield
    ours.setLevel(before)
