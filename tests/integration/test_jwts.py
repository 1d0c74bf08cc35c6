"""JWTs as bearer tokens: those of a configured issuer are accepted, and every forgery is refused."""

from __future__ import annotations

import base64
import hmac
import json
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from fastapi.testclient import TestClient
from joserfc import jws, jwt
from joserfc.errors import InvalidKeyIdError
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey

from serve_app.app import build
from serve_app.identities import Identities
from serve_app.signing_in import issuers
from tunesmith.domain import Grant
from tunesmith.domain.issuers import JwtIssuer
from tunesmith.services import identity
from tunesmith.settings import Settings
from tunesmith.store import Store, open_store

AUDIENCE = "tunesmith"
RSA = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
OTHER = RSAKey.generate_key(2048, {"kid": "rsa"})
SHARED = OctKey.import_key("s" * 64, {"kid": "shared"})


class Published(ThreadingHTTPServer):
    """An issuer that publishes keys, and counts how often they are asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Keys)
        self.name = f"http://127.0.0.1:{self.server_port}"
        self.asked = 0
        self.rotate()

    def rotate(self, *keys: Any) -> None:
        """Publish these; without any, the usual ones."""
        public: list[Any] = [key.as_dict(private=False) for key in keys or (RSA, EC)]
        self.keys = {"keys": [*public, SHARED.as_dict(private=True), {"kty": "new", "kid": "of the future"}]}


class Keys(BaseHTTPRequestHandler):
    server: Published

    def do_GET(self) -> None:
        self.server.asked += self.path == "/keys"
        found: Any = self.server.keys
        if self.path != "/keys":
            found = {"issuer": self.server.name, "jwks_uri": f"{self.server.name}/keys"}
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def published() -> Iterator[Published]:
    with Published() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path_factory.mktemp('jwts')}/tunesmith.db")
    opened.upgrade()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def api(published: Published, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The platform, which looks an answer up again after a tenth of a second, and keys after an unknown one at once."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Identities.__init__, "__defaults__", (0.1,))
        patched.setattr(issuers, "RETRY_S", 0.0)
        accepted = (
            JwtIssuer(issuer=published.name, audience=AUDIENCE, algorithms=("RS256", "ES256"), role="runner",
                      name_claim="client"),
            JwtIssuer(issuer="https://nobody.example", audience=AUDIENCE, jwks_url="http://127.0.0.1:9/keys"),
        )  # fmt: skip
        settings = Settings(data_dir=tmp_path_factory.mktemp("data"), mode="prod", jwt_issuers=accepted)
        with TestClient(build(settings, store=store)) as client:
            yield client


def claims_of(published: Published, **changes: Any) -> dict[str, Any]:
    usual = {"iss": published.name, "aud": AUDIENCE, "sub": "robot", "exp": int(time.time()) + 600}
    return {name: value for name, value in (usual | changes).items() if value is not None}


def signed(claims: dict[str, Any], key: Any = RSA, alg: str = "RS256", **header: Any) -> str:
    registry = jws.JWSRegistry(algorithms=[alg], strict_check_header=False)
    return jwt.encode({"alg": alg, "kid": key.kid, **header}, claims, key, registry=registry)


def by_hmac(claims: dict[str, Any], secret: bytes) -> str:
    """What takes a published key for a secret would accept; libraries do not sign so."""
    text = f"{part({'alg': 'HS256', 'kid': 'rsa'})}.{part(claims)}"
    return f"{text}.{encoded(hmac.digest(secret, text.encode(), 'sha256'))}"


def by_hand(claims: dict[str, Any], **header: Any) -> str:
    """What libraries refuse to make."""
    text = f"{part({'alg': 'RS256', 'kid': 'rsa', **header})}.{part(claims)}"
    return f"{text}.{encoded(RSA.private_key.sign(text.encode(), PKCS1v15(), SHA256()))}"


def part(value: Any) -> str:
    return encoded(json.dumps(value).encode())


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def status(api: TestClient, token: str, path: str = "/stats") -> int:
    return int(api.get(path, headers={"Authorization": f"Bearer {token}"}).status_code)


class TestAccepted:
    def test_a_holder_is_a_user_with_the_role_of_the_settings(
        self, api: TestClient, published: Published, store: Store
    ) -> None:
        token = signed(claims_of(published, sub="17", client="nightly-build"))
        mine = api.get("/v1/auth/me", headers={"X-API-Key": token}).json()
        assert (mine["name"], mine["role"], mine["csrf_token"]) == ("nightly-build", "runner", None)
        assert status(api, signed(claims_of(published, sub="17"), EC, "ES256")) == 200
        with store.read() as tx:
            known = tx.user_known_as(published.name, "17")
            assert known is not None
            assert known.name == "nightly-build"
            assert Grant(workspace="main", subject="user:nightly-build", role="runner") in tx.grants()

    def test_an_audience_among_others_and_a_clock_that_is_a_little_off(
        self, api: TestClient, published: Published
    ) -> None:
        now = int(time.time())
        for changes in ({"aud": ["other", AUDIENCE]}, {"exp": now - 5}, {"nbf": now + 5}):
            assert status(api, signed(claims_of(published, **changes))) == 200

    def test_nobody_takes_the_name_of_somebody_else(self, api: TestClient, published: Published, store: Store) -> None:
        with store.write() as tx:
            tx.create_user(tx.default_workspace(), "ada")
        for subject, name in (("a", "ada"), ("b", "admin"), ("c", "anonymous"), ("d", "no name at all"), ("e", 7)):
            token = signed(claims_of(published, sub=subject, client=name))
            given = api.get("/v1/auth/me", headers={"Authorization": f"Bearer {token}"}).json()["name"]
            assert given not in ("ada", identity.ADMIN, "anonymous", "api-key")

    def test_who_was_removed_is_refused(self, api: TestClient, published: Published, store: Store) -> None:
        token = signed(claims_of(published, sub="gone"))
        assert status(api, token) == 200
        with store.write() as tx:
            gone = tx.user_known_as(published.name, "gone")
            assert gone is not None
            tx.change_user(gone.id, disabled=True)
        time.sleep(0.11)  # as long as an answer counts here
        assert status(api, token) == 401


class TestRefused:
    @pytest.mark.parametrize(
        "changes",
        [
            {"exp": timedelta(seconds=-60)},
            {"exp": None},
            {"exp": "tomorrow"},
            {"exp": float("nan")},
            {"exp": True},
            {"nbf": timedelta(seconds=120)},
            {"iat": timedelta(seconds=120)},
            {"aud": "another"},
            {"aud": None},
            {"aud": []},
            {"aud": {"tunesmith": 1}},
            {"iss": "https://evil.example"},
            {"iss": None},
            {"iss": ["https://nobody.example"]},
            {"sub": None},
            {"sub": ""},
            {"sub": 7},
        ],
        ids=lambda changes: "-".join(changes),
    )
    def test_a_claim_that_is_not_right(self, api: TestClient, published: Published, changes: dict[str, Any]) -> None:
        now = time.time()
        moved = {k: int(now + v.total_seconds()) if isinstance(v, timedelta) else v for k, v in changes.items()}
        assert status(api, signed(claims_of(published, **moved))) == 401

    def test_a_signature_that_is_not_the_issuers(self, api: TestClient, published: Published) -> None:
        claims = claims_of(published)
        good = signed(claims)
        header, payload, signature = good.split(".")
        forged = {
            "no algorithm": f"{part({'alg': 'none'})}.{payload}.",
            "no algorithm, a signature": f"{part({'alg': 'none', 'kid': 'rsa'})}.{payload}.{signature}",
            "None": f"{part({'alg': 'None', 'kid': 'rsa'})}.{payload}.",
            "no alg": f"{part({'kid': 'rsa'})}.{payload}.{signature}",
            "the public key as a shared one": by_hmac(claims, RSA.as_pem(private=False)),
            "the same without its last line break": by_hmac(claims, RSA.as_pem(private=False).strip()),
            "a shared key that is published": signed(claims, SHARED, "HS256"),
            "another key": signed(claims, OTHER),
            "another key in the header": signed(claims, OTHER, jwk=OTHER.as_dict(private=False)),
            "another place for keys": signed(claims, OTHER, jku="https://evil.example/keys"),
            "another algorithm": signed(claims, alg="RS512"),
            "a key of another kind": f"{part({'alg': 'RS256', 'kid': 'ec'})}.{payload}.{signature}",
            "no key": f"{part({'alg': 'RS256'})}.{payload}.{signature}",
            "something critical that nobody knows": by_hand(claims, crit=["exp"], exp=1),
            "other claims": f"{header}.{part(claims | {'sub': 'admin'})}.{signature}",
            "cut off": good[:-10],
            "no signature": f"{header}.{payload}.",
            "swapped": f"{payload}.{header}.{signature}",
            "no JSON": f"{header}.{encoded(b'{')}.{signature}",
        }
        assert {name: status(api, token) for name, token in forged.items()} == dict.fromkeys(forged, 401)
        assert {status(api, token) for token in (good, by_hand(claims))} == {200}

    def test_an_issuer_whose_keys_nobody_gives(self, api: TestClient) -> None:
        token = signed({"iss": "https://nobody.example", "aud": AUDIENCE, "sub": "x", "exp": int(time.time()) + 60})
        assert status(api, token) == 503


class TestKeys:
    def test_a_new_key_is_found_and_a_withdrawn_one_forgotten(
        self, api: TestClient, published: Published, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        new = RSAKey.generate_key(2048, {"kid": "new"})
        assert status(api, signed(claims_of(published, sub="rotating"))) == 200
        published.rotate(new)
        assert status(api, signed(claims_of(published, sub="rotating"), new)) == 200
        assert status(api, signed(claims_of(published, sub="rotating, the old key"))) == 401
        published.rotate()
        monkeypatch.setattr(issuers, "FRESH_S", 0.0)
        assert status(api, signed(claims_of(published, sub="rotating back"))) == 200
        assert status(api, signed(claims_of(published, sub="rotating back, the new key"), new)) == 401

    def test_unknown_keys_make_nobody_ask_all_the_time(
        self, published: Published, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(issuers, "RETRY_S", 60.0)
        issuer, before = issuers.Issuer(published.name), published.asked
        for number in range(20):
            strange = RSAKey.import_key(OTHER.as_dict(private=True), {"kid": f"strange-{number}"})
            with pytest.raises(InvalidKeyIdError):
                issuer.token(signed(claims_of(published), strange), ["RS256"])
        assert published.asked - before == 1

    def test_keys_that_cannot_be_fetched_again_still_count(
        self, published: Published, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        issuer = issuers.Issuer(published.name)
        assert issuer.token(signed(claims_of(published)), ["RS256"]).claims["sub"] == "robot"
        monkeypatch.setattr(issuers, "FRESH_S", 0.0)
        monkeypatch.setattr(issuers, "RETRY_S", 0.0)
        monkeypatch.setattr(published, "keys", "no keys")
        assert issuer.token(signed(claims_of(published)), ["RS256"]).claims["sub"] == "robot"


def test_keys_can_be_said_where_they_are(published: Published, tmp_path: Path) -> None:
    issuer = issuers.Issuer("https://elsewhere.example", f"{published.name}/keys")
    assert issuer.token(signed(claims_of(published)), ["RS256"]).claims["iss"] == published.name
    assert len(KeySet.import_key_set(published.keys).keys) == 3
