"""Who else may say who somebody is: OpenID providers and issuers of JWTs, named in settings."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from tunesmith.domain.identity import Role
from tunesmith.domain.value import Time, Value

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
"""How a token may be signed: with a private key only, so that nobody can sign with what is published."""
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address is this machine's own."""
    if host is None or host == "localhost":
        return host is not None
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def safe_url(url: str) -> str:
    """An `https` URL, or an `http` one of this machine, as it is. Raises ValueError for any other."""
    parts = urlsplit(url)
    plain = parts.scheme == "http" and is_loopback(parts.hostname)
    if not parts.hostname or parts.username or not (parts.scheme == "https" or plain):
        raise ValueError("it must be an https:// URL (http:// only on this machine's own address)")
    return url


def site(url: str) -> str:
    """A `safe_url` without a path: scheme, host and port. Raises ValueError for any other."""
    parts = urlsplit(safe_url(url))
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("it must be scheme, host and port alone, for instance https://tunesmith.example.org")
    return f"{parts.scheme}://{parts.netloc}".lower()


SafeUrl = Annotated[str, AfterValidator(safe_url)]
Site = Annotated[str, AfterValidator(site)]


class JwtIssuer(Value):
    """Whose JWTs are accepted as bearer tokens, and from whom they must be."""

    issuer: str = Field(min_length=1)
    """What their `iss` says, to the letter."""
    audience: str = Field(min_length=1)
    """What their `aud` says, or has among others: this platform."""
    algorithms: tuple[Algorithm, ...] = Field(default=("RS256",), min_length=1)
    """How they may be signed; no other `alg` is accepted."""
    role: Role = "viewer"
    """The role in the workspace `main` that a holder gets who is seen for the first time."""
    name_claim: str = "sub"
    """The claim that such a holder is called by."""
    jwks_url: SafeUrl | None = None
    """Where the issuer's keys are; unset: where its `/.well-known/openid-configuration` says."""


class SignIn(Value):
    """A sign-in that went to an OpenID provider and has not come back; secrets of ours, the state apart."""

    state: str
    """What comes back with it, and what the browser keeps in a cookie."""
    nonce: str
    """What the ID token must have."""
    verifier: str
    """What shows the provider that whoever brings the code began the sign-in (PKCE)."""
    next: str
    """The path that is shown afterwards."""
    expires_at: Time
    """When it is too late to come back."""
