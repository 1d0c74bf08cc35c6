"""What travels: an experiment's form and its records, whatever they are read from or written to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tunesmith.domain import Objective
from tunesmith.errors import InvalidBody
from tunesmith.schemas.experiments import ExperimentAnswer
from tunesmith.schemas.records import ExperimentForm, StudyForm, StudyRequest
from tunesmith.schemas.records import Record as Record
from tunesmith.schemas.requests import ExperimentRequest

Progress = Callable[[int], None]
"""Is told how many trials are done so far."""


@dataclass(frozen=True)
class Content:
    """An experiment on its way."""

    form: ExperimentForm
    """Enough to make it again."""
    records: Sequence[Record]
    """Its trials, by number."""
    notes: tuple[str, ...] = ()
    """What was inferred, and what was left out: to be told."""

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What is optimized."""
        if self.form.study is not None:
            return self.form.study.objectives
        return ExperimentRequest.model_validate(self.form.experiment).objectives


def form_of(info: ExperimentAnswer, study: StudyForm) -> ExperimentForm:
    """The form of an experiment of a platform."""
    answer = info.model_dump(mode="json", exclude_none=True)
    body = {name: answer[name] for name in ExperimentRequest.model_fields if name in answer}
    return ExperimentForm(
        name=info.name,
        tags=info.tags,
        experiment=None if study.name is not None else body,
        study=None if study.name is None else StudyRequest(name=study.name, objectives=info.objectives),
        user_attrs=study.user_attrs,
        system_attrs=study.system_attrs,
    )


def named(content: Content, name: str) -> Content:
    """The same under another name, which makes it another experiment."""
    form = content.form
    body = None if form.experiment is None else {**form.experiment, "tool_name": name[:200]}
    study = None if form.study is None else form.study.model_copy(update={"name": name})
    return replace(content, form=form.model_copy(update={"name": name[:200], "experiment": body, "study": study}))


def unreadable(source: str | Path, message: str, **details: object) -> InvalidBody:
    """The error where a file or a storage does not hold what it should."""
    return InvalidBody(f"{source}: {message}", source=str(source), **details)
