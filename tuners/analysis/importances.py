"""How much each parameter matters, reckoned by Optuna."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial

from tuners.analysis.axes import distributions_of, key, relabel
from tuners.analysis.material import Material
from tuners.analysis.study import study_of
from tunesmith.errors import BadRequest

SMALL, FEW = 64, 20
"""Trials and parameters up to which fANOVA's forest is Optuna's own; of more, that one takes minutes."""
DEPTH, LOOKS = 6, 2400
"""Else how deep its trees are, and how many times parameters they are, about (but 8 to 24 trees)."""
COLUMNS = 4
"""Choices up to which fANOVA has a column for each."""
REFUSED = (ValueError, RuntimeError, AssertionError)
"""What Optuna raises where it cannot reckon."""
SEED = 0
"""Of fANOVA's forest: the same trials give the same answer, on every replica."""


def importances(found: Material) -> dict[str, float]:
    """Parameter -> its share, the greatest first; all together 1.

    Raises:
        BadRequest: no trial has the parameters that were asked for, or all trials have one value.
    """
    if not found.trials:
        return {}
    study, options = reckoning(found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's doubts about small samples are in the documentation
        try:
            shares: dict[str, float] = optuna.importance.get_param_importances(study, **options)
        except REFUSED as error:
            raise refused(found, error) from error
    return shares


def reckoning(found: Material) -> tuple[optuna.Study, dict[str, Any]]:
    """The study and the options for Optuna's importances, of values and of figures."""
    relabel(found.trials, merge=False)
    study = single_objective(found)
    params = list(dict.fromkeys(found.query.params)) or None
    if found.query.evaluator == "ped_anova":
        return study, {"evaluator": optuna.importance.PedAnovaImportanceEvaluator(), "params": params}
    _order_choices(found.trials)
    return study, {"evaluator": _forest(found.trials), "params": params}


def _forest(trials: Sequence[FrozenTrial]) -> optuna.importance.FanovaImportanceEvaluator:
    wide = max((len(trial.params) for trial in trials), default=1)
    if len(trials) <= SMALL and wide <= FEW:
        return optuna.importance.FanovaImportanceEvaluator(seed=SEED)
    trees = min(24, max(8, LOOKS // wide))
    return optuna.importance.FanovaImportanceEvaluator(n_trees=trees, max_depth=DEPTH, seed=SEED)


def _order_choices(trials: Sequence[FrozenTrial]) -> None:
    """Turn choices into ranks by mean value, which trees split as well as sets of choices.

    Optuna has a column per choice and looks at all their combinations: twice the time for every choice more.
    """
    for name, distributions in distributions_of(trials).items():
        having = [trial for trial in trials if name in trial.params]
        values: dict[Any, list[float]] = {}
        for trial in having:
            values.setdefault(key(trial.params[name]), []).append(trial.values[0])
        choices = [len(each.choices) for each in distributions if isinstance(each, CategoricalDistribution)]
        if len(choices) < len(distributions) or max(choices) <= COLUMNS:
            continue
        ranks = {choice: rank for rank, choice in enumerate(sorted(values, key=lambda each: fmean(values[each])))}
        shown = IntDistribution(0, len(ranks) - 1)
        for trial in having:
            trial.params = {**trial.params, name: ranks[key(trial.params[name])]}
            trial.distributions = {**trial.distributions, name: shown}


def single_objective(found: Material) -> optuna.Study:
    """The trials as a study of the one objective that is asked about: so Optuna knows its direction."""
    for trial in found.trials:
        if len(trial.values or ()) > 1:
            trial.values = (trial.values[found.objective],)
    return study_of(found.experiment.name, found.experiment.spec.objectives[found.objective :][:1], found.trials)


def refused(found: Material, error: Exception) -> BadRequest:
    """Optuna's own refusal, as ours: the only ones left are about what these trials have."""
    if isinstance(error, RuntimeError):
        reason = "all these trials have the same value, so no parameter explains it; take evaluator=ped_anova"
    else:
        names = ", ".join(found.query.params)
        reason = f"no complete trial has {names} together, drawn from the same ranges; name fewer parameters"
    return BadRequest(f"importances: {reason}", kind="importances", experiment_id=found.experiment.id)
