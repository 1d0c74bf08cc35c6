"""The samplers, by name: what each can do, its options, and how a job's search is checked before it is queued."""

from __future__ import annotations

import difflib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tuners import grid, pruners
from tunesmith.domain import Experiment, Search, Space
from tunesmith.errors import InvalidOptimizer

DEFAULT_TRIALS = 100
"""Trials of a search that names none (and no budget)."""


class Options(BaseModel):
    """Options of a sampler: unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TpeOptions(Options):
    """Options of the tree-structured Parzen estimator."""

    n_startup_trials: int = Field(default=10, ge=0)
    """Random trials before the model is used."""
    n_ei_candidates: int = Field(default=24, ge=1, le=10_000)
    """Candidates drawn per suggestion."""
    multivariate: bool | None = None
    """Model the parameters jointly; unset: Optuna's own choice."""
    constant_liar: bool = True
    """Reckon running trials as bad ones, so that parallel suggestions differ."""


class NsgaOptions(Options):
    """Options of NSGA-II."""

    population_size: int = Field(default=50, ge=2, le=100_000)
    """Individuals of a generation."""
    mutation_prob: float | None = Field(default=None, ge=0, le=1)
    """Probability of mutating a parameter; unset: 1 / number of parameters."""
    crossover_prob: float = Field(default=0.9, ge=0, le=1)
    """Probability of a crossover."""
    swapping_prob: float = Field(default=0.5, ge=0, le=1)
    """Probability of swapping a parameter in a crossover."""


@dataclass(frozen=True)
class Sampler:
    """A sampler of the platform."""

    name: str
    """What `optimizer.type` says."""
    description: str
    """One sentence."""
    options: type[Options]
    """Its own options."""
    build: Callable[[Any, int], Any] | None
    """(options, seed) -> optuna sampler; None: points come from a list."""
    fields: frozenset[str] = frozenset({"n_iter"})
    """Which of n_init, n_iter, num_configs_per_param it takes."""
    multi_objective: bool = True
    """Whether it takes several objectives."""
    constraints: bool = False
    """Whether outcome constraints steer it."""
    learns: bool = True
    """Whether its points depend on the trials before them."""


def _random(_options: Options, seed: int) -> Any:
    import optuna

    return optuna.samplers.RandomSampler(seed=seed)


def _tpe(options: TpeOptions, seed: int) -> Any:
    from tuners.tpe import Tpe

    return Tpe(seed=seed, **options.model_dump())


def _nsga2(options: NsgaOptions, seed: int) -> Any:
    import optuna

    return optuna.samplers.NSGAIISampler(seed=seed, **options.model_dump())


SAMPLERS: Mapping[str, Sampler] = {
    sampler.name: sampler
    for sampler in (
        Sampler("random", "Independent, uniform draws from the space.", Options, _random, learns=False),
        Sampler(
            "grid", "Every combination of evenly spaced values, ends included.", Options, None,
            fields=frozenset({"num_configs_per_param"}), learns=False,
        ),
        Sampler(
            "bayesopt", "Bayesian optimization: n_init random points, then n_iter from a model (TPE).",
            TpeOptions, _tpe, fields=frozenset({"n_init", "n_iter"}), constraints=True,
        ),
        Sampler("tpe", "Tree-structured Parzen estimator (Bergstra et al. 2011).", TpeOptions, _tpe, constraints=True),
        Sampler(
            "nsga2", "Genetic algorithm for several objectives (Deb et al. 2002).",
            NsgaOptions, _nsga2, constraints=True,
        ),
    )
}  # fmt: skip


def catalogue() -> list[dict[str, Any]]:
    """What `GET /api/v1/samplers` lists."""
    return [
        {
            "name": sampler.name,
            "description": sampler.description,
            "fields": sorted(sampler.fields),
            "options": sampler.options.model_json_schema().get("properties", {}),
            "multi_objective": sampler.multi_objective,
            "constraints": sampler.constraints,
            "mixed_spaces": True,
            "conditional_spaces": True,
        }
        for sampler in SAMPLERS.values()
    ]


def plan(experiment: Experiment, search: Search, max_grid_points: int) -> tuple[Search, int | None, tuple[str, ...]]:
    """Check a search against its experiment: the completed search, its number of trials, and warnings.

    The seed is drawn here, so that every run can be repeated from what is recorded.

    Raises:
        InvalidOptimizer: unknown sampler, pruner or option; a missing or misplaced field; a point outside the space.
        GridTooLarge: the grid has more than `max_grid_points` points.
    """
    sampler = find(search.type)
    _check_fields(sampler, search)
    options = check_options(sampler.options, search.options, f"optimizer ({sampler.name})")
    pruners.check(search.pruner, len(experiment.spec.objectives))
    _check_points(experiment.spec.space, search)
    seed = search.seed if search.seed is not None else secrets.randbits(32)
    complete = search.evolve(seed=seed, options=options.model_dump(exclude_unset=True))
    total = _total(experiment.spec.space, sampler, complete, max_grid_points)
    if sampler.name not in ("grid", "bayesopt") and search.n_iter is None and search.budget_s is None:
        complete, total = complete.evolve(n_iter=DEFAULT_TRIALS), DEFAULT_TRIALS
    return complete, total, _warnings(experiment, sampler, complete)


def find(name: str) -> Sampler:
    """A sampler by name. Raises InvalidOptimizer that names the nearest one."""
    if name in SAMPLERS:
        return SAMPLERS[name]
    near = difflib.get_close_matches(name, SAMPLERS, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise InvalidOptimizer(
        f"optimizer.type: no sampler is called {name!r}; {hint}known: {', '.join(SAMPLERS)}", field="type"
    )


def learns(search: Search) -> bool:
    """Whether the experiment's earlier trials matter: the sampler models them, or the pruner compares with them."""
    return find(search.type).learns or search.pruner is not None


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
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise InvalidOptimizer(f"{where}.{name}: {first['msg']}, not {first['input']!r:.100}", field=name) from error


def _check_fields(sampler: Sampler, search: Search) -> None:
    required = {"bayesopt": ("n_init", "n_iter"), "grid": ("num_configs_per_param",)}.get(sampler.name, ())
    for field in required:
        if getattr(search, field) is None:
            raise InvalidOptimizer(
                f"optimizer.{field} is required for {sampler.name}; give a whole number, for instance 2", field=field
            )
    for field in ("n_init", "n_iter", "num_configs_per_param"):
        if getattr(search, field) is not None and field not in sampler.fields:
            raise InvalidOptimizer(
                f"optimizer.{field} ({getattr(search, field)}) does not belong to {sampler.name}, "
                f"which takes {', '.join(sorted(sampler.fields))}; remove it",
                field=field,
            )
    if search.converge_thres is not None and search.converge_steps is None:
        raise InvalidOptimizer(
            f"optimizer.converge_thres ({search.converge_thres:g}) needs converge_steps beside it; "
            "say after how many trials without improvement to stop",
            field="converge_thres",
        )


def _check_points(space: Space, search: Search) -> None:
    for index, point in enumerate(search.enqueue):
        problems = space.problems(point)
        if problems:
            raise InvalidOptimizer(f"optimizer.enqueue.{index}: {'; '.join(problems)}", field=f"enqueue.{index}")


def _total(space: Space, sampler: Sampler, search: Search, max_grid_points: int) -> int | None:
    extra = len(search.enqueue)
    if sampler.name == "grid":
        assert search.num_configs_per_param is not None
        return extra + grid.count(space, search.num_configs_per_param, max_grid_points)
    if search.n_iter is None:
        return None
    if sampler.name == "bayesopt":  # its points are of two kinds, and both numbers are promised
        return extra + (search.n_init or 0) + search.n_iter
    return max(extra, search.n_iter)


def _warnings(experiment: Experiment, sampler: Sampler, search: Search) -> tuple[str, ...]:
    found = []
    if experiment.spec.constraints and not sampler.constraints and sampler.build is not None:
        found.append(
            f"{sampler.name} is not steered by constraints; trials that break them are kept, but never the best"
        )
    if search.converge_steps is not None and len(experiment.spec.objectives) > 1:
        found.append("converge_steps looks at one objective; with several the search runs to its end")
    return tuple(found)
