"""Trains an ensemble: models of several families, averaged by weights that cross-validation finds.

Averages of models that err differently err less than the best of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.ensemble import VotingClassifier, VotingRegressor  # type: ignore[import-untyped]
from sklearn.preprocessing import LabelEncoder  # type: ignore[import-untyped]

from tuners.automl.tabular import crossing, files
from tuners.automl.tabular.families import FAMILIES
from tuners.automl.tabular.fitting import Fitter
from tuners.automl.tabular.metrics import Array, loss, scores
from tuners.automl.tabular.rows import Problem, Rows
from tuners.automl.tabular.spaces import MEMBERS, Task
from tunesmith.automl import Config, Run, Trained
from tunesmith.errors import InvalidConfig, InvalidData

FOLDS = 5
"""Folds that the weights come from, where no search asks for its own."""
ROUNDS = 25
"""Steps in which the weights are found: each is a multiple of 1 / this, at most."""
PRIOR = 200
"""Rows that equal weights count for: what few rows say of the members is mostly chance."""
LEAST = 0.02
"""Weight below which a member is left out."""
CLEAR = 0.1
"""What a unit of cross-entropy counts beside a share of wrong classes."""


class EnsembleTraining:
    """One training of an ensemble, which can go on after the last fold of an attempt that was lost."""

    def __init__(self, config: Config, problem: Problem, run: Run) -> None:
        self.config, self.problem, self.run = config, problem, run
        self.fitters = {name: Fitter(config, FAMILIES[name], problem, run) for name in MEMBERS}
        self.folds: list[dict[str, Any]] = [] if run.state is None else files.from_bytes(run.state)["folds"]
        """Of each fold the `target`, and by the members' names their `predictions` and `epochs`."""

    def train(self) -> Trained:
        """The ensemble, its members fitted to all rows that are to train on."""
        self._cross_validate()
        weights = weights_of(self.problem.task, self.folds)
        model = voting(self.problem, [(name, self._fitted(name)) for name in weights], list(weights.values()))
        found = scored(self.problem.task, self.folds)
        return Trained(
            metrics={**self._measured(model), **crossing.summary(found)},
            write=lambda file: files.write(model, file),
            suffix="skops",
            features=self.problem.features,
            target=self.problem.target,
            rows=len(self.problem.train),
            classes=self.problem.classes,
            details={
                "architecture": "ensemble",
                "weights": dict(weights),
                "folds": [dict(fold["metrics"]) for fold in found],
            },
            libraries=("scikit-learn", "numpy", "scipy", "skops"),
        )

    def _cross_validate(self) -> None:
        """One fold after the other, until time is over; those that an earlier attempt has done stand."""
        count = self.run.folds if self.run.folds > 1 else FOLDS
        rows = list(crossing.folds_of(self.problem, count, self.run.seed))
        for number, (inside, outside) in enumerate(rows, 1):
            if number <= len(self.folds):
                continue
            self.folds.append(self._fold(inside, outside))
            found = scored(self.problem.task, self.folds)
            over = self.run.report(number, crossing.means(found), 100 * number / (len(rows) + 1))
            self.run.save(lambda: files.to_bytes({"folds": self.folds}))
            if over:
                return
        for name, fitter in self.fitters.items():
            if fitter.stops and all(name in fold["epochs"] for fold in self.folds):
                self._compare(name, rows)

    def _compare(self, name: str, rows: Sequence[tuple[Rows, Rows]]) -> None:
        """Predict the folds again, each after the epochs that the others found best: its own ones flatter it."""
        epochs = crossing.epochs_of_others([{"epoch": fold["epochs"][name]} for fold in self.folds])
        for fold, epoch, (inside, outside) in zip(self.folds, epochs, rows, strict=True):
            learner = self.fitters[name].compared(inside, outside, epoch).learner
            assert learner.held_out is not None
            fold["predictions"][name] = learner.predict(learner.held_out.features)

    def _fold(self, inside: Rows, outside: Rows) -> dict[str, Any]:
        """What members that learnt from some rows predict of others; without those that cannot learn from them."""
        found: dict[str, Any] = {"target": outside.target, "predictions": {}, "epochs": {}}
        for name, fitter in self.fitters.items():
            try:
                fitted = fitter.begin(fitter.thinned(inside), outside)
                fitter.fit(fitted, self.config.training.epochs)
            except (InvalidData, InvalidConfig) as error:
                self.run.say(f"without {name}: {error.message}")
                continue
            held_out = fitted.learner.held_out
            assert held_out is not None
            found["predictions"][name] = fitted.learner.predict(held_out.features)
            found["epochs"][name] = 1 if fitted.kept is None else fitted.kept.epoch
        return found

    def _fitted(self, name: str) -> Any:
        """A member as it is kept."""
        self.run.say(f"fitting {name}")
        fitter = self.fitters[name]
        fitted = fitter.begin(fitter.thinned(self.problem.train), None, stops=False)
        fitter.fit(fitted, crossing.best_epoch([{"epoch": fold["epochs"][name]} for fold in self.folds]))
        return fitted.pipeline()

    def _measured(self, model: Any) -> dict[str, float]:
        """The losses, and the task's metrics of the rows that are held out, or of all where none are."""
        task, train, held_out = self.problem.task, self.problem.train, self.problem.held_out
        predicted = predictions(task, model, train)
        found = {"train_loss": loss(task, train.target, predicted)}
        if held_out is None:
            return found | scores(task, train.target, predicted)
        predicted = predictions(task, model, held_out)
        return found | {"val_loss": loss(task, held_out.target, predicted)} | scores(task, held_out.target, predicted)


def weights_of(task: Task, folds: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Weights of the members with which they are best together on rows that they have not seen; they sum to 1.

    The member that helps most is added again and again (Caruana et al. 2004); the fewer rows there are, the closer are
    the weights to equal ones. Members that are missing in a fold have none. Raises InvalidData: all are.
    """
    target = np.concatenate([fold["target"] for fold in folds])
    names = [name for name in MEMBERS if all(name in fold["predictions"] for fold in folds)]
    if not names:
        raise InvalidData("no member of the ensemble can learn from these rows; choose another architecture")
    members = {name: np.concatenate([fold["predictions"][name] for fold in folds]) for name in names}
    total: Any = 0.0
    added: list[str] = []
    found: list[tuple[float, int]] = []
    for size in range(1, ROUNDS + 1):
        errors = {name: error(task, target, (total + each) / size) for name, each in members.items()}
        best = min(errors, key=errors.__getitem__)
        total = total + members[best]
        added.append(best)
        found.append((errors[best], size))
    kept = added[: min(found)[1]]
    share = PRIOR / (PRIOR + len(target))
    weights = {name: share / len(members) + (1 - share) * kept.count(name) / len(kept) for name in members}
    large = {name: weight for name, weight in weights.items() if weight >= LEAST}
    return {name: weight / sum(large.values()) for name, weight in large.items()}


def error(task: Task, target: Array, predicted: Array) -> float:
    """How bad predictions are: wrong classes, and a little how sure of them; or the mean squared error."""
    found = loss(task, target, predicted)
    if task == "regression":
        return found
    return float(np.mean(predicted.argmax(axis=1) != target)) + CLEAR * found


def scored(task: Task, folds: Sequence[Mapping[str, Any]]) -> list[crossing.Fold]:
    """The loss and the task's metrics of each fold, with the weights that the others found: its own ones flatter it."""
    found: list[crossing.Fold] = []
    for fold in folds:
        weights = weights_of(task, [_like(fold, other) for other in folds if other is not fold] or [fold])
        parts = [weight * fold["predictions"][name] for name, weight in weights.items()]
        target, predicted = fold["target"], np.sum(parts, axis=0)
        found.append({"metrics": {"val_loss": loss(task, target, predicted), **scores(task, target, predicted)}})
    return found


def _like(fold: Mapping[str, Any], other: Mapping[str, Any]) -> Mapping[str, Any]:
    """The other fold, with the members alone that this one has too."""
    return {
        **other,
        "predictions": {
            name: other["predictions"][name] for name in fold["predictions"] if name in other["predictions"]
        },
    }


def predictions(task: Task, model: Any, rows: Rows) -> Array:
    """Probabilities (rows, classes), or values."""
    found: Array = model.predict(rows.frame) if task == "regression" else model.predict_proba(rows.frame)
    return found


def voting(problem: Problem, members: Sequence[tuple[str, Any]], weights: Sequence[float]) -> Any:
    """An estimator that averages what fitted ones say."""
    if problem.classes is None:
        model = VotingRegressor(list(members), weights=list(weights))
    else:
        model = VotingClassifier(list(members), voting="soft", weights=list(weights))
        model.le_ = LabelEncoder().fit(problem.train.target)
        model.classes_ = model.le_.classes_
    model.estimators_ = [estimator for _, estimator in members]
    return model
