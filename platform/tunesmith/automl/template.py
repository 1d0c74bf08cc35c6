"""Templates: recipes that train a model from a configuration and data; and the spaces that they are searched in."""

from __future__ import annotations

import importlib.util
import typing
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import JsonValue, ValidationError
from pydantic.fields import FieldInfo

from tunesmith.automl import config as configs
from tunesmith.automl.config import AUTO, SEARCHED
from tunesmith.automl.run import Facts, Predictor, Run, Source, Trained
from tunesmith.domain import Parameter, Scalar
from tunesmith.errors import InvalidConfig, MissingExtra
from tunesmith.scenarios.declarations import check_name
from tunesmith.scenarios.parameters import nearest, shown

ARCHITECTURE = "architecture"
"""The key of `model`, and the parameter of a search, that says the family."""
LOSSES = ("loss", "mae", "rmse", "mse", "error")
"""What the names of metrics end with that are better when they are lower."""
Direction = Literal["minimize", "maximize"]


class Template(ABC):
    """A recipe. Derive it, give it a name, and narrow the sections of its `Config` to the keys that it has.

    The keys of `model` and `training` are all different, so that a search can call them by their names alone.
    """

    name: ClassVar[str]
    """What `model.type` says."""
    title: ClassVar[str] = ""
    """What it trains, in one sentence for people."""
    Config: ClassVar[type[configs.Config]] = configs.Config
    """Its configuration; the defaults are a configuration that runs."""
    families: ClassVar[tuple[str, ...]] = ()
    """The values that `model.architecture` may have, the default first; none: it has no such key."""
    metric: ClassVar[str] = "val_loss"
    """The metric by which a search compares trials, unless its configuration names another."""
    metrics: ClassVar[tuple[str, ...]] = ()
    """All that a search may compare trials by; none: it is not known before they ran."""
    cross_validates: ClassVar[bool] = False
    """Whether it follows `Run.folds`."""
    extra: ClassVar[str | None] = None
    """The extra of tunesmith that it needs."""
    requires: ClassVar[tuple[str, ...]] = ()
    """The modules of that extra."""

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if "name" in vars(cls):
            check_name(cls)
        keys = [key for section in SEARCHED for key in cls._fields(section)]
        twice = [key for key in keys if keys.count(key) > 1]
        if twice:
            raise ValueError(f"{cls.__name__}: {twice[0]!r} is a key of model and of training; rename one")

    @abstractmethod
    def train(self, config: Any, data: Source, run: Run) -> Trained:
        """Train a model. Raises InvalidData, InvalidConfig where data and configuration make none."""

    @abstractmethod
    def load(self, file: Path, facts: Facts) -> Predictor:
        """A trained model, from its file. Nothing of the file may be executed that the template did not write."""

    @classmethod
    def space(cls, config: Any) -> Sequence[Parameter]:
        """What a search varies, by key; a `when` may look at `architecture`, and at nothing else."""
        return ()

    @classmethod
    def first_points(cls, config: Any) -> Sequence[Mapping[str, Scalar]]:
        """Points that a search tries first, by key; keys that are left out have their values of the configuration."""
        return ()

    @classmethod
    def defaults(cls) -> dict[str, JsonValue]:
        """A complete configuration that runs, as people write it."""
        found: dict[str, JsonValue] = configs.merged(
            cls.Config().model_dump(mode="json"), {"model": {"type": cls.name}}
        )
        return found

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> configs.Config:
        """The configuration that these values make, laid over the defaults. Raises InvalidConfig."""
        found = configs.read(cls.Config, configs.merged(_without_sample(cls.defaults(), given), given))
        if found.model.type != cls.name:
            raise InvalidConfig(f"model.type is {shown(found.model.type)}: it is {cls.name!r} here", field="model.type")
        _check_given(found.data)
        search = found.hyperparameter_search
        if search.enabled or search.space or search.models:
            cls.dimensions(found)
        cls._check_metric(search.metric)
        return found

    @classmethod
    def objective(cls, config: configs.Config) -> tuple[str, Direction]:
        """The metric that decides between trials, and which end of it is better."""
        search = config.hyperparameter_search
        metric = search.metric or cls.metric
        base = metric.removeprefix("cv_")
        direction: Direction = search.direction or ("minimize" if base.endswith(LOSSES) else "maximize")
        if search.enabled and cls.folds(config) > 1:
            return f"cv_{base}", direction
        held_out = config.training.validation_split > 0 or config.data.val_path or config.data.val_table
        return (metric, direction) if held_out else ("train_loss", "minimize")

    @classmethod
    def folds(cls, config: configs.Config) -> int:
        """Folds of cross-validation of each trial; 1: none."""
        search = config.hyperparameter_search
        return search.folds if search.enabled and cls.cross_validates else 1

    @classmethod
    def dimensions(cls, config: configs.Config) -> tuple[Parameter, ...]:
        """What a search with this configuration varies. Raises InvalidConfig."""
        families = cls._families(config)
        given = config.hyperparameter_search.space
        own = {parameter.name: parameter for parameter in cls.space(config)}
        asked = [cls._dimension(config, key, asked) for key, asked in given.items()]
        found = [p.evolve(when=own[p.name].when) if p.name in own else p for p in asked] or own.values()
        kept = [_within(parameter, families) for parameter in found if _possible(parameter, families)]
        if len(families) > 1:
            kept.insert(0, Parameter(name=ARCHITECTURE, type="categorical", choices=families))
        if not kept:
            field = "hyperparameter_search.space"
            raise InvalidConfig(f"{field} is empty: name the keys to search, with their choices or ranges", field=field)
        return tuple(kept)

    @classmethod
    def check_installed(cls) -> None:
        """Raise MissingExtra that says how to install what it needs, unless that is there."""
        missing = [name for name in cls.requires if importlib.util.find_spec(name) is None]
        if missing:
            what = missing[0] if cls.extra is None else f"'tunesmith[{cls.extra}]'"
            message = f"The template {cls.name!r} needs {missing[0]}, which is not installed; run: pip install {what}"
            raise MissingExtra(message, template=cls.name, missing=missing)

    @classmethod
    def _check_metric(cls, metric: str | None) -> None:
        name = None if metric is None else metric.removeprefix("cv_")
        if name is not None and cls.metrics and name not in cls.metrics:
            known, field = ", ".join(cls.metrics), "hyperparameter_search.metric"
            message = f"{field}: {cls.name} has no metric {metric!r}{nearest(name, cls.metrics)}; it has {known}"
            raise InvalidConfig(message, field=field, value=metric)

    @classmethod
    def _fields(cls, section: str) -> Mapping[str, FieldInfo]:
        kind = cls.Config.model_fields[section].annotation
        fields: Mapping[str, FieldInfo] = getattr(kind, "model_fields", {})
        return fields

    @classmethod
    def _families(cls, config: configs.Config) -> tuple[str, ...]:
        """The families to search over; none where the template has none."""
        wanted, field = config.hyperparameter_search.models, "hyperparameter_search.models"
        if not wanted:
            one = getattr(config.model, ARCHITECTURE, None)
            return () if one is None else (one,)
        for name in wanted:
            if name != AUTO and name not in cls.families:
                known = ", ".join((AUTO, *cls.families))
                message = f"{field}: {cls.name} has no family {name!r}{nearest(name, cls.families)}; known: {known}"
                raise InvalidConfig(message, field=field, value=name)
        if not cls.families:
            return ()
        return cls.families if AUTO in wanted else tuple(dict.fromkeys(wanted))

    @classmethod
    def _dimension(cls, config: configs.Config, path: str, asked: JsonValue) -> Parameter:
        """A parameter as people declare it for a key."""
        field = f"hyperparameter_search.space.{path}"
        section, _, key = path.rpartition(".")
        known = {key: name for name in SEARCHED for key in cls._fields(name) if key != "type"}
        if known.get(key) is None or section not in ("", known[key]):
            paths = [f"{name}.{key}" for key, name in known.items()]
            near = f"{nearest(path, [*paths, *known])}; known: {', '.join(paths)}"
            raise InvalidConfig(f"{field}: there is no such key to search{near}", field=field)
        try:
            parameter = _parameter(key, asked, cls._fields(known[key])[key])
            for value in parameter.choices or [parameter.cast(bound) for bound in parameter.bounds]:
                config.with_values({key: value})
        except InvalidConfig as error:
            raise InvalidConfig(f"{field}: {error.message}", field=field) from None
        except ValidationError as error:
            text = error.errors()[0]["msg"].removeprefix("Value error, ")
            remedy = "give a list of choices, or minimum and maximum"
            raise InvalidConfig(f"{field} is {shown(asked)}: {text}; {remedy}", field=field) from None
        return parameter


def template(cls: type[Template]) -> type[Template]:
    """Check a template's class, and give it back: `@tunesmith.template` above a class that a plugin offers.

    Raises ValueError when its defaults make no configuration, or a method is missing.
    """
    if not (isinstance(cls, type) and issubclass(cls, Template)):
        raise ValueError(f"{cls!r} is no template; derive it from tunesmith.Template")
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if missing:
        raise ValueError(f"{cls.__name__} has no {missing[0]}; write def {missing[0]}(self, ...)")
    if "name" not in dir(cls):
        raise ValueError(f'{cls.__name__} has no name; write name = "..."')
    try:
        configs.read(cls.Config, cls.defaults())
    except InvalidConfig as error:
        raise ValueError(f"{cls.__name__}: its defaults are no configuration: {error.message}") from None
    return cls


def _check_given(data: configs.DataSection) -> None:
    """Raise InvalidConfig unless there is one place that the data come from."""
    field = "data.train_path"
    if data.train_path is None and data.dataset is None:
        raise InvalidConfig(f"{field} is null: name a file, or a dataset of a session in data.dataset", field=field)
    if data.train_path is not None and data.dataset is not None:
        message = f"{field} names a file, and data.dataset a dataset: set one of them to null"
        raise InvalidConfig(message, field=field, value=data.train_path)


def _without_sample(defaults: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults without their sample data, where others are given."""
    asked = given.get("data")
    if not isinstance(asked, Mapping) or not ({"train_path", "dataset"} & asked.keys()):
        return defaults
    return configs.merged(defaults, {"data": configs.DataSection().model_dump(mode="json")})


def _parameter(key: str, asked: JsonValue, field: FieldInfo) -> Parameter:
    """A list is choices, an object a range of the key's type. Raises pydantic.ValidationError."""
    if not isinstance(asked, Mapping):
        return Parameter.model_validate({"name": key, "type": "categorical", "choices": asked})
    kinds = typing.get_args(field.annotation) or (field.annotation,)
    kind = "float" if float in kinds else "int"
    return Parameter.model_validate({"type": kind, **asked, "name": key})


def _possible(parameter: Parameter, families: tuple[str, ...]) -> bool:
    """Whether it exists in one of the families."""
    wanted = (parameter.when or {}).get(ARCHITECTURE)
    return wanted is None or any(family in wanted for family in families)


def _within(parameter: Parameter, families: tuple[str, ...]) -> Parameter:
    """It with its condition on these families alone; without one where it holds in all of them."""
    when = dict(parameter.when or {})
    wanted = when.pop(ARCHITECTURE, None)
    if wanted is not None and not set(families) <= set(wanted):
        when = {ARCHITECTURE: tuple(family for family in families if family in wanted), **when}
    return parameter.evolve(when=when or None)
