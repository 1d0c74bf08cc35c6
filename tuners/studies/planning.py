"""How a search for workers that ask is checked: it has no slots, no clock and no end but what it is given."""

from __future__ import annotations

from tuners import samplers
from tunesmith.domain import Experiment, Search
from tunesmith.errors import InvalidOptimizer

JOBS_ONLY = ("budget_s", "max_concurrent", "max_cost", "code")
"""Fields that mean something to a job of the platform's own workers only."""
DEFAULT = Search(type="auto")


def plan_asking(
    experiment: Experiment, search: Search | None, max_grid_points: int, present: Search | None = None
) -> Search:
    """The search with everything filled in; `auto` without an end where nothing is asked for.

    What was drawn and chosen for the `present` one stays: the same wish again gives the same search.

    Raises:
        InvalidOptimizer: unknown sampler or option, a field that only jobs have, or a sampler of populations.
        InvalidSpace: no point satisfies the parameter constraints.
        GridTooLarge: more than `max_grid_points` points.
    """
    wanted = search or DEFAULT
    for field in JOBS_ONLY:
        if getattr(wanted, field) is not None:
            raise InvalidOptimizer(
                f"optimizer.{field} ({getattr(wanted, field)}) is for jobs that the platform runs; workers that ask "
                "for trials come and go as they like. Remove it",
                field=field,
            )
    if present is not None and wanted.seed is None and wanted.type == present.type:
        wanted = wanted.evolve(seed=present.seed)
    planned = samplers.plan(experiment, wanted, max_grid_points).search
    planned = Search.model_validate(planned.model_dump(mode="json"))  # as it comes back from the database
    if samplers.find(samplers.resolved(planned).type).population:
        raise InvalidOptimizer(
            f"optimizer.type ({planned.type}): its trials go on from checkpoints, which only the platform's own "
            "workers pass on; use another sampler, or submit a job",
            field="type",
        )
    return planned if wanted.n_iter is not None else planned.evolve(n_iter=None)


def total_of(search: Search) -> int | None:
    """How many trials a search hands out; None without an end of its own."""
    if search.n_iter is None:
        return None
    first = len(search.enqueue)
    return first + (search.n_init or 0) + search.n_iter if search.n_init is not None else max(first, search.n_iter)
