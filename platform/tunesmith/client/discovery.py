"""Finding a platform: the run file that a running one leaves in its data directory, and the URL to talk to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from tunesmith.settings import PREFIX, Settings

DEFAULT_URL = "http://127.0.0.1:8000"
"""Where a platform listens unless told otherwise."""
CLOCK_SLACK_S = 5.0
"""Seconds that two readings of the clock may differ when a process is told from a later one of the same id."""


class RunFile(BaseModel):
    """What a running platform says about itself."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    pid: int
    """Process id of the server."""
    url: str
    """Where the service answers."""
    ray_address: str | None = None
    """The Ray cluster it uses."""
    dashboard_url: str | None = None
    """Ray's dashboard, if it has one."""
    optuna: str | None = None
    """Host and port for Optuna workers, if it serves them."""
    tls_cert: Path | None = None
    """The certificate that it speaks TLS with."""
    started_at: datetime
    """When it became ready."""
    version: str
    """The platform's version."""

    @property
    def alive(self) -> bool:
        """Whether that very process still runs: a later one that got the same id does not count."""
        try:
            os.kill(self.pid, 0)
        except PermissionError:
            pass
        except (OSError, OverflowError):
            return False
        return not _is_another(self.pid, self.started_at)


def read_run_file(path: Path) -> RunFile | None:
    """The run file, or None when there is none that makes sense."""
    try:
        return RunFile.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def platform_url(environ: Mapping[str, str] | None = None) -> str:
    """`TUNESMITH_URL`, else the platform that runs in the data directory, else http://127.0.0.1:8000."""
    environ = os.environ if environ is None else environ
    if url := environ.get(PREFIX + "URL"):
        return url
    running = _running(environ)
    return DEFAULT_URL if running is None else running.url


def certificate_of(url: str) -> Path | None:
    """The certificate of the platform that runs in the data directory, if this is its URL."""
    running = _running(os.environ) if url.startswith("https:") else None
    return running.tls_cert if running is not None and running.url == url else None


def _running(environ: Mapping[str, str]) -> RunFile | None:
    given = environ.get(PREFIX + "DATA_DIR")
    settings = Settings(data_dir=Path(given)) if given else Settings()
    running = read_run_file(settings.run_file)
    return running if running is not None and running.alive else None


def _is_another(pid: int, started_at: datetime) -> bool:
    # Linux only; elsewhere the process id alone has to do. The start time alone would not: clocks are set.
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, StopIteration):
        return False
    born = int(boot.split()[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    zombie = fields[0] == "Z"
    return zombie or (b"serve_app" not in command and born > started_at.timestamp() + CLOCK_SLACK_S)
