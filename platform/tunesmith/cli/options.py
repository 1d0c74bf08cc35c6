"""The options that many commands share."""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.output import remember_json
from tunesmith.client import Client

Json = Annotated[
    bool,
    typer.Option(
        "--json", callback=remember_json, help="Print JSON on stdout, and nothing else there; errors as JSON."
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="The platform to talk to. Without it: TUNESMITH_URL, else the one that runs in the data directory, "
        "else http://127.0.0.1:8000.",
        show_default=False,
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="The platform's data directory (TUNESMITH_DATA_DIR).", show_default=False),
]
Limit = Annotated[int, typer.Option("--limit", min=1, help="Rows, at most.")]
JobId = Annotated[
    str,
    typer.Argument(
        metavar="JOB", help="The id of an experiment's job (job-...), or a training job's name or id (train-...)."
    ),
]
TrainingName = Annotated[str, typer.Argument(metavar="JOB", help="The training job's name, or its id (train-...).")]
ExperimentId = Annotated[int, typer.Argument(metavar="EXPERIMENT", help="The experiment's id.")]


workspace: ContextVar[str | None] = ContextVar("workspace", default=None)
"""What `--workspace` says."""


def remember_workspace(name: str | None) -> str | None:
    """The callback of `--workspace`, which stands before the command that it is about."""
    workspace.set(name)
    return name


def connect(url: str | None) -> Client:
    """A client for `--url`, and for `--workspace`."""
    return Client(url, workspace=workspace.get())
