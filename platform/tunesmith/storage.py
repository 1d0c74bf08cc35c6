"""Where logs and artefacts lie: a directory or an `s3://` prefix, behind pyarrow.fs; keys are relative paths."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qs, unquote, urlsplit

from tunesmith.errors import StorageUnavailable

CHUNK = 65536
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
"""What writing ends with where there is no more room, or the disk is broken."""


class Storage:
    """A root that keys are read from and written to."""

    def __init__(self, root: str) -> None:
        self.root = root

    @property
    def local(self) -> Path | None:
        """The root as a directory of this machine, if it is one."""
        return None if "://" in self.root else Path(self.root)

    def read(self, key: str, offset: int = 0) -> Iterator[bytes]:
        """The bytes under a key from an offset on; nothing when there is no such key. Raises StorageUnavailable."""
        with translated():
            if self.local is not None:
                yield from _read_file(self.local / key, offset)
                return
            filesystem, prefix = self._filesystem()
            try:
                with filesystem.open_input_file(f"{prefix}/{key}") as stream:
                    stream.seek(min(offset, stream.size()))
                    while chunk := stream.read(CHUNK):
                        yield chunk
            except FileNotFoundError:
                return

    def upload(self, source: Path, key: str) -> None:
        """Copy a file to a key; on a directory it appears whole or not at all. Raises StorageUnavailable.

        To S3 goes what it holds now: what is appended meanwhile does not.
        """
        with translated():
            if self.local is not None:
                target = self.local / key
                target.parent.mkdir(parents=True, exist_ok=True)
                partial = target.with_name(target.name + ".partial")
                partial.write_bytes(source.read_bytes())
                partial.replace(target)
                return
            filesystem, prefix = self._filesystem()
            with source.open("rb") as data, filesystem.open_output_stream(f"{prefix}/{key}") as stream:
                left = os.fstat(data.fileno()).st_size
                while chunk := data.read(min(CHUNK, left)):
                    stream.write(chunk)
                    left -= len(chunk)

    @contextmanager
    def open_output(self, key: str) -> Iterator[IO[bytes]]:
        """A file to write, which is under the key as a whole when the block is left, and not at all when that raises.

        A process killed in between leaves nothing under the key. Raises StorageUnavailable.
        """
        try:
            with _whole_file(self.local / key) if self.local is not None else self._whole_object(key) as stream:
                yield stream
        except OSError as error:
            if error.errno not in FULL:
                raise  # what the block does besides writing
            raise StorageUnavailable(f"{StorageUnavailable.__doc__} ({error})") from error

    @contextmanager
    def _whole_object(self, key: str) -> Iterator[IO[bytes]]:
        """Sent when it is complete, and there when all of it has arrived."""
        with tempfile.TemporaryFile() as stream:  # without a name: nothing of it outlives this process
            yield stream
            stream.seek(0)
            with translated():
                filesystem, prefix = self._filesystem()
                with filesystem.open_output_stream(f"{prefix}/{key}") as target:
                    shutil.copyfileobj(stream, target, 16 * CHUNK)

    def open_input(self, key: str) -> Any:
        """The file under a key, seekable, to be closed. Raises StorageUnavailable, also when there is none."""
        from pyarrow import OSFile

        with translated():
            if self.local is not None:
                return OSFile(str(self.local / key))
            filesystem, prefix = self._filesystem()
            return filesystem.open_input_file(f"{prefix}/{key}")

    def write(self, key: str, data: bytes) -> None:
        """Write a small file under a key. Raises StorageUnavailable."""
        with translated():
            if self.local is not None:
                target = self.local / key
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
                return
            filesystem, prefix = self._filesystem()
            with filesystem.open_output_stream(f"{prefix}/{key}") as stream:
                stream.write(data)

    def copy(self, key: str, other: str) -> None:
        """Copy what lies under a key to another one, within the storage. Raises StorageUnavailable."""
        with translated():
            if self.local is not None:
                (self.local / other).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.local / key, self.local / other)
                return
            filesystem, prefix = self._filesystem()
            filesystem.copy_file(f"{prefix}/{key}", f"{prefix}/{other}")

    def remove(self, key: str) -> None:
        """Take away what lies under a key, if anything does. Raises StorageUnavailable."""
        with translated():
            if self.local is not None:
                (self.local / key).unlink(missing_ok=True)
                return
            filesystem, prefix = self._filesystem()
            _delete_object(_client(self.root, filesystem.region), f"{prefix}/{key}")

    def remove_all(self, prefix: str) -> None:
        """Take away everything below a key prefix, if there is anything. Raises StorageUnavailable."""
        with translated(), suppress(FileNotFoundError):
            if self.local is not None:
                shutil.rmtree(self.local / prefix)
                return
            filesystem, root = self._filesystem()
            filesystem.delete_dir(f"{root}/{prefix}")

    def check(self) -> None:
        """Raise StorageUnavailable unless something can be written."""
        with translated():
            if self.local is not None:
                self.local.mkdir(parents=True, exist_ok=True)
                probe = self.local / ".probe"
                probe.write_bytes(b"ok")
                probe.unlink()
                return
            filesystem, prefix = self._filesystem()
            with filesystem.open_output_stream(f"{prefix}/.probe") as stream:
                stream.write(b"ok")
        self.remove(".probe")

    def _filesystem(self) -> tuple[Any, str]:
        from pyarrow import fs

        filesystem, prefix = fs.FileSystem.from_uri(self.root)
        return filesystem, prefix.rstrip("/")


def experiment_key(experiment_id: int) -> str:
    """The key prefix of everything that an experiment's trials leave."""
    return f"experiments/{experiment_id}"


def trial_key(experiment_id: int, number: int) -> str:
    """The key prefix of a trial's log and files."""
    return f"{experiment_key(experiment_id)}/trials/{number // 1000:04d}/{number}"


def run_key(experiment_id: int, run: int | str) -> str:
    """The key prefix of what the attempts of one execution share."""
    return f"experiments/{experiment_id}/runs/{run}"


def meets(url: str, artifacts: str) -> bool:
    """Whether an `s3://` URL is at, above or below the platform's own storage; credentials and options do not count.

    `.` and `..` meet anything: some services follow them.
    """
    if not (url.startswith("s3://") and artifacts.startswith("s3://")):
        return False
    asked, own = _place(url), _segments(unquote(_place(artifacts)))
    for path in map(_segments, (asked, unquote(asked))):  # pyarrow decodes URLs, and not paths
        if not {".", ".."}.isdisjoint(path) or all(a == b for a, b in zip(path, own, strict=False)):
            return True
    return False


def _place(url: str) -> str:
    """`bucket/key` of an `s3://` URL, as pyarrow takes it apart: without user, port, options and fragment."""
    authority, _, key = re.split(r"[?#]", url.removeprefix("s3://"))[0].partition("/")
    bucket = re.sub(r":\d*$", "", authority.rpartition("@")[2])
    return f"{bucket}/{key}"


def _segments(place: str) -> list[str]:
    bucket, *key = [part for part in place.split("/") if part] or [""]
    return [bucket.lower(), *key]


@cache
def _client(root: str, region: str) -> Any:
    """A client of the S3 service that a URL in pyarrow's form is about."""
    from boto3.session import Session
    from botocore.config import Config

    url = urlsplit(root)
    options = {name: values[-1] for name, values in parse_qs(url.query).items()}
    address = options.get("endpoint_override")
    by_path = address is not None and options.get("force_virtual_addressing") not in ("true", "1")
    return Session().client(
        "s3",
        region_name=region or None,
        endpoint_url=f"{options.get('scheme', 'https')}://{address}" if address is not None else None,
        aws_access_key_id=unquote(url.username) if url.username else None,
        aws_secret_access_key=unquote(url.password) if url.password else None,
        config=Config(s3={"addressing_style": "path" if by_path else "auto"}),
    )


def _delete_object(client: Any, path: str) -> None:
    """Delete `bucket/key`; pyarrow would put an empty object in the place of its directory."""
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, key = path.partition("/")
    try:
        client.delete_object(Bucket=bucket, Key=key)
    except (BotoCoreError, ClientError) as error:
        raise OSError(str(error)) from error


def _read_file(path: Path, offset: int) -> Iterator[bytes]:
    try:
        # No link: a trial may put one in the place of its log, to what only the platform may read.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW)) as stream:
            stream.seek(offset)
            while chunk := stream.read(CHUNK):
                yield chunk
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise


@contextmanager
def _whole_file(target: Path) -> Iterator[IO[bytes]]:
    """Written under another name, on the disk before it has its own."""
    partial = target.with_name(f"{target.name}.{secrets.token_hex(4)}.partial")
    with translated():
        target.parent.mkdir(parents=True, exist_ok=True)
        stream = partial.open("wb")
    try:
        with stream:
            yield stream
            with translated():
                stream.flush()
                os.fsync(stream.fileno())
        with translated():
            partial.replace(target)
            for folder in (target.parent, target.parent.parent):  # which may be as new as the file
                _sync_folder(folder)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Put the names of its files on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def translated() -> Iterator[None]:
    """What fails in the block is StorageUnavailable; for what reads or writes the storage, and nothing else."""
    try:
        yield
    except (OSError, ValueError) as error:  # pyarrow's word for a scheme that it does not know is a ValueError
        raise StorageUnavailable(f"{StorageUnavailable.__doc__} ({error})") from error
