"""Our TPE suggests the very points that Optuna's does."""

from __future__ import annotations

import random
from typing import Any

import optuna
import pytest

from tuners.tpe import Tpe

optuna.logging.set_verbosity(optuna.logging.WARNING)


def suggest(trial: optuna.Trial) -> float:
    """A conditional, mixed space."""
    x = trial.suggest_float("x", -5, 5)
    y = trial.suggest_float("y", 1e-3, 10, log=True)
    n = trial.suggest_int("n", 1, 30, step=3)
    kind = trial.suggest_categorical("kind", ["a", "b", "c"])
    extra = trial.suggest_int("extra", 1, 100, log=True) if kind == "b" else 0
    return x * x + y + abs(n - 10) + len(kind) + extra / 100


def run(sampler: optuna.samplers.BaseSampler, direction: str, trials: int, outcome: str) -> list[dict[str, Any]]:
    """Suggestions with up to four trials open at once, told in a seeded disorder."""
    study = optuna.create_study(sampler=sampler, direction=direction)
    order, opened = random.Random(3), []
    for _ in range(trials):
        trial = study.ask()
        opened.append((trial, suggest(trial)))
        while len(opened) > order.randrange(4):
            done, value = opened.pop(order.randrange(len(opened)))
            finish(study, done, round(value) if outcome == "ties" else value, outcome)
    return [trial.params for trial in study.get_trials()]


def finish(study: optuna.Study, trial: optuna.Trial, value: float, outcome: str) -> None:
    if outcome == "failures" and trial.number % 5 == 0:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    elif outcome == "pruned" and trial.number % 5 == 0:
        trial.report(value, 1)
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    else:
        if outcome == "constraints":
            trial.set_constraint("c", value - 12)
        study.tell(trial, value)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("outcome", ["values", "ties", "failures", "pruned", "constraints"])
@pytest.mark.parametrize("multivariate", [None, False, True])
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_same_points_as_optuna(direction: str, multivariate: bool | None, outcome: str) -> None:
    options = {"seed": 7, "n_startup_trials": 5, "multivariate": multivariate}
    theirs = run(optuna.samplers.TPESampler(**options), direction, 60, outcome)
    assert run(Tpe(**options), direction, 60, outcome) == theirs


@pytest.mark.filterwarnings("ignore")
def test_a_long_search_and_several_objectives_are_the_same_too() -> None:
    assert run(Tpe(seed=1), "minimize", 300, "values") == run(
        optuna.samplers.TPESampler(seed=1), "minimize", 300, "values"
    )

    def pareto(sampler: optuna.samplers.BaseSampler) -> list[dict[str, Any]]:
        study = optuna.create_study(sampler=sampler, directions=["minimize", "maximize"])
        for _ in range(40):
            trial = study.ask()
            value = suggest(trial)
            study.tell(trial, [value, trial.params["x"]])
        return [trial.params for trial in study.get_trials()]

    assert pareto(Tpe(seed=1)) == pareto(optuna.samplers.TPESampler(seed=1))
