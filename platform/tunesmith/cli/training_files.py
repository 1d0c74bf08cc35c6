"""Files of training jobs: read, and written in the form in which they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from tunesmith.cli.inputs import Dumper, kind, read_document
from tunesmith.domain.notification import MASK, Rule
from tunesmith.errors import InvalidBody
from tunesmith.schemas.training_answers import TrainingAnswer
from tunesmith.schemas.training_jobs import TrainingRequest

PLANNED = frozenset({"chosen", "asked_before"})
"""What the platform adds to a search, and no request may say."""
FIRST = ("name", "image", "command", "schedule", "timezone")
"""Fields that are written before the others."""


@dataclass(frozen=True)
class Entry:
    """A job of a file, as it stands there."""

    where: str
    """The file and the job, for messages."""
    fields: Mapping[str, Any]
    """The fields of a request."""


@dataclass(frozen=True)
class Form:
    """A training job in the form of a request."""

    fields: dict[str, Any]
    """The fields that are not as by default; no secrets."""
    left_out: tuple[Rule, ...]
    """Rules that cannot be written down, as the platform shows no secrets."""
    paused: bool
    """Whether a person holds it back, which no request can say."""


def read_entries(path: str) -> list[Entry]:
    """The jobs of a file: one, a list of them, or `jobs: [...]`. Raises InvalidBody."""
    document = read_document(path)
    if isinstance(document, Mapping) and set(document) == {"jobs"}:
        document = document["jobs"]
    found = [document] if isinstance(document, Mapping) else document
    if not isinstance(found, list):
        raise InvalidBody(f"{path} holds {kind(document)}; it should hold a training job, or a list of them")
    for number, fields in enumerate(found, 1):
        if not isinstance(fields, Mapping):
            raise InvalidBody(
                f"{path}, entry {number}: {kind(fields)}; it should be a training job with name, command, ..."
            )
    return [Entry(_where(path, number, fields), fields) for number, fields in enumerate(found, 1)]


def only_entry(path: str, name: str | None = None) -> Mapping[str, Any]:
    """The fields of the one job of a file, or of the one that has the name. Raises InvalidBody."""
    entries = read_entries(path)
    chosen = [entry for entry in entries if entry.fields.get("name") == name] if len(entries) > 1 else entries
    if len(chosen) != 1:
        raise InvalidBody(
            f"{path} holds {len(entries)} jobs; name the one that is meant, or take `tunesmith jobs import`"
        )
    return chosen[0].fields


def requests_of(entries: Sequence[Entry]) -> dict[str, TrainingRequest]:
    """Where it stands -> the request. Raises InvalidBody, with every field of every job that is wrong."""
    found: dict[str, TrainingRequest] = {}
    problems: list[dict[str, Any]] = []
    named: dict[str, str] = {}
    for entry in entries:
        try:
            request = TrainingRequest.model_validate(entry.fields)
        except ValidationError as error:
            problems += [_problem(entry.where, dict(one)) for one in error.errors()]
            continue
        if request.name in named:
            problems.append({"field": f"{entry.where}: name", "message": f"also the name of {named[request.name]}"})
        named[request.name] = entry.where
        found[entry.where] = request
    refuse(problems)
    return found


def refuse(problems: Sequence[Mapping[str, Any]]) -> None:
    """Raise InvalidBody where there are problems: each has a `field` with its place in the file, and a `message`."""
    if problems:
        many = f"{len(problems)} things are wrong" if len(problems) > 1 else "1 thing is wrong"
        raise InvalidBody(f"{many} in the file; nothing was written", fields=list(problems))


def form_of(info: TrainingAnswer) -> Form:
    """A training job as a request could make it."""
    request = request_of(info)
    found = request.model_dump(mode="json", exclude_defaults=True, exclude={"notify"})
    found |= {"name": info.name, "command": list(info.command)}
    found |= {name: int(value) for name, value in found.items() if isinstance(value, float) and value.is_integer()}
    if request.notify:
        plain = [rule.model_dump(mode="json", exclude_defaults=True) for rule in request.notify if not is_masked(rule)]
        found |= {"notify": plain} if plain else {}
    if info.optimizer is not None:
        found["optimizer"] = optimizer_of(info)
    order = [*FIRST, *(name for name in TrainingRequest.model_fields if name not in FIRST)]
    fields = {name: found[name] for name in order if name in found}
    return Form(fields, tuple(rule for rule in request.notify if is_masked(rule)), info.status == "paused")


def request_of(info: TrainingAnswer) -> TrainingRequest:
    """The request that a training job stands for; its secrets are masked."""
    answered = info.model_dump(mode="json", include=set(TrainingRequest.model_fields))
    return TrainingRequest.model_validate({**answered, "optimizer": optimizer_of(info)})


def optimizer_of(info: TrainingAnswer) -> dict[str, Any] | None:
    """How it searches, as it can be asked for."""
    if info.optimizer is None:
        return None
    return {name: value for name, value in info.optimizer.items() if name not in PLANNED}


def is_masked(rule: Rule) -> bool:
    """Whether the platform hid a secret of the rule."""
    return (
        rule.secret == MASK
        or rule.channel.endswith(f"://{MASK}")
        or ("://" in rule.channel and rule.channel.endswith(f"/{MASK}"))
    )


def as_yaml(forms: Iterable[Form]) -> str:
    """A file that `jobs import` reads; what it lacks stands there as comments."""
    return "\n".join(map(_entry_yaml, forms)) or "[]\n"


def _entry_yaml(form: Form) -> str:
    comments = [
        f"# left out, for secrets are not shown: notify {rule.channel} on {', '.join(rule.on)}"
        for rule in form.left_out
    ]
    if form.paused:
        comments.append("# paused, which a file cannot say: once imported elsewhere, it fires")
    body = yaml.dump(
        [form.fields], Dumper=Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=100
    )
    return "".join(f"{line}\n" for line in comments) + body


def _where(path: str, number: int, fields: Mapping[str, Any]) -> str:
    name = fields.get("name")
    return f"{path}, {name}" if isinstance(name, str) and name else f"{path}, entry {number}"


def _problem(where: str, error: Mapping[str, Any]) -> dict[str, Any]:
    field = ".".join(str(part) for part in error["loc"])
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = f"is no field of a training job; known: {', '.join(TrainingRequest.model_fields)}"
    return {"field": f"{where}: {field}", "message": message, "value": error.get("input")}
