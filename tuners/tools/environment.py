"""The environment that tools get of the worker's own: without what is the platform's."""

from __future__ import annotations

import os
from collections.abc import Collection

OURS = ("TUNESMITH_", "RAY_")
"""How the platform's own variables begin: its keys and tokens are none of a tool's business."""


def inherited(without: Collection[str] = ()) -> dict[str, str]:
    """This process's environment without the platform's own variables, nor those `without`."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OURS) and name not in without}
