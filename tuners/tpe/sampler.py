"""Optuna's TPE with the same suggestions, many times faster in long searches.

`optuna.samplers.TPESampler` walks all finished trials in Python for every suggestion, and builds the densities of the
good and the bad ones from nothing. Here the trials are taken in once, the density of the good ones is kept until
another trial is among them, and that of the bad ones follows each new trial. The random draws stay Optuna's: a seeded
search suggests the very same points (a test compares them), but for sums of densities that are the same to rounding.
Searches with several objectives take Optuna's own way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.samplers._tpe.sampler import default_gamma
from optuna.trial import FrozenTrial

from tuners.tpe.bandwidths import Floats
from tuners.tpe.draws import Draws
from tuners.tpe.observations import Observations
from tuners.tpe.parzen import Parzen

FEW = 128
"""Up to so many bad trials Optuna's own estimator is as fast, and decides between equals as Optuna does."""

MANY = 20_000
"""From so many bad trials on, the first of equally good candidates is taken."""
ROUNDING = 1e-9
"""Logarithms of densities that differ by less may be equal but for rounding."""

Space = dict[str, BaseDistribution]
Flags = npt.NDArray[np.bool_]


class Tpe(optuna.samplers.TPESampler):
    """Tree-structured Parzen estimator (Bergstra et al. 2011), multivariate for one objective (Falkner et al. 2018).

    One process at a time: what running trials were given is known to this sampler alone, not written to the storage.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        n_startup_trials: int = 10,
        n_ei_candidates: int = 24,
        multivariate: bool | None = None,
        constant_liar: bool = True,
    ) -> None:
        super().__init__(
            seed=seed,
            n_startup_trials=n_startup_trials,
            n_ei_candidates=n_ei_candidates,
            multivariate=multivariate,
            constant_liar=constant_liar,
        )
        self._observations: Observations | None = None
        self._models: dict[tuple[str, ...], Model] = {}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> Space:
        """The parameters to suggest together: those that all trials so far have."""
        if len(study.directions) > 1 or not self._is_multivariate(study):
            return super().infer_relative_search_space(study, trial)
        common = self._observe(study, trial).common_space()
        return {name: distribution for name, distribution in common.items() if not distribution.single()}

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: Space) -> dict[str, Any]:
        """Suggest the parameters of the space together; nothing as long as there is too little to learn from."""
        if len(study.directions) > 1:
            return super().sample_relative(study, trial, search_space)
        if not search_space or self._observe(study, trial).finished < self._n_startup_trials:
            return {}
        params = self._sample(study, trial, search_space)
        if self._observations is not None:
            self._observations.announce(
                trial.number, {name: search_space[name].to_internal_repr(value) for name, value in params.items()}
            )
        return params

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Suggest one parameter by itself; at random as long as there is too little to learn from."""
        if len(study.directions) > 1:
            return super().sample_independent(study, trial, param_name, param_distribution)
        if self._observe(study, trial).finished < self._n_startup_trials:
            return self._random_sampler.sample_independent(study, trial, param_name, param_distribution)
        return self._sample(study, trial, {param_name: param_distribution})[param_name]

    def _sample(self, study: optuna.Study, trial: FrozenTrial, search_space: Space) -> dict[str, Any]:
        if len(study.directions) > 1:
            return super()._sample(study, trial, search_space)
        names = tuple(search_space)
        model = self._models.get(names)
        if model is None or model.space != search_space:
            model = self._models[names] = Model(search_space, self._parzen_estimator_parameters)
        model.learn(self._observe(study, trial), trial.number, self._constant_liar)
        samples = model.good.sample(self._rng.rng, self._n_ei_candidates)
        best = model.best(samples)
        return {name: space.to_external_repr(samples[name][best].item()) for name, space in search_space.items()}

    def _observe(self, study: optuna.Study, trial: FrozenTrial) -> Observations:
        if self._observations is None or not self._observations.watches(study):
            self._observations, self._models = Observations(study), {}
        self._observations.update(trial.number)
        return self._observations


class Model:
    """What is known about one search space: the densities of the good trials and of the others."""

    good: Draws
    """The good trials, once there was something to learn."""

    def __init__(self, space: Space, parameters: Any) -> None:
        self.space = dict(space)
        self._parameters = parameters
        self._good_rows: list[int] | None = None
        self._revision = 0
        self._bad: Parzen | None = None
        self._columns: Mapping[str, Floats] = {}
        self._others: Flags = np.zeros(0, dtype=np.bool_)

    def learn(self, observations: Observations, current: int, constant_liar: bool) -> None:
        """Follow the study. The trial under way, `current`, does not count, and others do with the constant liar."""
        if observations.revision != self._revision:
            self._revision, self._good_rows, self._bad = observations.revision, None, None
        self._columns = {name: observations.column(name) for name in self.space}
        there = observations.having(list(self.space))
        best = observations.below(default_gamma(observations.finished))
        self._others = there.copy()
        self._others[best + ([current] if constant_liar else observations.running())] = False
        rows = [number for number in best if there[number]]
        if rows != self._good_rows:
            self._good_rows, self.good = rows, Draws(self.space, self._estimator(np.array(rows, dtype=np.intp)))
        if np.count_nonzero(self._others) > FEW:
            self._follow(there)
        else:
            self._bad = None

    def best(self, samples: dict[str, Floats]) -> int:
        """Which sample lies where the good trials are densest in relation to the others.

        Samples of the prior that are far from all trials are equally good but for rounding, and are found together
        often. Among such equals Optuna's own reckoning decides, as far as it is affordable, or else the first.
        """
        if self._bad is None:
            return int(np.argmax(self._exact_log_ratio(samples)))
        good, bad = self.good.log_pdf(samples), self._bad.log_pdf(samples)
        if good is None or bad is None:
            return int(np.argmax(self._exact_log_ratio(samples)))
        ratio = good - bad
        equals = np.flatnonzero(ratio >= ratio.max() - ROUNDING)
        table = np.array([column[equals] for column in samples.values()])
        if (table == table[:, :1]).all() or np.count_nonzero(self._others) > MANY:
            return int(equals[0])
        return int(equals[np.argmax(self._exact_log_ratio({name: samples[name][equals] for name in samples}))])

    def _exact_log_ratio(self, samples: dict[str, Floats]) -> Floats:
        others = self._estimator(np.flatnonzero(self._others))
        return np.asarray(self.good.estimator.log_pdf(samples) - others.log_pdf(samples))

    def _follow(self, there: Flags) -> None:
        if self._bad is None or not self._bad.update(self._columns, there, self._others):
            self._bad = Parzen(self.space)
            self._bad.update(self._columns, there, self._others)

    def _estimator(self, numbers: npt.NDArray[np.intp]) -> Any:
        observed = {name: column[numbers] for name, column in self._columns.items()}
        return _ParzenEstimator(observed, self.space, self._parameters)
