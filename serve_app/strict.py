"""What a request must keep to before its endpoint sees it: known query parameters, and a body that says it is JSON."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from serve_app.fields import nearest
from serve_app.openapi import refusals
from tunesmith.errors import BadRequest, InvalidBody


class StrictRequest(Request):
    """A request whose body is handed on as bytes, for `FromJson` to parse."""

    async def body(self) -> bytes:
        """The bytes. Raises InvalidBody unless they are announced as JSON (a browser's form cannot do that)."""
        data = await super().body()
        kind = self.headers.get("content-type", "")
        essence = kind.partition(";")[0].strip().lower()
        if data and not (
            essence == "application/json" or (essence.startswith("application/") and essence.endswith("+json"))
        ):
            said = f"not {essence!r}" if essence else "which is missing"
            raise InvalidBody(f"send the body as JSON, with the header Content-Type: application/json, {said}")
        return data

    async def json(self) -> Any:
        """The bytes again."""
        return await self.body()


WORKERS = ThreadPoolExecutor(16, "endpoint")
"""Where `def` endpoints run. Not in the framework's pool: under Ray Serve it starts a thread for every request."""


class StrictRoute(APIRoute):
    """A route that refuses query parameters it does not know, so that a typo never does something else."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint if inspect.iscoroutinefunction(endpoint) else _offloaded(endpoint), **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler behind the checks."""
        handle = super().get_route_handler()
        known = frozenset(_query_names(self.dependant))

        async def strict(request: Request) -> Response:
            if request.scope["query_string"]:
                _refuse_unknown(request, known)
            return await handle(StrictRequest(request.scope, request.receive))

        return strict


def surface(prefix: str = "", tags: list[str | Enum] | None = None, refuses: tuple[int, ...] = ()) -> APIRouter:
    """A router of strict routes: operations are called like their functions, and may refuse with these statuses."""
    return APIRouter(
        prefix=prefix,
        tags=tags,
        route_class=StrictRoute,
        responses=refusals(400, *refuses, 500, 503),
        generate_unique_id_function=lambda route: route.name,
    )


def _offloaded(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(endpoint)
    async def run(*args: Any, **values: Any) -> Any:
        call = functools.partial(endpoint, *args, **values)
        return await asyncio.get_running_loop().run_in_executor(WORKERS, call)

    return run


def _query_names(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _query_names(inner)


def _refuse_unknown(request: Request, known: frozenset[str]) -> None:
    for name, value in request.query_params.multi_items():
        if name not in known:
            hint = nearest(name, known) or "; this call takes none"
            field = {"field": name, "message": f"unknown query parameter {name!r}{hint}", "value": value[:200]}
            raise BadRequest(str(field["message"]), fields=[field])
        if "\0" in value:
            raise BadRequest(f"{name}: text cannot hold the NUL character; remove it")
