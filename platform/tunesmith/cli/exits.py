"""Exit codes: which error ends the command line with which."""

from __future__ import annotations

from tunesmith.errors import (
    BadRequest,
    Conflict,
    ConnectionFailed,
    InvalidSettings,
    NotFound,
    PayloadTooLarge,
    TunesmithError,
    Unavailable,
)

FAILED = 1
USAGE = 2
UNREACHABLE = 3
NOT_FOUND = 4
CONFLICT = 5
INTERRUPTED = 130

EPILOG = (
    "Exit codes: 0 done; 1 the request or the job failed; 2 wrong usage or bad input; 3 the platform cannot be reached "
    "or cannot answer now; 4 not found; 5 conflict with the present state; 130 interrupted."
)

_BY_KIND: tuple[tuple[type[TunesmithError], int], ...] = (
    (BadRequest, USAGE),
    (PayloadTooLarge, USAGE),
    (InvalidSettings, USAGE),
    (ConnectionFailed, UNREACHABLE),
    (Unavailable, UNREACHABLE),
    (NotFound, NOT_FOUND),
    (Conflict, CONFLICT),
)


def exit_code(error: TunesmithError) -> int:
    """The exit code for an error."""
    return next((code for kind, code in _BY_KIND if isinstance(error, kind)), FAILED)
