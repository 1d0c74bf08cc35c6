"""Where the data of a training may lie: inside the training-data directory, on S3, or bundled with scikit-learn."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

from tunesmith.errors import InvalidConfig
from tunesmith.scenarios.parameters import nearest, shown
from tunesmith.storage import meets

S3, SAMPLE = "s3://", "sample:"
SAMPLES = ("breast_cancer", "diabetes", "digits", "iris", "wine")
"""What `sample:NAME` may name."""
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def check_place(path: str, root: Path, artifacts: str, key: str = "data.train_path") -> None:
    """Raise InvalidConfig that names the key and the remedy, unless trainings may read what the path names.

    Nothing is read; whether something is there shows when the training runs. `root`: the training-data directory;
    `artifacts`: the platform's own storage, which no training reads.
    """
    if "\0" in path:
        _refuse(key, path, "it holds a NUL character, which no path does; remove it")
    if path.startswith(SAMPLE):
        name = path.removeprefix(SAMPLE)
        if name not in SAMPLES:
            known = ", ".join(SAMPLES)
            _refuse(key, path, f"there is no sample {shown(name)}{nearest(name, SAMPLES)}; there are {known}")
    elif path.startswith(S3):
        _check_object(path, artifacts, key)
    elif SCHEME.match(path):
        _refuse(key, path, "name a file of the training-data directory, s3://bucket/key, or sample:NAME")
    else:
        local_path(path, root, key)


def local_path(path: str, root: Path, key: str = "data.train_path") -> Path:
    """A path inside the training-data directory (relative ones are relative to it), its links resolved.

    Raises InvalidConfig: it leads out of there, by `..`, as an absolute path, or by a link.
    """
    try:
        inside = root.resolve()
        found = (inside / path).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, a name that is too long
        _refuse(key, path, f"it is no path that could be read ({error})")
    if not found.is_relative_to(inside):
        _refuse(
            key,
            path,
            "it leads out of the training-data directory; copy the file there and name it relative to it, "
            "or let the administrator set TUNESMITH_TRAINING_DATA",
        )
    return found


def _check_object(path: str, artifacts: str, key: str) -> None:
    """S3 services and credentials are the administrator's to set: a URL with some would send requests anywhere."""
    bucket, _, name = path.removeprefix(S3).partition("/")
    if "@" in bucket or "?" in path:
        _refuse(
            key,
            "s3://...",
            "only s3://bucket/key is taken; credentials, region and endpoint are those of the workers' environment "
            "(AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT_URL)",
        )
    if not BUCKET.fullmatch(bucket) or not name:
        _refuse(key, path, "write s3://bucket/key")
    if meets(path, artifacts):
        _refuse(
            key, path, "the platform keeps its own files there; copy the data to another bucket, or a prefix beside it"
        )


def _refuse(key: str, path: str, why: str) -> NoReturn:
    raise InvalidConfig(f"{key} is {shown(path)}: {why}", field=key, value=path[:200])
