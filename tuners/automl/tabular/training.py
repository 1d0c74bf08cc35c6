"""Trains a model of a table: perhaps cross-validation first, then the model that is kept."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from threadpoolctl import threadpool_limits

from tuners.automl.tabular import crossing, files
from tuners.automl.tabular.ensemble import EnsembleTraining
from tuners.automl.tabular.families import FAMILIES, Family
from tuners.automl.tabular.fitting import Fitted, Fitter
from tuners.automl.tabular.learners import Losses
from tuners.automl.tabular.rows import Problem, Rows, problem
from tuners.automl.tabular.sections import ClassificationConfig, RegressionConfig
from tuners.automl.tabular.spaces import Task
from tunesmith.automl import Config, Run, Source, Trained

LIBRARIES = ("scikit-learn", "numpy", "scipy", "skops")
WHOLE = 0
"""In place of a fold's number: the model of all rows that are to train on."""


def train(config: ClassificationConfig | RegressionConfig, data: Source, run: Run, task: Task) -> Trained:
    """Train a model of the configuration's family. Raises InvalidData, InvalidConfig."""
    name = config.model.architecture
    with quiet(run.threads):
        rows = problem(config, data.load(), task, run.seed)
        if name == "ensemble":
            return EnsembleTraining(config, rows, run).train()
        return Training(config, FAMILIES[name], rows, run).train()


@contextmanager
def quiet(threads: int) -> Iterator[None]:
    """So many threads, also of the libraries that came with scikit-learn just now; and no warnings.

    What scikit-learn would warn of shows in the metrics.
    """
    with warnings.catch_warnings(), threadpool_limits(threads):
        warnings.simplefilter("ignore")
        yield


class Training:
    """One training, which can go on where an earlier attempt was lost."""

    def __init__(self, config: Config, family: Family, problem: Problem, run: Run) -> None:
        self.config, self.problem, self.run = config, problem, run
        self.fitter = Fitter(config, family, problem, run)
        self.saved: Mapping[str, Any] = {} if run.state is None else files.from_bytes(run.state)
        self.folds: list[crossing.Fold] = self.saved.get("folds", [])
        self.last: Fitted | None = None
        """The model of the last fold, which is kept where time is over before one of all rows."""
        self.count = run.folds if run.folds > 1 else 0
        self.model: Any = None
        """The pipeline that came of it."""

    def train(self) -> Trained:
        """The model, fitted to all rows that are to train on."""
        epochs = self.config.training.epochs
        if self.count:
            self._cross_validate()
            if self.run.over and self.last is not None:
                self.run.say("time is over: the model of the last fold is kept")
                return self._trained(self.last)
            epochs = crossing.best_epoch(self.folds)
        fitted = self.fitter.begin(self.fitter.thinned(self.problem.train), self.problem.held_out, stops=not self.count)
        state = self._resumed(fitted, WHOLE)
        self.fitter.fit(fitted, epochs, lambda new: self._told(fitted, new, epochs), state)
        return self._trained(fitted)

    def _resumed(self, fitted: Fitted, fold: int) -> Callable[[], bytes]:
        """Have the model of a fold go on from where an earlier attempt was; the state of this one."""
        if self.saved.get("fold") == fold:
            fitted.resume(self.saved["fitted"])
        return lambda: files.to_bytes({"folds": self.folds, "fold": fold, "fitted": fitted.state})

    def _cross_validate(self) -> None:
        """One fold after the other, until time is over; those that an earlier attempt has done stand."""
        rows = list(crossing.folds_of(self.problem, self.count, self.run.seed))
        for number, (inside, outside) in enumerate(rows, 1):
            if number <= len(self.folds):
                continue
            fitted = self.fitter.begin(self.fitter.thinned(inside), outside)
            self.fitter.fit(fitted, self.config.training.epochs, state=self._resumed(fitted, number))
            if fitted.over or self.last is None:
                self.last = fitted
            if self.folds and not fitted.over:
                return  # cut short, it says less than those before it
            epoch = 1 if fitted.kept is None else fitted.kept.epoch
            self.folds.append({"metrics": fitted.final(), "epoch": epoch})
            over = self.run.report(number, crossing.means(self.folds), 100 * number / (len(rows) + 1))
            self.run.save(lambda: files.to_bytes({"folds": self.folds}))
            if over:
                return
        if self.fitter.stops:
            self._compare(rows)

    def _compare(self, rows: Sequence[tuple[Rows, Rows]]) -> None:
        """Measure the folds again, each with the epochs that the others found best: the model will have such epochs."""
        epochs = crossing.epochs_of_others(self.folds)
        for number, (fold, epoch, (inside, outside)) in enumerate(zip(self.folds, epochs, rows, strict=True)):
            fitted = self.fitter.compared(inside, outside, epoch)
            if not fitted.over:
                return
            self.folds[number] = {**fold, "metrics": {**fitted.final(), "epochs": float(fold["epoch"])}}

    def _told(self, fitted: Fitted, new: Sequence[Losses], epochs: int) -> bool:
        """Report epochs, the last one with the task's metrics."""
        over = False
        for each in new:
            metrics = {"train_loss": each.train}
            if each.held_out is not None:
                metrics["val_loss"] = each.held_out
            if each is new[-1]:
                metrics |= fitted.scores()
            share = each.epoch / epochs if fitted.learner.iterative else 1.0
            over = self.run.report(each.epoch, metrics, 100 * (self.count + share) / (self.count + 1))
        return over

    def _trained(self, fitted: Fitted) -> Trained:
        metrics = fitted.final() | crossing.summary(self.folds)
        self.model = fitted.pipeline()
        return Trained(
            metrics=metrics,
            write=lambda file: files.write(self.model, file),
            suffix="skops",
            features=self.problem.features,
            target=self.problem.target,
            rows=len(fitted.learner.train.target),
            classes=self.problem.classes,
            details={
                "architecture": self.fitter.family.name,
                "folds": [dict(fold["metrics"]) for fold in self.folds],
            },
            libraries=LIBRARIES,
        )
