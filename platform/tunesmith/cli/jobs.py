"""Commands on jobs of both kinds: submit, jobs, job, watch, logs, cancel, pause, resume, retry."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from tunesmith.cli import training_watch
from tunesmith.cli.finding import find_job
from tunesmith.cli.follow import end, follow, standing
from tunesmith.cli.inputs import read_optimizer, read_submission
from tunesmith.cli.options import JobId, Json, Limit, Url, connect
from tunesmith.cli.output import console, hint, print_fields, print_json, print_json_line, print_table, text, warn
from tunesmith.cli.training_options import PriorityOption
from tunesmith.cli.trainings import describe, show_training
from tunesmith.client import Job, TrainingHandle
from tunesmith.errors import BadRequest
from tunesmith.schemas.jobs import JobAnswer
from tunesmith.schemas.training_answers import TrainingAnswer


class JobWord(StrEnum):
    """Which jobs to list."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"


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
    context: typer.Context,
    state: Annotated[JobWord | None, typer.Option("--state", help="Only those in this state.")] = None,
    limit: Limit = 50,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List jobs of experiments and firings of training jobs, newest first; or do what a command below says.

    `tunesmith jobs list` lists the training jobs themselves.
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return
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
        answer = find_job(client, job_id).info
    if as_json:
        print_json(answer)
    elif isinstance(answer, TrainingAnswer):
        show_training(answer)
    else:
        _show(answer)
        if answer.job_exc_info:
            console().print(answer.job_exc_info, markup=False)


def watch(
    job_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[JOB]",
            help="A job's id, or a training job's name; without: all training jobs, until Ctrl-C.",
            show_default=False,
        ),
    ] = None,
    exit_status: Annotated[
        bool,
        typer.Option("--exit-status", help="Fail when the training job fails; a job of an experiment always does."),
    ] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Watch a job until it ends: a bar, or a training job's log and standing; with --json one object a line."""
    with connect(url) as client:
        if job_id is None:
            training_watch.watch_all(client, as_json)
            return
        job = find_job(client, job_id)
        if isinstance(job, TrainingHandle):
            _watch_training(job, exit_status, as_json)
            return
        if as_json:
            _watch_events(job)
            answer = job.refresh()
        else:
            answer = follow(job)
            _show(answer)
    end(answer)


def logs(
    job_id: JobId,
    trial: Annotated[int | None, typer.Option("--trial", min=0, help="Only this trial's.", show_default=False)] = None,
    execution: Annotated[
        int | None,
        typer.Option(
            "--execution", min=1, help="All attempts of this execution of a training job.", show_default=False
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what is still to come.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Print the log of a job's trials, or of a training job's newest attempt; with --json one object a line."""
    with connect(url) as client:
        job = find_job(client, job_id)
        if isinstance(job, Job) and execution is not None:
            raise BadRequest(f"--execution: {job_id} is a job of an experiment; its logs are by --trial")
        lines = job.logs(trial, wait) if isinstance(job, Job) else job.logs(execution, trial, wait)
        for line in lines:
            if as_json:
                print_json_line({"line": line})
            else:
                typer.echo(line)


def cancel(job_id: JobId, url: Url = None, as_json: Json = False) -> None:
    """Stop a job; its finished trials stay, and so does a training job's schedule."""
    with connect(url) as client:
        _done(find_job(client, job_id).cancel(), as_json)


def pause(job_id: JobId, url: Url = None, as_json: Json = False) -> None:
    """Start no more trials of a job, or let a training job not fire; what runs ends by itself."""
    with connect(url) as client:
        _done(find_job(client, job_id).pause(), as_json)


def resume(job_id: JobId, url: Url = None, as_json: Json = False) -> None:
    """Let a paused job go on, or a training job fire again."""
    with connect(url) as client:
        _done(find_job(client, job_id).resume(), as_json)


def retry(job_id: JobId, url: Url = None, as_json: Json = False) -> None:
    """Queue an ended job again: its failed trials run once more, a training job goes on from its checkpoint."""
    with connect(url) as client:
        _done(find_job(client, job_id).retry(), as_json)


def _refuse_options(context: typer.Context) -> None:
    """Options before a command would be lost: they stand after it."""
    for name, value in context.params.items():
        source = context.get_parameter_source(name)
        if value is not None and source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(
                f"write the options after the command: tunesmith jobs {context.invoked_subcommand} ...", ctx=context
            )


def _watch_training(job: TrainingHandle, exit_status: bool, as_json: bool) -> None:
    answer = training_watch.follow_training(job, as_json)
    if as_json:
        print_json_line({"job": answer})
    if exit_status:
        training_watch.end(answer)


def _watch_events(job: Job) -> None:
    try:
        for event in job.events():
            print_json_line(event)
    except KeyboardInterrupt:
        hint(f"{job.id} goes on")
        raise


def _done(answer: JobAnswer | TrainingAnswer, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    elif isinstance(answer, TrainingAnswer):
        console().print(describe(answer), markup=False)
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
