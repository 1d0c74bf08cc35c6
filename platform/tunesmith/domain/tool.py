"""Tools: anything that takes parameters and gives metrics."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator

from tunesmith.domain.value import Value

MAX_TEMPLATE = 1_000_000
"""Characters of a template, at most."""


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

    _compiles = field_validator("patterns")(check_patterns)


class FunctionTool(Value):
    """A Python function that workers can import: it takes the parameters as keywords and returns metrics."""

    type: Literal["function"] = "function"
    entrypoint: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    """`package.module:function`; it returns a number (the first objective) or a dict of metrics."""


class CallableTool(Value):
    """A Python function that is no module's to import: it is shipped with each job, or lives where the search runs."""

    type: Literal["callable"] = "callable"
    """A function that is shipped."""
    name: str = Field(min_length=1, max_length=500)
    """What people call it: `module:qualified.name`."""
    define_by_run: bool = False
    """Whether it asks for its parameters while it runs, in Optuna's style; the space is empty then."""


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


Tool = Annotated[CommandTool | FunctionTool | CallableTool | ExternalTool, Field(discriminator="type")]
"""Any tool that the platform can run."""
