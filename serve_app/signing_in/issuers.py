"""What issuers of tokens publish: where their endpoints are, and the keys that show that a token is theirs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx2
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from tunesmith.domain.issuers import safe_url
from tunesmith.errors import Unavailable

log = logging.getLogger("tunesmith.identity")

FRESH_S = 600.0
"""Seconds that what an issuer published counts: at most that long a key is accepted that was withdrawn."""
RETRY_S = 10.0
"""Seconds between two looks because of an unknown key, or of an issuer that did not answer."""
TIMEOUT_S = 5.0
LEEWAY_S = 30
"""Seconds that clocks may differ."""
UNUSABLE = (httpx2.HTTPError, httpx2.InvalidURL, JoseError, ValueError, KeyError, TypeError, AttributeError)
"""What goes wrong when an issuer does not answer, or with something else than it should."""
DISCOVERY = "/.well-known/openid-configuration"


class Issuer:
    """An issuer of tokens; what it publishes is fetched when it is needed. Safe to share between threads."""

    def __init__(self, name: str, jwks_url: str | None = None) -> None:
        """`name`: its `iss`; `jwks_url`: where its keys are, if not where its discovery document says."""
        self.name, self._jwks_url = name, jwks_url
        self._lock = threading.Lock()
        self._metadata: Mapping[str, Any] = {}
        self._keys: KeySet | None = None
        self._fetched = self._tried = float("-inf")

    def metadata(self) -> Mapping[str, Any]:
        """Its discovery document. Raises Unavailable."""
        self._look_again()
        return self._metadata

    def token(self, text: str, algorithms: Sequence[str]) -> jwt.Token:
        """A token whose signature is the issuer's, by one of these algorithms; the claims are still to be judged.

        Raises:
            JoseError, ValueError: it is none, or not the issuer's.
            Unavailable: the issuer does not answer.
        """
        return jwt.decode(text, self._keys_for, registry=JWSRegistry(algorithms=algorithms, strict_check_header=False))

    def _keys_for(self, signed: Any) -> KeySet:
        """The keys, with the one that this token is signed with if the issuer has it."""
        kid = signed.headers().get("kid")
        self._look_again()
        assert self._keys is not None
        if kid is not None and all(key.kid != kid for key in self._keys):
            self._look_again(kid)
        return self._keys

    def _look_again(self, kid: str | None = None) -> None:
        """Fetch what is published, unless it is fresh; `kid`: unless there is such a key."""
        if kid is None and time.monotonic() - self._fetched < FRESH_S:
            return
        with self._lock:  # whoever waits here finds what the one before fetched
            now = time.monotonic()
            known = self._keys is not None and any(key.kid == kid for key in self._keys)
            if now - self._tried >= RETRY_S and not known and (kid is not None or now - self._fetched >= FRESH_S):
                self._tried = now
                self._fetch()
        if self._keys is None:
            raise Unavailable(f"{self.name} does not answer; try again in a moment", retry_after_s=int(RETRY_S))

    def _fetch(self) -> None:
        try:
            metadata = {"jwks_uri": self._jwks_url} if self._jwks_url else self._discovered()
            keys = KeySet.import_key_set(_json(safe_url(metadata["jwks_uri"])))
        except (
            httpx2.HTTPError,
            httpx2.InvalidURL,
            JoseError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
        ) as error:
            log.warning("what %s publishes cannot be used: %s: %s", self.name, type(error).__name__, error)
            return
        self._metadata, self._keys, self._fetched = metadata, keys, time.monotonic()

    def _discovered(self) -> dict[str, Any]:
        found: dict[str, Any] = _json(self.name.rstrip("/") + DISCOVERY)
        if found["issuer"] != self.name:
            raise ValueError(f"the issuer calls itself {found['issuer']!r}")
        return found


def _json(url: str) -> Any:
    answer = httpx2.get(url, timeout=TIMEOUT_S, headers={"Accept": "application/json"})
    return answer.raise_for_status().json()
