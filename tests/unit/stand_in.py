"""A small real HTTP server that answers as the platform does, for the tests of what talks to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tunesmith.errors import NotFound

TIME = "2026-01-02T03:04:05.000Z"


@dataclass(frozen=True)
class Received:
    """A request as it came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Reply:
    """An answer: JSON, text or the chunks of a stream, which `cut` breaks off before its end."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: tuple[str, ...] | None = None
    cut: bool = False


Route = Callable[[Received], Reply] | list[Reply] | Reply
"""What answers a path: a function, one answer for all requests, or one after the other, the last one for good."""


class StandIn:
    """Routes, and what was asked of them."""

    def __init__(self) -> None:
        self.url = ""
        self.routes: dict[str, Route] = {}
        self.received: list[Received] = []

    def on(self, route: str, answer: Route) -> None:
        """Answer `GET /path` with this."""
        self.routes[route] = answer

    def answer(self, request: Received) -> Reply:
        """The answer to a request; 404 in the one error body where there is no route."""
        self.received.append(request)
        route = self.routes.get(f"{request.method} {request.path}")
        if route is None:
            return Reply(NotFound(f"There is nothing at {request.path}").body(), 404)
        if isinstance(route, list):
            return route.pop(0) if len(route) > 1 else route[0]
        return route if isinstance(route, Reply) else route(request)

    def asked(self, route: str) -> list[Received]:
        """The requests to `GET /path`, in order."""
        return [request for request in self.received if f"{request.method} {request.path}" == route]


@contextmanager
def serving() -> Iterator[StandIn]:
    """A stand-in on a free port."""
    stand_in = StandIn()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._serve()

        do_POST = do_PATCH = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = json.loads(content) if content else None
            query = dict(parse_qsl(parts.query))
            reply = stand_in.answer(Received(self.command, parts.path, query, headers, body))
            self._stream(reply) if reply.chunks is not None else self._whole(reply)

        def _whole(self, reply: Reply) -> None:
            if reply.cut:
                self.close_connection = True
                return
            content = reply.body.encode() if isinstance(reply.body, str) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(content)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def _stream(self, reply: Reply) -> None:
            self.send_response(reply.status)
            for name, value in {"Transfer-Encoding": "chunked", **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            for chunk in reply.chunks or ():
                self.wfile.write(f"{len(chunk.encode()):x}\r\n{chunk}\r\n".encode())
            if reply.cut:
                self.close_connection = True
            else:
                self.wfile.write(b"0\r\n\r\n")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stand_in.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def job(status: str = "started", **changes: Any) -> dict[str, Any]:
    """A job's answer."""
    return {
        "job_id": "job-1", "job_status": status, "job_result": None, "job_exc_info": None, "message": None,
        "job_meta": {"experiment_id": "1", "run_number": 1, "tool_name": "sleep", "optimizer": {"type": "random"}},
        "progress": {"finished": 3, "failed": 1, "total": 4, "best": None}, "priority": "normal",
        "queued_at": TIME, "started_at": TIME, "ended_at": None, "submitted_by": None, "from_a_newer_server": True,
    } | changes  # fmt: skip


def enveloped(**job_fields: Any) -> dict[str, Any]:
    """A job's answer in its envelope."""
    return {"status": "success", "job": job(**job_fields)}


def experiment(**changes: Any) -> dict[str, Any]:
    """An experiment's answer."""
    return {
        "id": 1, "name": "sleep", "tags": [], "archived": False, "created_at": TIME, "tool_name": "sleep",
        "parameters": [{"name": "s", "type": "float", "minimum": 0, "maximum": 1},
                       {"name": "mode", "type": "categorical", "choices": ["a", 1]}],
        "command_template_string": "sleep ${s}", "function": None, "setup_template_string": None,
        "finish_template_string": None, "compute": {"type": "local"}, "constraints": [], "metrics": {"patterns": {}},
        "objectives": [{"metric": "wall_time_s", "direction": "minimize"}], "trial_timeout_s": None,
        "resources": {"cpus": 1}, "trial_counts": {"complete": 3}, "warnings": [],
    } | changes  # fmt: skip


def detail(**changes: Any) -> dict[str, Any]:
    """An experiment's answer with its job and its best."""
    return experiment() | {"job": {}, "best": None} | changes


def trial(number: int = 0, **changes: Any) -> dict[str, Any]:
    """A trial's answer."""
    return {
        "experiment_id": 1, "run_number": 1, "job_id": "job-1", "number": number, "state": "complete",
        "outcome": 0.5 + number, "outcomes": {"wall_time_s": 0.5 + number}, "metrics": {"exit_code": 0.0},
        "feasible": None, "parameter_configs": [{"parameter_name": "s", "value": 0.25},
                                                {"parameter_name": "mode", "value": "a" if number % 2 else 1}],
        "timestamp": TIME, "started_at": TIME, "duration_s": 0.5, "error": None, "attempt": 1, "worker": "host/1",
        "log_url": None,
    } | changes  # fmt: skip


def refusal(error: Any, headers: Mapping[str, str] | None = None) -> Reply:
    """An error as the server answers with it."""
    return Reply(error.body(), error.status, headers or {})
