"""Our TPE suggests the very points that Optuna's does."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.trial import TrialState

from tuners.tpe import Tpe
from tuners.tpe.parzen import Parzen

optuna.logging.set_verbosity(optuna.logging.WARNING)

Objective = Callable[[optuna.Trial], float]


def mixed(trial: optuna.Trial) -> float:
    """A conditional, mixed space."""
    x = trial.suggest_float("x", -5, 5)
    y = trial.suggest_float("y", 1e-3, 10, log=True)
    n = trial.suggest_int("n", 1, 30, step=3)
    kind = trial.suggest_categorical("kind", ["a", "b", "c"])
    extra = trial.suggest_int("extra", 1, 100, log=True) if kind == "b" else 0
    return x * x + y + abs(n - 10) + len(kind) + extra / 100


def smooth(trial: optuna.Trial) -> float:
    return sum(trial.suggest_float(name, -1, 2) ** 2 for name in ("x", "y", "z"))


def stepped(trial: optuna.Trial) -> float:
    """Steps from coarse ones to such as are as good as none."""
    total = abs(trial.suggest_int("million", 1, 10**6) / 1e5 - 3)
    total += abs(np.log(trial.suggest_int("octaves", 1, 10**5, log=True)) - 5)
    return total + abs(trial.suggest_float("fine", 0, 1, step=1e-3) - 0.4) + trial.suggest_int("coarse", 0, 8)


def reseed(sampler: Any, seed: int) -> None:
    """As a search does before each trial."""
    sampler._rng.rng.seed(seed)
    sampler._random_sampler._rng.rng.seed(seed)


def run(
    sampler: Any, objective: Objective, direction: str, trials: int, outcome: str, pruner: Any = None
) -> list[dict[str, Any]]:
    """Suggestions with up to four trials open at once, told in a seeded disorder; reseeded like in a search."""
    study = optuna.create_study(study_name="study", sampler=sampler, direction=direction, pruner=pruner)
    order, opened = random.Random(3), []
    for number in range(trials):
        reseed(sampler, number)
        trial = study.ask()
        opened.append((trial, objective(trial)))
        while len(opened) > order.randrange(4):
            done, value = opened.pop(order.randrange(len(opened)))
            finish(study, done, round(value) if outcome == "ties" else value, outcome)
    return [trial.params for trial in study.get_trials()]


def finish(study: optuna.Study, trial: optuna.Trial, value: float, outcome: str) -> None:
    if outcome in ("failures", "all") and trial.number % 5 == 0:
        study.tell(trial, state=TrialState.FAIL)
    elif outcome in ("pruned", "all") and trial.number % 5 in (1, 2):
        if trial.number % 2:
            trial.report(float("nan") if trial.number % 7 == 0 else value, trial.number % 3)
        study.tell(trial, state=TrialState.PRUNED)
    else:
        if outcome in ("constraints", "all"):
            trial.set_constraint("c", value - 12)
            trial.set_constraint("d", 5 - value)
        study.tell(trial, value)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("outcome", ["values", "ties", "failures", "pruned", "constraints", "all"])
@pytest.mark.parametrize("multivariate", [None, False])
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_same_points_as_optuna(direction: str, multivariate: bool | None, outcome: str) -> None:
    options = {"seed": 7, "n_startup_trials": 5, "multivariate": multivariate}
    theirs = run(optuna.samplers.TPESampler(**options), mixed, direction, 60, outcome)
    assert run(Tpe(**options), mixed, direction, 60, outcome) == theirs


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("multivariate", [None, False])
@pytest.mark.parametrize(
    ("objective", "direction", "outcome", "trials"),
    [
        pytest.param(smooth, "maximize", "values", 400, marks=pytest.mark.slow),
        (mixed, "minimize", "all", 300),
        pytest.param(stepped, "minimize", "ties", 190, marks=pytest.mark.slow),
    ],
)
def test_a_long_search_is_the_same_too(
    objective: Objective, direction: str, outcome: str, trials: int, multivariate: bool | None
) -> None:
    theirs = run(optuna.samplers.TPESampler(multivariate=multivariate), objective, direction, trials, outcome)
    assert run(Tpe(multivariate=multivariate), objective, direction, trials, outcome) == theirs


@pytest.mark.filterwarnings("ignore")
def test_searches_without_the_liar_with_brackets_and_with_several_objectives_are_the_same_too() -> None:
    theirs = run(optuna.samplers.TPESampler(constant_liar=False), smooth, "minimize", 200, "all")
    assert run(Tpe(constant_liar=False), smooth, "minimize", 200, "all") == theirs
    brackets = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=9)
    theirs = run(optuna.samplers.TPESampler(), smooth, "minimize", 200, "pruned", brackets)
    assert run(Tpe(), smooth, "minimize", 200, "pruned", brackets) == theirs

    def pareto(sampler: optuna.samplers.BaseSampler) -> list[dict[str, Any]]:
        study = optuna.create_study(sampler=sampler, directions=["minimize", "maximize"])
        for _ in range(40):
            trial = study.ask()
            value = mixed(trial)
            study.tell(trial, [value, trial.params["x"]])
        return [trial.params for trial in study.get_trials()]

    assert pareto(Tpe(seed=1)) == pareto(optuna.samplers.TPESampler(seed=1))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("objective", [smooth, mixed, stepped])
def test_a_sampler_that_starts_from_history_suggests_the_same_next_points(objective: Objective) -> None:
    seasoned = Tpe()
    study = optuna.create_study(sampler=seasoned)
    for number in range(240):
        reseed(seasoned, number)
        trial = study.ask()
        finish(study, trial, objective(trial), "all")
        if number in (60, 239):
            rebuilt = optuna.create_study(sampler=(fresh := Tpe()))
            rebuilt.add_trials(study.get_trials())
            for sampler in (seasoned, fresh):
                reseed(sampler, 1000 + number)
            ours, theirs = study.ask(), rebuilt.ask()
            assert objective(ours) == objective(theirs)
            assert ours.params == theirs.params
            study.tell(ours, state=TrialState.FAIL)


@pytest.mark.filterwarnings("ignore")
def test_what_a_trial_was_given_counts_before_it_asks_for_it() -> None:
    def first_points(sampler: Any) -> list[dict[str, Any]]:
        study = optuna.create_study(sampler=sampler)
        for number in range(40):
            reseed(sampler, number)
            trial = study.ask()
            study.tell(trial, smooth(trial))
        opened = []
        for number in range(20):  # all have asked for x alone when the next is opened
            reseed(sampler, 100 + number)
            opened.append(study.ask())
            opened[-1].suggest_float("x", -1, 2)
        return [{"y": trial.suggest_float("y", -1, 2), **trial.params} for trial in opened]

    assert first_points(Tpe()) == first_points(optuna.samplers.TPESampler())


def test_a_sampler_may_turn_to_another_study() -> None:
    sampler = Tpe(n_startup_trials=1)
    for width in (1.0, 2.0):
        study = optuna.create_study(sampler=sampler)
        for _ in range(5):
            trial = study.ask()
            study.tell(trial, trial.suggest_float("x", width, 2 * width))
        assert all(width <= trial.params["x"] <= 2 * width for trial in study.get_trials())


SPACES = {
    "smooth": {"x": FloatDistribution(-5, 5), "y": FloatDistribution(1e-6, 1, log=True)},
    "fine steps": {"x": IntDistribution(1, 10**7), "y": FloatDistribution(-1, 1, step=1e-5)},
    "steps": {"x": IntDistribution(1, 10**4, log=True), "y": FloatDistribution(0, 2, step=0.1)},
    "choices": {"x": CategoricalDistribution(range(4)), "y": IntDistribution(0, 300)},
}


def observed(space: dict[str, Any], count: int, seed: int) -> dict[str, Any]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trials = [study.ask(space) for _ in range(count)]
    return {
        name: np.array([space[name].to_internal_repr(trial.params[name]) for trial in trials], dtype=float)
        for name in space
    }


@pytest.mark.parametrize("space", list(SPACES.values()), ids=list(SPACES))
def test_the_density_is_optunas_while_observations_come_and_go(space: dict[str, Any]) -> None:
    columns, candidates = observed(space, 500, 1), observed(space, 24, 2)
    parzen, random_rows = Parzen(space), np.random.default_rng(5)
    for size in (200, 201, 202, 260, 261, 500):
        there, used = np.arange(500) < size, (np.arange(500) < size) & (random_rows.random(500) > 0.02)
        assert parzen.update(columns, there, used)
        theirs = _ParzenEstimator(
            {name: column[used] for name, column in columns.items()},
            space,
            optuna.samplers.TPESampler()._parzen_estimator_parameters,
        ).log_pdf(candidates)
        assert parzen.log_pdf(candidates) == pytest.approx(theirs, rel=1e-6, abs=1e-6)


def test_an_observation_that_turns_up_among_older_ones_starts_a_new_density() -> None:
    columns = observed(SPACES["smooth"], 300, 1)
    parzen, there = Parzen(SPACES["smooth"]), np.ones(300, dtype=bool)
    there[100] = False
    assert parzen.update(columns, there, there)
    assert not parzen.update(columns, np.ones(300, dtype=bool), np.ones(300, dtype=bool))
