"""What the sampler `auto` comes down to: chosen by space, objectives, budget and parallelism, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tuners import grid
from tunesmith.domain import Parameter, Space
from tunesmith.errors import GridTooLarge

FEW = 10
"""Up to so many trials, no model learns anything: they are the random points with which each begins."""
MODEL_TRIALS, TRIALS_PER_NUMBER, MOST_MODEL_TRIALS = 300, 60, 1000
"""Up to so many trials, or so many per parameter, but no more than the last, one objective on numbers is left to
Gaussian processes with a trust region: on BBOB in 5-D they leave half of CMA-ES's regret at 200 trials, while at 500
CMA-ES has caught up on the multimodal functions."""
GP_TRIALS = 200
"""The same for Optuna's Gaussian process, under outcome constraints or for several objectives."""
GENETIC_TRIALS = 1000
"""From so many trials on, several objectives are left to a genetic algorithm."""
CMA_TRIALS = 70
"""From so many trials on, times the root of the number of parameters, CMA-ES has the generations to pass TPE."""
MANY_OBJECTIVES = 4
"""From so many objectives on, nearly every trial is on the Pareto front, and reference points are needed."""
CROWD = 32
"""With more trials at once than this, a Gaussian process would keep workers waiting for suggestions."""
WIDE = 100
"""With more parameters than this, a Gaussian process has too little to learn from."""
DENSE = 5
"""A number with fewer values than this is closer to a category."""


@dataclass(frozen=True)
class Choice:
    """A sampler for one search."""

    name: str
    """What `optimizer.type` would say."""
    reason: str
    """Why, in one sentence for people."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options that differ from the sampler's defaults."""


@dataclass(frozen=True)
class Task:
    """What a choice depends on."""

    space: Space
    """Where to search."""
    objectives: int
    """How many."""
    constrained: bool
    """Whether there are outcome constraints."""
    trials: int | None
    """The budget; None: it is one of time or money."""
    concurrency: int | None
    """Trials at once; None: not limited, nor known."""

    @property
    def numeric(self) -> bool:
        """Whether all parameters are numbers that always exist."""
        return all(p.type != "categorical" and p.when is None for p in self.space)

    @property
    def dense(self) -> bool:
        """Whether each number has many values."""
        return self.numeric and all(grid.size(p, DENSE) >= DENSE for p in self.space if not _single(p))

    @property
    def continuous(self) -> bool:
        """Whether no parameter has steps."""
        return all(p.type == "float" and p.step is None for p in self.space)

    @property
    def conditional(self) -> bool:
        """Whether some parameters exist only under conditions."""
        return any(p.when is not None for p in self.space)

    @property
    def crowded(self) -> bool:
        """Whether more trials run at once than a slow sampler can serve."""
        return self.concurrency is not None and self.concurrency > CROWD

    def within(self, trials: int) -> bool:
        """Whether the budget is known and no larger than this."""
        return self.trials is not None and self.trials <= trials


def choose(
    space: Space,
    objectives: int,
    constrained: bool,
    trials: int | None,
    concurrency: int | None,
    available: Callable[[str], bool],
) -> Choice:
    """The sampler for a search; the first rule whose sampler is available decides.

    `objectives`: how many; `constrained`: whether there are outcome constraints; `trials`: the budget, None for one of
    time or money; `concurrency`: trials at once, None when not limited; `available`: whether the sampler of a name is
    installed and able to run the experiment.
    """
    task = Task(space, objectives, constrained, trials, concurrency)
    last = Choice("random", "no sampler that learns can run here.")
    return next((choice for choice in _candidates(task) if available(choice.name)), last)


def _candidates(task: Task) -> Iterator[Choice]:
    """Choices that fit the task, the best first."""
    yield from _exhaustive(task)
    yield from _blind(task)
    yield from _several(task) if task.objectives > 1 else _one(task)
    yield Choice("tpe", f"{_kind(task)}: TPE searches any space, at a few milliseconds a suggestion.")


def _exhaustive(task: Task) -> Iterator[Choice]:
    limit = 100 if task.trials is None else task.trials
    count = points(task.space, limit)
    if count is not None:
        known = f"the space has only {_plural(count, 'point')}"
        fits = "" if task.trials is None else f", within the budget of {_plural(task.trials, 'trial')}"
        yield Choice("brute_force", f"{known}{fits}: each is tried once.")


def _blind(task: Task) -> Iterator[Choice]:
    """Searches that end before a model could learn."""
    if task.trials is None:
        return
    at_once = task.concurrency or 1
    if task.trials <= FEW:
        why = f"{_plural(task.trials, 'trial')} are too few to learn from"
    elif task.trials < 2 * at_once:
        why = f"with {at_once} trials at once, nearly all {task.trials} start before anything is learnt"
    else:
        return
    if not task.conditional:
        yield Choice("qmc", f"{why}: quasi-random points fill the space evenly, at no cost.")
    yield Choice("random", f"{why}: random points need no model.")


def _several(task: Task) -> Iterator[Choice]:
    if task.conditional:  # genetic algorithms, and the Gaussian process, draw such parameters at random
        return
    what = f"{task.objectives} objectives and {_budget(task)}"
    many = task.objectives >= MANY_OBJECTIVES
    if many and not task.within(GENETIC_TRIALS // 2):
        yield Choice("nsga3", f"{what}: NSGA-III keeps many objectives apart, and suggests at no cost.")
    if not many and _suits_gp(task):
        yield Choice("gp", f"{what}: a Gaussian process makes the most of few; a suggestion takes about a second.")
    if task.within(GENETIC_TRIALS):
        yield Choice("tpe", f"{what}: TPE learns from few trials, at some ten milliseconds a suggestion.")
    yield Choice("nsga2", f"{what}: NSGA-II covers broad fronts in many trials, and suggests at no cost.")


def _one(task: Task) -> Iterator[Choice]:
    if not task.numeric:
        return
    kind, space = _kind(task), task.space
    if task.constrained:
        if _suits_gp(task):
            yield Choice(
                "gp",
                f"{kind} under outcome constraints and {_budget(task)}: a Gaussian process learns where they hold; "
                "a suggestion takes a few tenths of a second.",
            )
        return
    most = min(max(MODEL_TRIALS, TRIALS_PER_NUMBER * len(space)), MOST_MODEL_TRIALS)
    if task.dense and task.within(most) and not task.crowded and len(space) <= WIDE:
        yield Choice(
            "trego",
            f"{kind} and {_budget(task)}: Gaussian processes with a trust region come closest in few trials; "
            "a suggestion takes about a tenth of a second.",
        )
    if task.dense and len(space) > 1 and task.trials is not None and task.trials >= CMA_TRIALS * len(space) ** 0.5:
        yield Choice(
            "cmaes",
            f"{kind} and {_budget(task)}: CMA-ES adapts to the valley, at about a millisecond a point.",
            {} if task.continuous else {"with_margin": True},  # else whole numbers freeze at one value
        )


def points(space: Space, limit: int) -> int | None:
    """How many points a space has; None for more than `limit`, or no end of them."""
    if any(p.type == "float" and p.step is None and not _single(p) for p in space):
        return None
    plain = [p.evolve(log=False) for p in space]  # a logarithmic axis of a grid leaves numbers out
    held = Space.model_construct(parameters=tuple(plain), constraints=())
    try:
        return grid.count(held, max(limit + 1, 2), limit)
    except GridTooLarge:
        return None


def _suits_gp(task: Task) -> bool:
    return task.within(GP_TRIALS) and not task.crowded and len(task.space) <= WIDE


def _single(parameter: Parameter) -> bool:
    return parameter.type != "categorical" and parameter.minimum == parameter.maximum


def _kind(task: Task) -> str:
    if task.numeric:
        return _plural(len(task.space), "number")
    return "conditional parameters" if task.conditional else "categorical parameters"


def _budget(task: Task) -> str:
    return "an open budget" if task.trials is None else _plural(task.trials, "trial")


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
