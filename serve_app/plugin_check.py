"""Whether every plugin can be loaded, found out in a process of its own before a platform starts.

The supervisor stays free of what plugins import, and outlives what they do: `python -m serve_app.plugin_check`.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

from tunesmith.errors import InvalidSettings, TunesmithError
from tunesmith.plugins import GROUP, Registry
from tunesmith.settings import Settings

LOAD_S = 120.0
"""Seconds that loading all plugins may take."""
REFUSED = 3
"""The exit code of a load that failed."""


def check_plugins(settings: Settings) -> None:
    """Raise InvalidSettings that says which plugin cannot be loaded, and why."""
    if not settings.plugins and not entry_points(group=GROUP):
        return
    command = [sys.executable, "-m", "serve_app.plugin_check", *settings.plugins]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=LOAD_S)
    except subprocess.TimeoutExpired as error:
        raise InvalidSettings(
            f"The plugins were not loaded after {LOAD_S:g} s: {', '.join(settings.plugins)}"
        ) from error
    if ended.returncode == 0:
        return
    said = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
    how = "" if ended.returncode == REFUSED else f"The plugins ended their process (exit code {ended.returncode}): "
    raise InvalidSettings(f"{how}{said}")


def main() -> int:
    """Load the plugins that are named, and those of installed distributions; exit code REFUSED when that fails."""
    try:
        Registry.load(sys.argv[1:])
    except TunesmithError as error:
        print(error.message, file=sys.stderr)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
