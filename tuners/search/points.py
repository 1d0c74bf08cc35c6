"""The points of one job: those to try first, then its list or its sampler's; and what came of them.

Points come, in this order, from: trials that a lost runner left waiting (their old parameters), the points to try
first, the list (a grid, a finite space), the sampler.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import optuna

from tuners import pruners, samplers
from tuners.pbt import Later, Population, Segment
from tuners.samplers.listing import listed, pinned
from tuners.samplers.seeds import seed_of
from tuners.search.asking import Asking
from tuners.search.feasibility import Feasibility
from tuners.search.learning import Learning
from tuners.search.sequence import Sequence
from tuners.search.uniform import Uniform
from tuners.search.vectors import Vectors
from tunesmith.domain import Experiment, Parameter, Point, Scalar, Search, Space, Trial, TrialState
from tunesmith.errors import InvalidOptimizer

Curves = Mapping[int, Mapping[int, float]]
"""Trial number -> step -> intermediate value of one objective."""


class PointSearch:
    """Hands out points for a job and learns from what came of them. Not thread-safe: one caller at a time."""

    def __init__(
        self,
        experiment: Experiment,
        search: Search,
        history: Iterable[Trial],
        made: int,
        curves: Curves | list[Curves] | tuple[Curves, ...] = (),
    ) -> None:
        """What to search, and what is known.

        `history`: finished trials of the experiment, by number; `made`: how many trials the job has made before;
        `curves`: what they reported, which pruners compare with: for each objective, or for the first one alone.
        """
        self.experiment, self.search, self.made = experiment, search, made
        self.blocked = False
        """Whether there is no point before another outcome is told."""
        self._plain = samplers.resolved(search)
        self._sampler = samplers.find(self._plain.type)
        self._several = len(experiment.spec.objectives) > 1 and _prunes(self._plain)
        self._seen: set[frozenset[tuple[str, bool, Scalar]]] = set()
        self._asking: dict[int, Asking] = {}
        space, seed = pinned(experiment.spec.space, self._plain.fixed), self._plain.seed or 0
        self._feasibility = Feasibility(space, seed) if space.constraints else None
        self._uniform = Uniform(space, seed, self._feasibility, self._sampler.redraws)
        self._sequence = self._quasi_random(space)
        every: list[Curves] = [curves] if isinstance(curves, Mapping) else list(curves)
        self.segments: dict[int, Segment] = {}
        """What open trials of a population are to do: from which checkpoint, and how many steps."""
        self._learning = self._learner()
        past = self._take_in(history, every[0] if every else {})
        self._points = self._listed()
        self._population = self._populate(past)
        self._vectors = self._compare(past, every)

    def ask(self, number: int) -> dict[str, Scalar] | None:
        """The next point, for the trial of this number; None when the list has no more, or, if blocked, not yet.

        A trial that asks for its parameters while it runs has none at first.
        """
        index = self.made
        if self._population is not None:
            return self._ask_population(number, self._population)
        point = next(self._points, None)
        if point is None and self._sampler.finite:
            return None
        self.made += 1
        if self.experiment.spec.define_by_run:
            return self._ask_later(number, point or {})
        if point is None and self._at_random(index):
            point = (self._sequence or self._uniform).point(number)
        if self._learning is None:
            assert point is not None
            return dict(point)
        if point is None:
            return self._learning.draw(number)
        self._learning.enter(number, point)
        return dict(point)

    def completed(self, given: Point, number: int, attempt: int) -> dict[str, Scalar] | None:
        """A point with these values, what they leave open drawn at random; None where that lies outside the space."""
        space, seed = self.experiment.spec.space, seed_of(self._plain.seed or 0, number, attempt)
        if given.keys() - {p.name for p in space if p.name in given and p.contains(given[p.name])}:
            return None
        around = pinned(space, {**self._plain.fixed, **given})
        feasibility = Feasibility(around, seed) if around.constraints else None
        point = space.cast({**Uniform(around, seed, feasibility, self._sampler.redraws).point(number), **given})
        return None if space.problems(point) else point

    @property
    def listed(self) -> bool:
        """Whether its points are those of a list, one after the other."""
        return self._sampler.finite

    def reopen(self, number: int, params: Point, attrs: Mapping[str, Any] | None = None) -> None:
        """Take up a trial that a lost runner left behind, with the parameters and system attributes that it had."""
        if self.experiment.spec.define_by_run:
            asking = self._asking.setdefault(number, Asking(self._plain.fixed, params, attrs))
            params, attrs = asking.params, asking.attrs | dict(attrs or {})
        if self._sampler.name == "brute_force":
            self._seen.add(key_of(params))
        if self._sequence is not None:
            self._sequence.see(number, attrs)
        if self._population is not None:
            segment = self._population.reopen(self._waiting(number, params, attrs))
            if segment is not None:
                self.segments[number] = segment
        if self._learning is not None:
            self._learning.enter(number, params, attrs or {})

    def suggest(self, number: int, parameter: Parameter) -> Scalar:
        """A parameter of an open trial that asks for it while it runs; the same value when it asks again.

        Raises:
            KeyError: the trial is not open.
            InvalidOptimizer: the parameter is held at a value that lies outside its range.
            ValueError: its choices are others than in the trials before.
        """
        trial = self._asking[number]
        if parameter.name in trial.params:
            return trial.params[parameter.name]
        self._check_held(parameter)
        if trial.has(parameter):
            value = trial.value(parameter)
            if self._learning is not None:
                self._learning.give(number, parameter, value)
        elif self._learning is None or trial.at_random:
            value = self._uniform.value(number, parameter)
            if self._learning is not None:
                self._learning.give(number, parameter, value)
        else:
            value = self._learning.suggest(number, parameter)
        trial.note(parameter, value)
        return value

    def params(self, number: int) -> dict[str, Scalar]:
        """What an open trial that asks for its parameters has been given so far."""
        return dict(self._asking[number].params)

    def system_attrs(self, number: int) -> Mapping[str, Any] | None:
        """What has to be known about an open trial when the search is taken up again, as JSON; None when nothing.

        A trial that asks for its parameters has more of it with each that it is given.
        """
        noted = self._learning.attrs(number) if self._learning is not None else {}
        if self._sequence is not None:
            noted |= self._sequence.attrs(number)
        if number in self.segments:
            noted |= self.segments[number].attrs
        if number in self._asking:
            noted |= self._asking[number].attrs
        return noted or None

    def close(self, number: int) -> None:
        """Forget an open trial that goes back to waiting; it is taken up again with `reopen`."""
        if self._vectors is not None:
            self._vectors.finish(number, complete=False)
        if self._learning is not None:
            self._learning.close(number)

    def report(self, number: int, metric: str, step: int, value: float) -> bool:
        """Note an open trial's intermediate value; whether the trial should be pruned."""
        if self._vectors is not None:
            return self._vectors.report(number, metric, step, value)
        objectives = self.experiment.spec.objectives
        if self._learning is None or [objective.metric for objective in objectives] != [metric]:
            return False
        return self._learning.report(number, step, value)

    def tell(self, trial: Trial) -> None:
        """Learn from a finished trial."""
        self._asking.pop(trial.number, None)
        if self._sequence is not None:
            self._sequence.forget(trial.number)
        if self._population is not None:
            self.segments.pop(trial.number, None)
            self._population.tell(trial)
        if self._vectors is not None:
            self._vectors.finish(trial.number, trial.state is TrialState.COMPLETE)
        if self._learning is not None:
            self._learning.tell(trial)

    def learn(self, trial: Trial) -> None:
        """Know a trial that this search did not hand out: a finished one's outcome, and that its point is taken."""
        if self._sampler.name == "brute_force":
            self._seen.add(key_of(trial.params))
        if self._learning is not None and not self._sampler.alone:
            self._learning.load(trial, {})  # unfinished ones are left out

    def _ask_population(self, number: int, population: Population) -> dict[str, Scalar] | None:
        segment = population.ask(number, self.made)
        self.blocked = isinstance(segment, Later)
        if segment is None or isinstance(segment, Later):
            return None
        self.made += 1
        self.segments[number] = segment
        return dict(segment.params)

    def _waiting(self, number: int, params: Point, attrs: Mapping[str, Any] | None) -> Trial:
        """As much of an interrupted trial as a population has to know."""
        return Trial(
            experiment_id=self.experiment.id,
            number=number,
            job_id=None,
            run_number=None,
            state=TrialState.WAITING,
            params=params,
            system_attrs=attrs,
        )

    def _ask_later(self, number: int, given: Point) -> dict[str, Scalar]:
        at_random = self._at_random(self.made - 1)
        self._asking[number] = Asking({**given, **self._plain.fixed}, {}, at_random=at_random)
        if self._learning is not None:
            self._learning.enter(number, {})
        return {}

    def _at_random(self, index: int) -> bool:
        """Whether the job's point of this index comes from no model: always for random, at first for bayesopt."""
        if self._sampler.name == "bayesopt":
            return index < (self._plain.n_init or 0) + len(self._plain.enqueue)
        return self._sampler.build is None

    def _listed(self) -> Iterator[Mapping[str, Scalar]]:
        """The points to try first, and those of the list, without those that were handed out before."""
        space, search = self.experiment.spec.space, self._plain
        first: Iterator[Mapping[str, Scalar]] = iter(search.enqueue)
        if not self.experiment.spec.define_by_run:
            first = map(space.cast, first)
        if self._sampler.name == "brute_force":
            return itertools.chain(itertools.islice(first, self.made, None), self._untried())
        rest = listed(space, search) if self._sampler.finite else ()
        return itertools.islice(itertools.chain(first, rest), self.made, None)

    def _untried(self) -> Iterator[Mapping[str, Scalar]]:
        self._seen |= {key_of(self.experiment.spec.space.cast(point)) for point in self._plain.enqueue}
        return (point for point in listed(self.experiment.spec.space, self._plain) if key_of(point) not in self._seen)

    def _take_in(self, history: Iterable[Trial], curves: Curves) -> list[Trial]:
        """What was found before, one trial after the other, as there may be many; those that are needed again."""
        again: list[Trial] = []
        for trial in history:
            if self._learning is not None:
                self._learning.load(trial, curves.get(trial.number, {}))
            if self._sequence is not None:
                self._sequence.see(trial.number, trial.system_attrs)
                self._sequence.forget(trial.number)
            if self._sampler.name == "brute_force":
                self._seen.add(key_of(trial.params))
            if self._sampler.population or self._several:
                again.append(trial)
        return again

    def _quasi_random(self, space: Space) -> Sequence | None:
        if self._sampler.name != "qmc":
            return None
        options = samplers.check_options(self._sampler.options, self._plain.options, self._sampler.name)
        return Sequence(space, self._plain.seed or 0, self._feasibility, self._sampler.redraws, options)

    def _populate(self, past: list[Trial]) -> Population | None:
        search = self._plain
        if not self._sampler.population:
            return None
        options = samplers.check_options(self._sampler.options, search.options, self._sampler.name)
        return Population(
            self.experiment,
            options,
            search.seed or 0,
            bandits=self._sampler.name == "pb2",
            segments=search.n_iter,
            points=search.enqueue,
            fixed=search.fixed,
            history=past,
        )

    def _learner(self) -> Learning | None:
        """A study, where the sampler has a model, or the pruner is one of Optuna's."""
        experiment, search, kind = self.experiment, self._plain, self._sampler
        prunes = _prunes(search) and not self._several
        if kind.build is None and not prunes:
            return None
        return Learning(
            experiment,
            _built(kind, search),
            pruners.build(search.pruner if prunes else None),
            search.seed or 0,
            search.fixed,
            self._feasibility,
            kind.redraws,
        )

    def _compare(self, past: list[Trial], curves: list[Curves]) -> Vectors | None:
        """What prunes with several objectives."""
        objectives = self.experiment.spec.objectives
        pruner = pruners.build_vector(self._plain.pruner) if self._several else None
        if pruner is None:
            return None
        vectors = Vectors(objectives, pruner)
        vectors.load(past, curves)
        return vectors

    def _check_held(self, parameter: Parameter) -> None:
        name, fixed = parameter.name, self._plain.fixed
        if name in fixed and not parameter.contains(fixed[name]):
            raise InvalidOptimizer(
                f"optimizer.fixed.{name}: {fixed[name]!r} lies outside the range that the trial asks for; "
                "hold it at another value",
                field=f"fixed.{name}",
            )


def _prunes(search: Search) -> bool:
    return search.pruner is not None and search.pruner.type != "none"


def _built(kind: samplers.Sampler, search: Search) -> Any:
    """Optuna's sampler; one that draws at random where there is none, for a study that only prunes."""
    if kind.build is None:
        return optuna.samplers.RandomSampler(seed=search.seed)
    options = dict(search.options)
    if kind.name == "bayesopt":
        # The contract's n_init are the random points, so the model starts as soon as there is anything to learn from.
        options.setdefault("n_startup_trials", 1)
    return kind.build(samplers.check_options(kind.options, options, kind.name), search.seed or 0)


def key_of(point: Point) -> frozenset[tuple[str, bool, Scalar]]:
    """A point as it is compared: 1 is 1.0, but not true."""
    return frozenset((name, isinstance(value, bool), value) for name, value in point.items())
