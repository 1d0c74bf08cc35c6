"""`run_etl`: uploaded files become the tables of a dataset, or a list of what is wrong with them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from tunesmith.data.files import write_tables
from tunesmith.errors import InvalidData
from tunesmith.etl.checks import Checked, canonical
from tunesmith.etl.csv_reader import read_csv
from tunesmith.etl.factory import EtlFactory
from tunesmith.etl.json_reader import read_json
from tunesmith.etl.keys import check_keys
from tunesmith.etl.kinds import Spelling
from tunesmith.etl.messages import HOPELESS, EtlOutcome, Hopeless, Messages, Unreadable
from tunesmith.etl.parquet_reader import read_parquet
from tunesmith.etl.schema import Schema
from tunesmith.etl.sheets import Sheet
from tunesmith.etl.staged import Staged
from tunesmith.etl.tables import Tables
from tunesmith.etl.uploads import Upload, check_contents, check_names
from tunesmith.etl.xlsx_reader import read_xlsx
from tunesmith.storage import Storage

Told = Callable[[float, str | None], None]
READ, CHECKED = 60, 80
"""Percent of a run after which everything is read, and checked."""


def run_etl(
    uploads: Sequence[Upload],
    dataset_name: str,
    schemas: Sequence[Schema],
    factory: EtlFactory | type[EtlFactory] | None,
    storage: Storage,
    files: str,
    progress: Told | None = None,
) -> EtlOutcome:
    """Read files, check them, and write their tables under the key prefix `files`, in bounded memory.

    `progress` is told percent and what is being done. Where a message is critical, nothing is written. Raises
    InvalidData: a file's name is of no format that is known; StorageUnavailable.
    """
    check_names(uploads)
    made = factory() if isinstance(factory, type) else factory or EtlFactory()
    messages = Messages()
    with tempfile.TemporaryDirectory(prefix="etl-", dir=uploads[0].path.parent) as directory:
        run = _Run(made.begin(messages), schemas, messages, Path(directory), progress or (lambda percent, text: None))
        try:
            tables = run.tables(uploads)
            if not messages.critical:
                run.progress(CHECKED, f"storing {dataset_name}")
                streams = ((table.name, *table.plain()) for table in tables)
                written, size = write_tables(storage, files, streams, {"name": dataset_name})
                return EtlOutcome(success=True, tables=tuple(written), bytes=size, messages=messages.all())
        except InvalidData as error:  # a name that cannot be stored
            messages.add("critical", error.message, error.details.get("table"), error.details.get("column"))
        finally:
            run.close()
    return EtlOutcome(success=False, messages=messages.all())


class _Run:
    def __init__(
        self, factory: EtlFactory, schemas: Sequence[Schema], messages: Messages, directory: Path, progress: Told
    ) -> None:
        self.factory, self.messages, self.directory, self.progress = factory, messages, directory, progress
        self.schemas = {schema.table: schema for schema in schemas}
        self.spelling = Spelling(factory.nulls, factory.text_nulls)
        self.loaded: list[Tables] = []
        self.incomplete: set[str] = set()
        self._files = 0

    def tables(self, uploads: Sequence[Upload]) -> list[Staged]:
        """The tables of all files, checked; what is wrong is among the messages."""
        total, done = sum(upload.path.stat().st_size for upload in uploads) or 1, 0
        staged: dict[str, Staged] = {}
        for upload in uploads:
            self.progress(READ * done / total, f"reading {upload.name}")
            size = upload.path.stat().st_size
            for table in self._read(upload, partial(self._tell_read, done, size, total)):
                if table.name in staged:
                    text = f"{upload.name} gives a table that another file gives as well; rename one"
                    self.messages.add("critical", text, table.name)
                staged[table.name] = table
            done += size
        self.progress(READ, "checking")
        if not self.messages.critical and self.factory.overrides("derive"):
            staged = self._derived(staged)
        for schema in self.schemas.values():
            if schema.required and schema.table not in staged and not self.messages.broken(schema.table):
                found = ", ".join(staged) or "no other"
                text = f"the table is missing; send a file or a sheet of this name. There is {found}"
                self.messages.add("critical", text, schema.table)
        if any(schema.keys or any(column.parent for column in schema.columns) for schema in self.schemas.values()):
            self._check_keys(list(staged.values()))
        return list(staged.values())

    def close(self) -> None:
        """Let go of what is open."""
        for tables in self.loaded:
            tables.close()

    def _tell_read(self, before: int, size: int, total: int, done: int) -> None:
        self.progress(READ * (before + min(size, done)) / total, None)

    def _read(self, upload: Upload, seen: Callable[[int], None]) -> Iterator[Staged]:
        table = self._table_name(upload.table)
        try:
            check_contents(upload)
            for sheet in self._sheets(upload, table):
                if (staged := self._stage(sheet, seen)) is not None:
                    yield staged
        except Unreadable as error:
            self.messages.unreadable(error, table)
        except Hopeless:
            self._give_up(table)

    def _sheets(self, upload: Upload, table: str) -> Iterator[Sheet]:
        match upload.format:
            case "csv":
                return read_csv(upload.path, table, self.directory, self.messages)
            case "json":
                return read_json(upload.path, table, self.directory, self.messages)
            case "xlsx":
                return read_xlsx(upload.path, table, self.messages)
            case _:
                return read_parquet(upload.path, table, self.messages)

    def _table_name(self, found: str) -> str:
        """What the factory makes of a name, and the schema's where they differ only in case."""
        name = self.factory.table_name(found)
        if name not in self.schemas:
            return next((known for known in self.schemas if known.casefold() == name.casefold()), name)
        return name

    def _stage(self, sheet: Sheet, seen: Callable[[int], None]) -> Staged | None:
        """The sheet's table, cleaned and checked; None where it has no columns, which is told."""
        sheet = replace(sheet, table=self._table_name(sheet.table))
        schema = self.schemas.get(sheet.table)
        spelling = replace(self.spelling, decimal_comma=sheet.decimal_comma)
        typed = [column for column in (schema.columns if schema else ()) if column.type is not None]
        texts = {column.name for column in typed if column.type == "string" or column.format is not None}
        declared = frozenset(column.name for column in typed)
        raw = self._new(
            sheet.table,
            spelling if sheet.texts else None,
            sheet.exact,
            frozenset(texts if sheet.texts else ()),
            declared,
        )
        raw.fill(self._renamed(sheet, schema), self.messages, seen)
        if not raw.kinds and schema is None:
            raise Unreadable("there are no columns", sheet.table)
        if self.factory.overrides("clean"):
            raw = self._filled(raw.name, self._cleaned(raw))
        return self._checked(raw, schema, spelling)

    def _checked(self, table: Staged, schema: Schema | None, spelling: Spelling) -> Staged:
        if schema is None:
            return table
        try:
            return self._filled(table.name, Checked(table, schema, spelling, self.messages).blocks(), exact=True)
        except Hopeless:
            self._give_up(table.name)
            self.incomplete.add(table.name)
            return table

    def _renamed(self, sheet: Sheet, schema: Schema | None) -> Iterator[pa.RecordBatch]:
        told: set[str] = set()
        for block in sheet.blocks:
            names = canonical(block.schema.names, schema) if schema else {}
            for found in names.keys() - told:
                self.messages.add("info", f"column {found!r} was taken as {names[found]!r}", sheet.table, names[found])
                told.add(found)
            yield block.rename_columns([names.get(name, name) for name in block.schema.names]) if names else block

    def _cleaned(self, table: Staged) -> Iterator[pa.RecordBatch]:
        from tunesmith.etl.frames import cleaned

        for block in table.numbered():
            yield cleaned(self.factory, table.name, block)

    def _derived(self, staged: dict[str, Staged]) -> dict[str, Staged]:
        from tunesmith.etl.frames import blocks_of

        tables = self._tables(list(staged.values()))
        kept = dict(staged)
        try:
            made = self.factory.derive(tables)
            for name, found in made.items():
                kept.pop(name, None)
                if found is not None:
                    table = self._filled(name, blocks_of(name, found), exact=not hasattr(found, "iloc"))
                    kept[name] = self._checked(table, self.schemas.get(name), self.spelling)
        except Unreadable as error:
            self.messages.unreadable(error, "")
        except InvalidData as error:
            self.messages.add("critical", error.message)
        except Exception as error:  # of the user's own code, whatever it is
            self.messages.add("critical", f"derive raised {type(error).__name__}: {error}")
        return kept

    def _check_keys(self, staged: list[Staged]) -> None:
        sound = [table for table in staged if table.name not in self.incomplete]
        try:
            check_keys(list(self.schemas.values()), sound, self._tables(sound), self.messages)
        except Hopeless:
            self.messages.add("critical", f"more than {HOPELESS:,} keys are wrong; the rest was not looked at")

    def _tables(self, staged: list[Staged]) -> Tables:
        self._files += 1
        directory = self.directory / f"tables-{self._files}"
        directory.mkdir()
        self.loaded.append(Tables(staged, directory))
        return self.loaded[-1]

    def _filled(self, name: str, blocks: Iterable[pa.RecordBatch], exact: bool = False) -> Staged:
        table = self._new(name, None, exact)
        table.fill(blocks, self.messages)
        return table

    def _new(
        self,
        name: str,
        spelling: Spelling | None,
        exact: bool,
        texts: frozenset[str] = frozenset(),
        declared: frozenset[str] = frozenset(),
    ) -> Staged:
        self._files += 1
        return Staged(name, self.directory / f"{self._files}.arrow", spelling, exact, texts, declared)

    def _give_up(self, table: str) -> None:
        text = f"more than {HOPELESS:,} values are wrong; the rest of the table was not looked at"
        self.messages.add("critical", text, table)
