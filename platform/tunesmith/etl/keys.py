"""Uniqueness, primary and foreign keys, over whole tables."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.etl.messages import SHOWN, Messages, Severity
from tunesmith.etl.schema import Column, Schema
from tunesmith.etl.staged import ROW, Staged
from tunesmith.etl.tables import Tables, quoted


def check_keys(schemas: Sequence[Schema], staged: Sequence[Staged], tables: Tables, messages: Messages) -> None:
    """Tell of values that are there twice, and of those that are missing in the table that they point to."""
    known = {table.name: table for table in staged}
    for schema in schemas:
        if schema.table not in known:
            continue
        for key in schema.keys:
            if all(name in known[schema.table].kinds for name in key):
                _check_unique(schema, key, tables, messages)
        for column in schema.columns:
            if column.parent and column.name in known[schema.table].kinds:
                _check_parent(schema, column, column.parent, known, tables, messages)


def _check_unique(schema: Schema, key: tuple[str, ...], tables: Tables, messages: Messages) -> None:
    rows = tables.load(schema.table, [*key, ROW])
    names = ", ".join(map(quoted, key))
    present = " and ".join(f"{quoted(name)} is not null" for name in key)
    twice = f"""with twice as (
        select {names}, min({ROW}) as first, count(*) - 1 as more from {rows} where {present}
        group by {names} having count(*) > 1)"""  # nosec B608  # every name quoted
    database = tables.database
    ((total,),) = database.execute(f"{twice} select coalesce(sum(more), 0) from twice").fetchall()  # nosec B608
    if not total:
        return
    first = database.execute(
        f"""{twice}, few as (select * from twice order by first limit {SHOWN})
        select {", ".join(f"r.{quoted(name)}" for name in key)}, few.first, r.{ROW}
        from {rows} r join few using ({names}) where r.{ROW} > few.first order by r.{ROW} limit {SHOWN}"""  # nosec B608  # the same
    ).fetchall()
    word = "primary key" if key == schema.keys[0] and _is_primary(schema, key) else "value"
    found = [(row, f"{word} {_shown(values)} stands in row {earlier} already") for *values, earlier, row in first]
    if not found:  # the rows' numbers were given up by a `clean` that made a new index
        found = [(None, f"{int(total):,} rows repeat a {word}")]
        total = 1
    column = key[0] if len(key) == 1 else None
    severity = _severity(schema, key)
    text = [(row, line if column else f"columns {', '.join(key)}: {line}") for row, line in found]
    messages.add_rows(severity, text, int(total), f"unique {key}", schema.table, column)


def _check_parent(
    schema: Schema,
    column: Column,
    parent: tuple[str, str],
    known: dict[str, Staged],
    tables: Tables,
    messages: Messages,
) -> None:
    table, target = parent
    if table not in known or target not in known[table].kinds:
        if not messages.broken(table):
            text = f"the values should stand in {column.foreign_key}, which is not there"
            messages.add(column.severity, text, schema.table, column.name)
        return
    children, parents = tables.load(schema.table, [column.name, ROW]), tables.load(table, [target])
    here, there = f"c.{quoted(column.name)}", f"p.{quoted(target)}"
    types = known[schema.table].schema.field(column.name).type, known[table].schema.field(target).type
    if types[0] != types[1]:  # else 7 and 7.0 would differ from '7' by an error of conversion
        here, there = f"cast({here} as varchar)", f"cast({there} as varchar)"
    lost = f"from {children} c anti join {parents} p on {here} = {there} where c.{quoted(column.name)} is not null"
    database = tables.database
    ((total,),) = database.execute(f"select count(*) {lost}").fetchall()
    if not total:
        return
    first = database.execute(f"select c.{ROW}, c.{quoted(column.name)} {lost} order by 1 limit {SHOWN}").fetchall()
    found = [(row, f"{_shown([value])} is not among the values of {column.foreign_key}") for row, value in first]
    messages.add_rows(column.severity, found, total, "foreign key", schema.table, column.name)


def _is_primary(schema: Schema, key: tuple[str, ...]) -> bool:
    return all((column := schema.column(name)) is not None and column.primary_key for name in key)


def _severity(schema: Schema, key: tuple[str, ...]) -> Severity:
    column = schema.column(key[0])
    return column.severity if column and len(key) == 1 and not column.primary_key else "critical"


def _shown(values: Sequence[object]) -> str:
    text = ", ".join(f"'{value}'" if isinstance(value, str) else str(value) for value in values)
    return text if len(text) <= 80 else f"{text[:77]}..."
