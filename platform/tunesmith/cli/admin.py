"""Commands on the installation: settings, db upgrade, db current, version."""

from __future__ import annotations

import platform
import re
from importlib import metadata
from typing import Any

import tunesmith
from tunesmith.cli.options import DataDir, Json
from tunesmith.cli.output import console, print_fields, print_json, print_table
from tunesmith.field_docs import field_docs
from tunesmith.settings import PREFIX, SECRET, Settings, load_settings

SECRET_IN_URL = re.compile(
    r"(?P<before>://[^/@:]*:)[^/@]*(?=@)|(?P<query>[?&][^=&]*(?:password|secret|token|key)[^=&]*=)[^&]*", re.I
)

SECRETS = SECRET - {"database_url"}
"""Settings that are secret altogether."""


def settings(data_dir: DataDir = None, as_json: Json = False) -> None:
    """List every setting: its variable, its present value (secrets masked) and what it does."""
    present = load_settings(data_dir=data_dir)
    rows = [_setting(present, name) for name in Settings.model_fields]
    if as_json:
        print_json(rows)
    else:
        print_table(
            ("variable", "value", "meaning"), ((r["variable"], r["value"], r["meaning"]) for r in rows), empty=""
        )


def upgrade(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Bring the database's tables to the newest version."""
    _report(data_dir, as_json, upgrading=True)


def current(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show the version of the database's tables, and the newest one."""
    _report(data_dir, as_json, upgrading=False)


def version(as_json: Json = False) -> None:
    """Print the versions of tunesmith and of what it runs on."""
    found: dict[str, str | None] = {"tunesmith": tunesmith.__version__, "python": platform.python_version()}
    found |= {name: installed(name) for name in ("ray", "optuna", "sqlalchemy", "fastapi")}
    if as_json:
        print_json(found)
    else:
        print_fields(found)


def installed(name: str) -> str | None:
    """The version of an installed distribution, without importing it."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def masked(value: str) -> str:
    """A URL with its secrets blotted out."""
    return SECRET_IN_URL.sub(lambda found: f"{found['before'] or found['query']}***", value)


def _setting(present: Settings, name: str) -> dict[str, Any]:
    value = present.model_dump(mode="json")[name]
    if name in SECRETS:
        value = "***" if value else value
    elif isinstance(value, str):
        value = masked(value)
    return {
        "variable": PREFIX + name.upper(),
        "value": value,
        "set": name in present.model_fields_set,
        "meaning": " ".join(field_docs(Settings)[name].split()),
    }


def _report(data_dir: Any, as_json: bool, upgrading: bool) -> None:
    from tunesmith.store import migrate, open_store

    present = load_settings(data_dir=data_dir)
    store = open_store(present.database)
    try:
        before, newest = migrate.current(store.engine)
        if upgrading:
            store.upgrade()
    finally:
        store.close()
    now = newest if upgrading else before
    if as_json:
        print_json({"database": masked(present.database), "before": before, "revision": now, "newest": newest})
        return
    if now == newest:
        standing = "newest" if before == newest else f"upgraded from {before or 'nothing'}"
    else:
        standing = f"the newest is {newest}: `tunesmith db upgrade`"
    console().print(f"{masked(present.database)}: {now or 'no tables yet'} ({standing})", markup=False)
