"""What an application of sessions is made of: algorithms, KPIs, how data come in, and where it listens."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.errors import AlgorithmNotFound, InvalidParameter, InvalidSettings
from tunesmith.plugins import Registry
from tunesmith.scenarios.plugin import AlgorithmItem, KpiItem, Plugin

if TYPE_CHECKING:
    from tunesmith.data import DataSource
    from tunesmith.etl import EtlFactory, Schema

PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*")
ORIGIN = re.compile(r"\*|https?://[^/\s]+")


@dataclass(frozen=True, kw_only=True)
class ApiConfiguration:
    """An application of sessions. Raises InvalidSettings that names the argument and the remedy."""

    etl_factory: type[EtlFactory] | EtlFactory | None = None
    """How uploads become a dataset, a class or an instance; None: as they are."""
    kpis: Sequence[KpiItem] | Mapping[str, KpiItem] = ()
    """Classes, instances, or name -> one of these."""
    algorithms: Sequence[AlgorithmItem] | Mapping[str, AlgorithmItem]
    """Classes, instances, or name -> one of these."""
    schemas: Sequence[Schema] = ()
    """What uploaded tables must look like."""
    data_object_type: type[DataSource] | None = None
    """The class of the datasets that algorithms are handed; None: DataSource."""
    datasets: Sequence[DataSource] = ()
    """Datasets that session `main` has from the start."""
    has_persistent_state: bool = False
    """Whether everything is kept in `data_path` when the application ends."""
    data_path: str | Path = "data"
    """The directory of what is kept."""
    autocreate: bool = False
    """Make a scenario of each new dataset: of the default algorithm, or of each that needs no parameter."""
    autorun: bool = False
    """Run such scenarios at once."""
    default_algo: str | None = None
    """The algorithm of the scenarios that are made by themselves."""
    default_algo_params_values: Mapping[str, Any] | None = None
    """Its parameters there."""
    host: str = "127.0.0.1"
    """Address that the application listens on."""
    port: int = 8051
    """Port that it listens on; 0: a free one."""
    prefix: str = "/api/v1"
    """What the paths of its sessions begin with."""
    cors_origins: Sequence[str] = ()
    """Origins of pages of other hosts that may call it: `https://app.example.org`, or `*` for any."""
    title: str = "tunesmith sessions"
    """What the application is called."""
    max_parallel: int = 1
    """Scenarios of a session that run at once, at most."""
    max_upload_bytes: int = 2 * 1024**3
    """Largest upload, in bytes."""

    def __post_init__(self) -> None:
        registry = Registry.of(self.plugin, "ApiConfiguration")
        self._check_numbers()
        self._check_texts()
        self._check_datasets()
        self._check_default(registry)

    @cached_property
    def plugin(self) -> Plugin:
        """Its algorithms, KPIs and schemas, as the platform takes them with `--plugin` too."""
        try:
            return Plugin(self.algorithms, self.kpis, self.schemas, self.etl_factory, self.data_object_type)
        except ValueError as error:
            raise InvalidSettings(f"ApiConfiguration: {error}") from error

    def _check_numbers(self) -> None:
        for name, low, high in (
            ("port", 0, 65535),
            ("max_parallel", 1, 1000),
            ("max_upload_bytes", 1000, 2**50),
        ):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise _refused(name, value, f"give an integer from {low} to {high}")
        for name in ("has_persistent_state", "autocreate", "autorun"):
            if not isinstance(getattr(self, name), bool):
                raise _refused(name, getattr(self, name), "give True or False")

    def _check_texts(self) -> None:
        if not isinstance(self.prefix, str) or not PREFIX.fullmatch(self.prefix):
            raise _refused("prefix", self.prefix, "begin with a slash and end without one: /api/v1")
        for name in ("host", "title"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise _refused(name, value, "give a text")
        if not isinstance(self.data_path, str | Path) or not str(self.data_path):
            raise _refused("data_path", self.data_path, "give the path of a directory")
        if isinstance(self.cors_origins, str):
            raise _refused("cors_origins", self.cors_origins, "give a list of origins")
        for origin in self.cors_origins:
            if not isinstance(origin, str) or not ORIGIN.fullmatch(origin):
                raise _refused("cors_origins", origin, "give origins: scheme and host without a path, or *")

    def _check_datasets(self) -> None:
        if not self.datasets:
            return
        from tunesmith.data import DataSource

        names: set[str] = set()
        for dataset in self.datasets:
            if not isinstance(dataset, DataSource):
                raise _refused("datasets", dataset, "give a list of DataSource objects")
            if dataset.name in names:
                raise InvalidSettings(f"ApiConfiguration: datasets: {dataset.name!r} stands there twice; rename one")
            names.add(dataset.name)

    def _check_default(self, registry: Registry) -> None:
        free = [
            name
            for name, known in registry.algorithms.items()
            if not any(parameter.required for parameter in known.item.parameters().values())
        ]
        if self.default_algo is None:
            if self.default_algo_params_values is not None:
                raise InvalidSettings(
                    "ApiConfiguration: default_algo_params_values belong to default_algo; set it, too"
                )
            if self.autocreate and not free:
                raise InvalidSettings(
                    "ApiConfiguration: autocreate finds no algorithm without required parameters; set default_algo and "
                    "default_algo_params_values"
                )
            return
        try:
            registry.algorithm(self.default_algo).item.settle(self.default_algo_params_values or {})
        except (AlgorithmNotFound, InvalidParameter) as error:
            raise InvalidSettings(f"ApiConfiguration: default_algo: {error}") from error


def _refused(name: str, value: object, remedy: str) -> InvalidSettings:
    return InvalidSettings(f"ApiConfiguration: {name}={value!r}; {remedy}")
