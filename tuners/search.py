"""One job's search: an Optuna study in memory, rebuilt from SQL, that hands out points and learns from finished trials.

Points come, in this order, from: trials that a lost runner left waiting (their old parameters), the points to try
first, the grid, the sampler. The study is a cache; what SQL holds is the truth.
"""

from __future__ import annotations

import hashlib
import itertools
import warnings
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import optuna

from tuners import grid, pruners, samplers
from tunesmith.domain import Experiment, Parameter, Point, Scalar, Search, Trial, TrialState, same_scalar

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

STATES = {
    TrialState.COMPLETE: optuna.trial.TrialState.COMPLETE,
    TrialState.PRUNED: optuna.trial.TrialState.PRUNED,
    TrialState.FAILED: optuna.trial.TrialState.FAIL,
}


class PointSearch:
    """Hands out points for a job and learns from what came of them. Not thread-safe: one caller at a time."""

    def __init__(
        self,
        experiment: Experiment,
        search: Search,
        history: Iterable[Trial],
        made: int,
        curves: Mapping[int, Mapping[int, float]] = MappingProxyType({}),
    ) -> None:
        """What to search, and what is known.

        `history`: finished trials of the experiment; `made`: how many trials the job has made before; `curves`: trial
        number -> step -> intermediate value of the first objective, which pruners compare with.
        """
        self._curves = curves
        self.experiment = experiment
        self.search = search
        self.made = made
        self._open: dict[int, optuna.Trial] = {}
        self._distributions = {p.name: distribution_of(p) for p in experiment.spec.space}
        self._samplers = _build_samplers(search)
        self._points = _listed_points(experiment, search, made)
        self._study = optuna.create_study(
            study_name=f"experiment-{experiment.id}",  # Hyperband draws its brackets from it
            directions=[objective.direction for objective in experiment.spec.objectives],
            sampler=self._samplers[0],
            pruner=pruners.build(search.pruner),
        )
        learnable = (self._frozen(trial) for trial in history)
        self._study.add_trials([frozen for frozen in learnable if frozen is not None])

    def ask(self, number: int) -> dict[str, Scalar] | None:
        """The next point, for the trial of this number; None when a listed search (a grid) has no more."""
        index = self.made
        point = next(self._points, None)
        if point is None and self.search.type == "grid":
            return None
        self.made += 1
        sampler = self._sampler(index)
        reseed(sampler, seed_of(self.search.seed or 0, number))
        self._study.sampler = sampler
        return self._start(number, point)

    def reopen(self, number: int, params: Point) -> None:
        """Take up a trial that a lost runner left behind, with the parameters that it had."""
        self._start(number, params)

    def close(self, number: int) -> None:
        """Forget an open trial that goes back to waiting; it is taken up again with `reopen`."""
        trial = self._open.pop(number, None)
        if trial is not None:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)

    def report(self, number: int, step: int, value: float) -> bool:
        """Note the first objective's intermediate value; whether the trial should be pruned."""
        trial = self._open.get(number)
        if trial is None or len(self.experiment.spec.objectives) > 1 or step < 0:  # pruners count from 0
            return False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a step reported twice: the first report counts, as in Optuna
            trial.report(value, step)
        return self.search.pruner is not None and bool(trial.should_prune())

    def tell(self, trial: Trial) -> None:
        """Learn from a finished trial."""
        opened = self._open.pop(trial.number, None)
        if opened is None:
            return
        for name, value in violations(self.experiment, trial).items():
            opened.set_constraint(name, value)
        if trial.state is TrialState.COMPLETE:
            self._study.tell(opened, list(trial.values or ()))
        else:
            self._study.tell(opened, state=STATES[trial.state])

    def _start(self, number: int, point: Point | None) -> dict[str, Scalar]:
        space = self.experiment.spec.space
        if point is not None:
            if space.problems(point):
                return dict(point)  # the space was narrowed after it: evaluated all the same, but nothing to learn
            self._study.enqueue_trial({p.name: to_optuna(p, point[p.name]) for p in space if p.name in point})
        params: dict[str, Scalar] = {}
        with np.errstate(divide="ignore", invalid="ignore"):  # TPE's densities, in integer ranges as wide as 2^50
            trial = self._open[number] = self._study.ask()
            for parameter in space:
                if parameter.active(params):
                    params[parameter.name] = self._suggest(trial, parameter)
        return params

    def _suggest(self, trial: optuna.Trial, parameter: Parameter) -> Scalar:
        value = trial._suggest(parameter.name, self._distributions[parameter.name])
        if parameter.type == "categorical":
            return (parameter.choices or ())[int(value)]
        return parameter.cast(value)

    def _sampler(self, index: int) -> Any:
        """bayesopt: random for the job's first n_init points; every other search has one sampler."""
        if self.search.type == "bayesopt" and index < (self.search.n_init or 0) + len(self.search.enqueue):
            return self._samplers[0]
        return self._samplers[-1]

    def _frozen(self, trial: Trial) -> optuna.trial.FrozenTrial | None:
        """A finished trial as Optuna's, or None when it does not fit the space any more."""
        space = self.experiment.spec.space
        if space.problems(trial.params) or trial.state not in STATES:
            return None
        values = list(trial.values) if trial.state is TrialState.COMPLETE and trial.values else None
        return optuna.trial.create_trial(
            state=STATES[trial.state],
            values=values,
            params={p.name: to_optuna(p, trial.params[p.name]) for p in space if p.name in trial.params},
            distributions={p.name: self._distributions[p.name] for p in space if p.name in trial.params},
            constraints=violations(self.experiment, trial) or None,
            intermediate_values=dict(self._curves.get(trial.number, {})),
        )


def distribution_of(parameter: Parameter) -> optuna.distributions.BaseDistribution:
    """Optuna's distribution; a categorical's is over the indices of its choices, so that any JSON scalar goes."""
    if parameter.type == "categorical":
        return optuna.distributions.CategoricalDistribution(range(len(parameter.choices or ())))
    low, high = parameter.bounds[0], grid.highest(parameter)
    if parameter.type == "int":
        step = int(parameter.step or 1)
        return optuna.distributions.IntDistribution(int(low), int(high), log=parameter.log, step=step)
    return optuna.distributions.FloatDistribution(low, high, log=parameter.log, step=parameter.step)


def to_optuna(parameter: Parameter, value: Scalar) -> Any:
    """A value as Optuna keeps it: the index of a choice, or the number."""
    if parameter.type != "categorical":
        return parameter.cast(value)
    choices = parameter.choices or ()
    return next(i for i, choice in enumerate(choices) if same_scalar(choice, value))


def violations(experiment: Experiment, trial: Trial) -> dict[str, float]:
    """Constraint -> how far it is broken (0 or less: kept), for those whose metric the trial has."""
    return {
        f"{constraint.metric}#{index}": constraint.violation(trial.metrics[constraint.metric])
        for index, constraint in enumerate(experiment.spec.constraints)
        if constraint.metric in trial.metrics
    }


def seed_of(seed: int, number: int) -> int:
    """The seed of one trial: a search that was interrupted suggests the same points as one that was not."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=4).digest(), "big")


def reseed(sampler: Any, seed: int) -> None:
    """Seed every generator inside an Optuna sampler.

    Optuna can only draw a random seed (`reseed_rng`), and a fresh sampler per trial costs a third of TPE's speed.
    """
    for part in (sampler, getattr(sampler, "_random_sampler", None)):
        state = getattr(part, "_rng", None)
        if state is not None:
            state.rng.seed(seed)


def _build_samplers(search: Search) -> list[Any]:
    kind = samplers.find(search.type)
    if kind.build is None:
        return [optuna.samplers.RandomSampler(seed=search.seed)]
    options = dict(search.options)
    if search.type == "bayesopt":
        # The contract's n_init are the random points, so the model starts as soon as there is anything to learn from.
        options.setdefault("n_startup_trials", 1)
    main = kind.build(samplers.check_options(kind.options, options, search.type), search.seed or 0)
    return [optuna.samplers.RandomSampler(seed=search.seed), main] if search.type == "bayesopt" else [main]


def _listed_points(experiment: Experiment, search: Search, made: int) -> Iterator[Mapping[str, Scalar]]:
    points: Iterator[Mapping[str, Scalar]] = iter(experiment.spec.space.cast(point) for point in search.enqueue)
    if search.type == "grid":
        assert search.num_configs_per_param is not None
        points = itertools.chain(points, grid.points(experiment.spec.space, search.num_configs_per_param))
    return itertools.islice(points, made, None)
