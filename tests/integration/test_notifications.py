"""Notifications sent for real: to a mail server, to webhooks that take, refuse, hang or are away, by many senders."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from conftest import served
from fastapi import FastAPI
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from serve_app.notifying import Sender
from tunesmith import Client, InvalidChannel, InvalidSignature, NotSent, StateForbids, verify_webhook
from tunesmith.cli.app import app as command_line
from tunesmith.domain import JobState, TrainingStatus
from tunesmith.domain.notification import STATUSES, Notification, Rule
from tunesmith.errors import InvalidSettings
from tunesmith.services.notifications import check_rules, check_settings
from tunesmith.settings import Settings, load_settings
from tunesmith.store import Store
from tunesmith.store.notifications import MAX_ATTEMPTS
from tunesmith.testing.notification_contract import added, let_time_pass, notification
from tunesmith.testing.training_contract import new_training

SECRET = "a secret of this test"


@dataclass
class Receiver:
    """A web server that keeps what it gets, and answers what the test says: by path, in order, then always 200."""

    url: str = ""
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    answers: dict[str, list[int]] = field(default_factory=dict)
    hanging: set[str] = field(default_factory=set)
    over: threading.Event = field(default_factory=threading.Event)

    def ids(self, path: str) -> list[str]:
        """The notifications that a path got, in order."""
        return [headers["x-tunesmith-id"] for where, headers, _body in self.got if where == path]

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        self.got.append((request.path, {name.lower(): value for name, value in request.headers.items()}, body))
        if request.path in self.hanging:
            self.over.wait(60)
            return
        status = self.answers[request.path].pop(0) if self.answers.get(request.path) else 200
        said = b"no room" if status >= 300 else b"ok"
        request.send_response(status)
        request.send_header("Content-Length", str(len(said)))
        request.send_header("Location", self.url + "/elsewhere")
        request.end_headers()
        request.wfile.write(said)


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.handle(self)

        def log_message(self, *_args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_args: Any) -> None:
            """A sender that was killed, or gave up."""

    server = Server(("127.0.0.1", port), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@contextmanager
def sending(store: Store, settings: Settings, limit_s: float = 20) -> Iterator[Sender]:
    sender = Sender(store, settings, limit_s)
    sender.start()
    try:
        yield sender
    finally:
        sender.stop()
        until(lambda: not sender.sending)


def until(holds: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def stands(store: Store, note_id: str) -> Notification:
    with store.read() as tx:
        return tx.notification(note_id)


def everything(store: Store) -> list[Notification]:
    with store.read() as tx:
        return list(tx.notifications().items)


def tell(store: Store, rules: tuple[Rule, ...], status: TrainingStatus) -> None:
    """A training job with these rules gets a status."""
    training = new_training(store, "nightly", notify=rules)
    with store.write() as tx:
        tx.take_status_changes()
        (firing,) = tx.firings(training, set(JobState))
        tx.notify(training.id, training.name, firing, status)


class Mailbox:
    """Takes every mail."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, list[str], str]] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        self.mails.append((envelope.mail_from, envelope.rcpt_tos, envelope.content.decode()))
        return "250 OK"


@contextmanager
def mail_server(**options: Any) -> Iterator[tuple[Mailbox, int]]:
    mailbox = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(mailbox, hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield mailbox, port
    finally:
        controller.stop()


class TestChannels:
    def test_slack_mail_and_a_signed_webhook_are_told_of_a_status(self, store: Store, receiver: Receiver) -> None:
        with mail_server() as (mailbox, port):
            settings = load_settings(
                {
                    "SLACK_WEBHOOK_URL": f"{receiver.url}/slack",
                    "SMTP_SERVER": "127.0.0.1",
                    "SMTP_PORT": str(port),
                    "SENDER_EMAIL": "jobs@example.com",
                    "RECIPIENT_EMAILS": "ann@example.com, bob@example.org",
                }
            )
            tell(store, (Rule(channel=f"{receiver.url}/hook", secret=SECRET, on=STATUSES),), TrainingStatus.RUNNING)
            with sending(store, load_settings(settings.environment())):
                until(lambda: [one.state for one in everything(store)] == ["sent"] * 3)
        got = {path: (headers, body) for path, headers, body in receiver.got}
        assert json.loads(got["/slack"][1])["text"].startswith("*tunesmith: nightly: running*\nTraining job nightly")
        assert sorted(address for _sender, to, _text in mailbox.mails for address in to) == [
            "ann@example.com",
            "bob@example.org",
        ]
        sender, _to, text = mailbox.mails[0]
        assert (sender, "Subject: tunesmith: nightly: running" in text) == ("jobs@example.com", True)
        told = verify_webhook(*got["/hook"], SECRET)
        assert (told["event"], told["job"]["name"], told["job"]["status"]) == (
            "training_job.running",
            "nightly",
            "running",
        )
        assert told["execution"] == {"number": 1, "attempt": 1}
        assert told["id"] == got["/hook"][0]["x-tunesmith-id"]
        assert {one.channel for one in everything(store)} == {"slack", "mail", f"{receiver.url}/***"}

    def test_a_job_is_told_of_what_it_asks_for_and_a_channel_once(
        self, sqlite_store: Store, receiver: Receiver
    ) -> None:
        settings = Settings.model_validate(
            {
                "channels": {"team": f"{receiver.url}/team", "all": f"{receiver.url}/all"},
                "notify": [{"channel": "all", "on": ["failed"]}, {"channel": "team", "on": ["failed"]}],
            }
        )
        rules = (Rule(channel="team"), Rule(channel=f"{receiver.url}/paused", on=("paused",)), Rule(channel="nobody"))
        tell(sqlite_store, rules, TrainingStatus.FAILED)
        with sending(sqlite_store, settings):
            until(lambda: sorted(one.state for one in everything(sqlite_store)) == ["dead", "sent", "sent"])
        assert sorted(path for path, _headers, _body in receiver.got) == ["/all", "/team"]
        (dead,) = [one for one in everything(sqlite_store) if one.state == "dead"]
        assert (dead.channel, dead.attempts) == ("nobody", 1)
        assert dead.last_error == "no channel is called 'nobody'; there are: team, all (TUNESMITH_CHANNELS)"


@dataclass
class TlsMail:
    """A mail server that takes mail by TLS and a password, and what was tried on it."""

    port: int
    mailbox: Mailbox
    certificate: Path
    logins: list[tuple[bytes, bytes]]

    def settings(self, password: str) -> Settings:
        addresses = {"SENDER_EMAIL": "jobs@example.com", "RECIPIENT_EMAILS": "ann@example.com"}
        server = {"SMTP_SERVER": "localhost", "SMTP_PORT": str(self.port), "SENDER_PASSWORD": password}
        return load_settings({**addresses, **server})


class TestMailWithPassword:
    PASSWORD = "p@ss:/word"

    @pytest.fixture
    def server(self, certificate: tuple[Path, Path]) -> Iterator[TlsMail]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
        logins: list[tuple[bytes, bytes]] = []

        def check(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
            logins.append((data.login, data.password))
            right = data.password == self.PASSWORD.encode()
            return AuthResult(success=right, handled=right)  # unless it is handled, the server refuses

        with mail_server(tls_context=context, require_starttls=True, authenticator=check) as (mailbox, port):
            yield TlsMail(port, mailbox, certificate[0], logins)

    def outcome(self, store: Store, settings: Settings) -> Notification:
        (note_id,) = added(store, notification(1, "mail"))
        with sending(store, settings):
            until(lambda: stands(store, note_id).attempts == 1 and stands(store, note_id).lease_token is None)
        return stands(store, note_id)

    def test_it_is_sent_through_tls(
        self, sqlite_store: Store, server: TlsMail, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
        assert self.outcome(sqlite_store, server.settings(self.PASSWORD)).state == "sent"
        assert server.logins == [(b"jobs@example.com", self.PASSWORD.encode())]
        assert len(server.mailbox.mails) == 1

    def test_a_server_that_nobody_vouches_for_gets_no_password(self, sqlite_store: Store, server: TlsMail) -> None:
        left = self.outcome(sqlite_store, server.settings(self.PASSWORD))
        assert (left.state, server.logins) == ("waiting", [])
        assert "CERTIFICATE_VERIFY_FAILED" in str(left.last_error)

    def test_a_wrong_password_is_said_and_not_shown(
        self, sqlite_store: Store, server: TlsMail, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
        left = self.outcome(sqlite_store, server.settings("of-yesterday"))
        assert (left.state, server.mailbox.mails) == ("waiting", [])
        assert "535" in str(left.last_error)
        assert "of-yesterday" not in str(left.last_error)


class TestFailures:
    def test_a_refusal_is_tried_again_under_the_same_id(self, store: Store, receiver: Receiver) -> None:
        receiver.answers["/hook"] = [500, 302]
        (note_id,) = added(store, notification(1, f"{receiver.url}/hook"))
        with sending(store, Settings(webhook_secret=SECRET)) as sender:
            for attempt, status in ((1, 500), (2, 302)):
                until(lambda: stands(store, note_id).last_error and stands(store, note_id).attempts == attempt)  # noqa: B023
                until(lambda: stands(store, note_id).lease_token is None)
                assert stands(store, note_id).last_error == f"{receiver.url}/*** answered {status}: no room"
                let_time_pass(store)
                sender.ring()
            until(lambda: stands(store, note_id).state == "sent")
        assert receiver.ids("/hook") == [note_id] * 3
        assert receiver.ids("/elsewhere") == []
        for _path, headers, body in receiver.got:
            assert verify_webhook(headers, body, SECRET)["id"] == note_id

    def test_who_is_away_is_tried_until_the_notification_is_dead_and_told_when_it_is_sent_again(
        self, sqlite_store: Store
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        (note_id,) = added(sqlite_store, notification(1, f"http://127.0.0.1:{port}/hook"))
        with sending(sqlite_store, Settings()) as sender:
            for attempt in range(1, MAX_ATTEMPTS + 1):
                until(lambda: stands(sqlite_store, note_id).attempts == attempt)  # noqa: B023
                until(lambda: stands(sqlite_store, note_id).lease_token is None)
                let_time_pass(sqlite_store)
                sender.ring()
            dead = stands(sqlite_store, note_id)
            assert (dead.state, dead.attempts) == ("dead", MAX_ATTEMPTS)
            assert "refused" in str(dead.last_error)
            with receiving(port) as receiver:
                with sqlite_store.write() as tx:
                    tx.resend_notification(note_id)
                sender.ring()
                until(lambda: stands(sqlite_store, note_id).state == "sent")
                assert receiver.ids("/hook") == [note_id]

    def test_a_channel_that_hangs_holds_up_no_other(self, sqlite_store: Store, receiver: Receiver) -> None:
        receiver.hanging.add("/stuck")
        settings = Settings.model_validate(
            {"channels": {"stuck": f"{receiver.url}/stuck", "quick": f"{receiver.url}/quick"}}
        )
        stuck = added(sqlite_store, *(notification(n, "stuck") for n in range(20)))
        quick = added(sqlite_store, *(notification(n, "quick") for n in range(20, 40)))
        with sending(sqlite_store, settings, limit_s=1):
            until(lambda: all(stands(sqlite_store, note_id).state == "sent" for note_id in quick))
            until(lambda: sum(stands(sqlite_store, note_id).last_error is not None for note_id in stuck) == 2)
            late = [one for one in everything(sqlite_store) if one.last_error is not None]
            assert {one.last_error for one in late} == {"stuck: no answer within 1 s"}
            (more,) = added(sqlite_store, notification(40, "quick"))
            until(lambda: stands(sqlite_store, more).state == "sent")
            assert len(receiver.ids("/stuck")) == 2
            receiver.hanging.clear()
            receiver.over.set()  # its two places are free again
            let_time_pass(sqlite_store)
            until(lambda: all(stands(sqlite_store, note_id).state == "sent" for note_id in stuck))


class TestSenders:
    def test_two_at_once_send_each_notification_once(self, store: Store, receiver: Receiver) -> None:
        ids = added(store, *(notification(n, f"{receiver.url}/hook") for n in range(30)))
        with sending(store, Settings()), sending(store, Settings()):
            until(lambda: all(one.state == "sent" for one in everything(store)))
        assert sorted(receiver.ids("/hook")) == ids

    def test_two_at_once_make_each_status_change_one_notification(self, store: Store, receiver: Receiver) -> None:
        settings = Settings.model_validate(
            {"channels": {"team": f"{receiver.url}/hook"}, "notify": [{"channel": "team"}]}
        )
        training = new_training(store)
        with store.write() as tx:
            tx.take_status_changes()
            for _ in range(110):
                tx.notify(training.id, training.name, None, TrainingStatus.FAILED)
        with sending(store, settings), sending(store, settings):
            until(lambda: len(receiver.ids("/hook")) >= 110)
        assert len(set(receiver.ids("/hook"))) == len(receiver.ids("/hook")) == 110

    @pytest.mark.parametrize("store", ["sqlite", "postgres"], indirect=True)
    def test_one_whose_sender_was_killed_before_it_was_noted_is_sent_again(
        self, store: Store, receiver: Receiver
    ) -> None:
        receiver.hanging.add("/hook")
        (note_id,) = added(store, notification(1, f"{receiver.url}/hook"))
        url = store.engine.url.render_as_string(hide_password=False)
        other = subprocess.Popen([sys.executable, "-c", SENDER, url])
        until(lambda: receiver.ids("/hook") == [note_id], 60)
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert (stands(store, note_id).state, stands(store, note_id).attempts) == ("waiting", 1)
        receiver.hanging.clear()
        let_time_pass(store)
        with sending(store, Settings()):
            until(lambda: stands(store, note_id).state == "sent")
        assert receiver.ids("/hook") == [note_id] * 2


SENDER = """
import sys, time
from serve_app.notifying import Sender
from tunesmith.settings import Settings
from tunesmith.store import open_store

Sender(open_store(sys.argv[1]), Settings()).start()
time.sleep(600)
"""


class TestReceivers:
    def test_a_webhook_is_known_by_its_signature(self, sqlite_store: Store, receiver: Receiver) -> None:
        rule = Rule(channel=f"{receiver.url}/hook", secret=SECRET)
        (note_id,) = added(sqlite_store, notification(1).evolve(rule=rule))
        with sending(sqlite_store, Settings()):
            until(lambda: stands(sqlite_store, note_id).state == "sent")
        ((_path, headers, body),) = receiver.got
        assert verify_webhook(headers, body, SECRET)["job"]["job_id"] == "train-3f9c0a1b"
        assert verify_webhook({name.title(): value for name, value in headers.items()}, body, SECRET)
        stamp = headers["x-tunesmith-timestamp"]
        for wrong, content, secret in (
            ({}, body, "another secret"),
            ({}, body.replace(b"failed", b"completed"), SECRET),
            ({"x-tunesmith-timestamp": str(int(stamp) + 1)}, body, SECRET),
            ({"x-tunesmith-id": "ntf-1"}, body, SECRET),
            ({"x-tunesmith-signature": "v1=é"}, body, SECRET),
            ({"x-tunesmith-signature": ""}, body, SECRET),
        ):
            with pytest.raises(InvalidSignature, match="missing, wrong"):
                verify_webhook({**headers, **wrong}, content, secret)
        with pytest.raises(InvalidSignature, match="too far from now"):
            verify_webhook(headers, body, SECRET, tolerance_s=-1)

    def test_without_a_secret_there_is_no_signature(self, sqlite_store: Store, receiver: Receiver) -> None:
        (note_id,) = added(sqlite_store, notification(1, f"{receiver.url}/hook"))
        with sending(sqlite_store, Settings()):
            until(lambda: stands(sqlite_store, note_id).state == "sent")
        assert "x-tunesmith-signature" not in receiver.got[0][1]


class TestRules:
    @pytest.mark.parametrize(
        ("channel", "reason"),
        [
            ("nobody", "no channel is called 'nobody'; there are: team"),
            ("nonsense://host/secret", r"nonsense://\*\*\*: apprise does not understand"),
            ("slack://secret", r"slack://\*\*\*: apprise does not understand"),
            ("http://:0x/secret", r"http://:0x/\*\*\*"),
        ],
    )
    def test_a_channel_that_nothing_can_be_sent_to_is_named(self, channel: str, reason: str) -> None:
        settings = Settings.model_validate({"channels": {"team": "json://example.com"}})
        check_rules(settings, (Rule(channel="team"), Rule(channel="mailto://me:word@example.com")))
        with pytest.raises(InvalidChannel, match=f"^notify.1.channel: {reason}") as caught:
            check_rules(settings, (Rule(channel="team"), Rule(channel=channel)))
        assert caught.value.details["fields"][0]["field"] == "notify.1.channel"
        assert "secret" not in str(caught.value.body())

    def test_a_service_with_a_channel_that_cannot_work_does_not_start(self) -> None:
        with pytest.raises(InvalidSettings, match="TUNESMITH_CHANNELS: team: nonsense"):
            check_settings(Settings.model_validate({"channels": {"team": "nonsense://x"}}))
        with pytest.raises(InvalidSettings, match=r"TUNESMITH_NOTIFY: notify\.0\.channel: no channel is called 'team'"):
            check_settings(Settings.model_validate({"notify": [{"channel": "team"}]}))
        slack = "https://hooks.slack.com/services/T12345678/B12345678/abcdefghijklmnopqrstuvwx"
        check_settings(load_settings({"SLACK_WEBHOOK_URL": slack}))


class TestApi:
    @pytest.fixture
    def settings(self, tmp_path: Path, receiver: Receiver) -> Settings:
        channels = {"team": {"url": f"{receiver.url}/team?token=hidden", "secret": SECRET}}
        return Settings.model_validate({"data_dir": tmp_path, "channels": channels})

    def test_a_channel_is_tried_at_once(self, api: TestClient, receiver: Receiver) -> None:
        answer = api.post("/notifications/test", json={"channel": "team"})
        assert (answer.status_code, answer.json()) == (200, {"status": "sent", "channel": "team"})
        ((path, headers, body),) = receiver.got
        assert path == "/team?token=hidden"
        assert verify_webhook(headers, body, SECRET)["event"] == "test"

    def test_a_channel_that_does_not_take_it_is_424_with_its_words(self, api: TestClient, receiver: Receiver) -> None:
        receiver.answers["/team?token=hidden"] = [503]
        answer = api.post("/notifications/test", json={"channel": "team"})
        assert (answer.status_code, answer.json()["code"]) == (424, "NOT_SENT")
        assert answer.json()["error"] == f"{receiver.url}/*** answered 503: no room"

    @pytest.mark.parametrize("channel", ["nobody", "nonsense://x", "Not a name", ""])
    def test_a_channel_that_is_none_is_400(self, api: TestClient, channel: str) -> None:
        answer = api.post("/notifications/test", json={"channel": channel})
        assert answer.status_code == 400
        assert answer.json()["code"] in ("INVALID_CHANNEL", "INVALID_BODY")

    def test_the_same_try_is_made_once(self, api: TestClient, receiver: Receiver) -> None:
        for _ in range(2):
            answer = api.post("/notifications/test", json={"channel": "team"}, headers={"Idempotency-Key": "k"})
            assert answer.status_code == 200
        assert answer.headers["Idempotency-Replayed"] == "true"
        assert len(receiver.got) == 1

    def test_notifications_are_shown_without_secrets_and_sent_again(self, api: TestClient, sqlite_store: Store) -> None:
        rule = Rule(channel="tgram://hidden/1", secret="hidden")
        dead, waiting = added(sqlite_store, notification(1), notification(2).evolve(rule=rule))
        with sqlite_store.write() as tx:
            (taken,) = tx.claim_notifications("team", 60, 1)
            tx.mark_failed(taken, "no room", for_good=True)
        page = api.get("/notifications", params={"state": "dead"}).json()
        assert [(one["id"], one["last_error"], one["status"]) for one in page["notifications"]] == [
            (dead, "no room", "failed")
        ]
        everything = api.get("/notifications", params={"limit": 1})
        assert everything.json()["notifications"][0]["channel"] == "tgram://***"
        assert "hidden" not in everything.text
        following = api.get("/notifications", params={"cursor": everything.json()["next_cursor"]}).json()
        assert [one["id"] for one in following["notifications"]] == [dead]
        again = api.post(f"/notifications/{dead}/resend")
        assert (again.status_code, again.json()["state"]) == (202, "waiting")
        assert api.post(f"/notifications/{waiting}/resend").json()["code"] == "STATE_FORBIDS"
        assert api.post("/notifications/ntf-0/resend").json()["code"] == "NOTIFICATION_NOT_FOUND"

    def test_the_client_and_the_command_line_do_the_same(
        self, app: FastAPI, sqlite_store: Store, receiver: Receiver
    ) -> None:
        (note_id,) = added(sqlite_store, notification(1))
        with sqlite_store.write() as tx:
            (taken,) = tx.claim_notifications("team", 60, 1)
            tx.mark_failed(taken, "no room", for_good=True)
        run = CliRunner().invoke
        with served(app) as url, Client(url) as client:
            assert [one.id for one in client.notifications.list("dead")] == [note_id]
            listed = run(command_line, ["notify", "list", "--state", "dead", "--url", url])
            assert (listed.exit_code, note_id in listed.output, "no room" in listed.output) == (0, True, True)
            assert client.notifications.test("team").status == "sent"
            tried = run(command_line, ["notify", "test", f"{receiver.url}/other", "--secret", "s", "--url", url])
            assert tried.output == f"{receiver.url}/*** took the test message\n"
            receiver.answers["/team?token=hidden"] = [500, 500]
            with pytest.raises(NotSent, match="answered 500: no room"):
                client.notifications.test("team")
            assert run(command_line, ["notify", "test", "team", "--url", url]).exit_code == 1
            assert run(command_line, ["notify", "test", "nobody", "--url", url]).exit_code == 2
            sent_again = run(command_line, ["notify", "resend", note_id, "--url", url])
            assert sent_again.output == f"{note_id} waits to be sent to team\n"
            with pytest.raises(StateForbids, match="is waiting"):
                client.notifications.resend(note_id)
