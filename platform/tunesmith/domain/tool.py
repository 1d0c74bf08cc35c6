"""Tools: anything that takes parameters and gives metrics."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, field_validator, model_validator

from tunesmith.domain.secret import SECRET_NAME
from tunesmith.domain.value import Value

MAX_TEMPLATE = 1_000_000
"""Characters of a template, at most."""
MAX_ARGUMENT = 100_000
"""Characters of an argument or a variable, at most: Linux takes 131,072 bytes."""
OWN_VARIABLES = frozenset({"JOB_ID", "ATTEMPT", "CHECKPOINT_DIR", "RESUME_FROM_CHECKPOINT"})
"""Variables of a program that the platform sets, besides `TUNESMITH_*`."""
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
IMAGE = re.compile(
    rf"(?:(?:(?=[^/]*[.:]|localhost/){_HOST}(?::[0-9]{{1,5}})?|\[[0-9a-fA-F:]+\](?::[0-9]{{1,5}})?)/)?"  # host:port/
    rf"{_PART}(?:/{_PART})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"  # :tag
    r"(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?"  # @digest
)
"""A reference to an image, as container engines take it."""


def check_patterns(patterns: Mapping[str, str]) -> Mapping[str, str]:
    """The patterns, unless one is no regular expression or has no group: ValueError says which."""
    for name, pattern in patterns.items():
        try:
            groups = re.compile(pattern).groups
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"{name}: {pattern!r} is no regular expression: {error}") from error
        if groups < 1:
            raise ValueError(f"{name}: {pattern!r} has no group; put parentheses around the number")
    return patterns


def check_command(command: tuple[str, ...]) -> tuple[str, ...]:
    """The command, unless it has no word or its first one is empty: ValueError."""
    if not command:
        raise ValueError('it has no words; write the program and its arguments, for instance ["python", "train.py"]')
    if not command[0].strip():
        raise ValueError("the first word is empty; it names the program to run")
    return command


def check_image(image: str | None) -> str | None:
    """The image, unless it is no reference to one: ValueError."""
    if image is not None and not IMAGE.fullmatch(image):
        raise ValueError(
            f"{image!r} is no reference to an image; write name:tag or host:port/path/name:tag, the path in lower case"
        )
    return image


def check_checkpoint_path(path: str | None) -> str | None:
    """The path, unless it is one of another kind, or leads out of the data directory: ValueError."""
    if path is None or re.match(r"s3://[^/?]+", path):
        return path
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", path) or not PurePosixPath(path).parts:
        raise ValueError(f"{path!r} is no path of a directory and no s3://bucket/prefix")
    if ".." in PurePosixPath(path).parts:
        raise ValueError(f"{path!r} has '..' in it; write an absolute path, or one inside the data directory")
    return path


def check_environment(env: Mapping[str, str]) -> Mapping[str, str]:
    """The variables, unless the platform sets one itself, or a name is none: ValueError says which."""
    for name in env:
        if not VARIABLE_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a variable")
        if name in OWN_VARIABLES or name.startswith("TUNESMITH_"):
            raise ValueError(f"{name} is set by the platform; choose another name")
    return env


def check_secrets(secrets: Mapping[str, str]) -> Mapping[str, str]:
    """The variables and the secrets that they get, unless one cannot be set, or a secret's name is none: ValueError."""
    check_environment(secrets)
    for variable, name in secrets.items():
        if not SECRET_NAME.fullmatch(name):
            raise ValueError(f"{variable}: {name!r} is no name of a secret: letters, digits and _.- (100 at most)")
    return secrets


def check_distinct(env: Mapping[str, str], secrets: Mapping[str, str]) -> None:
    """Raise ValueError where a variable would have two values."""
    if twice := sorted(env.keys() & secrets.keys()):
        raise ValueError(f"{twice[0]} stands in env and in secrets; give it one value")


Secrets = Annotated[Mapping[str, str], AfterValidator(check_secrets), Field(max_length=100)]
"""Variables of a trial's environment -> names of the workspace's secrets that they get."""


class CommandTool(Value):
    """A bash command template with `${param}` holes, run in a directory and a process group of its own."""

    type: Literal["command"] = "command"
    command: str = Field(min_length=1, max_length=MAX_TEMPLATE)
    """The template that is timed; its exit code decides whether the trial failed."""
    setup: str | None = Field(default=None, max_length=MAX_TEMPLATE)
    """Template run before the command, untimed; when it fails, the trial fails."""
    finish: str | None = Field(default=None, max_length=MAX_TEMPLATE)
    """Template run after the command, also after a failed one (its exit code is in `$TUNESMITH_EXIT_CODE`)."""
    patterns: Mapping[str, str] = {}
    """Metric name -> regular expression over the lines of stdout; the last match's first group is the value."""
    secrets: Secrets = {}
    """Variables of its environment -> the workspace's secrets that they get."""
    network: bool = False
    """Whether it has a network where the platform puts trials into a sandbox."""

    _compiles = field_validator("patterns")(check_patterns)


class ProgramTool(Value):
    """A program and its arguments, run with no shell, on the node itself or in an image; it can be resumed."""

    type: Literal["program"] = "program"
    """A program and its arguments."""
    command: tuple[Annotated[str, Field(max_length=MAX_ARGUMENT)], ...] = Field(min_length=1, max_length=1000)
    """The program and its arguments; `${param}` in them becomes the value, and `$${` says `${`."""
    image: str | None = Field(default=None, max_length=500)
    """The image that it runs in; null: it runs on the node itself."""
    env: Mapping[str, Annotated[str, Field(max_length=MAX_ARGUMENT)]] = Field(default={}, max_length=1000)
    """More of its environment, with `${param}` as in the command."""
    checkpoint_path: str | None = Field(default=None, min_length=1, max_length=1000)
    """Where its checkpoint is kept: an absolute path, one inside the data directory, or `s3://bucket/prefix`."""
    resume_flag: str | None = Field(default="--resume-from-checkpoint", min_length=1, max_length=200)
    """The argument before the checkpoint's path when it is resumed; null: the command stays as it is."""
    secrets: Secrets = {}
    """Variables of its environment -> the workspace's secrets that they get."""
    network: bool = False
    """Whether it has a network where the platform puts trials into a sandbox."""

    _named = field_validator("command")(check_command)
    _referable = field_validator("image")(check_image)
    _kept_inside = field_validator("checkpoint_path")(check_checkpoint_path)
    _settable = field_validator("env")(check_environment)

    @model_validator(mode="after")
    def _once_each(self) -> ProgramTool:
        check_distinct(self.env, self.secrets)
        return self


class FunctionTool(Value):
    """A Python function that workers can import: it takes the parameters as keywords and returns metrics."""

    type: Literal["function"] = "function"
    entrypoint: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    """`package.module:function`; it returns a number (the first objective) or a dict of metrics."""
    secrets: Secrets = {}
    """Variables of the environment, while it is called -> the workspace's secrets that they get."""


class CallableTool(Value):
    """A Python function that is no module's to import: it is shipped with each job, or lives where the search runs."""

    type: Literal["callable"] = "callable"
    """A function that is shipped."""
    name: str = Field(min_length=1, max_length=500)
    """What people call it: `module:qualified.name`."""
    define_by_run: bool = False
    """Whether it asks for its parameters while it runs, in Optuna's style; the space is empty then."""
    secrets: Secrets = {}
    """Variables of the environment, while it is called -> the workspace's secrets that they get."""


class KpiSpec(Value):
    """What a KPI's values mean, as it was declared when they were computed."""

    name: str
    """The KPI."""
    better_when: Literal["HIGHER", "LOWER", "AT_LEAST", "AT_MOST"]
    """Which end is better; `AT_LEAST` and `AT_MOST` have a threshold."""
    unit: str | None = None
    """The unit of its values."""
    threshold: float | None = None
    """The value from which on it is a success (0 is one, too); None: there is no such value."""

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """The direction of an objective that this KPI is."""
        return "maximize" if self.better_when in ("HIGHER", "AT_LEAST") else "minimize"

    def succeeded(self, value: float) -> bool | None:
        """Whether a value reaches the threshold; None without one."""
        if self.threshold is None:
            return None
        return value >= self.threshold if self.direction == "maximize" else value <= self.threshold

    def shown(self, value: float | None) -> dict[str, JsonValue] | None:
        """What REST says of a value; None of one that was not computed."""
        if value is None:
            return None
        return {
            "name": self.name,
            "better_when": self.better_when,
            "unit": self.unit,
            "value": value,
            "threshold": self.threshold,
            "success": self.succeeded(value),
        }


class AlgorithmTool(Value):
    """An algorithm on a dataset, or a model, of a plugin; what its KPIs say of the result are its metrics."""

    type: Literal["algorithm"] = "algorithm"
    """An algorithm, or a model."""
    kind: Literal["algorithm", "model"] = "algorithm"
    """An `algorithm` is handed a dataset and gives a result; a `model` is handed its inputs and gives rows."""
    name: str = Field(min_length=1, max_length=200)
    """What the plugin calls it; of a model: its id."""
    plugin: str = Field(min_length=1, max_length=500)
    """Where workers find the plugin: `package.module:object`, or `code:` and the SHA-256 of one that was shipped."""
    parameters: Mapping[str, JsonValue] = {}
    """Parameters that are held fixed; those of the space come on top."""
    files: str | None = Field(default=None, max_length=500)
    """Key prefix of the dataset's tables in the artefact storage; unset: it takes no dataset."""
    data_parameters: Mapping[str, JsonValue] = {}
    """The dataset's own knobs."""
    kpis: tuple[KpiSpec, ...] = Field(default=(), max_length=100)
    """The KPIs that are computed of its result."""


class TrainerTool(Value):
    """A template that trains a model; what it says of the trained one are its metrics."""

    type: Literal["trainer"] = "trainer"
    """A training."""
    template: str = Field(min_length=1, max_length=200)
    """The template's name."""
    plugin: str = Field(min_length=1, max_length=500)
    """Where workers find it: `package.module:object`, or `code:` and the SHA-256 of one that was shipped."""
    config: Mapping[str, JsonValue]
    """The whole configuration; a trial's parameters are laid over its `model` and `training`."""
    data_root: str | None = Field(default=None, max_length=4096)
    """The directory that paths of training data lie in."""
    files: str | None = Field(default=None, max_length=500)
    """Key prefix of the dataset's tables in the artefact storage, where it is trained on one."""


class ExternalTool(Value):
    """Nothing that the platform could run: whoever asks for a trial evaluates it, and tells what came of it."""

    type: Literal["external"] = "external"
    """Workers of somebody else's."""
    study: str | None = Field(default=None, max_length=512)
    """The name of the Optuna study that it is; unset: an experiment whose space was declared."""

    @property
    def define_by_run(self) -> bool:
        """Whether trials ask for their parameters while they run: those of a study do."""
        return self.study is not None


Tool = Annotated[
    CommandTool | ProgramTool | FunctionTool | CallableTool | AlgorithmTool | TrainerTool | ExternalTool,
    Field(discriminator="type"),
]
"""Any tool that the platform can run."""
HostedTool = AlgorithmTool | TrainerTool
"""Tools that are evaluated in a child process of a worker, and tell how far they are."""
