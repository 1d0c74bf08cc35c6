"""How the bundled models tell how far they are."""

from __future__ import annotations

from collections.abc import Callable

Tell = Callable[[float, str], object]
"""Is told percent, and what is being done."""


class Steps:
    """A number of steps that take about the same time."""

    def __init__(self, tell: Tell, total: int) -> None:
        self.tell, self.total, self.number = tell, total, 0

    def done(self) -> None:
        """Tell that one more is done."""
        self.number += 1
        self.tell(100 * self.number / self.total, f"Processing step {self.number}/{self.total}")
