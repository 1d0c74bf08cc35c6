"""The text of a CSV file: which encoding, which separator, where the rows begin."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tunesmith.csv_separators import separator_of
from tunesmith.etl.messages import Messages, Unreadable

MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
SEPARATORS = ",;\t|"
SAMPLE = 65536
CHUNK = 1 << 20


@dataclass(frozen=True)
class Layout:
    """How a CSV file is laid out."""

    separator: str
    header: list[str]
    lines_before: int
    """Lines up to the end of the header."""


def as_utf8(path: Path, copy: Path, table: str, messages: Messages) -> Path:
    """The file itself where it is UTF-8, else its text in UTF-8 at `copy`. Raises Unreadable: it is no text."""
    encoding = _encoding(path)
    if encoding == "utf-8":
        return path
    if encoding == "damaged":
        text = "the file is UTF-8 with bytes that are none; they were read as \N{REPLACEMENT CHARACTER}"
        messages.add("warning", text, table)
        return _transcoded(path, copy, "utf-8", errors="replace")
    if encoding != "cp1252":
        return _transcoded(path, copy, encoding)
    text = "the file is not UTF-8; it was read as Windows-1252. Save it as UTF-8 if letters came out wrong"
    messages.add("warning", text, table)
    try:
        return _transcoded(path, copy, encoding)
    except Unreadable:
        return _transcoded(path, copy, "latin-1")  # whose every byte is a character


def _transcoded(path: Path, copy: Path, encoding: str, errors: str = "strict") -> Path:
    try:
        with (
            path.open(encoding=encoding, errors=errors, newline="") as source,
            copy.open("w", encoding="utf-8", newline="") as target,
        ):
            while text := source.read(CHUNK):
                target.write(text)
    except UnicodeError as error:
        raise Unreadable(f"the file begins as {encoding.upper()}, but cannot be read as such ({error})") from error
    return copy


def layout_of(path: Path) -> Layout:
    """The separator that fits the first rows best, and the header. Raises Unreadable: there is nothing but blanks."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        sample = stream.read(SAMPLE)
        whole = not stream.read(1)
    lines = list(io.StringIO(sample, newline=""))
    if not whole and len(lines) > 1:
        lines.pop()  # it may be cut off
    before = 0
    told = None
    while lines and not lines[0].strip():
        before, lines = before + 1, lines[1:]
    if lines and lines[0].strip().lower().startswith("sep=") and len(lines[0].strip("\r\n")) == 5:  # Excel's own mark
        told, before, lines = lines[0][4], before + 1, lines[1:]
    if not any(line.strip() for line in lines):
        raise Unreadable("the file holds no rows, not even the columns' names")
    separator = told or separator_of(lines, SEPARATORS)
    reader = csv.reader(lines, delimiter=separator)
    header = next(row for row in reader if row)
    if not whole and reader.line_num == len(lines):
        raise Unreadable(f"the columns' names do not end within {SAMPLE:,} characters; is there a quote left open?")
    return Layout(separator, header, before + reader.line_num)


def lines_of(path: Path, skipped: int, mark: str) -> Iterator[str]:
    """The file's lines from one on, and one more at the end, which shows whether a quote was left open."""
    last = "\n"
    with path.open(encoding="utf-8-sig", newline="") as stream:
        for last in islice(stream, skipped, None):
            yield last
    if not last.endswith(("\n", "\r")):
        yield "\n"
    yield mark


def _encoding(path: Path) -> str:
    """`utf-8`, `utf-16`, `utf-16-le`, `utf-16-be`, `cp1252`, or `damaged`: UTF-8 but for some bytes."""
    with path.open("rb") as stream:
        start = stream.read(4096)
        if start.startswith(MARKS):
            return "utf-16"
        if b"\0" in start:
            return _without_mark(start)
        stream.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        found = "utf-8"
        while chunk := stream.read(CHUNK):
            if b"\0" in chunk:
                raise Unreadable("the file holds NUL bytes, as no text does")
            if found == "utf-8":
                found = _checked(decoder, chunk)
        return _checked(decoder, b"", final=True) if found == "utf-8" else found


def _checked(decoder: codecs.IncrementalDecoder, chunk: bytes, final: bool = False) -> str:
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError:
        text = chunk.decode("utf-8", "replace")
        bad = text.count("\N{REPLACEMENT CHARACTER}")
        return "damaged" if sum(not character.isascii() for character in text) > 2 * bad else "cp1252"
    return "utf-8"


def _without_mark(start: bytes) -> str:
    """UTF-16 that does not say so: every other byte of Western text is NUL."""
    for encoding, zeros in (("utf-16-le", start[1::2]), ("utf-16-be", start[0::2])):
        if zeros.count(0) > len(zeros) * 0.6:
            return encoding
    raise Unreadable("the file holds NUL bytes, as no text does")
