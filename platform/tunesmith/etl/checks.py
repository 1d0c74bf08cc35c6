"""A table against its schema, block by block: columns, types, defaults, and what pandera checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import compute

from tunesmith.data.frames import from_arrow, to_frame
from tunesmith.etl.coercion import TYPES, Coercion
from tunesmith.etl.kinds import Spelling
from tunesmith.etl.messages import SHOWN, Messages, Severity, Unreadable
from tunesmith.etl.schema import Column, Schema
from tunesmith.etl.staged import ROW, Staged
from tunesmith.etl.staging import empty_block

pc: Any = compute  # its functions come into being when it is imported


def canonical(names: Sequence[str], schema: Schema) -> dict[str, str]:
    """Column as found -> as declared, where they differ only in case and spaces around."""
    found = {name.strip().casefold(): name for name in reversed(names)}
    pairs = {column.name: found.get(column.name.strip().casefold()) for column in schema.columns}
    return {name: declared for declared, name in pairs.items() if name is not None and declared not in names}


class Checked:
    """The blocks of a table with declared columns first, in their types; everything wrong is told."""

    def __init__(self, table: Staged, schema: Schema, spelling: Spelling, messages: Messages) -> None:
        """Raises Unreadable: a default is none of its column's type."""
        self.table, self.schema, self.messages = table, schema, messages
        self.names = [name for name in table.kinds if name != ROW]
        self.present = [column for column in schema.columns if self._is_there(column)]
        self.coercions = {column.name: Coercion(column, spelling) for column in self.present}
        self.others = self._others()
        self.defaults = {column.name: self._default(column) for column in self.present}
        self.filled = dict.fromkeys(self.defaults, 0)
        self._pandera: Any = None

    def blocks(self) -> Iterator[pa.RecordBatch]:
        """Every row, with its number. Raises Hopeless."""
        for block in self.table.numbered():
            yield self._checked(block)
        for name, count in self.filled.items():
            if count:
                text = f"{count:,} cells without a value got the default {self.schema_column(name).default!r}"
                self.messages.add("info", text, self.table.name, name)
        if not self.table.rows:
            yield self._empty()

    def schema_column(self, name: str) -> Column:
        """The declaration of a column that is there."""
        return next(column for column in self.present if column.name == name)

    def _is_there(self, column: Column) -> bool:
        if column.name in self.names:
            return True
        if column.default is None and column.required and not (self.names == [] and not self.table.rows):
            found = ", ".join(self.names[:20]) + (", ..." if len(self.names) > 20 else "")
            text = f"the column is missing; the table has {found}"
            self.messages.add("critical", text, self.table.name, column.name)
        return column.default is not None or not self.names

    def _others(self) -> list[str]:
        declared = {column.name for column in self.schema.columns}
        others = [name for name in self.names if name not in declared]
        if self.schema.others == "keep":
            return others
        for name in others:
            refused = self.schema.others == "refuse"
            text = "the schema has no such column" + ("" if refused else "; it was left out")
            self.messages.add("critical" if refused else "info", text, self.table.name, name)
        return []

    def _default(self, column: Column) -> Any:
        if column.default is None:
            return None
        try:
            return self.coercions[column.name].parse(column.default)
        except ValueError:
            text = f"the schema's default {column.default!r} is not of type {column.type}"
            raise Unreadable(text, self.table.name, column.name) from None

    def _empty(self) -> pa.RecordBatch:
        """No rows, where the file did not even name columns."""
        fields = [(c.name, self.coercions[c.name].target(TYPES.get(str(c.type), pa.string()))) for c in self.present]
        kept = [(name, self.table.schema.field(name).type) for name in self.others]
        return empty_block(pa.schema([*fields, *kept, (ROW, pa.int64())]))

    def _checked(self, block: pa.RecordBatch) -> pa.RecordBatch:
        rows = block.column(ROW)
        columns: dict[str, pa.Array] = {}
        sound = None
        for column in self.present:
            values = block.column(column.name) if column.name in self.names else pa.nulls(block.num_rows)
            found, bad = self._coerced(column, values)
            if bad is not None:
                self._tell_wrong(column, values, bad, rows)
                sound = pc.invert(bad) if sound is None else pc.and_(sound, pc.invert(bad))
            columns[column.name] = self._with_default(column, found)
        declared = pa.record_batch(columns) if columns else None
        if declared is not None:
            self._validate(*((declared, rows) if sound is None else (declared.filter(sound), rows.filter(sound))))
        return pa.record_batch({**columns, **{name: block.column(name) for name in self.others}, ROW: rows})

    def _coerced(self, column: Column, values: pa.Array) -> tuple[pa.Array, pa.Array | None]:
        coercion = self.coercions[column.name]
        if pa.types.is_null(values.type):
            return pa.nulls(len(values), TYPES.get(str(column.type)) or coercion.target(pa.string())), None
        return coercion.apply(values)

    def _with_default(self, column: Column, values: pa.Array) -> pa.Array:
        default = self.defaults[column.name]
        if default is None or not values.null_count:
            return values
        self.filled[column.name] += values.null_count
        return pc.fill_null(values, pa.scalar(default, values.type))

    def _tell_wrong(self, column: Column, values: pa.Array, bad: pa.Array, rows: pa.Array) -> None:
        first = pa.table({"value": values, "row": rows}).filter(bad).slice(0, SHOWN).to_pylist()
        found = [(each["row"], self.coercions[column.name].wrong(each["value"])) for each in first]
        self.messages.add_rows(_severity(column), found, pc.sum(bad).as_py(), "type", self.table.name, column.name)

    def _validate(self, block: pa.RecordBatch, rows: pa.Array) -> None:
        """What pandera finds in rows whose values have their types."""
        from pandera.errors import SchemaErrors

        frame = to_frame(self.table.name, from_arrow(self.table.name, pa.Table.from_batches([block])))
        try:
            self._pandera_schema().validate(frame, lazy=True)
        except SchemaErrors as errors:
            cases = errors.failure_cases
            of_rows = cases["schema_context"] == "DataFrameSchema"
            for (column, check), found in cases[~of_rows].groupby(["column", "check"], sort=False, dropna=False):
                self._tell_failed(self.schema.column(str(column)), str(check), found, rows)
            for check, found in cases[of_rows].groupby("check", sort=False):
                self._tell_failed(None, str(check), found, rows)

    def _tell_failed(self, column: Column | None, check: str, cases: Any, rows: pa.Array) -> None:
        places = cases["index"].dropna().astype("int64").drop_duplicates().sort_values()
        found: list[tuple[int | None, str]] = []
        for case, place in zip(cases.loc[places.index[:SHOWN], "failure_case"], places, strict=False):
            text = f"{case!r} breaks the check {check}" if column else f"the row breaks the check {check}"
            if check == "not_nullable":
                text = "there is no value, but the column must have one"
            found.append((rows[place].as_py(), text))
        if not found:  # the check says no to the whole block, or raised
            found = [(None, f"the check {check} fails: {cases['failure_case'].iloc[0]}")]
        severity: Severity = _severity(column) if column else "critical"
        name = column.name if column else None
        self.messages.add_rows(severity, found, max(len(places), 1), check, self.table.name, name)

    def _pandera_schema(self) -> Any:
        if self._pandera is None:
            import pandera.pandas as pandera

            def checks(given: Sequence[Any]) -> list[Any]:
                return [
                    each if isinstance(each, pandera.Check) else pandera.Check(each, name=_name(each)) for each in given
                ]

            columns = {
                column.name: pandera.Column(nullable=column.may_be_null, checks=checks(column.checks))
                for column in self.present
            }
            self._pandera = pandera.DataFrameSchema(columns, checks=checks(self.schema.checks))
        return self._pandera


def _severity(column: Column) -> Severity:
    return "critical" if column.primary_key else column.severity


def _name(check: Any) -> str:
    return getattr(check, "__name__", type(check).__name__)
