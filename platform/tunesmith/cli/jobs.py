"""Commands on jobs: submit, jobs, job, watch, logs, cancel, pause, resume, retry."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from tunesmith.cli.follow import end, follow, standing
from tunesmith.cli.inputs import read_optimizer, read_submission
from tunesmith.cli.options import JobId, Json, Limit, Url, connect
from tunesmith.cli.output import console, hint, print_fields, print_json, print_json_line, print_table, text, warn
from tunesmith.client import Job
from tunesmith.schemas.jobs import JobAnswer


class JobWord(StrEnum):
    """Which jobs to list."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"


class PriorityOption(StrEnum):
    """Who goes first in the queue."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    CRITICAL = "critical"


def submit(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="JSON or YAML: an experiment, or {experiment, optimizer, priority}; -: stdin."
        ),
    ],
    optimizer: Annotated[
        str | None, typer.Option("--optimizer", metavar="FILE", help="A file, or inline: 'random:n_iter=20,seed=1'.")
    ] = None,
    priority: Annotated[PriorityOption | None, typer.Option("--priority", help="Who goes first in the queue.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Watch the job until it ends; fails when it fails.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Submit an experiment's job, making the experiment if it is new."""
    asked = read_submission(file)
    how = read_optimizer(optimizer) if optimizer is not None else asked.optimizer
    rank: Any = priority.value if priority is not None else asked.priority
    with connect(url) as client:
        experiment = client.create_experiment(asked.experiment)
        job = experiment.submit(how, rank)
        for warning in (*experiment.info.warnings, *job.warnings):
            warn(warning)
        if not as_json:
            console().print(f"experiment {experiment.id}, {job.id} {job.info.job_status}", markup=False)
        answer = follow(job, quiet=as_json) if wait else job.info
        if as_json:
            print_json({"experiment": experiment.info, "job": answer})
        elif wait:
            _show(answer)
        else:
            hint(f"`tunesmith watch {job.id}` follows it")
    if wait:
        end(answer)


def list_jobs(
    state: Annotated[JobWord | None, typer.Option("--state", help="Only those in this state.")] = None,
    limit: Limit = 50,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List jobs, newest first."""
    with connect(url) as client:
        answers = [job.info for job in client.jobs(None if state is None else state.value, limit)]
    if as_json:
        print_json(answers)
        return
    columns = ("job", "experiment", "run", "tool", "state", "finished", "failed", "best", "queued")
    print_table(columns, (_row(answer) for answer in answers), empty="no jobs")


def show_job(job_id: JobId, url: Url = None, as_json: Json = False) -> None:
    """Show a job."""
    with connect(url) as client:
        answer = client.job(job_id).info
    if as_json:
        print_json(answer)
    else:
        _show(answer)
        if answer.job_exc_info:
            console().print(answer.job_exc_info, markup=False)


def watch(job_id: JobId, url: Url = None, as_json: Json = False) -> None:
    """Watch a job until it ends; with --json every event, one JSON object a line."""
    with connect(url) as client:
        job = client.job(job_id)
        if as_json:
            _watch_events(job)
            answer = job.refresh()
        else:
            answer = follow(job)
            _show(answer)
    end(answer)


def logs(
    job_id: JobId,
    trial: Annotated[int | None, typer.Option("--trial", min=0, help="Only this trial's.")] = None,
    wait: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what is still to come.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Print the log of a job's trials; with --json one object a line."""
    with connect(url) as client:
        for line in client.job(job_id).logs(trial, wait):
            if as_json:
                print_json_line({"line": line})
            else:
                typer.echo(line)


def cancel(job_id: JobId, url: Url = None, as_json: Json = False) -> None:
    """Stop a job; its finished trials stay."""
    with connect(url) as client:
        _done(client.job(job_id).cancel(), as_json)


def pause(job_id: JobId, url: Url = None, as_json: Json = False) -> None:
    """Start no more trials of a job; those that run finish."""
    with connect(url) as client:
        _done(client.job(job_id).pause(), as_json)


def resume(job_id: JobId, url: Url = None, as_json: Json = False) -> None:
    """Let a paused job go on."""
    with connect(url) as client:
        _done(client.job(job_id).resume(), as_json)


def retry(job_id: JobId, url: Url = None, as_json: Json = False) -> None:
    """Queue an ended job again; its failed trials run once more."""
    with connect(url) as client:
        _done(client.job(job_id).retry(), as_json)


def _watch_events(job: Job) -> None:
    try:
        for event in job.events():
            print_json_line(event)
    except KeyboardInterrupt:
        hint(f"{job.id} goes on")
        raise


def _done(answer: JobAnswer, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        note = f" ({answer.message})" if answer.message else ""
        console().print(f"{answer.job_id} {answer.job_status}{note}", markup=False)


def _row(answer: JobAnswer) -> tuple[Any, ...]:
    progress, meta = answer.progress, answer.job_meta
    total = "" if progress.total is None else f"/{progress.total}"
    best = None if progress.best is None else progress.best.outcome
    finished = f"{progress.finished}{total}"
    return (
        answer.job_id, meta.experiment_id, meta.run_number, meta.tool_name, answer.job_status, finished,
        progress.failed, best, answer.queued_at,
    )  # fmt: skip


def _show(answer: JobAnswer) -> None:
    meta = answer.job_meta
    print_fields(
        {
            "job": answer.job_id,
            "experiment": f"{meta.experiment_id}, run {meta.run_number}"
            + (f", {meta.tool_name}" if meta.tool_name else ""),
            "optimizer": text(dict(meta.optimizer)),
            "standing": standing(answer),
            "message": answer.message,
            "priority": answer.priority,
            "queued": answer.queued_at,
            "started": answer.started_at,
            "ended": answer.ended_at,
            "by": answer.submitted_by,
        }
    )
