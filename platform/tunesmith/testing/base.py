"""What the parts of the contract share: the fixture to override, and how long they search for a counterexample."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tunesmith.store import Store

SOME_EXAMPLES = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.differing_executors],
)
"""Examples share the test's store, so each makes an experiment of its own."""


class Contract:
    """A part of the contract."""

    @pytest.fixture
    def store(self) -> Store:
        """A migrated store that holds no queued or running job."""
        raise NotImplementedError("override the fixture `store`")
