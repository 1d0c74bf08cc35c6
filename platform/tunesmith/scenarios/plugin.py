"""A plugin: algorithms, KPIs, schemas, models and templates in one object."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from tunesmith.domain import metric_name
from tunesmith.models import Model
from tunesmith.scenarios.algorithm import Algorithm
from tunesmith.scenarios.declarations import NAME_RULE, is_name
from tunesmith.scenarios.kpi import Kpi

if TYPE_CHECKING:
    from tunesmith.automl import Template
    from tunesmith.data import DataSource
    from tunesmith.etl import EtlFactory, Schema

OWN_METRICS = frozenset({"wall_time_s", "cpu_time_s", "max_rss_bytes"})
"""What every run measures of itself: no KPI may have one of these names."""
AlgorithmItem = type[Algorithm] | Algorithm
KpiItem = type[Kpi] | Kpi
T = TypeVar("T")


@dataclass(frozen=True)
class Plugin:
    """What is added to the platform. Raises ValueError when it holds what it cannot."""

    algorithms: Sequence[AlgorithmItem] | Mapping[str, AlgorithmItem] = ()
    """Classes, or instances that stand for their class, or name -> one of these."""
    kpis: Sequence[KpiItem] | Mapping[str, KpiItem] = ()
    """Classes or instances, or name -> one of these. They are computed of every result of its algorithms."""
    schemas: Sequence[Schema] = ()
    """What uploaded tables must look like."""
    etl_factory: type[EtlFactory] | EtlFactory | None = None
    """How uploads become a dataset; None: as they are."""
    data_source: type[DataSource] | None = None
    """The class of the datasets that algorithms are handed; None: DataSource."""
    models: Sequence[Model] = ()
    """Models, run by their ids."""
    templates: Sequence[type[Template]] = ()
    """Classes of templates that models are trained from, known by their names."""

    def __post_init__(self) -> None:
        named = (self.named_algorithms, self.named_kpis, self.named_models, self.named_templates)
        for check in (*named, self._check_data):
            check()

    def named_algorithms(self) -> dict[str, type[Algorithm]]:
        """Name -> class."""
        return _named(self.algorithms, _algorithm, lambda algorithm: algorithm.name)

    def named_kpis(self) -> dict[str, Kpi]:
        """Name -> KPI, which knows that name."""
        kpis = _named(self.kpis, _kpi, lambda kpi: kpi.name)
        metrics = [metric_name(name) for name in kpis]
        for (name, kpi), metric in zip(kpis.items(), metrics, strict=True):
            kpi.name = name
            if metric in OWN_METRICS or metrics.count(metric) > 1:
                raise ValueError(f"the KPI {name!r} is kept as {metric}, and so is something else; rename it")
        return kpis

    def named_models(self) -> dict[str, Model]:
        """Id -> model."""
        return _named(self.models, _model, lambda model: model.id)

    def named_templates(self) -> dict[str, type[Template]]:
        """Name -> class."""
        return _named(self.templates, _template, lambda template: template.name)

    def named_schemas(self) -> dict[str, Schema]:
        """Table -> schema."""
        return _named(self.schemas, _schema, lambda schema: schema.table)

    def _check_data(self) -> None:
        if self.schemas:
            self.named_schemas()
        if self.etl_factory is not None:
            from tunesmith.etl import EtlFactory

            _check_kind("etl_factory", self.etl_factory, EtlFactory)
        if self.data_source is not None:
            from tunesmith.data import DataSource

            _check_kind("data_source", self.data_source, DataSource)
            if not isinstance(self.data_source, type):
                raise ValueError(f"the data_source is {called(self.data_source)}; give its class")


def called(item: object) -> str:
    """What messages call an object: a class by its name, an instance by that of its class."""
    return item.__name__ if isinstance(item, type) else f"an object of class {type(item).__name__}"


def _named(
    given: Iterable[Any] | Mapping[str, Any], made: Callable[[Any], T], name_of: Callable[[T], str]
) -> dict[str, T]:
    named: dict[str, T] = {}
    for name, item in _pairs(given):
        thing = made(item)
        name = name_of(thing) if name is None else name
        if name in named:
            raise ValueError(f"{name!r} stands there twice; give each a name of its own")
        named[name] = thing
    return named


def _pairs(given: Iterable[Any] | Mapping[str, Any]) -> Iterator[tuple[str | None, Any]]:
    if isinstance(given, Mapping):
        for name, item in given.items():
            if not is_name(name):
                raise ValueError(f"{name!r} is no name for {called(item)}; {NAME_RULE}")
            yield name, item
    elif isinstance(given, str) or not isinstance(given, Iterable):
        raise ValueError(f"{called(given)} is no list; put it into one")
    else:
        yield from ((None, item) for item in given)


def _class(item: Any, kind: type, word: str, method: str) -> Any:
    """The class of an item, unless it is none that could be used: ValueError."""
    found = item if isinstance(item, type) else type(item)
    if not issubclass(found, kind):
        raise ValueError(f"{called(item)} is no {word}; derive it from tunesmith.scenarios.{kind.__name__}")
    if inspect.isabstract(found):
        raise ValueError(f"{found.__name__} has no {method}")
    if isinstance(item, type) or kind is Algorithm:  # it is made again where it runs
        try:
            inspect.signature(found).bind()
        except TypeError:
            raise ValueError(f"{found.__name__}.__init__ needs arguments; give each a default") from None
    return found


def _algorithm(item: Any) -> type[Algorithm]:
    found: type[Algorithm] = _class(item, Algorithm, "algorithm", "run; write def run(self, data, progress)")
    return found


def _kpi(item: Any) -> Kpi:
    _class(item, Kpi, "KPI", "compute; write def compute(self, result, data)")
    kpi: Kpi = item() if isinstance(item, type) else copy.copy(item)
    kpi.check()
    return kpi


def _model(item: Any) -> Model:
    if not isinstance(item, Model):
        raise ValueError(f"{called(item)} is no model; make one with @tunesmith.model(id=...)")
    return item


def _template(item: Any) -> type[Template]:
    from tunesmith.automl import template

    return template(item)


def _schema(item: Any) -> Schema:
    from tunesmith.etl import Schema

    if not isinstance(item, Schema):
        raise ValueError(f"{called(item)} is no schema; make one: Schema(table, columns)")
    return item


def _check_kind(what: str, item: Any, kind: type) -> None:
    if not issubclass(item if isinstance(item, type) else type(item), kind):
        raise ValueError(f"the {what} is {called(item)}; derive it from tunesmith.scenarios.{kind.__name__}")
