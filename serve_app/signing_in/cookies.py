"""Cookies of browsers that signed in, and what keeps other sites from using them.

A session is a token of kind `cookie`. What changes something must show that it comes from a page of ours: by its
`Origin`, which no page can forge, and by a value that only pages of ours can read.
"""

from __future__ import annotations

import base64
import hmac

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import Response

from tunesmith.errors import Forbidden

SESSION, CSRF, SIGN_IN = "tunesmith_session", "tunesmith_csrf", "tunesmith_sign_in"
"""The session; what a page sends along as `X-CSRF-Token`; which sign-in this browser began."""
CSRF_HEADER = "X-CSRF-Token"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""
FOREIGN = "The request does not come from a page of this platform."
FORGED = f"Send the value of GET /v1/auth/me's `csrf_token` as {CSRF_HEADER}."


class Cookies:
    """The cookies of a platform that browsers find at `public_url`; None: at no address, so it has no sessions."""

    def __init__(self, public_url: str | None) -> None:
        self.origin = public_url
        self.secure = public_url is not None and public_url.startswith("https:")
        # A prefixed one can be set by this very host alone, and over TLS: no neighbour plants a session.
        self.prefix = "__Host-" if self.secure else ""

    def session(self, headers: Headers) -> str | None:
        """The token that a browser has for its session."""
        return None if self.origin is None else self._value(headers, SESSION)

    def sign_in(self, headers: Headers) -> str | None:
        """The state of the sign-in that this browser began last."""
        return self._value(headers, SIGN_IN)

    def check(self, method: str, headers: Headers, secret: str) -> None:
        """Raise Forbidden unless a request with the session `secret` is meant by whoever holds it."""
        if method in SAFE:
            return
        if headers.get("origin") != self.origin:
            raise Forbidden(FOREIGN)
        if not hmac.compare_digest(headers.get(CSRF_HEADER, "").encode(), csrf_token(secret).encode()):
            raise Forbidden(FORGED)

    def begin(self, response: Response, state: str, seconds: int) -> None:
        """Remember in the browser which sign-in it began."""
        self._set(response, SIGN_IN, state, seconds)

    def start(self, response: Response, secret: str, seconds: int) -> None:
        """Start a session in the browser."""
        self._drop(response, SIGN_IN)
        self._set(response, SESSION, secret, seconds)
        self._set(response, CSRF, csrf_token(secret), seconds, hidden=False)

    def end(self, response: Response) -> None:
        """End it."""
        self._drop(response, SESSION)
        self._drop(response, CSRF)

    def _value(self, headers: Headers, name: str) -> str | None:
        return cookie_parser("; ".join(headers.getlist("cookie"))).get(self.prefix + name)

    def _set(self, response: Response, name: str, value: str, seconds: int, hidden: bool = True) -> None:
        response.set_cookie(
            self.prefix + name, value, max_age=seconds, path="/", secure=self.secure, httponly=hidden, samesite="lax"
        )

    def _drop(self, response: Response, name: str) -> None:
        response.delete_cookie(self.prefix + name, path="/", secure=self.secure, httponly=name != CSRF, samesite="lax")


def csrf_token(secret: str) -> str:
    """What shows that a request comes from a page that may read it: an HMAC under the session's token."""
    digest = hmac.digest(secret.encode(), b"tunesmith csrf", "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
