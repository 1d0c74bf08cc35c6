"""Signing in with a browser at a real OpenID provider, and what a session is good for."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import httpx2
import pytest
from conftest import served
from openid_provider import CLIENT, PASSWORD, PEOPLE, SECRET

from serve_app.app import build
from serve_app.identities import Identities
from serve_app.signing_in import issuers
from serve_app.signing_in.cookies import CSRF_HEADER, Cookies, csrf_token
from serve_app.signing_in.pages import FIRST, own_path
from tunesmith.domain import Grant, SignIn, utcnow
from tunesmith.services.tokens import hashed
from tunesmith.settings import Settings
from tunesmith.store import Store, open_store

PAGE = {"Accept": "text/html,application/xhtml+xml"}
WANTED = "/docs?from=here"
Browse = Callable[[], httpx2.Client]


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """The issuer, a process of its own."""
    script = Path(__file__).with_name("openid_provider.py")
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/o"
        process.kill()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path_factory.mktemp('sign-in')}/tunesmith.db")
    opened.upgrade()
    yield opened
    opened.close()


def settings_of(provider: str, url: str, directory: Path, **more: object) -> Settings:
    wanted = {
        "data_dir": directory, "mode": "prod", "public_url": url, "oidc_issuer": provider, "oidc_client_id": CLIENT,
        "oidc_client_secret": SECRET, "oidc_domains": ("example.org",),
    }  # fmt: skip
    return Settings.model_validate(wanted | more)


@contextmanager
def platform(provider: str, directory: Path, store: Store, **more: object) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = settings_of(provider, f"http://127.0.0.1:{port}", directory, **more)
    with served(build(settings, store=store), port) as url:
        yield url


@pytest.fixture(scope="module")
def url(provider: str, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The platform, which looks a session up again after a tenth of a second."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Identities.__init__, "__defaults__", (0.1,))
        patched.setattr(issuers, "RETRY_S", 0.0)
        with platform(provider, tmp_path_factory.mktemp("platform"), store) as running:
            yield running


@pytest.fixture
def browser(url: str) -> Iterator[httpx2.Client]:
    with browsing(url) as client:
        yield client


def browsing(url: str) -> httpx2.Client:
    return httpx2.Client(base_url=url, headers=PAGE, follow_redirects=True, timeout=20)


def at_provider(browser: httpx2.Client, name: str, change: Callable[[str], str] = str) -> str:
    """Begin, sign in at the provider, and stop where it sends the browser back to; `change`: what is asked of it."""
    begun = browser.get("/login", params={"next": WANTED}, follow_redirects=False)
    assert begun.status_code == 303, begun.text
    answer = browser.get(change(begun.headers["location"]), follow_redirects=False)
    while "/callback" not in answer.headers.get("location", ""):
        if answer.is_redirect:
            answer = browser.get(answer.url.join(answer.headers["location"]), follow_redirects=False)
            continue
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', answer.text)  # the form; none the second time
        assert token is not None, answer.text
        fields = {"csrfmiddlewaretoken": token[1], "username": name, "password": PASSWORD}
        answer = browser.post(answer.url, data=fields, follow_redirects=False)
    return answer.headers["location"]


def sign_in(browser: httpx2.Client, name: str = "ada") -> httpx2.Response:
    return browser.get(at_provider(browser, name), follow_redirects=False)


def without(name: str, instead: str | None = None) -> Callable[[str], str]:
    """Takes a parameter out of a URL, or gives it another value."""

    def changed(url: str) -> str:
        parts = urlsplit(url)
        query = {key: value for key, (value,) in parse_qs(parts.query).items() if key != name}
        return urlunsplit(parts._replace(query=urlencode(query | ({name: instead} if instead else {}))))

    return changed


def meant(browser: httpx2.Client) -> dict[str, str]:
    """What a page of ours sends along."""
    return {"Origin": str(browser.base_url).rstrip("/"), CSRF_HEADER: browser.cookies["tunesmith_csrf"]}


def await_refusal(browser: httpx2.Client, session: str) -> None:
    deadline = time.monotonic() + 5
    while httpx2.get(browser.base_url.join("/stats"), cookies={"tunesmith_session": session}).status_code != 401:
        assert time.monotonic() < deadline


class TestSigningIn:
    def test_a_browser_is_sent_to_the_provider_and_back_to_what_it_wanted(
        self, browser: httpx2.Client, store: Store
    ) -> None:
        sent = browser.get(WANTED, follow_redirects=False)
        assert (sent.status_code, sent.headers["location"]) == (303, "/login?next=/docs%3Ffrom%3Dhere")
        asked = browser.get(sent.headers["location"], follow_redirects=False).headers["location"]
        query = parse_qs(urlsplit(asked).query)
        assert query["code_challenge_method"] == ["S256"]
        assert query["response_type"] == ["code"]
        assert {"state", "nonce", "code_challenge"} < set(query)
        back = sign_in(browser)
        assert (back.status_code, back.headers["location"]) == (303, WANTED)
        assert back.headers["cache-control"] == "no-store"
        assert "Swagger" in browser.get(WANTED).text
        assert browser.get("/stats").status_code == 200
        with store.read() as tx:
            ada = tx.user("ada@example.org")
            assert ada.email == "ada@example.org"
            assert Grant(workspace="main", subject="user:ada@example.org", role="viewer") in tx.grants()
            assert tx.credentials(ada.name) is None
            assert tx.tokens(ada.id)[0].kind == "cookie"

    def test_the_cookies_are_for_nobody_else(self, browser: httpx2.Client) -> None:
        set_by = {text.partition("=")[0]: text.lower() for text in sign_in(browser).headers.get_list("set-cookie")}
        assert "httponly" in set_by["tunesmith_session"]
        assert "httponly" not in set_by["tunesmith_csrf"]
        for text in (set_by["tunesmith_session"], set_by["tunesmith_csrf"]):
            assert "samesite=lax" in text
            assert "path=/" in text
            assert "domain" not in text

    def test_what_is_no_page_gets_a_refusal(self, url: str) -> None:
        for path, headers in [("/stats", PAGE), ("/docs", {}), ("/api/v1/experiments/7", PAGE)]:
            refused = httpx2.get(f"{url}{path}", headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (401, "UNAUTHENTICATED")
        assert httpx2.post(f"{url}/docs", headers=PAGE).status_code == 401

    def test_the_same_person_is_the_same_user_and_a_new_session_ends_the_old(self, browser: httpx2.Client) -> None:
        sign_in(browser)
        old = browser.cookies["tunesmith_session"]
        sign_in(browser)
        assert browser.cookies["tunesmith_session"] != old
        await_refusal(browser, old)
        assert browser.get("/stats").status_code == 200

    def test_an_address_that_only_userinfo_says_counts(self, browser: httpx2.Client) -> None:
        assert sign_in(browser, "quiet").status_code == 303

    def test_a_new_key_of_the_provider_is_accepted(self, browser: httpx2.Client, provider: str) -> None:
        sign_in(browser)
        assert httpx2.post(provider.removesuffix("/o") + "/rotate").status_code == 204
        assert sign_in(browser).status_code == 303


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "reason"),
        [("mallory", "your domain"), ("eve", "not verified"), ("nobody", "no e-mail address")],
    )
    def test_who_may_not(self, browser: httpx2.Client, store: Store, name: str, reason: str) -> None:
        refused = sign_in(browser, name)
        assert refused.status_code == 403
        assert reason in refused.text
        assert "text/html" in refused.headers["content-type"]
        assert "tunesmith_session" not in browser.cookies
        with store.read() as tx:
            assert PEOPLE[name].get("email") not in {user.name for user in tx.users()}

    def test_a_callback_a_second_time(self, browser: httpx2.Client) -> None:
        address = at_provider(browser, "ada")
        kept = dict(browser.cookies)
        assert browser.get(address, follow_redirects=False).status_code == 303
        with httpx2.Client(cookies={"tunesmith_sign_in": kept["tunesmith_sign_in"]}) as again:
            refused = again.get(address)
            assert refused.status_code == 401
            assert "is finished" in refused.text  # said here: the provider was not asked
            assert "tunesmith_session" not in again.cookies

    def test_a_callback_in_another_browser(self, browser: httpx2.Client, url: str) -> None:
        address = at_provider(browser, "ada")
        with browsing(url) as other:
            assert other.get(address).status_code == 403
            at_provider(other, "ada")  # even one that has begun
            assert other.get(address).status_code == 403
        assert browser.get(address, follow_redirects=False).status_code == 303

    def test_another_state(self, browser: httpx2.Client) -> None:
        address = at_provider(browser, "ada")
        state = parse_qs(urlsplit(address).query)["state"][0]
        for other in (None, state[:-1], "x" * 43, "ü"):
            assert browser.get(without("state", other)(address)).status_code == (403 if other else 400)

    @pytest.mark.parametrize("change", [without("nonce"), without("nonce", "another")])
    def test_an_id_token_for_another_sign_in(self, browser: httpx2.Client, change: Callable[[str], str]) -> None:
        refused = browser.get(at_provider(browser, "ada", change))
        assert refused.status_code == 401
        assert "tunesmith_session" not in browser.cookies

    def test_a_code_that_another_challenge_got(self, browser: httpx2.Client) -> None:
        assert browser.get(at_provider(browser, "ada", without("code_challenge", "x" * 43))).status_code == 401

    def test_a_code_of_nobody_and_an_error(self, browser: httpx2.Client) -> None:
        for change in (without("code", "made-up"), without("code")):
            assert browser.get(change(at_provider(browser, "ada"))).status_code == 401

    def test_an_answer_of_another_provider(self, browser: httpx2.Client) -> None:
        assert browser.get(at_provider(browser, "ada") + "&iss=https://evil.example").status_code == 401

    def test_who_comes_too_late(self, browser: httpx2.Client, store: Store) -> None:
        late = SignIn(state="s" * 43, nonce="n", verifier="v", next="/", expires_at=utcnow())
        with store.write() as tx:
            tx.add_sign_in(late)
        browser.cookies.set("tunesmith_sign_in", late.state)
        assert browser.get("/callback", params={"state": late.state, "code": "c"}).status_code == 401

    def test_who_was_removed(self, browser: httpx2.Client, store: Store) -> None:
        sign_in(browser, "quiet")
        with store.write() as tx:
            tx.change_user(tx.user("quiet@example.org").id, disabled=True)
        await_refusal(browser, browser.cookies["tunesmith_session"])
        assert sign_in(browser, "quiet").status_code == 403
        with store.write() as tx:
            tx.change_user(tx.user("quiet@example.org").id, disabled=False)

    def test_a_provider_that_does_not_answer_and_none(self, tmp_path: Path, store: Store) -> None:
        with platform("http://127.0.0.1:9/o", tmp_path, store) as url:
            assert httpx2.get(f"{url}/login").status_code == 503
        with platform("http://127.0.0.1:9/o", tmp_path, store, oidc_issuer=None, api_key="k" * 16) as url:
            assert httpx2.get(f"{url}/login").status_code == 404
            assert httpx2.get(f"{url}/docs", headers=PAGE).status_code == 401

    def test_an_issuer_that_calls_itself_something_else(self, provider: str, tmp_path: Path, store: Store) -> None:
        with platform(provider + "/", tmp_path, store) as url:
            assert httpx2.get(f"{url}/login").status_code == 503


class TestSessions:
    def test_signing_out_ends_the_session_for_good(self, browser: httpx2.Client) -> None:
        sign_in(browser)
        session = browser.cookies["tunesmith_session"]
        out = browser.post("/logout", headers=meant(browser))
        assert out.status_code == 204
        assert not [name for name in browser.cookies if name.startswith("tunesmith")]
        await_refusal(browser, session)
        assert browser.post("/logout").status_code == 204

    def test_a_revoked_session_is_refused(self, browser: httpx2.Client, store: Store) -> None:
        sign_in(browser)
        session = browser.cookies["tunesmith_session"]
        with store.write() as tx:
            found = tx.token_holder(hashed(session))
            assert found is not None
            tx.revoke_tokens(found[0].id, [found[1].id])
        await_refusal(browser, session)
        assert browser.get("/docs", follow_redirects=False).headers["location"].startswith("/login")

    def test_a_session_is_no_bearer_token(self, browser: httpx2.Client) -> None:
        sign_in(browser)
        session = browser.cookies["tunesmith_session"]
        for headers in ({"Authorization": f"Bearer {session}"}, {"X-API-Key": session}):
            assert httpx2.get(browser.base_url.join("/stats"), headers=headers).status_code == 401

    def test_what_another_site_sends_is_refused(self, browser: httpx2.Client) -> None:
        sign_in(browser)
        good = meant(browser)
        for bad in (
            {},
            {"Origin": good["Origin"]},
            {CSRF_HEADER: good[CSRF_HEADER]},
            good | {"Origin": "null"},
            good | {"Origin": "https://evil.example"},
            good | {"Origin": good["Origin"] + ".evil.example"},
            good | {CSRF_HEADER: csrf_token("another session")},
            good | {CSRF_HEADER: "ü".encode()},
        ):
            for path in ("/jobs/validate", "/logout"):
                refused = browser.post(path, json={}, headers=bad)
                assert (refused.status_code, refused.json()["code"]) == (403, "FORBIDDEN"), (path, bad)
        assert browser.post("/jobs/validate", json={}, headers=good).json()["code"] == "INVALID_BODY"
        assert browser.get("/v1/auth/me").json()["csrf_token"] == good[CSRF_HEADER]


def test_over_tls_cookies_are_secure_and_of_this_host_alone() -> None:
    from starlette.datastructures import Headers
    from starlette.responses import Response

    cookies, response = Cookies("https://tunesmith.example.org"), Response()
    cookies.start(response, "ts_secret", 60)
    session = next(text for text in response.headers.getlist("set-cookie") if "ts_secret" in text)
    assert session.startswith("__Host-tunesmith_session=ts_secret;")
    assert "Secure" in session
    assert "HttpOnly" in session
    assert cookies.session(Headers({"cookie": "a=b; __Host-tunesmith_session=ts_secret"})) == "ts_secret"
    assert cookies.session(Headers({"cookie": "tunesmith_session=ts_planted"})) is None
    assert Cookies(None).session(Headers({"cookie": "tunesmith_session=ts_planted"})) is None


@pytest.mark.parametrize(
    "wanted",
    ["", "docs", "//evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example", "javascript:alert(1)",
     "/\t/evil.example", "/a\r\nSet-Cookie: a=b", "/login?next=/login", "/ü"],
)  # fmt: skip
def test_nobody_is_sent_elsewhere_afterwards(wanted: str) -> None:
    assert own_path(wanted) == FIRST
    assert own_path("/jobs?limit=3#top") == "/jobs?limit=3#top"
