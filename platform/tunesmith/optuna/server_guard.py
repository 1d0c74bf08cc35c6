"""What every call to an Optuna server passes first: the token, and a translation of what the platform raises."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

import grpc

from tunesmith.errors import BadRequest, Conflict, NotFound, TunesmithError, Unavailable

NO_TOKEN = (
    "Send the platform's key as metadata `authorization: Bearer <key>`: "
    "storage = tunesmith.optuna.connect('host:port', token=<key>), or set TUNESMITH_API_KEY there"
)
STATUS: tuple[tuple[type[Exception], grpc.StatusCode], ...] = (
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (BadRequest, grpc.StatusCode.INVALID_ARGUMENT),
    (ValueError, grpc.StatusCode.INVALID_ARGUMENT),
    (Conflict, grpc.StatusCode.FAILED_PRECONDITION),
    (Unavailable, grpc.StatusCode.UNAVAILABLE),
)
"""Optuna's client makes KeyError, ValueError and UpdateFinishedTrialError of these; the last may be tried again."""


class Guard(grpc.ServerInterceptor):
    """Refuses calls without the token, and answers the platform's errors with their message."""

    def __init__(self, token: str | None) -> None:
        self._token = None if token is None else token.encode()
        self._refuse: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(_refuse)
        self._handlers: dict[str, Any] = {}

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """The handler of a call, or one that refuses it."""
        if self._token is not None and not self._knows(handler_call_details.invocation_metadata):
            return self._refuse
        method = handler_call_details.method
        if method not in self._handlers:
            handler = continuation(handler_call_details)
            if handler is None:
                return None
            self._handlers[method] = grpc.unary_unary_rpc_method_handler(
                _translating(handler.unary_unary), handler.request_deserializer, handler.response_serializer
            )
        return self._handlers[method]

    def _knows(self, metadata: Any) -> bool:
        given = next((value for name, value in metadata if name == "authorization"), "")
        scheme, _, token = str(given).partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), self._token or b"")


def _translating(call: Callable[[Any, grpc.ServicerContext], Any]) -> Callable[[Any, grpc.ServicerContext], Any]:
    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return call(request, context)
        except (TunesmithError, ValueError) as error:
            status = next((status for kind, status in STATUS if isinstance(error, kind)), grpc.StatusCode.INTERNAL)
            context.abort(status, str(error))

    return answer


def _refuse(_request: Any, context: grpc.ServicerContext) -> None:
    context.abort(grpc.StatusCode.UNAUTHENTICATED, NO_TOKEN)
