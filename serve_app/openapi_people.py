"""The example body and answer of every operation on users, groups, workspaces and tokens."""

from __future__ import annotations

import json
from typing import Any

MADE = "2026-01-31T12:00:00.000Z"
TOKEN: dict[str, Any] = {
    "id": "0b5c1d2e-8f3a-4c6b-9d7e-1f2a3b4c5d6e",
    "name": "notebook",
    "prefix": "ts_q3mZ0y",
    "kind": "token",
    "scopes": ["read", "run"],
    "created_at": MADE,
    "expires_at": "2026-05-01T12:00:00.000Z",
    "last_used_at": None,
    "revoked_at": None,
}
NEW_TOKEN = {
    "access_token": "ts_q3mZ0y...",
    "token_type": "bearer",
    "expires_at": TOKEN["expires_at"],
    "token": TOKEN,
}
TOKEN_REQUEST = {"name": "notebook", "scopes": ["read", "run"], "expires_in_days": 90}
USER = {
    "name": "ada",
    "kind": "user",
    "email": "ada@example.com",
    "attributes": {"region": ["NA", "EU"]},
    "disabled": False,
    "created_at": MADE,
    "roles": {"main": "editor"},
}
GROUP = {"name": "analysts", "members": ["ada", "ben"], "created_at": MADE}
QUOTAS = {"running_jobs": 4, "trials": 1_000_000, "storage_bytes": None}
WORKSPACE = {"name": "lab", "quotas": QUOTAS, "created_at": MADE}
GRANT = {"workspace": "lab", "subject": "group:analysts", "role": "editor"}
ALLOWED = {"models": {"linear_reg": ["group:analysts", "user:ada"]}}
ME = {
    "name": "ada",
    "kind": "user",
    "workspace": "main",
    "role": "editor",
    "scopes": ["read", "run", "write"],
    "platform_admin": False,
    "attributes": {"region": ["NA", "EU"]},
    "workspaces": {"main": "editor", "lab": "viewer"},
    "csrf_token": None,
}

RECORD = {
    "at": MADE,
    "principal": "ada",
    "kind": "user",
    "action": "POST /api/v1/experiments/{experiment_id}/trials",
    "target": "/api/v1/experiments/1/trials",
    "address": "192.0.2.7",
    "status": 202,
    "details": {"job_id": "job-3f9c0a1b2d4e"},
    "id": 4711,
    "workspace": "lab",
}
BODIES: dict[str, Any] = {
    "make_token": TOKEN_REQUEST,
    "make_token_for": {"name": "nightly"},
    "create_user": {"name": "ada", "password": "correct horse battery", "role": "editor"},
    "change_user": {"attributes": {"region": ["NA", "EU"]}},
    "create_group": {"name": "analysts"},
    "create_workspace": {"name": "lab", "quotas": QUOTAS},
    "change_workspace": {"quotas": QUOTAS},
    "put_grant": {"role": "editor"},
    "put_model_grants": {"subjects": ["user:ada", "group:analysts"]},
}
"""operationId -> a body that it takes."""
ANSWERS: dict[str, Any] = {
    "get_me": ME,
    "list_tokens": {"tokens": [TOKEN]},
    "make_token": NEW_TOKEN,
    "list_tokens_of": {"tokens": [TOKEN]},
    "make_token_for": NEW_TOKEN,
    "list_users": {"users": [USER]},
    "create_user": USER,
    "change_user": USER,
    "list_groups": {"groups": [GROUP]},
    "create_group": {**GROUP, "members": []},
    "join_group": GROUP,
    "leave_group": GROUP,
    "list_workspaces": {"workspaces": [WORKSPACE]},
    "create_workspace": WORKSPACE,
    "change_workspace": WORKSPACE,
    "list_grants": {"grants": [GRANT]},
    "put_grant": GRANT,
    "list_model_grants": ALLOWED,
    "put_model_grants": ALLOWED,
    "list_audit": {"records": [RECORD], "next_cursor": "WzQ3MTFd"},
    **dict.fromkeys(("logout", "revoke_token", "revoke_token_of", "remove_user", "remove_group", "delete_grant")),
    "export_audit": f"{json.dumps(RECORD)}\n",
}
"""operationId -> its answer."""
