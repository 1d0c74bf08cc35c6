"""How plugins are found, and all that the plugins of one platform bring."""

from __future__ import annotations

import functools
import importlib
import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tunesmith.errors import AlgorithmNotFound, InvalidSettings, ModelNotFound, TemplateNotFound
from tunesmith.models import Model
from tunesmith.scenarios.algorithm import Algorithm
from tunesmith.scenarios.kpi import Kpi
from tunesmith.scenarios.parameters import nearest, shown
from tunesmith.scenarios.plugin import Plugin, called

if TYPE_CHECKING:
    from tunesmith.automl import Template
    from tunesmith.data import DataSource
    from tunesmith.etl import EtlFactory, Schema

__all__ = ["Known", "Plugin", "Registry", "as_plugin", "find_plugin"]

GROUP = "tunesmith.plugins"
"""The entry point group by which a distribution offers a plugin: `name = "package.module:object"`."""
BUILT_IN = ("tuners.models:plugin", "tuners.automl:plugin")
"""The plugins that ship with the platform: models, and templates."""
T = TypeVar("T")


@dataclass(frozen=True)
class Known(Generic[T]):
    """Something of a plugin, and where workers find that."""

    item: T
    """The thing itself."""
    reference: str
    """`package.module:object`, or `code:` and the SHA-256 of a plugin that was shipped."""


class Registry:
    """All that the plugins of one platform bring."""

    def __init__(self, plugins: Mapping[str, Plugin]) -> None:
        """`plugins`: by reference. Raises InvalidSettings when two of them bring the same thing."""
        self.algorithms: Mapping[str, Known[type[Algorithm]]] = _merged("algorithm", plugins, Plugin.named_algorithms)
        self.kpis: Mapping[str, Known[Kpi]] = _merged("KPI", plugins, Plugin.named_kpis)
        self.models: Mapping[str, Known[Model]] = _merged("model", plugins, Plugin.named_models)
        self.templates: Mapping[str, Known[type[Template]]] = _merged("template", plugins, Plugin.named_templates)
        self.references = tuple(plugins)
        schemas: Mapping[str, Known[Schema]] = _merged("schema of", plugins, Plugin.named_schemas)
        self.schemas: tuple[Schema, ...] = tuple(known.item for known in schemas.values())
        self._factory = _only("etl_factory", plugins)
        self._data_source = _only("data_source", plugins)

    @classmethod
    def load(cls, references: Sequence[str] = ()) -> Registry:
        """What ships with the platform, what installed distributions offer by entry point, and these references.

        Raises InvalidSettings that names the reference and the remedy.
        """
        offered = (f"{entry.module}:{entry.attr}" for entry in entry_points(group=GROUP))
        return cls({reference: find_plugin(reference) for reference in (*BUILT_IN, *offered, *references)})

    @classmethod
    def of(cls, plugin: Plugin, reference: str) -> Registry:
        """What one plugin brings."""
        return cls({reference: plugin})

    @functools.cached_property
    def etl_factory(self) -> EtlFactory:
        """How uploads become a dataset."""
        from tunesmith.etl import EtlFactory

        factory: Any = self._factory or EtlFactory
        return factory() if isinstance(factory, type) else factory  # type: ignore[no-any-return]

    @functools.cached_property
    def data_source(self) -> type[DataSource]:
        """The class of the datasets that algorithms are handed."""
        from tunesmith.data import DataSource

        return self._data_source or DataSource

    def algorithm(self, name: str) -> Known[type[Algorithm]]:
        """An algorithm by name. Raises AlgorithmNotFound that names the nearest."""
        if name not in self.algorithms:
            known = ", ".join(self.algorithms) or "none"
            raise AlgorithmNotFound(
                f"No algorithm is called {shown(name)}{nearest(name, self.algorithms)}; known: {known}"
            )
        return self.algorithms[name]

    def model(self, id: str) -> Known[Model]:  # noqa: A002  # what it is called everywhere
        """A model by id. Raises ModelNotFound that names the nearest."""
        if id not in self.models:
            known = ", ".join(self.models) or "none"
            raise ModelNotFound(f"No model has the id {shown(id)}{nearest(id, self.models)}; known: {known}")
        return self.models[id]

    def template(self, name: str) -> Known[type[Template]]:
        """A template by name. Raises TemplateNotFound that names the nearest."""
        if name not in self.templates:
            known = ", ".join(sorted(self.templates)) or "none"
            near = nearest(name, self.templates)
            raise TemplateNotFound(f"No template is called {shown(name)}{near}; known: {known}")
        return self.templates[name]


def find_plugin(reference: str) -> Plugin:
    """What `package.module:object` names, as a plugin.

    The object is a Plugin, an ApiConfiguration, a Model, an Algorithm, Kpi or Template class, a list of these, or a
    function that takes nothing and returns one of them. Raises InvalidSettings that says what is wrong and what to do.
    """
    name, colon, attribute = reference.partition(":")
    if not colon or not all(part.isidentifier() for part in f"{name}.{attribute}".split(".")):
        raise InvalidSettings(f"plugin {shown(reference)}: write package.module:object")
    found = _imported(reference, name)
    for part in attribute.split("."):
        if not hasattr(found, part):
            hint = nearest(part, vars(found)) if hasattr(found, "__dict__") else ""
            raise InvalidSettings(f"plugin {reference}: there is no {part!r} in it{hint}; name the plugin object")
        found = getattr(found, part)
    try:
        return as_plugin(found() if inspect.isfunction(found) else found)
    except Exception as error:
        raise InvalidSettings(f"plugin {reference}: {_said(error)}") from error


def as_plugin(found: object) -> Plugin:
    """The plugin that an object is, or that holds just that. Raises TypeError when it is nothing of the kind."""
    from tunesmith.automl import Template
    from tunesmith.scenarios.configuration import ApiConfiguration

    if isinstance(found, Plugin):
        return found
    if isinstance(found, ApiConfiguration):
        return found.plugin
    items = list(found) if isinstance(found, list | tuple) else [found]
    sorts: dict[type, list[Any]] = {Algorithm: [], Kpi: [], Model: [], Template: []}
    for item in items:
        kind = item if isinstance(item, type) else type(item)
        sort = next((sort for sort in sorts if issubclass(kind, sort)), None)
        if sort is None:
            raise TypeError(
                f"{called(item)} is no plugin; give a Plugin, an ApiConfiguration, a Model, "
                "an Algorithm, Kpi or Template class, or a list of these"
            )
        sorts[sort].append(item)
    return Plugin(algorithms=sorts[Algorithm], kpis=sorts[Kpi], models=sorts[Model], templates=sorts[Template])


def _imported(reference: str, name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise InvalidSettings(f"plugin {reference}: {name} needs {error.name}; install that") from error
        message = f"there is no module {error.name!r}; install it, or put the directory it lies in on PYTHONPATH"
        raise InvalidSettings(f"plugin {reference}: {message}") from error
    except (Exception, SystemExit) as error:
        raise InvalidSettings(f"plugin {reference}: importing {name} failed: {_said(error)}") from error


def _said(error: BaseException) -> str:
    """An error in one line, with the line of code that it comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename != __file__ and "importlib" not in frame.filename]
    where = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{where}"


def _merged(
    sort: str, plugins: Mapping[str, Plugin], named: Callable[[Plugin], Mapping[str, T]]
) -> dict[str, Known[T]]:
    merged: dict[str, Known[T]] = {}
    for reference, plugin in plugins.items():
        for name, item in named(plugin).items():
            if name in merged:
                both = f"{merged[name].reference} and {reference}"
                raise InvalidSettings(f"{both} both bring the {sort} {name!r}; rename one, or leave one plugin out")
            merged[name] = Known(item, reference)
    return merged


def _only(attribute: str, plugins: Mapping[str, Plugin]) -> Any:
    bringing = [reference for reference, plugin in plugins.items() if getattr(plugin, attribute) is not None]
    if len(bringing) > 1:
        raise InvalidSettings(f"{' and '.join(bringing)} each bring a {attribute}; only one plugin may")
    return getattr(plugins[bringing[0]], attribute) if bringing else None
