"""What `tunesmith doctor` looks at of safety: Ray's dashboard and token, the transport, and what keeps trials apart."""

from __future__ import annotations

import ipaddress
import os
import subprocess
from urllib.parse import urlsplit

import httpx2

from tunesmith.cli.checks import Check, fail, ok, warn
from tunesmith.client import read_run_file
from tunesmith.settings import Settings

DASHBOARD_PORT = 8265
"""Where Ray's dashboard listens unless told otherwise."""
JOBS = "/api/jobs/"
"""What of the dashboard takes commands; it needs the token, where there is one."""
PROBE_S = 3.0
TOKEN = "RAY_AUTH_MODE=token, with a token (RAY_AUTH_TOKEN_PATH), for the head, every node and the platform"
BWRAP = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "true"]


def dashboard(settings: Settings) -> Check:
    """Ray's dashboard: whoever reaches an open one can run commands on every node."""
    running = read_run_file(settings.run_file)
    own = running.dashboard_url if running is not None and running.alive else None
    url = own or f"http://{_ray_host(settings)}:{DASHBOARD_PORT}"
    try:
        status = httpx2.get(url + JOBS, timeout=PROBE_S, trust_env=False).status_code
    except (httpx2.HTTPError, httpx2.InvalidURL):
        found = "none answers"
    else:
        if status < 400:
            return warn(f"{url} is open: whoever reaches it can run commands on every node", f"set {TOKEN}")
        found = f"{url} asks for a token"
    if settings.ray_address is None and settings.dashboard and not _is_loopback(settings.dashboard_host):
        remedy = "leave TUNESMITH_DASHBOARD_HOST at 127.0.0.1, and reach it through a tunnel"
        return warn(f"listens on {settings.dashboard_host}, and the token travels there in the clear", remedy)
    return ok(found)


def ray_token(settings: Settings) -> Check:
    """Ray's own authentication, without which whoever reaches its ports can run commands."""
    if settings.ray_address is None:
        return ok("a token of its own, in the data directory")
    if os.environ.get("RAY_AUTH_MODE") != "token":
        return warn(f"the cluster at {settings.ray_address} is joined without a token", f"set {TOKEN}")
    return ok("RAY_AUTH_MODE=token")


def transport(settings: Settings) -> Check:
    """Whether what is sent can be read on the way."""
    if _is_loopback(settings.host) or settings.tls_cert is not None:
        return ok("TLS" if settings.tls_cert is not None else "this machine only")
    if settings.trusted_proxies or (settings.public_url or "").startswith("https://"):
        return ok("a proxy speaks TLS")
    return warn(
        f"{settings.host} without TLS: keys and tokens travel in the clear",
        "set TUNESMITH_TLS_CERT and TUNESMITH_TLS_KEY, or TUNESMITH_TRUSTED_PROXIES for a proxy that speaks TLS",
    )


def isolation(settings: Settings) -> Check:
    """Whether this machine can keep trials apart as the settings say."""
    user = settings.trial_user
    if user is not None and os.geteuid() != 0:
        return fail(f"trials cannot run as {user}: the platform is not root", "start it as root, or unset it")
    who = f"as {user}" if user else "as the platform's own user"
    if settings.trial_sandbox == "none":
        return ok(f"trials run {who}, in no sandbox")
    try:
        subprocess.run(BWRAP, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        remedy = "apt-get install bubblewrap; in a container, allow it user namespaces"
        return fail(f"no bwrap that runs ({said.strip()})", remedy)
    return ok(f"trials run {who}, in a sandbox of bwrap")


def _ray_host(settings: Settings) -> str:
    """The node that the dashboard is on, as far as the address says."""
    address = settings.ray_address or ""
    host = urlsplit(address if "://" in address else f"//{address}").hostname
    return "127.0.0.1" if host in (None, "auto", "local") else str(host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
