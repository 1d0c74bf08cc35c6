"""A trained model's files: the model itself, and `model.json`, which says everything about it and is written last."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from uuid import uuid4

from pydantic import ValidationError

from tunesmith import __version__
from tunesmith.automl import Config, Facts, Predictor, Template, Trained
from tunesmith.domain.value import finite_only, utcnow
from tunesmith.errors import ModelUnusable, TunesmithError
from tunesmith.plugins import Known
from tunesmith.storage import Storage, translated

FACTS = "model.json"
SUFFIX = re.compile(r"(?!json$)[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")
LIBRARIES: Mapping[str, str] = {
    "catboost": "catboost",
    "lightgbm": "lightgbm",
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "pandas": "pandas",
    "scikit-learn": "sklearn",
    "scipy": "scipy",
    "skops": "skops",
    "tensorflow": "tensorflow",
    "torch": "torch",
    "xgboost-cpu": "xgboost",
}
"""Distribution -> module, of what a template may have used without saying so."""
CACHE_BYTES = 4 * 1024**3
"""Bytes of the copies of models that a node keeps, where the storage is elsewhere."""


def write(directory: Path, template: type[Template], plugin: str, config: Config, trained: Trained) -> Facts:
    """Write a trained model into a directory: `model.<suffix>`, then `model.json`, each whole and on the disk.

    Raises ValueError when its suffix makes no name of a file, and whatever the template's `write` does.
    """
    if not SUFFIX.fullmatch(trained.suffix):
        raise ValueError(f"a model's file cannot end with {trained.suffix!r}; give a suffix such as skops or onnx")
    (directory / FACTS).unlink(missing_ok=True)  # an earlier attempt's, about another file
    file = directory / f"model.{trained.suffix}"
    trained.write(file)
    _sync(file)
    facts = _facts(file, template, plugin, config, trained)
    partial = directory / f".{FACTS}.partial"
    partial.write_text(facts.model_dump_json())
    _sync(partial)
    partial.replace(directory / FACTS)
    _sync(directory)
    return facts


def read_facts(storage: Storage, key: str) -> Facts:
    """What is known of the model that lies under a key prefix. Raises ModelUnusable, StorageUnavailable."""
    text = b"".join(storage.read(f"{key}/{FACTS}"))
    if not text:
        raise ModelUnusable(f"The model's {FACTS} is not in the storage any more; train it again")
    try:
        return Facts.model_validate_json(text)
    except ValidationError as error:
        raise ModelUnusable(
            f"The model's {FACTS} cannot be read ({error.errors()[0]['msg']}); train it again"
        ) from error


def read_model(storage: Storage, key: str, facts: Facts) -> Iterator[bytes]:
    """The model's file, in chunks. The first one raises ModelUnusable where there is none, or StorageUnavailable."""
    chunks = storage.read(f"{key}/{facts.file}")
    first = next(chunks, None)
    if first is None:
        raise ModelUnusable(f"The model's file {facts.file} is not in the storage any more; train it again")
    yield first
    yield from chunks


def open_model(
    storage: Storage, key: str, templates: Mapping[str, Known[type[Template]]], cache: Path
) -> tuple[Facts, Predictor]:
    """Load the model that lies under a key prefix, by its template; its file is checked against its SHA-256 before.

    `cache`: where a copy of the file is kept, where the storage is no directory of this machine.

    Raises ModelUnusable, MissingExtra, StorageUnavailable.
    """
    facts = read_facts(storage, key)
    if facts.template not in templates:
        raise ModelUnusable(f"There is no template {facts.template!r} any more, which trained the model")
    template = templates[facts.template].item
    template.check_installed()
    file = _checked(storage, key, facts, cache)
    try:
        return facts, template().load(file, facts)
    except TunesmithError:
        raise
    except Exception as error:
        message = f"The model's file cannot be loaded: {type(error).__name__}: {error}{_changes(facts)}"
        raise ModelUnusable(message, file=facts.file) from error


def _facts(file: Path, template: type[Template], plugin: str, config: Config, trained: Trained) -> Facts:
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return Facts(
        format=trained.suffix,
        file=file.name,
        sha256=sha256,
        bytes=file.stat().st_size,
        template=template.name,
        plugin=plugin,
        config=config.model_dump(mode="json"),
        metrics=finite_only(trained.metrics),
        versions=_versions(trained.libraries),
        features=tuple(trained.features),
        target=trained.target,
        classes=None if trained.classes is None else tuple(trained.classes),
        rows=trained.rows,
        seed=config.training.seed,
        trained_at=utcnow(),
        details=dict(trained.details),
    )


def _versions(libraries: Sequence[str]) -> dict[str, str]:
    """Distribution -> version, of Python, of this platform, and of libraries: by default, those that are in use."""
    used = libraries or [name for name, module in LIBRARIES.items() if module in sys.modules]
    found = {"python": platform.python_version(), "tunesmith": __version__}
    return found | {name: here for name in used if (here := _version(name))}


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _changes(facts: Facts) -> str:
    """The libraries that are others here than where the model was written, in words."""
    here = {name: _version(name) for name in facts.versions if name not in ("python", "tunesmith")}
    changed = [
        f"{name} {facts.versions[name]} (here: {now or 'none'})"
        for name, now in here.items()
        if now != facts.versions[name]
    ]
    return f"; it was written with {', '.join(changed)}" if changed else ""


def _checked(storage: Storage, key: str, facts: Facts, cache: Path) -> Path:
    """The model's file on this machine, with the content that was written."""
    if Path(facts.file).name != facts.file or not re.fullmatch("[0-9a-f]{64}", facts.sha256):
        raise ModelUnusable(f"The model's {FACTS} names no file; train it again")
    if storage.local is not None:
        return _same(storage.local / key / facts.file, facts)
    copy = cache / facts.sha256 / facts.file
    if not copy.exists():
        with translated():
            _fetch(storage, f"{key}/{facts.file}", copy)
            _trim(cache, copy.parent)
    try:
        return _same(copy, facts)
    except ModelUnusable:
        copy.unlink(missing_ok=True)  # the next one fetches it again
        raise


def _same(file: Path, facts: Facts) -> Path:
    """The file itself. Raises ModelUnusable, StorageUnavailable."""
    with translated():
        try:
            with file.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except FileNotFoundError:
            raise ModelUnusable(f"The model's file {facts.file} is not there any more; train it again") from None
    if found != facts.sha256:
        message = (
            f"The model's file {facts.file} is damaged: its SHA-256 is not the one that was written; train it again"
        )
        raise ModelUnusable(message, file=facts.file, expected=facts.sha256, found=found)
    return file


def _fetch(storage: Storage, key: str, copy: Path) -> None:
    copy.parent.mkdir(parents=True, exist_ok=True)
    partial = copy.with_name(f"{uuid4().hex}.partial")
    try:
        with partial.open("wb") as stream:
            stream.writelines(storage.read(key))
        if partial.stat().st_size > 0:  # else there is no such object
            partial.replace(copy)
    finally:
        partial.unlink(missing_ok=True)


def _trim(cache: Path, kept: Path) -> None:
    """Remove the oldest copies but one, until all together are small enough."""
    folders = sorted(cache.iterdir(), key=lambda folder: (folder == kept, folder.stat().st_mtime), reverse=True)
    total = 0
    for folder in folders:
        total += sum(file.stat().st_size for file in folder.iterdir())
        if total > CACHE_BYTES and folder != kept:
            shutil.rmtree(folder, ignore_errors=True)


def _sync(path: Path) -> None:
    """Have a file, or the names in a directory, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
