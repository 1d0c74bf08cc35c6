"""The files that a path of a configuration stands for: of the training-data directory, or on S3."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from pyarrow import fs

from tuners.automl.data.csv_file import CsvPart
from tuners.automl.data.parquet_file import ParquetPart
from tuners.automl.data.part import Part
from tuners.automl.data.problems import reading
from tuners.automl.data.samples import sample
from tunesmith.automl.csv_layout import HEAD
from tunesmith.automl.places import S3, SAMPLE, check_place, local_path
from tunesmith.automl.problems import invalid
from tunesmith.errors import InvalidConfig

CSV, PARQUET = (".csv", ".tsv", ".txt"), (".parquet", ".pq")
MAGIC = b"PAR1"
IMAGES = (".png",)


@dataclass(frozen=True)
class File:
    """A file to read."""

    name: str
    """What people know it as."""
    filesystem: Any
    path: str
    """Where it lies there."""
    size: int
    """In bytes."""

    def open(self) -> Any:
        """Its contents, seekable, to be closed."""
        return self.filesystem.open_input_file(self.path)


def parts_at(path: str, root: Path, artifacts: str, key: str) -> list[Part]:
    """The files of the table that a path stands for, in order; `key`: of the configuration, where it comes from.

    Raises InvalidConfig: it leads where trainings may not read; InvalidData.
    """
    check_place(path, root, artifacts, key)
    if path.startswith(SAMPLE):
        return [sample(path.removeprefix(SAMPLE))]
    files = _objects(path) if path.startswith(S3) else _local_files(path, root, key)
    return [_opened(file) for file in files]


def images_at(path: str, root: Path, artifacts: str, key: str) -> list[tuple[Path, str]]:
    """The images `{path}/{class}/{file}.png` with their classes, in order; none: it is no such folder.

    Raises InvalidConfig, as `parts_at` does.
    """
    check_place(path, root, artifacts, key)
    if path.startswith((SAMPLE, S3)) or not (folder := local_path(path, root, key)).is_dir():
        return []
    found = sorted(file for file in folder.glob("*/*") if file.suffix.lower() in IMAGES and _is_shown(file))
    return [(_inside(file, root, path, key), file.parent.name) for file in found]


def _local_files(path: str, root: Path, key: str) -> list[File]:
    found, filesystem = local_path(path, root, key), fs.LocalFileSystem()
    with reading(path):
        if not found.exists():
            problem = f"there is no such file in the training-data directory; what is there: {_listed(root.resolve())}"
            raise invalid(path, problem)
        if not found.is_dir():
            return [File(path, filesystem, str(found), found.stat().st_size)]
        entries = sorted(entry for entry in found.iterdir() if entry.is_file() and _is_table(entry))
        inside = [_inside(entry, root, path, key) for entry in entries]
        files = [
            File(f"{path.rstrip('/')}/{entry.name}", filesystem, str(place), place.stat().st_size)
            for entry, place in zip(entries, inside, strict=True)
        ]
    return _some(path, files)


def _objects(url: str) -> list[File]:
    place = url.removeprefix(S3)
    with reading(url):
        filesystem, _ = fs.FileSystem.from_uri(f"{S3}{place.partition('/')[0]}/")
        info = filesystem.get_file_info(place.rstrip("/"))
        if info.type == fs.FileType.NotFound:
            raise invalid(url, "there is no such object; check bucket and key (upper and lower case count)")
        if info.type == fs.FileType.File:
            return [File(url, filesystem, info.path, info.size)]
        found = filesystem.get_file_info(fs.FileSelector(info.path))
    entries = sorted((each for each in found if each.type == fs.FileType.File), key=lambda each: each.path)
    tables = [each for each in entries if _is_table(PurePosixPath(each.path))]
    return _some(url, [File(S3 + each.path, filesystem, each.path, each.size) for each in tables])


def _some(path: str, files: list[File]) -> list[File]:
    if not files:
        known = ", ".join((*CSV, *PARQUET))
        remedy = f"images for the template vision lie in {path.rstrip('/')}/CLASS/NAME.png"
        raise invalid(path, f"the directory has no file that ends with {known}; {remedy}")
    return files


def _opened(file: File) -> Part:
    """A file, as what it holds."""
    with reading(file.name):
        with file.open() as stream:
            head = stream.read(HEAD)
        if not head:
            raise invalid(file.name, "the file is empty")
        if head.startswith(MAGIC):
            return ParquetPart(file.name, file.open)
    suffix = PurePosixPath(file.path).suffix.lower()
    if suffix in PARQUET:
        raise invalid(file.name, "it is no Parquet file, although its name says so")
    if suffix and suffix not in CSV:
        raise invalid(file.name, "only CSV and Parquet are read; save it as one of these (.csv, .parquet), unpacked")
    return CsvPart(file.name, file.open, file.size, head)


def _inside(entry: Path, root: Path, path: str, key: str) -> Path:
    """Where a file of a directory lies. Raises InvalidData: it is a link that leads out."""
    try:
        return local_path(str(entry), root, key)
    except InvalidConfig:
        problem = "it is a link that leads out of the training-data directory; copy the file there"
        raise invalid(f"{path.rstrip('/')}/{entry.name}", problem) from None


def _is_table(entry: PurePath) -> bool:
    return entry.suffix.lower() in (*CSV, *PARQUET) and _is_shown(entry)


def _is_shown(entry: PurePath) -> bool:
    return not entry.name.startswith((".", "_"))


def _listed(root: Path, most: int = 10) -> str:
    """The names of a directory's entries, as messages show them."""
    if not root.is_dir():
        return "nothing, as the directory is not there yet"
    names: Iterable[str] = sorted(entry.name for entry in root.iterdir() if _is_shown(entry))
    shown = [*names][: most + 1]
    return ", ".join(shown[:most]) + (", ..." if len(shown) > most else "") if shown else "nothing"
