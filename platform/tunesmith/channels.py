"""Channels that well-known variables configure: `SLACK_WEBHOOK_URL`, and a mail server by `SMTP_SERVER` and others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from tunesmith.errors import InvalidSettings

SLACK = "SLACK_WEBHOOK_URL"
MAIL = ("SMTP_SERVER", "SENDER_EMAIL", "RECIPIENT_EMAILS")
"""Without one of these there is no mail."""
PASSWORD, PORT = "SENDER_PASSWORD", "SMTP_PORT"
VARIABLES = (SLACK, *MAIL, PASSWORD, PORT)
"""All that are read here; they are none of the platform's own, so they have no prefix."""
TLS_PORT, SUBMISSION_PORT = 465, 587
SLACK_HOST = "hooks.slack.com"


def well_known_channels(environ: Mapping[str, str]) -> dict[str, str]:
    """The channels `slack` and `mail`, as far as their variables are set: name -> URL.

    Raises:
        InvalidSettings: a value is none of its kind, or one is missing.
    """
    given = {name: environ[name].strip() for name in VARIABLES if environ.get(name, "").strip()}
    channels = {}
    if SLACK in given:
        channels["slack"] = _slack(given[SLACK])
    if any(name in given for name in (*MAIL, PASSWORD)):
        channels["mail"] = _mail(given)
    return channels


def _slack(url: str) -> str:
    if not re.match(r"https?://[^\s/]", url):
        raise InvalidSettings(f"{SLACK}=...: it is no http(s) URL", variable=SLACK)
    return url if url.startswith(f"https://{SLACK_HOST}/") else f"slack+{url}"


def _mail(given: Mapping[str, str]) -> str:
    """An apprise URL. Mail goes through TLS: from the start on port 465, by STARTTLS on others.

    A server that takes mail without a password is one of the own network, and is spoken to as it is.
    """
    missing = [name for name in MAIL if name not in given]
    if missing:
        present = ", ".join(name for name in (*MAIL, PASSWORD) if name in given)
        raise InvalidSettings(
            f"{missing[0]} is not set, but {present}: mail needs {', '.join(MAIL)}", variable=missing[0]
        )
    recipients = [address.strip() for address in given["RECIPIENT_EMAILS"].split(",") if address.strip()]
    for name, addresses in (("SENDER_EMAIL", [given["SENDER_EMAIL"]]), ("RECIPIENT_EMAILS", recipients)):
        wrong = [address for address in addresses if "@" not in address.strip("@")]
        if wrong or not addresses:
            raise InvalidSettings(f"{name}={given[name]!r}: {(wrong or ['it'])[0]} is no address", variable=name)
    server, sender, password = given["SMTP_SERVER"], given["SENDER_EMAIL"], given.get(PASSWORD)
    port = _port(given.get(PORT, str(SUBMISSION_PORT)))
    options = {"smtp": server, "from": sender, "to": ",".join(recipients)}
    if password is None:
        return f"mailto://{server}:{port}/?{urlencode(options)}"
    options["mode"] = "ssl" if port == TLS_PORT else "starttls"
    return f"mailtos://{quote(sender, safe='')}:{quote(password, safe='')}@{server}:{port}/?{urlencode(options)}"


def _port(raw: str) -> int:
    if not raw.isdecimal() or not 0 < int(raw) < 65536:
        raise InvalidSettings(f"{PORT}={raw!r}: a port is a number from 1 to 65535", variable=PORT)
    return int(raw)
