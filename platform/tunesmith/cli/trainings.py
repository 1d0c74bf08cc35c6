"""Commands on training jobs: jobs list, create, update, delete, run, executions, validate."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from tunesmith.cli.options import Json, Limit, TrainingName, Url, connect
from tunesmith.cli.output import console, hint, print_fields, print_json, print_table, text, warn
from tunesmith.cli.training_files import only_entry, read_entries, requests_of
from tunesmith.cli.training_options import merged, takes_fields
from tunesmith.cli.training_plan import checked, plan
from tunesmith.cli.training_watch import end, wait
from tunesmith.domain import Cron
from tunesmith.errors import BadRequest, TunesmithError
from tunesmith.schemas.training_answers import ExecutionAnswer, TrainingAnswer, TrainingChecked
from tunesmith.schemas.training_jobs import TrainingRequest

Command = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[-- COMMAND]...", help="The program and its arguments, after --; no shell looks at them.",
        show_default=False,
    ),
]  # fmt: skip
JobFile = Annotated[
    str | None,
    typer.Option(
        "--file", metavar="FILE", help="Fields from a JSON or YAML file; options go before them.", show_default=False
    ),
]
ListFile = Annotated[
    str, typer.Argument(metavar="FILE", help="JSON or YAML: a training job, or a list of them; -: stdin.")
]

EXECUTION_COLUMNS = (
    *("execution", "attempt", "status", "started", "seconds", "exit code", "checkpoint", "node", "error"),
    *("trial", "parameters"),
)
"""The last two only where there are parameters."""


class StatusOption(StrEnum):
    """Which training jobs to list."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


def list_trainings(
    status: Annotated[StatusOption | None, typer.Option("--status", help="Only those in this status.")] = None,
    query: Annotated[str | None, typer.Option("--q", help="Only those whose name holds this.")] = None,
    limit: Limit = 50,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List training jobs, newest first."""
    with connect(url) as client:
        answers = [job.info for job in client.training_jobs.list(status and status.value, query, limit=limit)]
    if as_json:
        print_json(answers)
        return
    columns = ("name", "id", "status", "schedule", "next run", "retries", "started", "ended", "message")
    print_table(columns, map(_row, answers), empty="no training jobs; `tunesmith jobs create` makes one")


@takes_fields(unsetting=False)
def create(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="What it is called; it may stand in the file instead.")
    ] = None,
    command: Command = None,
    file: JobFile = None,
    url: Url = None,
    as_json: Json = False,
    *,
    fields: Mapping[str, Any],
) -> None:
    """Make a training job: a program that fires on a schedule, or once, at once, and is retried when it fails.

    tunesmith jobs create nightly --schedule '0 2 * * *' --timezone Europe/Berlin -- python train.py --epochs 10
    """
    given = merged(fields, {} if file is None else only_entry(file, name))
    given |= {key: value for key, value in (("name", name), ("command", command)) if value}
    for field, wanted in (("name", "NAME"), ("command", "-- COMMAND")):
        if not given.get(field):
            raise BadRequest(f"what is its {field}? `tunesmith jobs create NAME -- COMMAND`: {wanted} is missing")
    with connect(url) as client:
        info = client.training_jobs.create(**given).info
    _done(info, as_json)
    if not as_json:
        hint(f"`tunesmith jobs watch {shlex.quote(info.name)}` follows it")


@takes_fields(unsetting=True)
def update(
    job: TrainingName,
    command: Command = None,
    new_name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Call it so from now on.", show_default=False)
    ] = None,
    file: JobFile = None,
    url: Url = None,
    as_json: Json = False,
    *,
    fields: Mapping[str, Any],
) -> None:
    """Change a training job that is not running; what is not given stays.

    A list that is given stands instead of the one before: --env, --depends-on, --notify and --tag, once for each item.
    """
    given = merged(fields, {} if file is None else only_entry(file, job))
    given.pop("name", None)  # only --name gives it another one
    given |= {key: value for key, value in (("name", new_name), ("command", command)) if value}
    if not given:
        raise BadRequest("nothing to change; `tunesmith jobs update --help` lists the options")
    with connect(url) as client:
        training = client.training_jobs.get(job)
        if isinstance(given.get("resources"), Mapping):
            given["resources"] = {**training.info.resources.model_dump(), **given["resources"]}
        _done(training.update(**given), as_json)


def delete(job: TrainingName, url: Url = None, as_json: Json = False) -> None:
    """Delete a training job with its executions and their logs."""
    with connect(url) as client:
        training = client.training_jobs.get(job)
        training.delete()
    if as_json:
        print_json({"job_id": training.id, "name": training.name, "deleted": True})
    else:
        console().print(f"{training.name} deleted", markup=False)


def run(
    job: TrainingName,
    wait_for_end: Annotated[
        bool, typer.Option("--wait", help="Wait for the end of this execution; fails when it fails.")
    ] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Fire a training job now, whatever its schedule says."""
    with connect(url) as client:
        training = client.training_jobs.get(job)
        info = training.run()
        if wait_for_end:
            info = wait(training, quiet=as_json)
    _done(info, as_json)
    if wait_for_end:
        end(info)


def executions(
    job: TrainingName,
    number: Annotated[
        int | None, typer.Option("--execution", min=1, help="Only the attempts of this one.", show_default=False)
    ] = None,
    limit: Limit = 50,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List the executions of a training job, newest first; each retry is another attempt of one."""
    with connect(url) as client:
        found = list(client.training_jobs.get(job).executions(number, limit))
    if as_json:
        print_json(found)
        return
    columns = EXECUTION_COLUMNS if any(one.params for one in found) else EXECUTION_COLUMNS[:-2]
    print_table(columns, (_execution_row(one)[: len(columns)] for one in found), empty="it has not fired yet")


def validate(file: ListFile, url: Url = None, as_json: Json = False) -> None:
    """Check a file of training jobs, and make nothing: says in words when each fires, and the next five times."""
    requests = requests_of(read_entries(file))
    with connect(url) as client:
        there = {job.name: job.info for job in client.training_jobs.list()}
        steps = plan(requests, there)
        answers = checked(client, steps, as_json)
    if as_json:
        print_json([{"name": step.request.name, **answers[step.name].model_dump(mode="json")} for step in steps])
        return
    for step in steps:
        _print_checked(step.request, answers[step.name])


def show_training(info: TrainingAnswer) -> None:
    """All that people ask about one."""
    print_fields(
        {
            "training job": info.name,
            "id": info.job_id,
            "status": info.status,
            "message": info.message,
            "error": info.error_message,
            "image": info.image,
            "command": shlex.join(info.command),
            "schedule": _schedule(info.schedule, info.timezone),
            "next run": info.next_run_at,
            "retries": f"{info.retry_count} of {info.max_retries}",
            "depends on": ", ".join(info.depends_on) or None,
            "checkpoint": info.checkpoint_path,
            "notify": ", ".join(f"{rule.channel} ({', '.join(rule.on)})" for rule in info.notify) or None,
            "priority": info.priority,
            "tags": ", ".join(info.tags) or None,
            "experiment": info.experiment_id,
            "started": info.started_at,
            "ended": info.completed_at,
            "created": info.created_at,
        }
    )


def _print_checked(request: TrainingRequest, answer: TrainingChecked) -> None:
    when = "once, at once" if not request.depends_on else f"when {', '.join(request.depends_on)} completed"
    words = when if request.schedule is None else answer.schedule
    console().print(f"{request.name}: {words}", markup=False)
    zone = ZoneInfo(request.timezone)
    for moment in answer.next_runs:
        console().print(f"  {moment.astimezone(zone):%a %Y-%m-%d %H:%M %Z}", markup=False)
    for warning in answer.warnings:
        warn(warning)


def _schedule(expression: str | None, timezone: str) -> str | None:
    if expression is None:
        return None
    try:
        return f"{expression}: {Cron(expression, timezone).words}"
    except TunesmithError:  # a newer server may know more
        return f"{expression} ({timezone})"


def _done(info: TrainingAnswer, as_json: bool) -> None:
    if as_json:
        print_json(info)
    else:
        console().print(describe(info), markup=False)


def describe(info: TrainingAnswer) -> str:
    """Where it stands, in a line."""
    note = f" ({info.message})" if info.message else ""
    following = f", fires {text(info.next_run_at)}" if info.next_run_at and info.status != "paused" else ""
    return f"{info.name} ({info.job_id}) {info.status}{following}{note}"


def _row(info: TrainingAnswer) -> tuple[Any, ...]:
    return (
        info.name, info.job_id, info.status, info.schedule, info.next_run_at, f"{info.retry_count}/{info.max_retries}",
        info.started_at, info.completed_at, info.error_message or info.message,
    )  # fmt: skip


def _execution_row(one: ExecutionAnswer) -> tuple[Any, ...]:
    error = (one.error or "").strip().splitlines()
    return (
        one.number, one.attempt, one.status, one.started_at, one.duration_s, one.exit_code, one.checkpoint, one.node,
        error[0] if error else None, one.trial, dict(one.params),
    )  # fmt: skip
