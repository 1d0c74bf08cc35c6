"""Alembic's entry: runs in the connection that `migrate.upgrade` hands over."""

from typing import Any, Literal

from alembic import context
from sqlalchemy import JSON, BigInteger

from tunesmith.store.tables import CleanText, UTCTime, metadata


def _render(kind: str, item: Any, _autogen: Any) -> str | Literal[False]:
    """Write our own column types by their names, so that a migration reads like the tables."""
    names = {UTCTime: "UTCTime()", CleanText: "sa.Text()", JSON: "Json", BigInteger: "Big"}
    return names.get(type(item), False) if kind == "type" else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
    render_item=_render,
    transactional_ddl=False,  # the caller's transaction is the transaction
)
context.run_migrations()
