"""The audit log, as it is shown."""

from __future__ import annotations

from pydantic import ConfigDict

from tunesmith.domain.audit import AuditRecord
from tunesmith.schemas.base import Answer


class AuditAnswer(AuditRecord):
    """A record of the audit log."""

    model_config = ConfigDict(extra="ignore")

    @classmethod
    def of(cls, record: AuditRecord) -> AuditAnswer:
        """The answer that shows a record."""
        return cls.model_construct(**dict(record))


class AuditPage(Answer):
    """A page of the audit log."""

    records: tuple[AuditAnswer, ...]
    """Newest first."""
    next_cursor: str | None
    """Pass it as `cursor` for the next page; null: there is none."""
