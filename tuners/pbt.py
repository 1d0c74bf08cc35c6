"""Population-based training (Jaderberg et al. 2017) and population-based bandits, as trials that outlive any process.

A member of the population trains in segments. Each segment is a trial: it starts from a checkpoint, trains some steps
with constant hyperparameters, tells its objective and leaves a checkpoint. When a member's next segment is due and its
score is among the worst, it goes on from the checkpoint of one of the best, with hyperparameters that Tune's own code
derives from that one's; else it goes on from its own. What a trial is to the population stands in its system
attributes, and a segment follows from the seed, its number and the trials before it alone: a new process goes on as the
old one would have.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from tuners import feasible, pb2
from tuners.feasible import Axis
from tunesmith.domain import Experiment, Point, Scalar, Search, Space, Trial, TrialState, same_scalar
from tunesmith.errors import InvalidOptimizer

ATTRIBUTE = "pbt"
"""The system attribute: member, generation, parent (a trial's number, or null) and exploited."""


class PopulationOptions(BaseModel):
    """Options of population-based training and population-based bandits."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    population_size: int = Field(default=8, ge=2, le=10_000)
    """Members that are trained side by side; each trial is one segment of one of them."""
    perturbation_interval: int = Field(default=1, ge=1)
    """Training steps of a segment: `TUNESMITH_STEPS` in a command's environment, `tuners.steps()` in a function."""
    quantile_fraction: float = Field(default=0.25, ge=0, le=0.5)
    """Fraction of the population that is replaced by copies of as many of the best; 0: nothing is copied."""
    resample_probability: float = Field(default=0.25, ge=0, le=1)
    """Probability that a copied hyperparameter is drawn anew instead of perturbed."""
    perturbation_factors: tuple[float, ...] = Field(default=(1.2, 0.8), min_length=1, max_length=100)
    """Copied numbers are multiplied by one of these; a category moves to the next or the previous one."""
    synchronous: bool = False
    """Whether nobody begins its next segment before everybody has ended this one."""


@dataclass(frozen=True)
class Segment:
    """What a trial is to do."""

    params: dict[str, Scalar]
    """Its hyperparameters."""
    checkpoint_of: int | None
    """Number of the trial whose checkpoint it starts from; None: from nothing."""
    step: int
    """Training steps that are done: those that are in the checkpoint."""
    steps: int
    """Training steps to do."""
    attrs: Mapping[str, Any]
    """The trial's system attributes."""


class Later:
    """There is no segment before another one has ended."""


@dataclass(frozen=True)
class Standing:
    """Where a member stands after a segment that gave a score."""

    place: int
    """Segments that were made for the member before this one."""
    trial: Trial
    """The segment's trial."""
    progress: pb2.Progress | None
    """How the segment changed the score, where there was one before."""


@dataclass
class Member:
    """One member of the population."""

    number: int
    """0, 1, 2, ..."""
    made: int = 0
    """Segments that were handed out."""
    running: int | None = None
    """The trial that is its segment just now."""
    standings: deque[Standing] = field(default_factory=lambda: deque(maxlen=2))
    """The last two: in lockstep, the last one may be ahead of what others are to see."""

    @property
    def ended(self) -> int:
        """Segments that have ended, in any way."""
        return self.made - (self.running is not None)

    def standing(self, before: float = math.inf) -> Standing | None:
        """The last one, of the first `before` segments."""
        return next((standing for standing in reversed(self.standings) if standing.place < before), None)


class Population:
    """The members, and what each is to do next. Not thread-safe: one caller at a time."""

    def __init__(
        self,
        experiment: Experiment,
        options: PopulationOptions,
        seed: int,
        *,
        bandits: bool = False,
        segments: int | None = None,
        points: Sequence[Point] = (),
        fixed: Mapping[str, Scalar] = MappingProxyType({}),
        history: Iterable[Trial] = (),
    ) -> None:
        """A population, as it stands after its earlier trials.

        `bandits`: PB2 instead of PBT; `segments`: how many there are to be, if that is known; `points`: what the first
        members start with; `fixed`: hyperparameters that are held at one value; `history`: the job's own finished
        trials. Those of other jobs belong to other populations.
        """
        from tuners.samplers.listing import pinned  # which imports this module's options

        self.options, self.seed = options, seed
        self._space: Space = pinned(experiment.spec.space, fixed)
        self._constraints = self._space.expressions
        self._sign = experiment.spec.objectives[0].sign
        self._bandits, self._segments, self._points = bandits, segments, points
        self._members = [Member(number) for number in range(options.population_size)]
        self._open: dict[int, Segment] = {}
        self._scores: dict[int, float] = {}
        self._recent: deque[pb2.Progress] = deque(maxlen=pb2.WINDOW)
        for trial in sorted(history, key=lambda trial: trial.number):
            self.tell(trial)

    def ask(self, number: int, index: int) -> Segment | Later | None:
        """What the trial of this number is to do, the job having made `index` before it; None when all are made."""
        if self._segments is not None and index >= self._segments:
            return None
        member = self._due()
        if member is None:
            return Later()
        segment = self._next(member, random.Random(f"{self.seed}/{number}"))
        self._begin(number, segment)
        return segment

    def reopen(self, trial: Trial) -> Segment | None:
        """What an interrupted trial is to do: the same as before; None for a trial of no population."""
        if trial.number not in self._open:
            noted = (trial.system_attrs or {}).get(ATTRIBUTE)
            if noted is None or noted["member"] >= len(self._members):
                return None
            self._begin(trial.number, self._segment(dict(trial.params), **noted))
        return self._open[trial.number]

    def tell(self, trial: Trial) -> None:
        """Learn what came of a segment; one without a score leaves its member where it was."""
        segment = self.reopen(trial)
        if segment is None:
            return
        del self._open[trial.number]
        member = self._members[segment.attrs[ATTRIBUTE]["member"]]
        member.running = None
        if trial.state is not TrialState.COMPLETE or not trial.values:
            return
        score = self._scores[trial.number] = -self._sign * trial.values[0]
        before = None if segment.checkpoint_of is None else self._scores.get(segment.checkpoint_of)
        progress = None
        if before is not None:
            end = segment.step + segment.steps
            progress = pb2.Progress(trial.number, trial.params, segment.step, end, before, score)
            self._recent.append(progress)
        member.standings.append(Standing(member.made - 1, trial, progress))

    def _begin(self, number: int, segment: Segment) -> None:
        member = self._members[segment.attrs[ATTRIBUTE]["member"]]
        member.made += 1
        member.running = number
        self._open[number] = segment

    def _due(self) -> Member | None:
        """The member to train next: of the idle ones, that with the fewest segments."""
        idle = [member for member in self._members if member.running is None]
        member = min(idle, key=lambda member: (member.made, member.number), default=None)
        if member is None or not self.options.synchronous:
            return member
        return member if all(other.ended >= member.made for other in self._members) else None

    def _next(self, member: Member, rng: random.Random) -> Segment:
        """Go on from the member's own checkpoint or from that of a better one, or begin."""
        seen = member.made if self.options.synchronous else math.inf
        standings = {m.number: found for m in self._members if (found := m.standing(seen)) is not None}
        own = standings.get(member.number)
        if own is None:
            return self._segment(self._first(member, rng), member.number, 0, None, exploited=False)
        worst, best = self._quantiles(standings)
        exploited = member.number in worst
        donor = standings[rng.choice(best)] if exploited else own
        params = self._explored(donor, rng) if exploited else self._fitted(donor.trial.params, rng)
        generation = 1 + (donor.trial.system_attrs or {})[ATTRIBUTE]["generation"]
        return self._segment(params, member.number, generation, donor.trial.number, exploited)

    def _segment(
        self, params: dict[str, Scalar], member: int, generation: int, parent: int | None, exploited: bool
    ) -> Segment:
        noted = {"member": member, "generation": generation, "parent": parent, "exploited": exploited}
        steps = self.options.perturbation_interval
        return Segment(params, parent, generation * steps, steps, {ATTRIBUTE: noted})

    def _quantiles(self, standings: Mapping[int, Standing]) -> tuple[list[int], list[int]]:
        """The worst members and the best, as many as Tune takes; broken constraints are worse than any score."""

        def badness(number: int) -> tuple[float, float, int]:
            trial = standings[number].trial
            return max(0.0, trial.violation or 0.0), -self._scores[trial.number], number

        ranked = sorted(standings, key=badness, reverse=True)
        count = min(math.ceil(len(ranked) * self.options.quantile_fraction), len(ranked) // 2)
        return ranked[:count], ranked[len(ranked) - count :]

    def _first(self, member: Member, rng: random.Random) -> dict[str, Scalar]:
        if member.made == 0 and member.number < len(self._points):
            return self._space.cast(self._points[member.number])
        return self._fitted({}, rng)

    def _explored(self, donor: Standing, rng: random.Random) -> dict[str, Scalar]:
        """The donor's hyperparameters, perturbed by Tune; with bandits, its numbers chosen where a model has data."""
        params = perturbed(self._space, donor.trial.params, self.options, rng)
        if self._bandits and donor.progress is not None:
            known = donor.trial.params
            numbers = [p for p in self._space if p.type != "categorical" and p.contains(known.get(p.name))]
            running = [s.params for s in self._open.values() if s.attrs[ATTRIBUTE]["exploited"]]
            found = pb2.chosen(numbers, donor.progress, self._recent, running, rng)
            params |= {parameter.name: Axis(parameter).nearest(found[parameter.name]) for parameter in numbers}
        return self._fitted(params, rng)

    def _fitted(self, point: Point, rng: random.Random) -> dict[str, Scalar]:
        """The point in the space as it is now: what it lacks is drawn, and the parameter constraints are kept."""
        draws = np.random.RandomState(rng.getrandbits(32))
        found: dict[str, Scalar] = {}
        for parameter in self._space:
            if parameter.active(found):
                name, axis = parameter.name, Axis(parameter)
                found[name] = axis.admit(point[name], draws) if name in point else axis.value(draws.random())
        if feasible.feasible(self._constraints, found):
            return found
        return feasible.repair(self._space, self._constraints, found, self._anchors, draws)

    @cached_property
    def _anchors(self) -> list[dict[str, Scalar]]:
        found = feasible.find(self._space, self._constraints, self.seed).point
        return [] if found is None else [found]


def perturbed(space: Space, point: Point, options: PopulationOptions, rng: random.Random) -> dict[str, Scalar]:
    """The point with each of its values resampled or perturbed by Tune's own `_explore`, and moved into its range.

    A whole or stepped number that is too small for its factor to change it moves by one step.
    """
    from ray.tune.schedulers import pbt

    config: dict[str, Any] = {}
    mutations: dict[str, Any] = {}
    present = [(parameter, Axis(parameter)) for parameter in space if parameter.name in point]
    for parameter, axis in present:
        value = point[parameter.name]
        if axis.choices:
            mutations[parameter.name] = list(range(axis.cells))
            config[parameter.name] = next((i for i, c in enumerate(axis.choices) if same_scalar(c, value)), -1)
        else:
            mutations[parameter.name] = partial(_sample, axis, rng)
            config[parameter.name] = float(value)  # type: ignore[arg-type]
    explore = pb2.rebound(pbt._explore, random=rng)
    found, _operations = explore(config, mutations, options.resample_probability, options.perturbation_factors, None)
    return {p.name: _moved(axis, config[p.name], found[p.name]) for p, axis in present}


def check(experiment: Experiment, search: Search, bandits: bool = False) -> None:
    """Raise InvalidOptimizer where a population cannot search the experiment as asked."""
    size = search.options.get("population_size", PopulationOptions().population_size)
    if search.pruner is not None and search.pruner.type != "none":
        raise InvalidOptimizer(
            f"optimizer.pruner ({search.pruner.type}): a population replaces its worst members itself; leave it out",
            field="pruner",
        )
    if len(search.enqueue) > size:
        raise InvalidOptimizer(
            f"optimizer.enqueue has {len(search.enqueue)} points, but only the {size} members of the population begin "
            "with one; raise population_size, or leave some out",
            field="enqueue",
        )
    conditional = [parameter.name for parameter in experiment.spec.space if parameter.when]
    if bandits and conditional:
        raise InvalidOptimizer(
            f"optimizer.type (pb2): {conditional[0]} exists only under a condition, which its model does not know; "
            "use pbt, or remove the condition",
            field="type",
        )
    if bandits and all(parameter.type == "categorical" for parameter in experiment.spec.space):
        raise InvalidOptimizer(
            "optimizer.type (pb2): its model is of numbers, and the space has none; use pbt", field="type"
        )


def _sample(axis: Axis, rng: random.Random) -> Scalar:
    return axis.value(rng.random())


def _moved(axis: Axis, old: float, new: float) -> Scalar:
    """The value near `new`, the neighbour of `old` in its direction where they are not a step apart."""
    if axis.choices:
        return axis.choices[int(new)]
    value = axis.nearest(new)
    if axis.cells and new != old and value == axis.nearest(old):
        return axis.nearest(old + math.copysign(axis.parameter.step or 1, new - old))
    return value
