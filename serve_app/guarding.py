"""What stands before every route: whether who asks may do that, as `access.ACCESS` says."""

from __future__ import annotations

import copy

from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.access import ACCESS, FILTERED, SOMEBODY, Need
from serve_app.answers import refusal
from serve_app.auth import MISSING
from serve_app.identities import Identities
from tunesmith.domain import Principal
from tunesmith.domain.identity import MAIN, ROLE_SCOPES, ROLES
from tunesmith.errors import Forbidden, InvalidSettings, Unauthenticated, Unavailable, WorkspaceNotFound
from tunesmith.services.principals import no_workspace


def guarded(route: BaseRoute, identities: Identities) -> BaseRoute:
    """The same route, which refuses who may not use it. Raises InvalidSettings where ACCESS has no line for it."""
    assert isinstance(route, Route | Mount)
    behind = copy.copy(route)
    behind.app = Guard(route.app, _operations(route), identities)
    return behind


class Guard:
    """Lets those through who may use what is behind it."""

    def __init__(self, app: ASGIApp, operations: frozenset[tuple[str, str]], identities: Identities) -> None:
        """`operations`: by which it is reached; all need the same."""
        self.app, self.identities = app, identities
        needs: list[Need] = [ACCESS[operation] for operation in operations]
        assert len(set(needs)) == 1, operations
        self.need: Need = needs[0]
        self.somebody = not operations.isdisjoint(SOMEBODY)
        self.filtered = operations <= FILTERED

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if self.need != "open":
            who: Principal = scope["state"]["principal"]
            try:
                if self.somebody and who.kind == "anonymous" and await self.identities.anybody():
                    raise Unauthenticated(MISSING)
                check(who, self.need)
                if who.attributes and not self.filtered and self.need not in ("signed-in", "platform"):
                    raise Forbidden(f"{who.name!r} is limited to model runs by {', '.join(who.attributes)}")
            except (Unauthenticated, Forbidden, WorkspaceNotFound, Unavailable) as error:
                await refusal(error)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _operations(route: Route | Mount) -> frozenset[tuple[str, str]]:
    methods = route.methods if isinstance(route, Route) else None
    operations = frozenset((method, route.path) for method in (methods or {"GET"}) - {"HEAD"})
    missing = sorted(" ".join(operation) for operation in operations - ACCESS.keys())
    if missing:
        raise InvalidSettings(f"serve_app.access.ACCESS does not say who may do this: {', '.join(missing)}")
    return operations


def check(who: Principal, need: Need) -> None:
    """Refuse somebody who may not do what needs this.

    Raises:
        Unauthenticated: nobody is signed in.
        WorkspaceNotFound: it is about a workspace in which they may do nothing.
        Forbidden: they may not.
    """
    if who.role is None and who.kind == "anonymous":
        raise Unauthenticated(MISSING)
    if need == "platform" and who.platform_admin and who.cut:  # it could make itself a wider one
        raise Forbidden("A token with scopes does not administer the platform; sign in, or use a token without")
    if need == "signed-in" or (need == "platform" and who.platform_admin):
        return
    if need == "platform-read" and who.platform_reader:
        return
    if who.role is None:
        raise no_workspace(who.workspace)
    if need == "platform":
        raise _forbidden(who, "admin", MAIN)
    if need == "platform-read":
        raise _forbidden(who, "read", MAIN)
    wanted = "run" if need == "model" else need
    if wanted not in who.scopes and not (need == "model" and any(scope.startswith("model:") for scope in who.scopes)):
        raise _forbidden(who, wanted, who.workspace)


def _forbidden(who: Principal, scope: str, workspace: str) -> Forbidden:
    cut = workspace == who.workspace and who.role is not None and scope in ROLE_SCOPES[who.role]
    remedy = "use a token that has it" if cut else f"an admin of the workspace {workspace!r} can grant it"
    least = next(role for role in ROLES if scope in ROLE_SCOPES[role])
    return Forbidden(
        f"It needs the scope {scope!r} in the workspace {workspace!r}, which the role {least!r} has; {who.name!r} is "
        f"{who.role} in {who.workspace!r}{', with a token that is cut to less' if cut else ''}: {remedy}",
        scope=scope,
        role=who.role,
        workspace=who.workspace,
    )
