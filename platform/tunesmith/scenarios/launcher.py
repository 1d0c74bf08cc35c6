"""Starting an application of sessions from a script."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from tunesmith.scenarios.configuration import ApiConfiguration

LAUNCHING = "serve_app.launching"
"""The server's side of it: a layer above this package, so it is named here and imported when it is called."""


class ApiLauncher:
    """Makes an application of a configuration, and serves it."""

    @staticmethod
    def build(configuration: ApiConfiguration) -> FastAPI:
        """A plain FastAPI application; any ASGI server can serve it. It runs scenarios itself, on this machine.

        Raises InvalidSettings when the configuration is none.
        """
        app: FastAPI = importlib.import_module(LAUNCHING).build(configuration)
        return app

    @staticmethod
    def run(app: FastAPI) -> None:
        """Serve what `build` made on its configuration's host and port, until it is stopped."""
        importlib.import_module(LAUNCHING).run(app)
