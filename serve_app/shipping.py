"""A plugin made in code, handed to the processes that run it: pickled with the code that lies beside it."""

from __future__ import annotations

from collections.abc import Iterator

from tuners.hosting.plugins import ship
from tunesmith.client.functions import by_value
from tunesmith.errors import InvalidSettings, TunesmithError
from tunesmith.plugins import Plugin
from tunesmith.storage import Storage


def shipped(plugin: Plugin, storage: Storage) -> str:
    """Keep a plugin in the storage; its reference, `code:` and a SHA-256.

    The code of scripts goes along, so that no process imports them again, with all that they do when imported; where
    that cannot be pickled, only their names go, except those of `__main__`.

    Raises:
        InvalidSettings: it cannot be pickled at all.
        StorageUnavailable: the storage cannot be written.
    """
    try:
        with by_value(*_parts(plugin)):
            return ship(plugin, storage)
    except TunesmithError:
        raise
    except Exception:
        return _by_name(plugin, storage)


def _by_name(plugin: Plugin, storage: Storage) -> str:
    try:
        return ship(plugin, storage)
    except TunesmithError:
        raise
    except Exception as error:  # anything that a __reduce__ may raise
        raise InvalidSettings(
            f"The algorithms, KPIs and schemas cannot be handed to another process: {error}. Open files, connections "
            "and locks inside their methods, not around them"
        ) from error


def _parts(plugin: Plugin) -> Iterator[object]:
    """What it is made of, as far as people write that themselves."""
    for named in (plugin.named_algorithms(), plugin.named_kpis()):
        yield from named.values()
    yield from (part for part in (plugin.etl_factory, plugin.data_source) if part is not None)
    for model in plugin.models:
        yield model.function
    yield from plugin.schemas
