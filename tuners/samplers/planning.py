"""How a job's search is checked against its experiment, and what is filled in, before it is queued."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from tuners import pruners
from tuners.samplers import listing
from tuners.samplers.registry import SAMPLERS, find
from tuners.samplers.resolving import check_options, resolved
from tuners.samplers.sampler import Sampler
from tunesmith.domain import Experiment, Parameter, Point, Pruner, Search, Space, same_scalar
from tunesmith.errors import InvalidOptimizer, InvalidSpace

DEFAULT_TRIALS = 100
"""Trials of a search that names none (and no budget)."""


@dataclass(frozen=True)
class Plan:
    """A search that is ready to be queued."""

    search: Search
    """With everything filled in: the seed, the number of trials, what `auto` chose."""
    total: int | None
    """Trials to run; None: until the budget is spent, or the points are used up."""
    warnings: tuple[str, ...] = ()
    """What has no effect, or another one than one might think."""
    note: str | None = None
    """What is to be known about the job for good: why `auto` chose as it did."""


def plan(experiment: Experiment, search: Search, max_grid_points: int, slots: int | None = None) -> Plan:
    """Check a search against its experiment, and fill in what it leaves open.

    `slots`: trials that the cluster runs at once, where it is known.

    The seed is drawn here, so that every run can be repeated from what is recorded.

    Raises:
        InvalidOptimizer: unknown sampler, pruner or option; a missing or misplaced field; a point outside the space; a
            sampler that is not installed, or cannot search this experiment.
        InvalidSpace: no point satisfies the parameter constraints.
        GridTooLarge: the grid, or the finite space, has more than `max_grid_points` points.
    """
    space = experiment.spec.space
    sampler = find(search.type)
    options = check_options(sampler.options, search.options, f"optimizer ({sampler.name})")
    check_feasible(space)
    complete = search.evolve(
        seed=search.seed if search.seed is not None else secrets.randbits(32),
        options=options.model_dump(exclude_unset=True),
    )
    complete, note = (
        _chosen(experiment, complete, max_grid_points, slots) if sampler.name == "auto" else (complete, None)
    )
    plain = resolved(complete)
    base = find(plain.type)
    if base is not sampler:
        check_options(base.options, plain.options, f"optimizer.base ({base.name})")
    _check_ability(experiment, base)
    _check_fields(sampler, base, plain)
    pruners.check(search.pruner, len(experiment.spec.objectives), by_vectors=True)
    _check_goal(experiment, plain)
    _check_points(experiment, plain)
    if base.check is not None:
        base.check(experiment, plain)
    if "n_iter" in base.fields and "n_iter" not in base.required and plain.n_iter is None and plain.budget_s is None:
        complete, plain = complete.evolve(n_iter=DEFAULT_TRIALS), plain.evolve(n_iter=DEFAULT_TRIALS)
    total, skipped = _total(space, base, plain, max_grid_points)
    return Plan(complete, total, (*_warnings(experiment, base, plain), *skipped), note)


def check_feasible(space: Space) -> None:
    """Raise InvalidSpace when no point of the space satisfies its parameter constraints, or none can be found."""
    if not space.constraints:
        return
    from tuners import feasible

    found = feasible.find(space, space.expressions, seed=0)
    if found.point is None:
        sure = "no point of the space satisfies" if found.exhaustive else f"none of {found.tries:,} points satisfied"
        raise InvalidSpace(
            f"parameter_constraints: {sure} {' and '.join(map(repr, space.constraints))}; "
            "widen a range, or loosen a constraint",
            field="parameter_constraints",
        )


def _chosen(
    experiment: Experiment, search: Search, max_grid_points: int, slots: int | None
) -> tuple[Search, str | None]:
    """What `auto` chooses, with its reason; the choice of a search that was planned before stays."""
    if search.chosen is not None:
        return search, None
    from tuners import auto

    spec = experiment.spec
    if search.n_iter is None and search.budget_s is None:
        search = search.evolve(n_iter=DEFAULT_TRIALS)
    limits = [limit for limit in (slots, search.max_concurrent, spec.compute.max_threads) if limit is not None]
    choice = auto.choose(
        listing.pinned(spec.space, search.fixed),
        objectives=len(spec.objectives),
        constrained=bool(spec.constraints),
        trials=search.n_iter,
        concurrency=min(limits, default=None),
        available=partial(_suits, experiment, search, max_grid_points),
    )
    chosen = Pruner(type=choice.name, options=choice.options)
    return search.evolve(chosen=chosen), f"auto chose {choice.name}: {choice.reason}"


def _suits(experiment: Experiment, search: Search, max_grid_points: int, name: str) -> bool:
    """Whether `auto` may choose a sampler, which has to go through a list whole, or to search what is not known yet."""
    if not _can(experiment, name):
        return False
    sampler = SAMPLERS[name]
    if experiment.spec.define_by_run:
        return sampler.conditional_spaces and sampler.mixed_spaces
    if not sampler.finite:
        return True
    try:
        listing.count(experiment.spec.space, search.evolve(type=name), max_grid_points)
    except InvalidOptimizer:
        return False
    return True


def _can(experiment: Experiment, name: str) -> bool:
    """Whether a sampler is there and can search the experiment at all."""
    return (
        name in SAMPLERS and SAMPLERS[name].available and next(_inabilities(experiment, SAMPLERS[name]), None) is None
    )


def _inabilities(experiment: Experiment, sampler: Sampler) -> Iterator[tuple[str, str]]:
    """What the experiment needs and the sampler cannot do, with a remedy."""
    spec = experiment.spec
    if len(spec.objectives) > 1 and not sampler.multi_objective:
        yield f"it searches for one objective, and this experiment has {len(spec.objectives)}", "keep one"
    if spec.define_by_run and not sampler.define_by_run:
        yield (
            "it needs the parameters beforehand, and this function asks for them while it runs",
            "give the experiment its parameters",
        )


def _check_ability(experiment: Experiment, sampler: Sampler) -> None:
    able = ", ".join(name for name in SAMPLERS if _can(experiment, name))
    if sampler.missing is not None:
        raise InvalidOptimizer(
            f"optimizer.type: {sampler.name} is not installed here; {sampler.missing}, or use one of {able}",
            field="type",
        )
    for reason, remedy in _inabilities(experiment, sampler):
        raise InvalidOptimizer(
            f"optimizer.type ({sampler.name}): {reason}; {remedy}, or use one of {able}", field="type"
        )


def _check_fields(sampler: Sampler, base: Sampler, search: Search) -> None:
    for field in base.required:
        if getattr(search, field) is None:
            raise InvalidOptimizer(
                f"optimizer.{field} is required for {base.name}; give a whole number, for instance 2", field=field
            )
    fields = sampler.fields if sampler.name == "auto" else base.fields
    for field in ("n_init", "n_iter", "num_configs_per_param"):
        if getattr(search, field) is not None and field not in fields:
            raise InvalidOptimizer(
                f"optimizer.{field} ({getattr(search, field)}) does not belong to {base.name}, "
                f"which takes {', '.join(sorted(fields)) or 'none of the kind'}; remove it",
                field=field,
            )
    if search.converge_thres is not None and search.converge_steps is None:
        raise InvalidOptimizer(
            f"optimizer.converge_thres ({search.converge_thres:g}) needs converge_steps beside it; "
            "say after how many trials without improvement to stop",
            field="converge_thres",
        )


def _check_goal(experiment: Experiment, search: Search) -> None:
    metrics = [objective.metric for objective in experiment.spec.objectives]
    for metric in search.goal if isinstance(search.goal, Mapping) else ():
        if metric not in metrics:
            raise InvalidOptimizer(
                f"optimizer.goal.{metric}: no such objective; goals are for {', '.join(metrics)}",
                field=f"goal.{metric}",
            )


def _check_points(experiment: Experiment, search: Search) -> None:
    """The parameters that are held, and the points to try first."""
    if experiment.spec.define_by_run:
        return  # nobody knows yet what will be asked for
    space = experiment.spec.space
    parameters = {parameter.name: parameter for parameter in space}
    for name, value in search.fixed.items():
        if name not in parameters:
            raise InvalidOptimizer(
                f"optimizer.fixed.{name}: no such parameter; there are {', '.join(parameters)}", field=f"fixed.{name}"
            )
        if not parameters[name].contains(value):
            raise InvalidOptimizer(
                f"optimizer.fixed.{name}: {value!r} lies outside its range; give one of its values",
                field=f"fixed.{name}",
            )
    if search.fixed and space.constraints:
        check_feasible(listing.pinned(space, search.fixed))
    for index, point in enumerate(search.enqueue):
        problems = [*space.problems(point), *_contradictions(search, point)]
        if problems:
            raise InvalidOptimizer(f"optimizer.enqueue.{index}: {'; '.join(problems)}", field=f"enqueue.{index}")


def _contradictions(search: Search, point: Point) -> Iterator[str]:
    """Where a point to try differs from what is held."""
    for name, value in search.fixed.items():
        if name in point and not same_scalar(point[name], value):
            yield f"{name}: {point[name]!r}, but it is held at {value!r} by fixed; make them agree"


def _total(space: Space, sampler: Sampler, search: Search, max_grid_points: int) -> tuple[int | None, tuple[str, ...]]:
    """How many trials there will be, and a warning where points of a list are left out."""
    extra = len(search.enqueue)
    if sampler.finite:
        if sampler.name == "brute_force":  # the points to try first are points of the list
            extra -= len({repr(space.cast(point)) for point in search.enqueue})
        every = listing.count(space, search, max_grid_points)
        kept = sum(1 for _ in listing.listed(space, search)) if space.constraints else every
        skipped = f"{every - kept:,} of {every:,} points break a parameter constraint and are left out"
        return extra + kept, (skipped,) if kept < every else ()
    if search.n_iter is None:
        return None, ()
    if sampler.name == "bayesopt":  # its points are of two kinds, and both numbers are promised
        return extra + (search.n_init or 0) + search.n_iter, ()
    return max(extra, search.n_iter), ()


def _warnings(experiment: Experiment, sampler: Sampler, search: Search) -> Iterator[str]:
    spec = experiment.spec
    if spec.constraints and not sampler.constraints and not sampler.finite:
        yield f"{sampler.name} is not steered by constraints; trials that break them are kept, but never the best"
    if search.converge_steps is not None and len(spec.objectives) > 1:
        yield "converge_steps looks at one objective; with several the search runs to its end"
    at_random = [p.name for p in spec.space if p.name not in search.fixed and not _searches(sampler, p)]
    if at_random:
        named = ", ".join(at_random[:5]) + (", ..." if len(at_random) > 5 else "")
        kinds = "conditional parameters" if sampler.mixed_spaces else "categorical and conditional parameters"
        yield f"{sampler.name} does not search {kinds}; it draws {named} at random"


def _searches(sampler: Sampler, parameter: Parameter) -> bool:
    """Whether the sampler searches the parameter as it does plain numbers."""
    if parameter.type == "categorical" and not sampler.mixed_spaces:
        return False
    return parameter.when is None or sampler.conditional_spaces
