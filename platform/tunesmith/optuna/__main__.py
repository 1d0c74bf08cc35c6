"""`python -m tunesmith.optuna studies --storage URL`: Optuna's own command on our storage, which it cannot name."""

from __future__ import annotations

import os
import sys

from optuna import cli

from tunesmith.errors import TunesmithError
from tunesmith.optuna.storage import Storage


def main() -> int:
    """Run Optuna's command; without `--storage`, on the database of the platform's settings."""
    # Optuna's command knows the classes of its own storages alone, and has no way to name another one.
    setattr(cli, "_get_storage", _storage)  # noqa: B010
    setattr(cli._StorageUpgrade, "take_action", lambda _, arguments: _upgrade(arguments.storage))  # noqa: B010
    try:
        return int(cli.main() or 0)
    except TunesmithError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 1


def _storage(url: str | None, _class: str | None = None) -> Storage:
    return Storage(url or os.environ.get("OPTUNA_STORAGE"))


def _upgrade(url: str | None) -> int:
    _storage(url).close()
    print("The tables are up to date; opening them is all that it takes.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
