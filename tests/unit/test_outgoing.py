"""Where requests may send this platform: which addresses are public, and that nothing connects to others."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tunesmith.domain.notification import Channel, Rule
from tunesmith.errors import InvalidChannel
from tunesmith.outgoing import NotPublic, is_public, may_be_public, public_addresses_only
from tunesmith.services.delivery import check_url, deliver, probe_message
from tunesmith.services.notifications import public_only
from tunesmith.settings import Settings


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    """A web server on loopback that counts what it gets in `hits`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.server.hits += 1  # type: ignore[attr-defined]
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_given: Any) -> None:
            pass

    made = HTTPServer(("127.0.0.1", 0), Handler)
    made.hits = 0  # type: ignore[attr-defined]
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1",
        "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:0:1::1",
        "::127.0.0.1",
        "localhost", "example.com", "", "/run/socket",
    ],
)  # fmt: skip
def test_any_other_is_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "[::1]", "10.1.2.3", "[fe80::1]"]
)
def test_a_host_that_is_private_shows_so_before_it_is_resolved(host: str) -> None:
    assert not may_be_public(host)
    assert may_be_public("example.com")
    assert may_be_public("[2606:4700::1111]")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0"])
def test_no_spelling_of_loopback_is_connected_to(server: HTTPServer, host: str) -> None:
    port = server.server_address[1]
    with public_addresses_only() as refused, pytest.raises(NotPublic):
        http.client.HTTPConnection(host, port, timeout=5).request("POST", "/")
    assert set(refused) <= {"127.0.0.1", "::1", "0.0.0.0"}
    assert refused
    assert server.hits == 0  # type: ignore[attr-defined]
    connection = http.client.HTTPConnection(host, port, timeout=5)  # outside the block everything is as it was
    connection.request("POST", "/")
    assert connection.getresponse().status == 200
    connection.close()


def test_a_name_that_leads_elsewhere_once_it_is_connected_to_is_refused(
    server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the name says another address each time it is asked."""
    answers = iter(["1.1.1.1", "127.0.0.1"])

    def resolve(_host: str, port: int, *_given: Any, **_more: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers, "127.0.0.1"), port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert socket.getaddrinfo("rebinding.example", 1)[0][4][0] == "1.1.1.1"
    with pytest.raises(InvalidChannel, match=r"leads to 127\.0\.0\.1, which is no public address"):
        deliver(Channel(url=f"http://rebinding.example:{server.server_address[1]}/"), probe_message(), public_only=True)
    assert server.hits == 0  # type: ignore[attr-defined]


def test_datagrams_and_sockets_of_this_machine_are_refused_too(tmp_path: Any) -> None:
    with public_addresses_only(), socket.socket(type=socket.SOCK_DGRAM) as udp, pytest.raises(NotPublic):
        udp.sendto(b"x", ("127.0.0.1", 514))
    with public_addresses_only(), socket.socket(socket.AF_UNIX) as unix, pytest.raises(NotPublic):
        unix.connect(str(tmp_path / "socket"))


@pytest.mark.parametrize("scheme", ["http", "slack+http", "json", "form", "xml", "ntfy", "gotify", "mailto"])
def test_no_kind_of_channel_reaches_this_machine_by_a_name(
    server: HTTPServer, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, port, real = "inner.example", server.server_address[1], socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *given, **more: real("127.0.0.1", *given, **more))
    url = {
        "ntfy": f"ntfy://{host}:{port}/topic", "gotify": f"gotify://{host}:{port}/Atoken1234567890",
        "mailto": f"mailto://user:word@{host}:{port}/?from=a@example.com&to=b@example.com&smtp={host}",
    }.get(scheme, f"{scheme}://{host}:{port}/")  # fmt: skip
    with pytest.raises(InvalidChannel, match=r"127\.0\.0\.1, which is no public address; let the administrator"):
        deliver(Channel(url=url), probe_message(), public_only=True)
    assert server.hits == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://169.254.169.254/latest/meta-data", "leads to 169.254.169.254"),
        ("https://localhost/hook", "leads to localhost"),
        ("http://[::1]/hook", "leads to ::1"),
        ("json://10.0.0.1/", "leads to 10.0.0.1"),
        (
            "workflows://example.com/workflow/signature?template=/etc/passwd",
            r"names a file of the platform \(template\)",
        ),
        (
            "workflows://example.com/workflow/signature?TEMPLATE=/etc/passwd",
            r"names a file of the platform \(template\)",
        ),
        ("fcm://project/device?keyfile=/etc/passwd", r"names a file of the platform \(keyfile\)"),
        ("syslog://user", "is the platform's own"),
    ],
)
def test_what_cannot_be_public_is_refused_when_it_is_named(url: str, reason: str) -> None:
    check_url(url)
    with pytest.raises(InvalidChannel, match=reason):
        check_url(url, public_only=True)
    with pytest.raises(InvalidChannel, match=reason):
        deliver(Channel(url=url), probe_message(), public_only=True)


def test_the_administrator_may_choose_any_address_and_others_in_prod_only_public_ones() -> None:
    settings = Settings.model_validate(
        {"mode": "prod", "channels": {"team": "http://10.0.0.1"}, "notify": [{"channel": "http://10.0.0.2"}]}
    )
    of_the_settings, named = [Rule(channel="team"), Rule(channel="http://10.0.0.2")], Rule(channel="http://10.0.0.3")
    assert [public_only(settings, rule) for rule in (*of_the_settings, named)] == [False, False, True]
    assert not public_only(settings.model_copy(update={"allow_private_addresses": True}), named)
    assert not public_only(Settings(), named)
    assert public_only(Settings(allow_private_addresses=False), named)
