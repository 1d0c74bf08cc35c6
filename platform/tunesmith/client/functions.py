"""Shipping a function: pickled with the code that lies beside it, so that a cluster needs none of its files."""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
import platform
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tunesmith.errors import InvalidBody

OURS = ("tunesmith", "tuners", "serve_app")
"""Packages that every worker has."""


@dataclass(frozen=True)
class Shipped:
    """A function as bytes."""

    name: str
    """What people call it: `module:qualified.name`."""
    payload: bytes
    """The pickle."""
    python: str
    """The Python that made it: major and minor version."""
    cloudpickle: str
    """The version of cloudpickle that made it."""

    @property
    def digest(self) -> str:
        """SHA-256 of the pickle, under which it is kept."""
        return hashlib.sha256(self.payload).hexdigest()


def name_of(function: Callable[..., Any]) -> str:
    """`module:qualified.name` of a function, of what a partial calls, or of a callable object's class."""
    while isinstance(function, functools.partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{getattr(named, '__module__', None) or '__main__'}:{named.__qualname__}"


def pack(function: Callable[..., Any]) -> Shipped:
    """Pickle a function with the modules that lie beside its own; installed packages are imported where it runs.

    Raises:
        InvalidBody: something that the function refers to cannot be pickled.
    """
    import cloudpickle

    try:
        with by_value(function):
            payload: bytes = cloudpickle.dumps(function)
    except Exception as error:  # anything that a __reduce__ may raise
        raise InvalidBody(
            f"{name_of(function)} cannot be shipped, for what it refers to cannot be pickled: {error}. "
            "Open files, connections and locks inside the function, not around it"
        ) from error
    return Shipped(name_of(function), payload, python_version(), cloudpickle.__version__)


def python_version() -> str:
    """Major and minor version of this Python: pickled code is only understood by the same."""
    return ".".join(platform.python_version_tuple()[:2])


@contextmanager
def by_value(*things: Any) -> Iterator[None]:
    """Have cloudpickle put the code of the modules beside these functions and classes into a pickle, not its names."""
    import cloudpickle

    before = set(cloudpickle.list_registry_pickle_by_value())
    found = {module.__name__: module for thing in things for module in beside(thing)}
    modules = [module for name, module in found.items() if name not in before]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def beside(function: Any) -> list[ModuleType]:
    """The imported modules that lie in the directory of the function's top-level module, or below, uninstalled."""
    root = _root_of(function)
    if root is None:
        return []
    found = [module for name, module in sorted(sys.modules.items()) if _lies_below(name, module, root)]
    return [module for module in found if module.__name__ != "__main__"]  # that one always goes by value


def _root_of(function: Any) -> Path | None:
    while isinstance(function, functools.partial):
        function = function.func
    owner = function if hasattr(function, "__module__") else type(function)
    module = inspect.getmodule(owner) or sys.modules.get("__main__")
    top = sys.modules.get((module.__name__ if module else "__main__").partition(".")[0], module)
    file = getattr(top, "__file__", None)
    if file is None:  # a notebook, or a prompt
        return Path.cwd() if module is None or module.__name__ == "__main__" else None
    path = Path(file).resolve()
    root = path.parent.parent if path.name == "__init__.py" else path.parent
    return None if _installed(path) else root


def _lies_below(name: str, module: Any, root: Path) -> bool:
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or name.partition(".")[0] in OURS or getattr(module, "__name__", None) != name:
        return False
    path = _own_code(file)
    return path is not None and path.is_relative_to(root)


@functools.cache
def _own_code(file: str) -> Path | None:
    """The resolved path of a module's file, where it is Python code that nobody installed."""
    path = Path(file).resolve()
    return path if path.suffix == ".py" and not _installed(path) else None


def _installed(path: Path) -> bool:
    """Whether a file belongs to Python or to an installed package: workers are taken to have these."""
    if {"site-packages", "dist-packages"} & set(path.parts):
        return True
    return any(path.is_relative_to(directory) for directory in _standard())


@functools.cache
def _standard() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    return tuple(Path(os.path.realpath(paths[name])) for name in ("stdlib", "platstdlib"))
