"""The plugins and datasets that this process has loaded: each once, as many runs want the same ones."""

from __future__ import annotations

import copy
import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tunesmith.storage import Storage

if TYPE_CHECKING:
    from tunesmith.data import DataSource
    from tunesmith.plugins import Plugin, Registry

SHIPPED = "code:"
"""What the reference of a plugin begins with that was shipped; its SHA-256 follows."""


def ship(plugin: Plugin, storage: Storage) -> str:
    """Put a plugin that is no module's where workers find it; its reference. Raises StorageUnavailable."""
    import cloudpickle

    payload: bytes = cloudpickle.dumps(plugin)
    digest = hashlib.sha256(payload).hexdigest()
    storage.write(_key(digest), payload)
    return f"{SHIPPED}{digest}"


@lru_cache(maxsize=64)
def registry(reference: str, artifacts: str) -> Registry:
    """What a plugin has. Raises whatever importing or unpickling it does."""
    from tunesmith.plugins import Registry, find_plugin

    found = _shipped(reference, artifacts) if reference.startswith(SHIPPED) else find_plugin(reference)
    return Registry.of(found, reference)


@lru_cache(maxsize=4)
def registries(references: tuple[str, ...], artifacts: str) -> Registry:
    """What all plugins of a platform have; a service made in code ships its only one. Raises as `registry` does."""
    from tunesmith.plugins import Registry

    shipped = len(references) == 1 and references[0].startswith(SHIPPED)
    return registry(references[0], artifacts) if shipped else Registry.load(references)


def dataset(files: str, artifacts: str, kind: type[DataSource]) -> DataSource:
    """The dataset whose tables lie under a key prefix, the caller's own to change. Raises StorageUnavailable."""
    hashable: Any = kind
    return copy.copy(_opened(files, artifacts, hashable))


@lru_cache(maxsize=2)
def _opened(files: str, artifacts: str, kind: Any) -> DataSource:
    from tunesmith.data.files import open_files

    source: DataSource = open_files(Storage(artifacts), files, kind)
    return source


def _shipped(reference: str, artifacts: str) -> Plugin:
    import cloudpickle

    digest = reference.removeprefix(SHIPPED)
    payload = b"".join(Storage(artifacts).read(_key(digest)))
    if not payload:
        raise LookupError(f"the plugin {digest[:12]} is not in the storage any more; start the service again")
    return cloudpickle.loads(payload)  # type: ignore[no-any-return]


def _key(digest: str) -> str:
    return f"functions/{digest}"
