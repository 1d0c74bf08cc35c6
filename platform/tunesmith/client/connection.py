"""The client's one way to the server: requests, their retries, and the server's errors raised again by their code."""

from __future__ import annotations

import json
import os
import ssl
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx2
from pydantic_core import to_jsonable_python

import tunesmith
from tunesmith.client.discovery import certificate_of
from tunesmith.client.retry import Transient, retrying
from tunesmith.errors import ConnectionFailed, InvalidBody, TunesmithError, Unavailable, from_body

LOST = (httpx2.NetworkError, httpx2.RemoteProtocolError)
"""The connection broke or never came about: worth another try."""
BUSY = (429, 502, 503, 504)
"""Answers that are worth another try; 502 and 504 are a proxy's words for "nobody answers behind me"."""
NOBODY = (404, 408, 421)
"""With a body that is not ours, the words of a proxy whose service is away: a platform names what it does not find."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Connection:
    """An HTTP connection to one platform; safe to share between threads."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        transport: httpx2.BaseTransport | None = None,
        timeout: float = 30.0,
        retries: int = 5,
        workspace: str | None = None,
        certificate: str | Path | None = None,
    ) -> None:
        """`workspace`: the name of the one to work in; None: `TUNESMITH_WORKSPACE`, else the user's own."""
        self.url = url.rstrip("/")
        self.retries = retries
        headers = {"User-Agent": f"tunesmith/{tunesmith.__version__}", "Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if chosen := workspace or os.environ.get("TUNESMITH_WORKSPACE"):
            headers["X-Workspace"] = chosen
        self._http = _http_client(self.url, headers, transport, timeout, certificate or certificate_of(self.url))

    def close(self) -> None:
        """Close it; it cannot be used any more."""
        self._http.close()

    def get(self, path: str, **params: Any) -> Any:
        """The JSON answer to a GET; parameters that are None are left out. Raises TunesmithError."""
        return self._json("GET", path, params=_present(params))

    def post(self, path: str, body: Any = None, key: str | None = None) -> Any:
        """The JSON answer to a POST, under one Idempotency-Key however often it is sent. Raises TunesmithError.

        `key`: that of an earlier call which got no answer, or may have got none; otherwise a new one.
        """
        return self._json("POST", path, content=body, headers={"Idempotency-Key": key or uuid.uuid4().hex})

    def upload(self, path: str, params: Mapping[str, Any], **body: Any) -> Any:
        """The JSON answer to a POST of something large: `content` (JSON in bytes), or `data` and `files` of a form.

        It may take as long as it takes, and is sent again from its beginning when the connection breaks. Raises
        TunesmithError.
        """
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        if "content" in body:
            headers["Content-Type"] = "application/json"
        timeout = httpx2.Timeout(None, connect=self._http.timeout.connect)
        return self._json("POST", path, params=_present(params), headers=headers, timeout=timeout, **body)

    def patch(self, path: str, body: Any) -> Any:
        """The JSON answer to a PATCH. Raises TunesmithError."""
        return self._json("PATCH", path, content=body)

    def put(self, path: str, body: Any) -> Any:
        """The JSON answer to a PUT. Raises TunesmithError."""
        return self._json("PUT", path, content=body)

    def delete(self, path: str) -> None:
        """DELETE, whose answer is empty. Raises TunesmithError."""
        request = self._http.build_request("DELETE", path)
        retrying(lambda: self._send(request), self.retries)

    @contextmanager
    def stream(
        self, path: str, params: Mapping[str, Any], headers: Mapping[str, str], silence_s: float | None
    ) -> Iterator[httpx2.Response]:
        """An answer that is read as it comes; `silence_s` of nothing counts as a lost connection.

        Raises:
            ConnectionFailed: no answer, or it broke off.
            TunesmithError: any other error of the server.
        """
        timeout = httpx2.Timeout(self._http.timeout.connect, read=silence_s)
        request = self._http.build_request("GET", path, params=_present(params), headers=headers, timeout=timeout)
        response = retrying(lambda: self._send(request, stream=True), self.retries)
        try:
            yield response
        except httpx2.TransportError as error:
            raise ConnectionFailed(
                f"The connection to {self.url} broke off ({_reason(error)})", url=self.url
            ) from error
        finally:
            response.close()

    def not_ours(self, what: object) -> ConnectionFailed:
        """The error for an answer that no tunesmith platform gives."""
        return ConnectionFailed(
            f"{self.url} answered, but not as a tunesmith platform does ({what}); check the URL", url=self.url
        )

    def _json(self, method: str, path: str, content: Any = None, **options: Any) -> Any:
        if content is not None:
            options["content"] = content if isinstance(content, bytes) else _encoded(content)
            options["headers"] = {**options.get("headers", {}), "Content-Type": "application/json"}
        request = self._http.build_request(method, path, **options)
        response = retrying(lambda: self._send(request), self.retries)
        try:
            return response.json()
        except ValueError as error:
            raise self.not_ours(f"no JSON at {request.url.path}") from error

    def _send(self, request: httpx2.Request, stream: bool = False) -> httpx2.Response:
        try:
            response = self._http.send(request, stream=stream)
            if response.is_success:
                return response
            response.read()
        except LOST as error:
            raise Transient(self._unreachable(error)) from error
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        failure = self._error_of(response)
        if response.status_code in BUSY or isinstance(failure, Unavailable):
            raise Transient(failure, _retry_after_s(response))
        raise failure

    def _error_of(self, response: httpx2.Response) -> TunesmithError:
        body = _object_in(response)
        if "code" not in body and (response.status_code in NOBODY or response.status_code >= 500):
            return Unavailable(
                f"{self.url} answered {response.status_code} at {response.request.url.path}, but not as a tunesmith "
                "platform does: it is restarting, or the URL is not its own",
                url=self.url,
            )
        return from_body(response.status_code, body)

    def _unreachable(self, error: Exception) -> ConnectionFailed:
        reason = _reason(error)
        return ConnectionFailed(
            f"No answer from {self.url} ({reason}); is a platform running? `tunesmith up` starts one, "
            "TUNESMITH_URL or --url names another",
            url=self.url,
        )


def _http_client(
    url: str,
    headers: Mapping[str, str],
    transport: httpx2.BaseTransport | None,
    timeout: float,
    certificate: str | Path | None,
) -> httpx2.Client:
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise ConnectionFailed(f"{url!r} is no URL ({error}); write http://host:port", url=url) from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConnectionFailed(f"{url!r} is no URL of a platform; write http://host:port", url=url)
    return httpx2.Client(
        base_url=parsed,
        headers=headers,
        transport=transport,
        verify=True if certificate is None else _pinned(certificate),
        timeout=httpx2.Timeout(timeout, connect=min(timeout, 5.0)),
        trust_env=parsed.host not in LOOPBACK,  # a proxy of the environment cannot reach this machine's own loopback
    )


def _pinned(certificate: str | Path) -> ssl.SSLContext:
    """Trusts this certificate, whoever signed it and for whatever names. Raises ConnectionFailed."""
    try:
        context = ssl.create_default_context(cafile=str(certificate))
    except OSError as error:
        raise ConnectionFailed(f"The certificate {str(certificate)!r} cannot be read: {error}") from error
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _present(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _encoded(body: Any) -> bytes:
    try:
        return json.dumps(to_jsonable_python(body, exclude_none=True), allow_nan=False).encode()
    except ValueError as error:
        raise InvalidBody(f"This cannot be sent as JSON: {error}") from error


def _object_in(response: httpx2.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _retry_after_s(response: httpx2.Response) -> float | None:
    given = response.headers.get("Retry-After", "").strip()
    if not given:
        return None
    try:
        return max(0.0, float(given))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(given).timestamp() - time.time())
    except ValueError:
        return None


def _reason(error: Exception) -> str:
    if isinstance(error, httpx2.TimeoutException):
        return "it took too long"
    return str(error) or type(error).__name__
