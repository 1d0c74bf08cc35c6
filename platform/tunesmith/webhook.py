"""Signatures of webhooks: how notifications are signed, and how a receiver knows that one is genuine."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

from tunesmith.errors import InvalidSignature

ID, TIMESTAMP, SIGNATURE = "X-Tunesmith-Id", "X-Tunesmith-Timestamp", "X-Tunesmith-Signature"
VERSION = "v1="


def signature(secret: str, notification_id: str, timestamp: str, body: bytes) -> str:
    """The value of `X-Tunesmith-Signature`: HMAC-SHA256 of `<id>.<timestamp>.<body>`, in hexadecimal."""
    signed = f"{notification_id}.{timestamp}.".encode() + body
    return VERSION + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def verify_webhook(headers: Mapping[str, str], body: bytes, secret: str, tolerance_s: float = 300) -> dict[str, Any]:
    """What a webhook was told, once it is sure that it comes from who has the secret, and is not a repetition of old.

    `headers` and `body` are those of the request, the body just as it came. The same notification may come twice
    within the tolerance: its `id` tells.

    Raises:
        InvalidSignature: the signature is missing or wrong, or older or newer than `tolerance_s` seconds.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    notification_id, timestamp, given = (lower.get(name.lower(), "") for name in (ID, TIMESTAMP, SIGNATURE))
    if not hmac.compare_digest(signature(secret, notification_id, timestamp, body).encode(), given.encode()):
        raise InvalidSignature
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > tolerance_s:
        raise InvalidSignature(f"The webhook was signed at {timestamp}, which is too far from now", timestamp=timestamp)
    told: dict[str, Any] = json.loads(body)
    return told
