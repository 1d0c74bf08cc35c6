"""What an import does: which training jobs are made, changed, left alone and deleted, and in which order."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal

from tunesmith.cli.output import progress_bar
from tunesmith.cli.training_files import is_masked, optimizer_of, refuse, request_of
from tunesmith.client import Client
from tunesmith.domain.notification import Rule
from tunesmith.errors import TunesmithError
from tunesmith.schemas.jobs import optimizer_shown
from tunesmith.schemas.requests import JobRequest
from tunesmith.schemas.training_answers import TrainingAnswer, TrainingChecked
from tunesmith.schemas.training_jobs import TrainingRequest

FILLED_IN = ("seed", "n_iter")
"""What the platform adds to a search that leaves it open."""
REFUSALS = (400, 404, 409, 413)
"""What the platform answers to a job that it would not take; anything else is no job's fault."""
Action = Literal["create", "update", "unchanged", "delete"]


@dataclass(frozen=True)
class Step:
    """What is done with one job."""

    where: str
    """Its place in the file."""
    request: TrainingRequest
    """What it is to be."""
    present: TrainingAnswer | None = None
    """What it is; None: there is none of its name."""
    changes: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    """Field -> what it is, and what it is to be; without secrets."""
    sent: Mapping[str, Any] = field(default_factory=dict)
    """The fields that are sent to change it."""

    @property
    def name(self) -> str:
        """What it is called."""
        return self.request.name

    @property
    def action(self) -> Action:
        """What is done."""
        return "create" if self.present is None else "update" if self.changes else "unchanged"


def plan(
    requests: Mapping[str, TrainingRequest], there: Mapping[str, TrainingAnswer], prune: bool = False
) -> list[Step]:
    """The steps, each after those that it depends on. Raises InvalidBody, with every problem that can be seen here."""
    wanted = {request.name: request for request in requests.values()}
    others = {} if prune else {name: info.depends_on for name, info in there.items() if name not in wanted}
    known = {*wanted, *others}
    problems = []
    for where, request in requests.items():
        problems += [
            {"field": f"{where}: depends_on", "message": f"no training job is called {name!r}" + _pruned(name, there)}
            for name in request.depends_on
            if name not in known
        ]
        problems += [
            {"field": f"{where}: notify", "message": f"{rule.channel}: a secret is masked; write the whole one"}
            for rule in request.notify
            if is_masked(rule) and (rule.channel, rule.secret) not in _known(there.get(request.name))
        ]
    refuse(problems)
    graph = {**others, **{name: request.depends_on for name, request in wanted.items()}}
    places = {request.name: where for where, request in requests.items()}
    return [_step(places[name], wanted[name], there.get(name)) for name in _ordered(graph, places) if name in wanted]


def blocked(steps: Sequence[Step], doomed: Sequence[TrainingAnswer]) -> list[dict[str, Any]]:
    """Why jobs cannot be changed or deleted now: a problem for each."""
    found = [
        {"field": step.where, "message": "it is running, and cannot be changed before it has ended"}
        for step in steps
        if step.action == "update" and step.present is not None and step.present.status == "running"
    ]
    running = [info for info in doomed if info.status == "running"]
    return found + [{"field": info.name, "message": "it is running, and cannot be deleted"} for info in running]


def checked(client: Client, steps: Sequence[Step], quiet: bool) -> dict[str, TrainingChecked]:
    """Name -> what the platform says of it. Raises InvalidBody, with everything that it would refuse."""
    found, problems = {}, []
    with progress_bar("checking", len(steps), quiet) as progress:
        for number, step in enumerate(steps, 1):
            try:
                found[step.name] = client.training_jobs.validate(**_on_its_own(step))
            except TunesmithError as error:
                if error.status not in REFUSALS:
                    raise
                problems += _problems(step.where, error)
            progress(number)
    refuse(problems)
    return found


def deletions(there: Mapping[str, TrainingAnswer], kept: Sequence[str]) -> list[TrainingAnswer]:
    """The other jobs, each before those that it depends on."""
    order = TopologicalSorter({name: info.depends_on for name, info in there.items()}).static_order()
    return [there[name] for name in reversed(list(order)) if name in there and name not in kept]


def _step(where: str, request: TrainingRequest, present: TrainingAnswer | None) -> Step:
    if present is None:
        return Step(where, request)
    before, after = _comparable(request_of(present)), _comparable(request)
    before["optimizer"], after["optimizer"] = _searches(request, present)
    after["notify"], rules = _notify(request, present)
    changes = {name: (before[name], after[name]) for name in after if before[name] != after[name]}
    if any(rule.shown != rule for rule in request.notify):
        changes["notify"] = (before["notify"], after["notify"])  # secrets cannot be compared
    whole = request.model_dump(mode="json", exclude_unset=True)
    sent = {name: whole.get(name, after[name]) for name in changes}
    if "notify" in sent:
        sent["notify"] = rules
    return Step(where, request, present, changes, sent)


def _comparable(request: TrainingRequest) -> dict[str, Any]:
    """Its fields as JSON; what has no order is sorted."""
    return request.model_dump(mode="json") | {
        "depends_on": sorted(request.depends_on),
        "notify": _rules_shown(request.notify),
    }


def _searches(request: TrainingRequest, present: TrainingAnswer) -> tuple[Any, Any]:
    """How it searches, and how it is to search; what the platform filled in is no difference."""
    before = optimizer_of(present)
    if not request.parameters:
        return before, None
    after = optimizer_shown((request.optimizer or JobRequest().optimizer).search())
    filled_in = [name for name in FILLED_IN if name not in after]
    return {name: value for name, value in (before or {}).items() if name not in filled_in} or None, after


def _notify(request: TrainingRequest, present: TrainingAnswer) -> tuple[Any, list[Rule]]:
    """Who is to be told, to be shown and to be sent: rules whose secrets no file can have stay."""
    places = {(rule.shown.channel, rule.shown.secret) for rule in request.notify}
    kept = [rule for rule in present.notify if is_masked(rule) and (rule.channel, rule.secret) not in places]
    rules = [*request.notify, *kept]
    return _rules_shown(rules), rules


def _rules_shown(rules: Sequence[Rule]) -> list[Any]:
    return sorted((rule.shown.model_dump(mode="json") for rule in rules), key=str)


def _known(info: TrainingAnswer | None) -> set[tuple[str, str | None]]:
    return set() if info is None else {(rule.channel, rule.secret) for rule in info.notify}


def _on_its_own(step: Step) -> dict[str, Any]:
    """What can be checked before the jobs around it are there: under a free name, and without what was checked here."""
    fields = step.request.model_dump(mode="json", exclude_unset=True, exclude={"depends_on", "notify"})
    if step.present is not None:
        fields["name"] = f"import {secrets.token_hex(16)}"
    fields["notify"] = [rule for rule in step.request.notify if not is_masked(rule)]
    return fields


def _problems(where: str, error: TunesmithError) -> list[dict[str, Any]]:
    named = [one for one in error.details.get("fields", ()) if isinstance(one, Mapping) and "message" in one]
    if not named:
        return [{"field": where, "message": error.message}]
    return [{**one, "field": f"{where}: {one.get('field', '')}"} for one in named]


def _pruned(name: str, there: Mapping[str, TrainingAnswer]) -> str:
    return " in the file, and --prune deletes the one that is there" if name in there else ""


def _ordered(graph: Mapping[str, Sequence[str]], places: Mapping[str, str]) -> list[str]:
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = list(error.args[1])
        where = next((places[name] for name in circle if name in places), circle[0])
        message = f"these depend on one another in a circle: {' -> '.join(reversed(circle))}"
        refuse([{"field": f"{where}: depends_on", "message": message}])
        raise
