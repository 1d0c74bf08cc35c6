"""Opening the database of a storage, with errors that say what is wrong with its URL."""

from __future__ import annotations

import re

from tunesmith.errors import DatabaseUnavailable, InvalidSettings
from tunesmith.settings import Settings, load_settings
from tunesmith.store import Store, open_store


def url_of(url: str | None) -> str:
    """The SQLAlchemy URL that is meant; None: the database of the settings.

    Raises:
        InvalidSettings: it names no database that can be used.
    """
    if url is None:
        return load_settings().database
    found = Settings(database_url=url).database
    if "://" not in found:
        raise InvalidSettings(f"url={url!r} is no URL; a SQLite file is named as 'sqlite:///{url}'", url=url)
    if found in ("sqlite://", "sqlite:///", "sqlite:///:memory:"):
        raise InvalidSettings(
            f"url={url!r} is in memory, and ends with this process; name a file (sqlite:///study.db), "
            "or take optuna.storages.InMemoryStorage()",
            url=url,
        )
    return found


def open_tables(url: str, connections: int) -> Store:
    """The database with its tables up to date.

    Raises:
        InvalidSettings: the URL names no database that can be used, or one that Optuna's own storage made.
        DatabaseUnavailable: it does not answer, or a newer tunesmith made its tables.
    """
    shown = re.sub(r"//[^@/]*@", "//***@", url)
    try:
        store = open_store(url, connections)
    except InvalidSettings as error:
        raise InvalidSettings(f"url={shown!r}: use sqlite:///... or postgresql://... ({error.message})") from error
    try:
        store.upgrade()
    except DatabaseUnavailable as error:
        store.close()
        if str(error.details.get("revision", "")).startswith("v"):  # as Optuna names its own revisions
            raise InvalidSettings(
                f"url={shown!r} is a database that Optuna's RDBStorage made; name another one, and bring its studies "
                f"over with `tunesmith import`",
                url=shown,
            ) from error
        raise
    return store
