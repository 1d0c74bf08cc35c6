"""Sessions on the wire: made, copied, renamed, listed; and what can be computed in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, model_validator

from tunesmith.domain import Time
from tunesmith.domain.session import Session
from tunesmith.schemas.base import Answer, Request

MAX_NAME = 200
"""Characters of a name, at most."""
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
"""A name that people give; a blank one is taken, so to say: a conflict."""
DisplayName = Annotated[str, Field(min_length=1, max_length=MAX_NAME, pattern=r"^[^/]*$")]
"""A session's name: no slash, as it stands in paths."""
Parallel = Annotated[int, Field(ge=1, le=1000)]
"""Scenarios at once."""


class SessionRequest(Request):
    """A session to be made."""

    display_name: DisplayName
    """What people call it; no two have the same."""
    max_parallel: Parallel | None = None
    """Scenarios that run at once, at most; one, unless the application says another number."""


class SessionCopyRequest(Request):
    """A session to be copied."""

    new_display_name: DisplayName
    """The copy's name."""


class SessionPatch(Request):
    """What may change in a session; fields that are left out stay."""

    display_name: DisplayName | None = None
    """A new name; the id stays."""
    max_parallel: Parallel | None = None
    """Scenarios that run at once, at most."""

    @model_validator(mode="after")
    def _something(self) -> SessionPatch:
        if self.display_name is None and self.max_parallel is None:
            raise ValueError("nothing is to change; send display_name or max_parallel")
        return self


class SessionEntry(Answer):
    """A session in a list."""

    id: str
    """A UUID; it stays when the session is renamed."""
    display_name: str
    """Its name, which stands for the id in every path."""

    @classmethod
    def of(cls, session: Session) -> SessionEntry:
        """The entry of a session."""
        return cls.model_construct(id=session.id, display_name=session.display_name)


class SessionAnswer(SessionEntry):
    """A session."""

    max_parallel: int
    """Scenarios that run at once, at most."""
    created_at: Time
    """When it was made."""

    @classmethod
    def of(cls, session: Session) -> SessionAnswer:
        """The answer for a session."""
        return cls.model_construct(
            id=session.id,
            display_name=session.display_name,
            max_parallel=session.max_parallel,
            created_at=session.created_at,
        )


class SessionList(Answer):
    """All sessions; there is always one."""

    sessions: tuple[SessionEntry, ...]
    """Oldest first."""
    default: str
    """The id of the one to begin with: `main`, or else the oldest."""

    @classmethod
    def of(cls, sessions: Sequence[Session], default: str) -> SessionList:
        """The answer for sessions."""
        return cls.model_construct(sessions=tuple(SessionEntry.of(session) for session in sessions), default=default)


class AlgorithmList(Answer):
    """What scenarios can compute."""

    algorithms: tuple[str, ...]
    """Their names."""


class KpiList(Answer):
    """What results are measured by."""

    kpis: tuple[str, ...]
    """Their names."""


class ParameterList(Answer):
    """The parameters of an algorithm, or the knobs of a dataset."""

    name: str
    """What they belong to."""
    parameters: tuple[Mapping[str, Any], ...]
    """A descriptor each: `name`, `type`, `required`, `value`, `default`; with some types `min`, `max`, or `choices`."""
