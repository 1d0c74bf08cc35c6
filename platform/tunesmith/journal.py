"""The service's own log: what every process of a platform has to say, in `logs/tunesmith.log` of its data directory."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import re
import time
from logging.handlers import WatchedFileHandler
from pathlib import Path
from urllib.parse import urlsplit

from tunesmith.settings import Settings

LOGGERS = ("tunesmith", "tuners", "serve_app")
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
"""What would move a terminal's cursor, or look like a line's end to some reader."""
MAX_BYTES = 20_000_000
"""A journal that is larger when a process starts becomes `tunesmith.log.1`."""


def journal_path(settings: Settings) -> Path:
    """Where the journal lies."""
    return settings.data_dir.absolute() / "logs" / "tunesmith.log"


def log_to_stderr() -> None:
    """Write this process's log to stderr, from INFO on."""
    handler = logging.StreamHandler()
    handler.setFormatter(LogFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def keep_journal(settings: Settings, part: str) -> None:
    """Write this process's log into the journal as well, from `settings.log_level` on, under the part's name.

    Called again, it replaces what it did before. Where the data directory is not there or cannot be written, as on
    another node of a cluster, only the level is set.
    """
    journal = _open(journal_path(settings))
    if journal is not None:
        journal.setFormatter(JournalFormatter(part, _secrets(settings)))
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(settings.log_level)
        for handler in [handler for handler in logger.handlers if isinstance(handler, Journal)]:
            logger.removeHandler(handler)
            handler.close()
        if journal is not None:
            logger.addHandler(journal)


class Journal(WatchedFileHandler):
    """Appends each record in one write, so that processes never mix their lines; follows a rotated file."""

    def _open(self) -> io.TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        unbuffered = io.FileIO(descriptor, "ab")
        return io.TextIOWrapper(unbuffered, "utf-8", "backslashreplace", newline="\n", write_through=True)  # pyright: ignore[reportArgumentType]


class LogFormatter(logging.Formatter):
    """Records in which no text that came with a request can look like another record, or speak to a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; further ones, as of a traceback, are indented."""
        text = super().format(record).replace("\n", "\n    ")
        return CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


class JournalFormatter(LogFormatter):
    """`2026-01-02T03:04:05.678Z WARNING runner[42] tuners.runner: message`, with secrets left out."""

    converter = time.gmtime  # type: ignore[assignment]
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self, part: str, secrets: tuple[str, ...] = ()) -> None:
        super().__init__(f"%(asctime)s %(levelname)s {part.replace('%', '%%')}[%(process)d] %(name)s: %(message)s")
        self.secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        """The line, or the lines of a traceback."""
        text = super().format(record)
        for secret in self.secrets:
            text = text.replace(secret, "...")
        return text


def _open(path: Path) -> Journal | None:
    if not path.parent.parent.is_dir():
        return None
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        _rotate(path)
        return Journal(path)
    except OSError:
        return None


def _rotate(path: Path) -> None:
    with (path.parent / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two processes that start at once rotate it once
        if path.exists() and path.stat().st_size > MAX_BYTES:
            path.replace(path.with_name(path.name + ".1"))


def _secrets(settings: Settings) -> tuple[str, ...]:
    password = urlsplit(settings.database_url or "").password
    return tuple(secret for secret in (settings.api_key, settings.admin_password, password) if secret)
