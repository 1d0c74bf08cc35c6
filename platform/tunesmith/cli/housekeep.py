"""The command housekeep."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from tunesmith.cli.options import DataDir, Json
from tunesmith.cli.output import hint, print_fields, print_json, progress_bar
from tunesmith.settings import load_settings

UNLIMITED = (
    "everything is kept for ever; TUNESMITH_RETENTION_EXECUTIONS_DAYS, TUNESMITH_RETENTION_LOGS_DAYS and "
    "TUNESMITH_RETENTION_EVENTS_DAYS say otherwise"
)


def housekeep(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would go.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Remove what is older than the settings keep it; executions are archived before.

    The platform does this once a day. Nothing goes that a job which has not ended needs, nor the latest execution of
    a training job, nor trials of experiments.
    """
    from tunesmith.services import housekeeping
    from tunesmith.storage import Storage
    from tunesmith.store import open_store

    settings = load_settings(data_dir=data_dir)
    if not housekeeping.any_limit(settings):
        hint(UNLIMITED)
    store = open_store(settings.database)
    try:
        found = housekeeping.survey(store, settings)
        if not dry_run:
            total = found.executions + found.logs + found.events
            with progress_bar("removing", total, as_json) as progress:
                found = housekeeping.housekeep(store, Storage(settings.artifacts), settings, progress=progress)
    finally:
        store.close()
    if as_json:
        print_json({"dry_run": dry_run, **asdict(found)})
    else:
        print_fields(asdict(found))
        hint("nothing was removed: --dry-run" if dry_run else "done")
