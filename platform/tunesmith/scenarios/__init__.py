"""What users write for sessions: algorithms, KPIs, data sources, ETL, and the application that they make.

Names are imported when they are first used, so that a plugin costs only what it needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunesmith.data import DataSource
    from tunesmith.etl import Column, EtlFactory, Message, Schema
    from tunesmith.models import Model, model
    from tunesmith.scenarios.algorithm import Algorithm, Progress
    from tunesmith.scenarios.configuration import ApiConfiguration
    from tunesmith.scenarios.example import build_example_config
    from tunesmith.scenarios.kinds import Boolean, Enum, Float, Integer, Interval, MultiEnum, String, Time
    from tunesmith.scenarios.kpi import Kpi
    from tunesmith.scenarios.launcher import ApiLauncher
    from tunesmith.scenarios.parameters import ParameterType
    from tunesmith.scenarios.plugin import Plugin

_HOMES = {
    "tunesmith.data": ("DataSource",),
    "tunesmith.etl": ("Column", "EtlFactory", "Message", "Schema"),
    "tunesmith.models": ("Model", "model"),
    "tunesmith.scenarios.algorithm": ("Algorithm", "Progress"),
    "tunesmith.scenarios.configuration": ("ApiConfiguration",),
    "tunesmith.scenarios.example": ("build_example_config",),
    "tunesmith.scenarios.kinds": ("Boolean", "Enum", "Float", "Integer", "Interval", "MultiEnum", "String", "Time"),
    "tunesmith.scenarios.kpi": ("Kpi",),
    "tunesmith.scenarios.launcher": ("ApiLauncher",),
    "tunesmith.scenarios.parameters": ("ParameterType",),
    "tunesmith.scenarios.plugin": ("Plugin",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Algorithm",
    "ApiConfiguration",
    "ApiLauncher",
    "Boolean",
    "Column",
    "DataSource",
    "Enum",
    "EtlFactory",
    "Float",
    "Integer",
    "Interval",
    "Kpi",
    "Message",
    "Model",
    "MultiEnum",
    "ParameterType",
    "Plugin",
    "Progress",
    "Schema",
    "String",
    "Time",
    "build_example_config",
    "model",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
