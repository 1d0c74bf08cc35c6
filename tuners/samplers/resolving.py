"""What a search comes down to: the sampler that really runs, its options, and the parameters that are held."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from tuners.samplers.registry import find
from tunesmith.domain import Search
from tunesmith.errors import InvalidOptimizer


def resolved(search: Search) -> Search:
    """The search with the sampler that really runs: `auto`'s choice, and the base of `partial_fixed`.

    Raises:
        InvalidOptimizer: an unknown base sampler, or one that is no search of its own.
    """
    if search.chosen is not None:
        search = search.evolve(type=search.chosen.type, options=search.chosen.options, chosen=None)
    if search.type != "partial_fixed":
        return search
    base, options = _base(search.options.get("base", "tpe"))
    fixed = {**search.options.get("fixed_params", {}), **search.fixed}
    return search.evolve(type=base, options=options, fixed=fixed)


def learns(search: Search) -> bool:
    """Whether the points depend on the trials before them."""
    return find(resolved(search).type).learns


def needs_history(search: Search) -> bool:
    """Whether the experiment's earlier trials matter: to the model, to the pruner, or as points that are tried."""
    sampler = find(resolved(search).type)
    return (sampler.learns and not sampler.alone) or search.pruner is not None or sampler.name == "brute_force"


def check_options(model: type[BaseModel], given: Mapping[str, Any], where: str) -> Any:
    """The options as the model's value. Raises InvalidOptimizer that names option, value and remedy."""
    for name in given:
        if name not in model.model_fields:
            known = [*model.model_fields, *Search.model_fields]
            near = difflib.get_close_matches(name, known, n=1)
            hint = (
                f"did you mean {near[0]!r}?" if near else f"it takes: {', '.join(model.model_fields) or 'no options'}"
            )
            raise InvalidOptimizer(f"{where}: unknown field {name!r} ({given[name]!r:.100}); {hint}", field=name)
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        raise _explained(model, error, where) from error


def _explained(model: type[BaseModel], error: ValidationError, where: str) -> InvalidOptimizer:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if not name:  # several options together
        return InvalidOptimizer(f"{where}: {first['msg'].removeprefix('Value error, ')}", field="options")
    if first["type"] == "missing":
        return InvalidOptimizer(f"{where}.{name} is required: {model.model_fields[name].description}", field=name)
    return InvalidOptimizer(f"{where}.{name}: {first['msg']}, not {first['input']!r:.100}", field=name)


def _base(given: Any) -> tuple[str, dict[str, Any]]:
    """Type and options of the base sampler; the options stand beside the type, or under `options`."""
    parts = {"type": given} if isinstance(given, str) else dict(given)
    name = parts.pop("type", None)
    nested = parts.pop("options", {})
    options = {**(nested if isinstance(nested, Mapping) else {"options": nested}), **parts}
    if not isinstance(name, str):
        raise InvalidOptimizer(
            f'optimizer.base needs a "type", for instance {{"type": "tpe"}}, not {name!r:.100}', field="base"
        )
    if name in ("partial_fixed", "auto"):
        raise InvalidOptimizer(
            f"optimizer.base: {name} searches with another sampler itself; name that one, "
            "or leave type auto and give the held parameters as fixed",
            field="base",
        )
    find(name)
    return name, options
