"""OpenID Connect: the authorization code flow with PKCE, a state and a nonce, at the provider of the settings."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc.errors import JoseError

from serve_app.signing_in.issuers import LEEWAY_S, TIMEOUT_S, Issuer
from tunesmith.domain import SignIn, utcnow
from tunesmith.domain.issuers import ALGORITHMS, safe_url
from tunesmith.errors import Forbidden, Unauthenticated, Unavailable
from tunesmith.settings import Settings

log = logging.getLogger("tunesmith.identity")

CALLBACK = "/callback"
SCOPE = "openid email profile"
PATIENCE = timedelta(minutes=10)
"""How long somebody may take at the provider."""
ANY_DOMAIN = "*"
VERIFIED = ("email_verified", "xms_edov")
"""Claims that say whether the claim `email` is right; the second one is Entra ID's."""


class Person(NamedTuple):
    """Who signed in, as the provider says."""

    subject: str
    email: str | None


class OpenId:
    """The platform as a client of an OpenID provider. One for an application."""

    def __init__(self, settings: Settings) -> None:
        """`settings`: those of a platform that has an `oidc_issuer`."""
        assert settings.oidc_issuer is not None
        self.issuer = Issuer(settings.oidc_issuer)
        self._settings = settings

    def begin(self, path: str) -> tuple[str, SignIn]:
        """Where to send a browser, and what to remember of it; `path`: what it wants to see. Raises Unavailable."""
        sign_in = SignIn(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            next=path,
            expires_at=utcnow() + PATIENCE,
        )
        endpoint = self._endpoint("authorization_endpoint")
        with self._client() as client:
            url, _ = client.create_authorization_url(
                endpoint, state=sign_in.state, nonce=sign_in.nonce, code_verifier=sign_in.verifier
            )
        return str(url), sign_in

    def finish(self, sign_in: SignIn, code: str) -> Person:
        """Who came back with this code.

        Raises:
            Unauthenticated: the provider does not take the code, or its answer is not for this sign-in.
            Forbidden: it is somebody who may not sign in here.
            Unavailable: the provider does not answer.
        """
        try:
            claims = self._claims(sign_in, code)
        except (AuthlibBaseError, JoseError, httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
            reason = getattr(error, "error", None) or type(error).__name__
            log.warning("a sign-in at %s failed: %s", self.issuer.name, reason)
            raise Unauthenticated(f"What the OpenID provider answered cannot be accepted ({reason}).") from None
        return Person(str(claims["sub"]), self._address(claims))

    def _claims(self, sign_in: SignIn, code: str) -> Mapping[str, Any]:
        endpoint = self._endpoint("token_endpoint")
        with self._client() as client:
            given = client.fetch_token(
                endpoint,
                grant_type="authorization_code",
                code=code,
                code_verifier=sign_in.verifier,
            )
            token = self.issuer.token(given["id_token"], ALGORITHMS)
            claims: Any = CodeIDToken(
                token.claims,
                token.header,
                {
                    "iss": {"value": self.issuer.name},
                    "aud": {"value": self._settings.oidc_client_id},
                    "sub": {"essential": True},
                },
                {
                    "nonce": sign_in.nonce,
                    "client_id": self._settings.oidc_client_id,
                    "access_token": given.get("access_token"),
                },
            )
            claims.validate(leeway=LEEWAY_S)
            return {**claims, **(self._more(client, claims["sub"]) if self._is_short(claims) else {})}

    def _is_short(self, claims: Mapping[str, Any]) -> bool:
        """Whether an ID token leaves open who may sign in, and the provider says more elsewhere."""
        claim = self._settings.oidc_email_claim
        complete = claim in claims and (claim != "email" or any(name in claims for name in VERIFIED))
        return not complete and "userinfo_endpoint" in self.issuer.metadata()

    def _more(self, client: Any, subject: str) -> Mapping[str, Any]:
        """What the provider says about somebody beside the ID token."""
        found: Mapping[str, Any] = client.get(self._endpoint("userinfo_endpoint")).raise_for_status().json()
        if found["sub"] != subject:
            raise ValueError("userinfo is about somebody else")
        return found

    def _endpoint(self, name: str) -> str:
        """An address that the provider publishes. Raises Unavailable."""
        try:
            return safe_url(self.issuer.metadata()[name])
        except (KeyError, ValueError, TypeError, AttributeError):
            raise Unavailable(f"{self.issuer.name} publishes no {name} that can be used") from None

    def _address(self, claims: Mapping[str, Any]) -> str | None:
        """The e-mail address. Raises Forbidden unless it is one that may sign in."""
        claim, allowed = self._settings.oidc_email_claim, self._settings.oidc_domains
        address = claims.get(claim)
        if not isinstance(address, str) or "@" not in address:
            address = None
        if ANY_DOMAIN in allowed:
            return address
        if address is None:
            raise Forbidden("The OpenID provider says no e-mail address of yours.")
        if claim == "email" and not any(claims.get(name) in (True, "true", "1") for name in VERIFIED):
            raise Forbidden("The OpenID provider has not verified your e-mail address.")
        if address.rpartition("@")[2].lower() not in allowed:
            raise Forbidden("Addresses of your domain may not sign in here.")
        return address

    def _client(self) -> Any:
        settings = self._settings
        method = "none"
        if settings.oidc_client_secret is not None:
            known = self.issuer.metadata().get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
            method = "client_secret_basic" if "client_secret_basic" in known else "client_secret_post"
        return OAuth2Client(
            settings.oidc_client_id,
            settings.oidc_client_secret,
            token_endpoint_auth_method=method,
            scope=SCOPE,
            redirect_uri=f"{settings.public_url}{CALLBACK}",
            code_challenge_method="S256",
            timeout=TIMEOUT_S,
        )
