"""The options of `jobs create` and `jobs update`: one for each field of a training job, and what they mean."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial, wraps
from typing import Annotated, Any

import typer

from tunesmith.domain.notification import STATUSES
from tunesmith.errors import BadRequest

SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
RESOURCES = ("cpus", "gpus", "memory_bytes")
"""Options that are parts of one field."""


class PriorityOption(StrEnum):
    """Who goes first in the queue."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    CRITICAL = "critical"


class OverlapOption(StrEnum):
    """What becomes of a firing while the one before it has not ended."""

    SKIP = "skip"
    QUEUE = "queue"


class CatchUpOption(StrEnum):
    """What becomes of firings that were missed."""

    SKIP = "skip"
    ONCE = "once"
    ALL = "all"


@dataclass(frozen=True)
class FieldOption:
    """An option that gives a field its value."""

    field: str
    """The field of the request, or one of RESOURCES."""
    flag: str
    """What it is called."""
    kind: Any
    """What typer makes of its text."""
    help: str
    """What it does."""
    metavar: str | None = None
    """What its value is called."""
    read: Callable[[Any], Any] = lambda value: value
    """The field's value; raises BadRequest."""
    without: str | None = None
    """What `--no-...` does; None: there is no such option."""
    empty: Any = None
    """The field's value then."""

    def parameters(self, unsetting: bool) -> list[inspect.Parameter]:
        """As parameters of a command."""
        option = typer.Option(self.flag, metavar=self.metavar, help=self.help, show_default=False)
        found = [_parameter(self.field, self.kind | None, None, option)]
        if self.without is not None and (unsetting or self.field == "resume_flag"):
            flag = typer.Option(self.flag.replace("--", "--no-", 1), help=self.without, show_default=False)
            found.append(_parameter(f"no_{self.field}", bool, False, flag))
        return found

    def value(self, given: Mapping[str, Any]) -> tuple[Any, ...]:
        """The field's value as its only item; nothing where it was not given. Raises BadRequest."""
        value, unset = given.get(self.field), given.get(f"no_{self.field}")
        if unset and value is not None:
            raise BadRequest(f"{self.flag} and {self.flag.replace('--', '--no-', 1)} contradict each other")
        return (self.empty,) if unset else () if value is None else (self.read(value),)


def takes_fields(unsetting: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command take an option for every field, and `--no-...` with `unsetting`; it gets them as `fields`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        names = {parameter.name for option in OPTIONS for parameter in option.parameters(True)}

        @wraps(command)
        def run(**arguments: Any) -> None:
            given = {name: arguments.pop(name) for name in names & set(arguments)}
            command(**arguments, fields=_fields(given))

        signature = inspect.signature(command, eval_str=True)
        own = [p.replace(kind=p.KEYWORD_ONLY) for p in signature.parameters.values() if p.name != "fields"]
        at = next(i for i, p in enumerate(own) if p.name == "url")
        options = [parameter for option in OPTIONS for parameter in option.parameters(unsetting)]
        run.__signature__ = signature.replace(parameters=[*own[:at], *options, *own[at:]])  # type: ignore[attr-defined]
        return run

    return decorate


def merged(fields: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Fields in the place of those before; of `resources`, only what was given changes."""
    found = {**before, **fields}
    if "resources" in fields and isinstance(before.get("resources"), Mapping):
        found["resources"] = {**before["resources"], **fields["resources"]}
    return found


def seconds(text: str) -> float:
    """`90`, `90s`, `15m`, `2h`, `1d`. Raises BadRequest."""
    return _scaled(text, SECONDS, "seconds, or a number with s, m, h or d, for instance 2h")


def memory(text: str) -> int:
    """`4000000000`, `4G`, `4GiB`. Raises BadRequest."""
    return int(_scaled(re.sub(r"(?i)(?<=[kmgti])b$", "", text.strip()), BYTES, "bytes, or for instance 500M or 4GiB"))


def rule(text: str) -> dict[str, Any]:
    """`CHANNEL` or `CHANNEL:failed,completed`; a channel may be a URL, which has colons of its own."""
    channel, _, words = text.rpartition(":")
    on = [word.strip() for word in words.split(",")]
    if channel and set(on) <= set(STATUSES):
        return {"channel": channel, "on": on}
    if channel and "://" not in text:
        raise BadRequest(f"--notify {text!r}: after the colon stand statuses: {', '.join(STATUSES)}")
    return {"channel": text}


def variables(given: Sequence[str], flag: str = "--env") -> dict[str, str]:
    """`K=V` each. Raises BadRequest."""
    pairs = [text.partition("=") for text in given]
    for name, equals, value in pairs:
        if not (name and equals):
            raise BadRequest(f"{flag} {name + equals + value!r}: write NAME=VALUE")
    return {name: value for name, _, value in pairs}


OPTIONS = (
    FieldOption(
        "image", "--image", str, "The image that the command runs in.", "IMAGE", without="Run it on the node itself."
    ),
    FieldOption(
        "schedule", "--schedule", str, "When it fires: cron's five fields, or @hourly, @daily, ...; without: once.",
        "CRON", without="It fires once, or when it is told to.",
    ),
    FieldOption("timezone", "--timezone", str, "The zone of the schedule: Europe/Berlin; UTC by default.", "ZONE"),
    FieldOption("max_retries", "--max-retries", int, "Attempts after a failed one: 0 to 10; 3 by default.", "N"),
    FieldOption(
        "retry_backoff_s", "--retry-backoff", str,
        "How long the first retry waits; each further one twice as long, an hour at most. 60 by default.", "SECONDS",
        seconds,
    ),
    FieldOption(
        "env", "--env", list[str], "A variable of its environment. Once for each.", "NAME=VALUE", variables,
        "No variables of its own.", {},
    ),
    FieldOption(
        "secrets", "--secret", list[str], "A variable of its environment that gets a secret. Once for each.",
        "NAME=SECRET", partial(variables, flag="--secret"), "No secrets.", {},
    ),
    FieldOption(
        "network", "--network", bool, "It has a network where the platform puts trials into a sandbox.",
        without="It has none there.", empty=False,
    ),
    FieldOption(
        "timeout_s", "--timeout", str, "End an attempt after so long, as failed: 90, 15m, 2h.", "SECONDS", seconds,
        "Let an attempt take as long as it takes.",
    ),
    FieldOption(
        "depends_on", "--depends-on", list[str], "A training job that has to complete before it fires. Once for each.",
        "NAME", without="It depends on none.", empty=[],
    ),
    FieldOption(
        "notify", "--notify", list[str],
        "Tell a channel (a configured one's name, or a URL) of statuses, failed and completed by default. Once for "
        "each.", "CHANNEL[:STATUS,...]", lambda given: [rule(text) for text in given], "Tell nobody.", [],
    ),
    FieldOption(
        "checkpoint_path", "--checkpoint-path", str,
        "Where its checkpoint is kept: a path, one inside the data directory, or s3://bucket/prefix.", "PATH",
        without="Keep it in the platform's own storage.",
    ),
    FieldOption(
        "resume_flag", "--resume-flag", str,
        "The argument before the checkpoint's path on a retry; --resume-from-checkpoint by default.", "FLAG",
        without="Retry the command as it is.",
    ),
    FieldOption("priority", "--priority", PriorityOption, "Who goes first in the queue."),
    FieldOption("cpus", "--cpus", float, "CPU cores that an attempt needs; a fraction is fine.", "N"),
    FieldOption("gpus", "--gpus", float, "GPUs that it needs; a fraction shares one.", "N"),
    FieldOption(
        "memory_bytes", "--memory", str, "Memory that it needs: 4000000000, 4G, 4GiB.", "BYTES", memory,
        "Do not reckon with its memory.",
    ),
    FieldOption("overlap", "--overlap", OverlapOption, "A firing while the one before it runs is skipped, or queued."),
    FieldOption(
        "catch_up", "--catch-up", CatchUpOption,
        "Firings missed while the platform was down are skipped, made up for once, or all made up for.",
    ),
    FieldOption("tags", "--tag", list[str], "A label. Once for each.", "TAG", without="No labels.", empty=[]),
)  # fmt: skip


def _parameter(name: str, kind: Any, default: Any, option: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _fields(given: Mapping[str, Any]) -> dict[str, Any]:
    found = {option.field: value for option in OPTIONS for value in option.value(given)}
    resources = {name: found.pop(name) for name in RESOURCES if name in found}
    return found | ({"resources": resources} if resources else {})


def _scaled(text: str, units: Mapping[str, int], wanted: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)", text.strip().lower())
    if match is None or match[2] not in units:
        raise BadRequest(f"{text!r}: write {wanted}")
    return float(match[1]) * units[match[2]]
