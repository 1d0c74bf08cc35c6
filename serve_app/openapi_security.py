"""What the OpenAPI document says of who may do what: ways to sign in, and the scope that each operation needs."""

from __future__ import annotations

from typing import Any

from serve_app.access import ACCESS
from serve_app.prefixes import PREFIX

SCHEMES: dict[str, Any] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of POST /v1/auth/token, the platform's key, or a JWT of an issuer that is trusted.",
    },
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "tunesmith_session",
        "description": "A browser that signed in; what changes something needs the header X-CSRF-Token too.",
    },
}
ANY: list[dict[str, list[str]]] = [{name: []} for name in SCHEMES]
MODEL = "model:<model id>:run"


def secure(document: dict[str, Any], prefix: str, refusals: dict[int | str, dict[str, Any]]) -> None:
    """Complete a document whose surfaces lie below `prefix`; `refusals`: what whoever may not do something gets."""
    document["components"]["securitySchemes"] = SCHEMES
    for path, operations in document["paths"].items():
        usual = PREFIX + path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path
        for method, operation in operations.items():
            need = ACCESS[method.upper(), usual]
            operation["x-scope"] = MODEL if need == "model" else need
            operation["security"] = [] if need == "open" else ANY
            for status, response in {} if need == "open" else refusals.items():
                operation["responses"].setdefault(str(status), response)
