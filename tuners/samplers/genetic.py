"""Optuna's genetic samplers, whose generations follow from the trials alone, and go on after a restart."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import optuna
from optuna.samplers._lazy_random_state import LazyRandomState
from optuna.samplers._nsgaiii._elite_population_selection_strategy import NSGAIIIElitePopulationSelectionStrategy
from optuna.trial import FrozenTrial, TrialState

from tuners.samplers.seeds import seed_of


class Nsga2(optuna.samplers.NSGAIISampler):
    """Genetic algorithm for several objectives (Deb et al. 2002).

    Optuna keeps the parents of a generation in the study, in the order in which it found them. Here they follow from
    the complete trials of the generations before, stand in the order of their numbers, and what is drawn at random when
    they are selected has a seed of its own. Trials that this sampler did not make, for instance those of an earlier
    job, are of the first generation.
    """

    def __init__(self, *, seed: int | None = None, **options: Any) -> None:
        super().__init__(seed=seed, **options)
        self._seed = seed or 0
        self._selection_rng = LazyRandomState(seed)
        self._parents: list[list[FrozenTrial]] = [[]]

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        """The trial's generation, noted in it: the latest one that has complete trials, or the next when it is full."""
        noted = trial.system_attrs.get(self._get_generation_key())
        if noted is not None:
            return int(noted)
        latest, members = 0, 0
        for other in _complete(study):
            generation = self._generation(other)
            if generation > latest:
                latest, members = generation, 0
            members += generation == latest
        generation = latest + (members >= (self.population_size or 0))
        study._storage.set_trial_system_attr(trial._trial_id, self._get_generation_key(), generation)
        return generation

    def get_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """The complete trials of a generation."""
        return [trial for trial in _complete(study) if self._generation(trial) == generation]

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """The parents of a generation; none of the first."""
        if generation >= len(self._parents):
            self._select(study, generation)
        return self._parents[generation]

    def _select(self, study: optuna.Study, until: int) -> None:
        """Select the parents of every generation that has none yet, one after the other."""
        members = defaultdict[int, list[FrozenTrial]](list)
        for trial in _complete(study):
            members[self._generation(trial)].append(trial)
        for generation in range(len(self._parents), until + 1):
            self._selection_rng.rng.seed(seed_of(self._seed, generation))
            candidates = members[generation - 1] + self._parents[generation - 1]
            elite = self._elite_population_selection_strategy(study, candidates)
            self._parents.append(sorted(elite, key=lambda trial: trial.number))

    def _generation(self, trial: FrozenTrial) -> int:
        return int(trial.system_attrs.get(self._get_generation_key(), 0))


class Nsga3(Nsga2):
    """Genetic algorithm for many objectives, whose survivors lie near reference points (Deb and Jain 2014)."""

    def __init__(self, *, seed: int | None = None, dividing_parameter: int = 3, **options: Any) -> None:
        super().__init__(seed=seed, **options)
        self._elite_population_selection_strategy = NSGAIIIElitePopulationSelectionStrategy(
            population_size=self.population_size or 0,
            dividing_parameter=dividing_parameter,
            rng=self._selection_rng,
        )


def _complete(study: optuna.Study) -> list[FrozenTrial]:
    return study._get_trials(deepcopy=False, states=[TrialState.COMPLETE], use_cache=True)
