"""`tunesmith work`: a worker on this machine, for the trials of one experiment."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict

from tunesmith.cli.inputs import read_optimizer
from tunesmith.cli.options import Json, Url
from tunesmith.domain.tool import check_patterns
from tunesmith.errors import BadRequest, TunesmithError
from tunesmith.schemas.asking import LEASE_S

COMMAND = (sys.executable, "-P", "-m", "tuners.working")
MAX_FAILURES = 10
"""Failed trials in a row that end a worker, unless told otherwise."""


class Order(BaseModel):
    """What a worker is to do: the command line, read and checked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiment: str
    """The experiment's id or name."""
    command: tuple[str, ...] = ()
    """The command of the worker's own; empty: the experiment's template."""
    url: str | None = None
    """The platform; None: the one that is found."""
    jobs: int = 1
    """Trials at once."""
    max_trials: int | None = None
    """Trials to take, at most."""
    max_failures: int = MAX_FAILURES
    """Failed trials in a row that end it; 0: none do."""
    optimizer: Mapping[str, Any] | None = None
    """How points are chosen from now on."""
    worker: str | None = None
    """What it calls itself; None: a new name."""
    lease_s: float = LEASE_S
    """Seconds without a heartbeat after which its trials go to others."""
    patterns: dict[str, str] = {}
    """Metric -> regular expression over the command's output."""
    timeout_s: float | None = None
    """Seconds until a trial is ended and fails; None: as the experiment says."""
    keep: Path | None = None
    """Directory where the trials' own directories stay; None: nothing stays."""
    as_json: bool = False
    """Whether it prints JSON lines."""


def work(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="The experiment's id, or its name.")],
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[-- COMMAND]...",
            help="What to run for a trial, after --; without it, the experiment's own command template.",
            show_default=False,
        ),
    ] = None,
    jobs: Annotated[int, typer.Option("-n", "--jobs", min=1, max=1000, help="Trials at once.")] = 1,
    max_trials: Annotated[
        int | None, typer.Option("--max-trials", min=1, help="End after so many trials.", show_default=False)
    ] = None,
    max_failures: Annotated[
        int, typer.Option("--max-failures", min=0, help="End when so many trials in a row failed; 0: never.")
    ] = MAX_FAILURES,
    optimizer: Annotated[
        str | None,
        typer.Option(
            "--optimizer",
            metavar="FILE",
            help="How points are chosen from now on: a file, or inline: 'tpe', 'tpe:seed=1', JSON.",
            show_default=False,
        ),
    ] = None,
    worker: Annotated[
        str | None,
        typer.Option(
            "--worker",
            metavar="NAME",
            help="A name of its own: started again under it, it gets back first what it held.",
            show_default=False,
        ),
    ] = None,
    lease: Annotated[
        float,
        typer.Option(
            "--lease", min=1, max=604_800, metavar="SECONDS", help="Unheard for so long, it loses its trials to others."
        ),
    ] = LEASE_S,
    patterns: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics-pattern",
            metavar="NAME=REGEX",
            help="A metric in the command's output: the first group of the last match. Once for each.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout", metavar="SECONDS", help="End a command after so long; it failed.", show_default=False
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep",
            metavar="DIR",
            help="Keep the trials' directories there: their output, metrics and checkpoints.",
            show_default=False,
        ),
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Take trials of an experiment, run a command for each, and tell what it measured.

    tunesmith work resnet -n 2 -- python train.py --lr {lr} --out {{lr}}.txt

    {lr} becomes the value of the parameter lr, {{lr}} is a literal {lr}, and no shell is involved. The environment
    holds TUNESMITH_PARAM_LR and all that a trial on the platform has: the command appends JSON lines to
    $TUNESMITH_METRICS, {"loss": 0.3}, and with a "step" they are intermediate values, by which it may be pruned.

    It ends when nothing is left to try. Ctrl-C ends what runs, and gives its trials back; a second one quits at once.
    """
    words = tuple(command or ())
    _check_command(words)
    order = Order(
        experiment=experiment,
        command=words,
        url=url,
        jobs=jobs,
        max_trials=max_trials,
        max_failures=max_failures,
        optimizer=None if optimizer is None else read_optimizer(optimizer),
        worker=worker,
        lease_s=lease,
        patterns=_patterns(patterns or ()),
        timeout_s=_seconds(timeout),
        keep=keep,
        as_json=as_json,
    )
    sys.stdout.flush()
    try:
        os.execv(COMMAND[0], [*COMMAND, order.model_dump_json()])
    except OSError as error:
        raise TunesmithError(f"{COMMAND[0]} cannot be run: {error.strerror}") from error


def _check_command(words: Sequence[str]) -> None:
    """Raise BadRequest where the program is not there, before every trial fails for it."""
    if words and "{" not in words[0] and shutil.which(words[0]) is None:
        raise BadRequest(f"{words[0]!r} is no program that can be run here; what is it called, or where is it?")


def _patterns(given: Sequence[str]) -> dict[str, str]:
    pairs = [pattern.partition("=") for pattern in given]
    for name, equals, regex in pairs:
        if not (name and equals and regex):
            given_one = name + equals + regex
            raise BadRequest(f"--metrics-pattern {given_one!r}: write NAME=REGEX, for instance 'loss=loss: (.*)'")
    try:
        return dict(check_patterns({name: regex for name, _, regex in pairs}))
    except ValueError as error:
        raise BadRequest(f"--metrics-pattern {error}") from error


def _seconds(timeout: float | None) -> float | None:
    if timeout is not None and not 0 < timeout <= 31_536_000:
        raise BadRequest(f"--timeout {timeout:g}: seconds must be above 0, and at most a year")
    return timeout
