"""`EtlFactory`: what users override where their files need more than reading and checking."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from tunesmith.etl.messages import Messages, Severity

if TYPE_CHECKING:
    import pandas as pd

    from tunesmith.etl.tables import Tables


class EtlFactory:
    """How uploaded files become tables. Override what differs; every method has a default that changes nothing.

    An instance of it is used for one upload; methods may call `report`, and raise InvalidData to store nothing.
    """

    nulls: frozenset[str] = frozenset(
        {"NA", "N/A", "n/a", "#N/A", "na", "nan", "NaN", "NAN", "null", "NULL", "Null", "none", "None", "NONE"}
        | {"-", "--", "?", ".", "<NA>", "#NA", "nil", "NIL"}
    )
    """Texts that mean "no value" in columns of numbers, booleans and dates; an empty cell always does."""
    text_nulls: frozenset[str] = frozenset({"null", "NULL", "NaN", "nan", "#N/A", "<NA>"})
    """Texts that mean "no value" in columns of text, where NA may be Namibia and `-` a name."""

    def table_name(self, name: str) -> str:
        """The table that a file (its stem) or a sheet becomes."""
        return name

    def clean(self, table: str, batch: pd.DataFrame) -> pd.DataFrame:
        """A block of a table's rows as they were read, before they are checked; give back what shall be kept of it.

        Its index holds the rows' numbers (from 1): keep it, and messages about what stays can name rows. It sees some
        ten thousand rows at once; every block must come out with the same columns.
        """
        return batch

    def derive(self, tables: Tables) -> Mapping[str, Any]:
        """More tables made from those that were read: name -> DataFrame, Arrow table, or `tables.sql("select ...")`.

        A name that is there already is replaced; None takes a table away. What is made is checked as what is read.
        """
        return {}

    def report(
        self,
        severity: Severity,
        message: str,
        table: str | None = None,
        column: str | None = None,
        row: int | None = None,
    ) -> None:
        """Add a message to the answer; a critical one stores nothing."""
        self._messages.add(severity, message, table, column, row, kind=None)

    _messages: Messages = Messages()

    def begin(self, messages: Messages) -> Self:
        """A copy for one upload, which reports into `messages`."""
        begun = copy.copy(self)
        begun._messages = messages
        return begun

    def overrides(self, method: str) -> bool:
        """Whether a subclass has its own version of a method."""
        return getattr(type(self), method) is not getattr(EtlFactory, method)
