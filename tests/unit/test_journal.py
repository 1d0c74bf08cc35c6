"""The journal: every process of a platform writes its log into one file."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tunesmith import journal
from tunesmith.journal import LOGGERS, journal_path, keep_journal
from tunesmith.settings import Settings

WRITER = """
import logging, sys
from pathlib import Path
from tunesmith.journal import keep_journal
from tunesmith.settings import Settings
keep_journal(Settings(data_dir=Path(sys.argv[1])), sys.argv[2])
for i in range(200):
    logging.getLogger("tuners.x").warning("%d %s end", i, sys.argv[2] * 20_000)
"""


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = {name: (logging.getLogger(name).level, list(logging.getLogger(name).handlers)) for name in LOGGERS}
    yield
    for name, (level, handlers) in before.items():
        logging.getLogger(name).setLevel(level)
        logging.getLogger(name).handlers[:] = handlers


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, api_key="a key of 16 letters", database_url="postgresql://me:hidden@db/x")


def written(settings: Settings) -> list[str]:
    return journal_path(settings).read_text().splitlines()


def test_a_line_says_when_how_grave_who_and_what(settings: Settings) -> None:
    keep_journal(settings, "runner")
    logging.getLogger("tuners.runner").warning("job %s lost its runner", "job-1")
    (line,) = written(settings)
    moment, rest = line.split(" ", 1)
    assert moment.endswith("Z")
    assert rest.startswith("WARNING runner[")
    assert rest.endswith("] tuners.runner: job job-1 lost its runner")


def test_the_level_is_the_settings(settings: Settings) -> None:
    keep_journal(settings.model_copy(update={"log_level": "ERROR"}), "api")
    logging.getLogger("tunesmith.api").warning("unheard")
    keep_journal(settings.model_copy(update={"log_level": "DEBUG"}), "api")
    logging.getLogger("serve_app").debug("heard")
    assert [line.rsplit(": ")[-1] for line in written(settings)] == ["heard"]


def test_kept_twice_it_still_writes_every_line_once(settings: Settings) -> None:
    keep_journal(settings, "api")
    keep_journal(settings, "dispatcher")
    logging.getLogger("tunesmith.up").error("once")
    (line,) = written(settings)
    assert "dispatcher[" in line


def test_secrets_are_left_out_of_messages_and_tracebacks(settings: Settings) -> None:
    keep_journal(settings, "api")
    try:
        raise ValueError(settings.database_url)
    except ValueError:
        logging.getLogger("tunesmith").exception("with %s", settings.api_key)
    text = journal_path(settings).read_text()
    assert "ValueError: postgresql://me:...@db/x" in text
    assert "16 letters" not in text


def test_a_large_one_is_put_aside_and_earlier_writers_follow(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_journal(settings, "first")
    logging.getLogger("tunesmith").error("old")
    earlier = journal.Journal(journal_path(settings))
    monkeypatch.setattr(journal, "MAX_BYTES", 1)
    keep_journal(settings, "second")
    earlier.emit(logging.makeLogRecord({"msg": "new"}))
    earlier.close()
    assert written(settings) == ["new"]
    assert journal_path(settings).with_name("tunesmith.log.1").read_text().endswith("old\n")


def test_without_a_data_directory_there_is_only_a_level(tmp_path: Path) -> None:
    keep_journal(Settings(data_dir=tmp_path / "elsewhere"), "runner")
    assert not (tmp_path / "elsewhere").exists()
    assert logging.getLogger("tuners").level == logging.INFO


def test_processes_never_mix_their_lines(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), part]) for part in "abc"]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    lines = written(Settings(data_dir=tmp_path))
    assert len(lines) == 600
    assert all(line.endswith(line.split("[")[0][-1] * 20_000 + " end") for line in lines)


def test_a_text_cannot_look_like_another_record_or_speak_to_a_terminal(settings: Settings) -> None:
    keep_journal(settings, "api")
    forged = "/x\n2026-01-01T00:00:00.000Z ERROR api[1] tunesmith: forged\r\x1b[2J\x85\u2028end\t."
    try:
        raise ValueError(forged)
    except ValueError:
        logging.getLogger("tunesmith").exception("GET %s", forged)
    lines = written(settings)
    assert [line[:4] for line in lines if not line.startswith("    ")] == [lines[0][:4]]
    assert lines[1] == r"    2026-01-01T00:00:00.000Z ERROR api[1] tunesmith: forged\r\x1b[2J\x85\u2028end" + "\t."
