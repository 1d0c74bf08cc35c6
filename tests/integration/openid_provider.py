"""A real OpenID provider on this machine: Django with django-oauth-toolkit, which insists on PKCE.

    python openid_provider.py

It says its port on the first line. `POST /rotate` gives it another key.
"""

from __future__ import annotations

import sys
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT, SECRET, PASSWORD = "tunesmith", "the-secret-of-the-client", "a password"
PEOPLE = {
    "ada": {"email": "ada@example.org", "email_verified": True},
    "quiet": {"email": "quiet@example.org", "email_verified": True},  # whose address only userinfo says
    "eve": {"email": "eve@example.org", "email_verified": False},
    "mallory": {"email": "mallory@example.org.evil.com", "email_verified": True},
    "nobody": {},
}
FORM = '<form method="post">{% csrf_token %}<input name="username"><input name="password"></form>'


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def new_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def configure() -> dict[str, Any]:
    from django.conf import settings

    provider = {
        "OIDC_ENABLED": True,
        "OIDC_RSA_PRIVATE_KEY": new_key(),
        "PKCE_REQUIRED": True,
        "SCOPES": {"openid": "who", "email": "address", "profile": "name"},
        "OAUTH2_VALIDATOR_CLASS": "validating.Validator",
    }
    settings.configure(
        SECRET_KEY="nothing is secret here", ALLOWED_HOSTS=["*"], ROOT_URLCONF="addresses", USE_TZ=True,
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions",
                        "oauth2_provider"],
        MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware",
                    "django.contrib.auth.middleware.AuthenticationMiddleware"],
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"], SESSION_COOKIE_NAME="provider",
        DEFAULT_AUTO_FIELD="django.db.models.AutoField", OAUTH2_PROVIDER=provider, LOGIN_URL="/sign-in",
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "OPTIONS": {"loaders": [
            ("django.template.loaders.locmem.Loader", {"registration/login.html": FORM})]}}],
    )  # fmt: skip
    return provider


def add_modules(provider: dict[str, Any]) -> None:
    """The modules that Django wants by name: its addresses, and what is said about people."""
    from types import ModuleType

    import django.contrib.auth.views
    from django.http import HttpRequest, HttpResponse
    from django.urls import include, path
    from oauth2_provider.oauth2_validators import OAuth2Validator
    from oauth2_provider.settings import oauth2_settings

    class Validator(OAuth2Validator):  # type: ignore[misc]
        oidc_claim_scope = None

        def get_additional_claims(self, request: Any) -> dict[str, Any]:
            return {"preferred_username": request.user.username, **PEOPLE[request.user.username]}

        def get_oidc_claims(self, token: Any, token_handler: Any, request: Any) -> dict[str, Any]:
            claims = super().get_oidc_claims(token, token_handler, request)
            if request.user.username == "quiet" and token_handler is not None:  # the ID token
                del claims["email"], claims["email_verified"]
            return dict(claims)

    def rotate(_: HttpRequest) -> HttpResponse:
        provider["OIDC_RSA_PRIVATE_KEY"] = new_key()
        oauth2_settings.reload()
        return HttpResponse(status=204)

    validating, addresses = ModuleType("validating"), ModuleType("addresses")
    validating.Validator = Validator  # type: ignore[attr-defined]
    addresses.urlpatterns = [  # type: ignore[attr-defined]
        path("o/", include("oauth2_provider.urls")),
        path("sign-in", django.contrib.auth.views.LoginView.as_view()),
        path("rotate", rotate),
    ]
    sys.modules |= {"validating": validating, "addresses": addresses}


def fill() -> None:
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from oauth2_provider.models import Application

    call_command("migrate", verbosity=0)
    for name in PEOPLE:
        User.objects.create_user(name, password=PASSWORD)
    Application.objects.create(
        client_id=CLIENT, client_secret=SECRET, client_type="confidential", skip_authorization=True,
        authorization_grant_type="authorization-code", algorithm="RS256", redirect_uris="http://127.0.0.1/callback",
    )  # fmt: skip


def main() -> None:
    import django
    from django.core.wsgi import get_wsgi_application

    provider = configure()
    django.setup()
    add_modules(provider)
    fill()
    with make_server("127.0.0.1", 0, get_wsgi_application(), WSGIServer, Quiet) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
