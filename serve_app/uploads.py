"""Bodies that are too large for memory, streamed to files: the parts of a form, or one document."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from fastapi import Request
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from serve_app.strict import WORKERS
from tunesmith.errors import InvalidBody

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_PARTS = 200
"""Parts of a form, at most."""
MAX_FIELD = 100_000
"""Bytes of a form's field, at most; a file has no limit of its own."""
LOCK = "lock"
"""The file in the folder of an upload that is locked as long as the upload is under way."""


@dataclass(frozen=True)
class FormFile:
    """A file of a form."""

    field: str
    """The field that it came under."""
    name: str
    """What the sender calls it, without any folder."""
    path: Path
    """Where it lies."""


@dataclass
class Form:
    """A form: its fields, its files, and the SHA-256 of both, whatever the boundary was."""

    fields: dict[str, str] = field(default_factory=dict)
    """Field -> text."""
    files: list[FormFile] = field(default_factory=list)
    """In the order in which they came."""
    digest: str = ""
    """The same for the same form."""


@contextmanager
def room(data_dir: Path) -> Iterator[Path]:
    """A folder for one upload, gone afterwards; what processes that died left in theirs goes too."""
    remove_forgotten(data_dir)
    uploads = data_dir / "uploads"
    uploads.mkdir(parents=True, exist_ok=True)
    while True:
        with tempfile.TemporaryDirectory(dir=uploads, ignore_cleanup_errors=True) as name:
            folder = Path(name)
            with _locked(folder) as ours:
                if ours:
                    yield folder
                    return


def remove_forgotten(data_dir: Path) -> None:
    """Remove the folders of uploads whose process died, on whatever machine shares the directory's locks."""
    for folder in (data_dir / "uploads").glob("*/"):
        with suppress(OSError), _locked(folder) as ours:
            if ours:
                shutil.rmtree(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold the lock of an upload's folder; whether it was free, and the folder is still there. Raises OSError."""
    with ExitStack() as held:
        try:
            lock = held.enter_context((folder / LOCK).open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = os.fstat(lock.fileno()).st_nlink > 0  # else somebody removed it before it was locked
        except (FileNotFoundError, BlockingIOError):
            ours = False
        yield ours


async def receive_form(request: Request, folder: Path, accept: Callable[[str], None]) -> Form:
    """The multipart form of a request, its files in the folder.

    Args:
        request: whose body nobody has read.
        folder: where files go, under names of our own.
        accept: raises when a file of that name is not welcome, before its content is read.

    Raises:
        InvalidBody: it is no such form, or has too many parts, or a field too large.
        PayloadTooLarge: it is larger than the limit.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise InvalidBody("send a form, with the header Content-Type: multipart/form-data; boundary=...")
    receiver = _Receiver(folder, accept)
    loop = asyncio.get_running_loop()
    try:
        parser = MultipartParser(options[b"boundary"], receiver.callbacks)
        async for chunk in request.stream():
            await loop.run_in_executor(WORKERS, parser.write, chunk)
        parser.finalize()
    except FormParserError as error:
        raise InvalidBody(f"the body is no valid form: {error}") from error
    finally:
        receiver.close()
    return receiver.form()


async def receive_document(request: Request, path: Path) -> str:
    """Write the body of a request to a file, and give its SHA-256. Raises PayloadTooLarge."""
    digest, loop = hashlib.sha256(), asyncio.get_running_loop()

    def keep(chunk: bytes) -> None:
        digest.update(chunk)
        out.write(chunk)

    with path.open("wb") as out:
        async for chunk in request.stream():
            await loop.run_in_executor(WORKERS, keep, chunk)
    return digest.hexdigest()


class _Receiver:
    """The parser's callbacks: collects fields, and writes files."""

    def __init__(self, folder: Path, accept: Callable[[str], None]) -> None:
        self._folder, self._accept = folder, accept
        self._form, self._digest, self._parts = Form(), hashlib.sha256(), 0
        self._header, self._value, self._disposition = b"", b"", b""
        self._name, self._text = "", bytearray()
        self._out: BinaryIO | None = None
        self.callbacks: MultipartCallbacks = {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
        }

    def form(self) -> Form:
        """What came."""
        self._form.digest = self._digest.hexdigest()
        return self._form

    def close(self) -> None:
        """Let go of a file that was cut off."""
        if self._out is not None:
            self._out.close()
            self._out = None

    def _part_begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise InvalidBody(f"the form has more than {MAX_PARTS} parts; send fewer files at once")
        self._header, self._value, self._disposition, self._text = b"", b"", b"", bytearray()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise InvalidBody("a part of the form has no name")
        self._name = _text(options[b"name"])
        if b"filename" not in options:
            self._digest.update(f"\0field\0{self._name}\0".encode())
            return
        name = _text(options[b"filename"]).replace("\\", "/").rpartition("/")[2]
        self._accept(name)
        path = self._folder / str(len(self._form.files))
        self._out = path.open("wb")
        self._digest.update(f"\0file\0{self._name}\0{name}\0".encode())
        self._form.files.append(FormFile(self._name, name, path))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        piece = data[start:end]
        self._digest.update(piece)
        if self._out is not None:
            self._out.write(piece)
            return
        self._text += piece
        if len(self._text) > MAX_FIELD:
            raise InvalidBody(f"{self._name}: longer than {MAX_FIELD:,} bytes; send a file instead")

    def _part_end(self) -> None:
        if self._out is not None:
            self.close()
        else:
            self._form.fields[self._name] = _text(bytes(self._text))


def _text(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidBody(f"the form holds a name or a text that is no UTF-8: {raw[:50]!r}") from error
    if "\0" in text:
        raise InvalidBody("text cannot hold the NUL character; remove it")
    return text
