"""An Optuna study in memory, rebuilt from SQL, for samplers that learn and pruners that compare; it is a cache."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from tuners.samplers.sampler import PUT_BACK
from tuners.samplers.seeds import seed_of
from tuners.search.feasibility import Feasibility
from tuners.search.generators import Generators
from tuners.search.history import STATES, History, learnable_violations
from tuners.search.numerics import computing
from tuners.search.translation import distribution_of, from_optuna, to_optuna
from tunesmith.domain import Experiment, Parameter, Point, Scalar, Trial, TrialState

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

PASSING = ("fixed_params", "constraints", "tpe:", "gp:")
"""System attributes that Optuna needs only while a trial runs, or that follow from the rest."""


class Learning:
    """The study of one job's search. A trial of it is drawn whole, checked, and only then given its parameters.

    Samplers see every trial, also with Hyperband, whose brackets Optuna shows them one at a time.
    """

    def __init__(
        self,
        experiment: Experiment,
        sampler: Any,
        pruner: Any,
        seed: int,
        fixed: Mapping[str, Scalar],
        feasibility: Feasibility | None,
        redraws: int,
    ) -> None:
        self._experiment, self._sampler, self._seed = experiment, sampler, seed
        self._fixed, self._feasibility, self._redraws = fixed, feasibility, redraws
        self._history = History(experiment)
        self._generators = Generators(sampler)
        self._distributions = {p.name: distribution_of(p) for p in experiment.spec.space}
        if hasattr(sampler, "search_over"):
            sampler.search_over({name: d for name, d in self._distributions.items() if name not in fixed})
        self._relative: dict[int, dict[str, Any]] = {}
        self.open: dict[int, optuna.Trial] = {}
        """Trials that run, by the experiment's number."""
        self.study = optuna.create_study(
            study_name=f"seed-{seed}",  # Hyperband draws its brackets from it
            directions=[objective.direction for objective in experiment.spec.objectives],
            sampler=sampler,
            pruner=pruner,
        )

    def load(self, trial: Trial, curve: Mapping[int, float]) -> None:
        """Take in a finished trial of the experiment, unless it does not fit the space; `curve`: step -> value."""
        frozen = self._history.frozen(trial, curve)
        if frozen is not None:
            self.study.add_trial(frozen)
            # The storage has copied it deeply; a long search takes half the memory where trials share what is equal.
            stored: Any = self.study._storage
            stored._studies[self.study._study_id].trials[-1]._distributions = frozen.distributions

    def draw(self, number: int) -> dict[str, Scalar]:
        """Open a trial at a point that the sampler chooses."""
        trial = self._opened(number)
        with computing():
            point = self._feasible(trial, number)
        self._commit(trial, *self._encoded(point))
        return point

    def enter(self, number: int, point: Point, attrs: Mapping[str, Any] | None = None) -> None:
        """Open a trial at a given point, with what its sampler noted before, if anything.

        A point outside the space, which was narrowed since, is not learnt from.
        """
        found = self._history.internal(point, attrs)
        if found is None:
            return
        trial = self._opened(number)
        if attrs is None and isinstance(self._sampler, optuna.samplers.NSGAIISampler):
            self._sampler.get_trial_generation(self.study, self._stored(trial))  # it is one of the population
        for key, value in (attrs or {}).items():
            trial.storage.set_trial_system_attr(trial._trial_id, key, value)
        self._commit(trial, *found)

    def give(self, number: int, parameter: Parameter, value: Scalar) -> None:
        """Note a parameter of a trial that asks for them, which does not come from the sampler."""
        self._commit(
            self.open.get(number) or self._opened(number),
            {parameter.name: to_optuna(parameter, value)},
            {parameter.name: distribution_of(parameter)},
        )

    def suggest(self, number: int, parameter: Parameter) -> Scalar:
        """One parameter of a trial that asks for them while it runs."""
        name, distribution = parameter.name, distribution_of(parameter)
        trial = self.open.get(number) or self._opened(number)
        with computing():
            value = self._asked(trial, number, name, distribution)
        self._commit(trial, {name: value}, {name: distribution})
        return from_optuna(parameter, value)

    def attrs(self, number: int) -> dict[str, Any]:
        """What the sampler, or the pruner, noted about an open trial."""
        trial = self.open.get(number)
        if trial is None:
            return {}
        noted = self._stored(trial).system_attrs
        return {key: value for key, value in noted.items() if not key.startswith(PASSING)}

    def report(self, number: int, step: int, value: float) -> bool:
        """Note an open trial's intermediate value (a step's last one counts); whether it should be pruned."""
        trial = self.open.get(number)
        if trial is None or step < 0:  # pruners count from 0
            return False
        if step in self._stored(trial).intermediate_values:  # Optuna would ignore it
            self._stored(trial).intermediate_values[step] = value
        else:
            trial.report(value, step)
        return bool(trial.should_prune())

    def close(self, number: int) -> None:
        """Forget an open trial that goes back to waiting."""
        trial = self.open.pop(number, None)
        self._relative.pop(number, None)
        if trial is not None:
            self.study._storage.set_trial_system_attr(trial._trial_id, PUT_BACK, True)
            self.study.tell(trial, state=optuna.trial.TrialState.FAIL)

    def tell(self, trial: Trial) -> None:
        """Learn from a finished trial."""
        opened = self.open.pop(trial.number, None)
        self._relative.pop(trial.number, None)
        if opened is None:
            return
        for name, value in learnable_violations(self._experiment, trial).items():
            opened.set_constraint(name, value)
        if trial.state is TrialState.COMPLETE:
            self.study.tell(opened, list(trial.values or ()))
        else:
            self.study.tell(opened, state=STATES[trial.state])

    def _opened(self, number: int) -> optuna.Trial:
        trial = self.open[number] = self.study.ask()
        return trial

    def _feasible(self, trial: optuna.Trial, number: int) -> dict[str, Scalar]:
        """A point that keeps the parameter constraints: drawn again a few times, then repaired."""
        point = self._candidate(trial, seed_of(self._seed, number))
        if self._feasibility is None:
            return point
        for attempt in range(1, self._redraws):
            if self._feasibility.holds(point):
                return point
            point = self._candidate(trial, seed_of(self._seed, number, attempt))
        return self._feasibility.repaired(point, number)

    def _candidate(self, trial: optuna.Trial, seed: int) -> dict[str, Scalar]:
        """A whole point of the sampler's, with nothing written to the trial but what the sampler notes."""
        relative = self._relatively(trial, seed)
        draft = copy.copy(self._stored(trial))
        draft.params, draft.distributions = {}, {}
        point: dict[str, Scalar] = {}
        for parameter in self._experiment.spec.space:
            if parameter.active(point):
                name, distribution = parameter.name, self._distributions[parameter.name]
                if name in self._fixed:
                    value = to_optuna(parameter, self._fixed[name])
                else:
                    value = self._value(draft, name, distribution, relative)
                draft.params[name], draft.distributions[name] = value, distribution
                point[name] = from_optuna(parameter, value)
        return point

    def _asked(self, trial: optuna.Trial, number: int, name: str, distribution: BaseDistribution) -> Any:
        """A parameter that is drawn alone: what it comes to does not depend on which others were asked for before."""
        self.study._thread_local.cached_all_trials = None
        if number not in self._relative:
            self._relative[number] = self._relatively(trial, seed_of(self._seed, number))
        self._generators.seed(seed_of(self._seed, number, name))
        return self._value(self._stored(trial), name, distribution, self._relative[number])

    def _relatively(self, trial: optuna.Trial, seed: int) -> dict[str, Any]:
        """The parameters that the sampler draws together, those left out that are held."""
        self._generators.seed(seed)
        stored = self._stored(trial)
        space = self._sampler.infer_relative_search_space(self.study, stored)
        free = {name: distribution for name, distribution in space.items() if name not in self._fixed}
        drawn: dict[str, Any] = self._sampler.sample_relative(self.study, stored, free)
        return drawn

    def _value(self, draft: FrozenTrial, name: str, distribution: BaseDistribution, relative: Mapping[str, Any]) -> Any:
        if distribution.single():
            single: Any = getattr(distribution, "low", 0)
            return single
        if name in relative and distribution._contains(distribution.to_internal_repr(relative[name])):
            return relative[name]
        return self._sampler.sample_independent(self.study, draft, name, distribution)

    def _encoded(self, point: Point) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        there = [parameter for parameter in self._experiment.spec.space if parameter.name in point]
        params = {p.name: to_optuna(p, point[p.name]) for p in there}
        return params, {p.name: self._distributions[p.name] for p in there}

    def _commit(
        self, trial: optuna.Trial, params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]
    ) -> None:
        """Give the trial its parameters."""
        trial._fixed_params = params
        for name, distribution in distributions.items():
            trial._suggest(name, distribution)

    def _stored(self, trial: optuna.Trial) -> FrozenTrial:
        return trial.storage.get_trial(trial._trial_id)
