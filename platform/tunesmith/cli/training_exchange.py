"""Commands that move training jobs: jobs export, jobs import."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from tunesmith.cli.options import Json, Url, connect
from tunesmith.cli.output import console, hint, print_json, progress_bar, warn
from tunesmith.cli.training_files import as_yaml, form_of, read_entries, refuse, requests_of
from tunesmith.cli.training_plan import Step, blocked, checked, deletions, plan
from tunesmith.client import Client
from tunesmith.errors import TunesmithError
from tunesmith.schemas.training_answers import TrainingAnswer

DONE = {"create": "created", "update": "updated", "unchanged": "unchanged", "delete": "deleted"}


def export(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[JOB]...", help="Names or ids; without any: all of them.", show_default=False),
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Write training jobs as YAML on stdout, in the form that `tunesmith jobs import` reads.

    tunesmith jobs export > jobs.yaml

    Fields that are as by default are left out. So are rules of `notify` with secrets, which a platform never shows: a
    comment and a warning name each.
    """
    with connect(url) as client:
        jobs = client.training_jobs
        chosen = [jobs.get(name) for name in dict.fromkeys(names)] if names else jobs.list(sort="name")
        forms = [form_of(job.info) for job in chosen]
    for form in forms:
        for rule in form.left_out:
            warn(f"{form.fields['name']}: notify {rule.channel} is left out, for its secrets are not shown")
        if form.paused:
            warn(f"{form.fields['name']} is paused, which a file cannot say")
    if as_json:
        print_json([form.fields for form in forms])
    else:
        typer.echo(as_yaml(forms), nl=False)


def import_(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="JSON or YAML: a list of training jobs, or one; -: stdin.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, field by field; do nothing.")
    ] = False,
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Delete the training jobs that the file does not have, with their executions."),
    ] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Make the training jobs of a file, and change those that are there to what it says.

    A job is known by its name; a field that the file leaves out is as by default. Everything is checked before anything
    is written, and importing the same file again changes nothing. Rules of `notify` whose secrets no export has stay.
    """
    requests = requests_of(read_entries(file))
    with connect(url) as client:
        there = {job.name: job.info for job in client.training_jobs.list()}
        steps = plan(requests, there, prune)
        doomed = deletions(there, [step.name for step in steps]) if prune else []
        refuse(blocked(steps, doomed))
        checked(client, [step for step in steps if step.action != "unchanged"], as_json)
        if not dry_run:
            _write(client, steps, doomed, as_json)
    _report(steps, doomed, dry_run, as_json)


def _write(client: Client, steps: Sequence[Step], doomed: Sequence[TrainingAnswer], quiet: bool) -> None:
    todo: list[Step | TrainingAnswer] = [*(step for step in steps if step.action != "unchanged"), *doomed]
    with progress_bar("writing", len(todo), quiet) as progress:
        for number, one in enumerate(todo):
            try:
                _do(client, one)
            except TunesmithError as error:
                error.message = (
                    f"{one.name}: {error.message} ({number} of {len(todo)} jobs were written before it; the same "
                    "import goes on with the others)"
                )
                raise
            progress(number + 1)


def _do(client: Client, one: Step | TrainingAnswer) -> None:
    jobs = client.training_jobs
    if isinstance(one, TrainingAnswer):
        jobs.get(one.job_id).delete()
    elif one.present is None:
        jobs.create(**one.request.model_dump(mode="json", exclude_unset=True))
    else:
        jobs.get(one.present.job_id).update(**one.sent)


def _report(steps: Sequence[Step], doomed: Sequence[TrainingAnswer], dry_run: bool, as_json: bool) -> None:
    done = [_line(step.name, step.action, step.changes, dry_run) for step in steps]
    done += [_line(info.name, "delete", {}, dry_run) for info in doomed]
    if as_json:
        print_json(done)
        return
    for line in done:
        console().print(f"{line['action']} {line['name']}", markup=False)
        if dry_run:
            for name, change in line["changes"].items():
                console().print(
                    f"  {name}: {_shown(change['before'])} -> {_shown(change['after'])}", markup=False, soft_wrap=True
                )
    if dry_run:
        hint("nothing was written")


def _line(name: str, action: str, changes: Any, dry_run: bool) -> dict[str, Any]:
    told = {field: {"before": before, "after": after} for field, (before, after) in changes.items()}
    return {"name": name, "action": action if dry_run else DONE[action], "changes": told}


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
