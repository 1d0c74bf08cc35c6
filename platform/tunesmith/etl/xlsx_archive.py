"""The ZIP archive that a workbook is: whether it may be unpacked, and what openpyxl does not tell of its sheets."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from tunesmith.etl.messages import Unreadable

MIB = 1 << 20
LARGEST_ARCHIVE = 4096 * MIB
"""Bytes that a workbook may unpack to."""
LARGEST_SHARED = 128 * MIB
"""Bytes of the texts that cells share: they are held in memory, and so is every other part but the sheets."""
LARGEST_RATIO = 200
"""How much larger than its packed form a part may be, from some size on; real sheets stay below 50."""
HARMLESS = 32 * MIB
CHUNK = 1 << 20
UNCOMPUTED = re.compile(
    rb'<c\b(?![^>]*\bt="str")(?:[^>]*?\br="([A-Z]+\d+)")?[^>]*>\s*<f\b[^>]*(?:/>|>[^<]*</f>)'
    rb"\s*(?:<v\s*/>|<v>\s*</v>)?\s*</c>"
)


@dataclass
class Peculiarities:
    """What a sheet's XML shows that its values do not."""

    merged: bool = False
    """Whether cells are merged."""
    uncomputed: list[str] = field(default_factory=list)
    """The first cells whose formula was never computed."""
    uncomputed_count: int = 0
    """How many there are."""


def check_sizes(stream: IO[bytes]) -> None:
    """Raise Unreadable where the archive is damaged, or would unpack to what nobody's workbook holds.

    It looks at the sizes that the archive declares; while it is read, `zipfile` gives no byte more than these.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise Unreadable(f"the workbook is damaged or cut off ({error})") from error
    total = sum(entry.file_size for entry in entries)
    if total > LARGEST_ARCHIVE:
        raise Unreadable(f"the workbook would unpack to {total // MIB:,} MiB; {LARGEST_ARCHIVE // MIB:,} are allowed")
    for entry in entries:
        ratio = entry.file_size / max(entry.compress_size, 1)
        if entry.file_size > HARMLESS and ratio > LARGEST_RATIO:
            raise Unreadable(f"{entry.filename} would unpack to {ratio:,.0f} times its size, as no real workbook does")
        sheet = entry.filename.startswith("xl/worksheets/")
        if not sheet and entry.filename.endswith((".xml", ".rels")) and entry.file_size > LARGEST_SHARED:
            size = f"{entry.file_size // MIB:,} MiB; {LARGEST_SHARED // MIB} are allowed"
            raise Unreadable(f"{entry.filename} would unpack to {size}. Save the sheets as .csv")


def peculiarities(archive: zipfile.ZipFile, path: str) -> Peculiarities:
    """What is peculiar about the sheet whose XML lies at `path`."""
    found = Peculiarities()
    for text in _cells(archive, path):
        found.merged = found.merged or b"<mergeCell " in text
        if b"<f" in text:
            for match in UNCOMPUTED.finditer(text):
                found.uncomputed_count += 1
                if len(found.uncomputed) < 20:
                    found.uncomputed.append((match[1] or b"").decode())
    return found


def _cells(archive: zipfile.ZipFile, path: str) -> Iterator[bytes]:
    """The XML in pieces that end where a cell does."""
    held = b""
    with archive.open(path) as stream:
        while chunk := stream.read(CHUNK):
            held += chunk
            end = held.rfind(b"</c>") + 4 if b"</c>" in held else len(held) - 32
            yield held[:end]
            held = held[end:]
    yield held
