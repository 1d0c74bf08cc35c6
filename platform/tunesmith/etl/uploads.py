"""Uploaded files: which format a name stands for, which table a file becomes, and whether the contents fit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.errors import InvalidData
from tunesmith.etl.messages import Unreadable

FORMATS = {".csv": "csv", ".json": "json", ".xlsx": "xlsx", ".parquet": "parquet"}
SIGNS = (
    (b"PK\x03\x04", "xlsx", "an Excel workbook or another ZIP archive"),
    (b"PAR1", "parquet", "a Parquet file"),
    (b"\xd0\xcf\x11\xe0", None, "a workbook of the old Excel format (.xls) or an encrypted one"),
    (b"\x1f\x8b", None, "a gzip archive"),
    (b"%PDF", None, "a PDF document"),
)
LONGEST_NAME = 200


@dataclass(frozen=True)
class Upload:
    """An uploaded file: where it lies, and what its owner calls it."""

    path: Path
    """Where it lies on this machine."""
    filename: str
    """The name it was sent with; only its last part counts."""

    @property
    def name(self) -> str:
        """The name without folders and control characters."""
        last = re.split(r"[/\\]", self.filename)[-1]
        return "".join(character for character in last if character.isprintable()).strip()

    @property
    def format(self) -> str:
        """csv, json, xlsx or parquet. Raises InvalidData: the name has another extension, or nothing before it."""
        suffix = Path(self.name).suffix.lower()
        if suffix not in FORMATS:
            raise InvalidData(
                f"{self.name or 'a file without a name'!r} is none of {', '.join(FORMATS)}", filename=self.name
            )
        return FORMATS[suffix]

    @property
    def table(self) -> str:
        """The name without its extension: the table it becomes."""
        return Path(self.name).stem.strip()[:LONGEST_NAME]


def check_names(uploads: Sequence[Upload]) -> None:
    """Raise InvalidData where there is nothing to read, or a name says of no format that is known."""
    if not uploads:
        raise InvalidData("there is no file to read; send at least one .csv, .json, .xlsx or .parquet file")
    for upload in uploads:
        if upload.format and not upload.table.strip("."):
            raise InvalidData(f"{upload.name!r} has no name before its extension", filename=upload.name)


def check_contents(upload: Upload) -> None:
    """Raise Unreadable where the first bytes are those of another format, or there are none."""
    with upload.path.open("rb") as stream:
        start = stream.read(8)
    if not start:
        raise Unreadable("the file is empty")
    for sign, known_as, description in SIGNS:
        if start.startswith(sign) and known_as != upload.format:
            remedy = f"name it .{known_as}" if known_as else "save it as .csv or .xlsx"
            raise Unreadable(f"the file is {description}, not what .{upload.format} stands for; {remedy}")
    if upload.format == "xlsx" and not start.startswith(b"PK"):
        raise Unreadable("the file is no Excel workbook (.xlsx); was it only renamed? Text belongs in .csv")
    if upload.format == "parquet" and not start.startswith(b"PAR1"):
        raise Unreadable("the file is no Parquet file: it does not begin as one")
