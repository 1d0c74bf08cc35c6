"""Fits a model of a configuration to rows: epoch by epoch, until the best one is some epochs ago."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline  # type: ignore[import-untyped]
from sklearn.utils.class_weight import compute_sample_weight  # type: ignore[import-untyped]

from tuners.automl.tabular.families import Family, Making
from tuners.automl.tabular.learners import Learner, Losses, Sample
from tuners.automl.tabular.metrics import loss, scores
from tuners.automl.tabular.preparation import categorical, preparation
from tuners.automl.tabular.rows import Problem, Rows
from tunesmith.automl import Config, Run
from tunesmith.errors import InvalidConfig


@dataclass
class Fitted:
    """A model that is being fitted, or was."""

    preparation: Any
    """What the columns go through first."""
    learner: Learner
    """The model itself."""
    patience: int | None
    """Epochs without a better validation loss until it has learnt enough; None: all epochs are learnt."""
    epoch: int = 0
    """Epochs learnt."""
    kept: Losses | None = None
    """The epoch that is kept: the best one so far, or the last one."""
    over: bool = False
    """Whether it has learnt enough."""

    def see(self, new: Sequence[Losses]) -> None:
        """Look at the epochs that were learnt since the last time."""
        for each in new:
            self.epoch = each.epoch
            if self.over:
                continue
            if self.kept is None or self.patience is None or each.beats(self.kept):
                self.kept = each
            else:
                self.over = each.epoch - self.kept.epoch >= self.patience
        if self.kept is new[-1]:
            self.learner.mark()

    def scores(self) -> dict[str, float]:
        """The task's metrics of the rows that are held out, or of those learnt from where none are."""
        return self._scores(self.learner.held_out or self.learner.train)

    def final(self) -> dict[str, float]:
        """The losses and metrics of the model as it is kept."""
        learner = self.learner
        found = {"train_loss": self._loss(learner.train)}
        if learner.held_out is not None:
            found["val_loss"] = self._loss(learner.held_out)
        if learner.iterative and self.kept is not None:
            found["epochs"] = float(self.kept.epoch)
        return found | self.scores()

    def pipeline(self) -> Any:
        """The estimator that takes rows as they are; the model learns no more."""
        return Pipeline([("preparation", self.preparation), ("model", self.learner.finished())])

    @property
    def state(self) -> dict[str, Any]:
        """All that it takes to go on with the same rows."""
        kept = None if self.kept is None else asdict(self.kept)
        return {"epoch": self.epoch, "kept": kept, "over": self.over, "learner": self.learner.state}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from what the `state` of one with the same rows was."""
        self.epoch, self.over = state["epoch"], state["over"]
        self.kept = None if state["kept"] is None else Losses(**state["kept"])
        self.learner.resume(state["learner"])

    def _scores(self, sample: Sample) -> dict[str, float]:
        return scores(self.learner.task, sample.target, self.learner.predict(sample.features))

    def _loss(self, sample: Sample) -> float:
        return loss(self.learner.task, sample.target, self.learner.predict(sample.features))


class Fitter:
    """Fits models of one configuration to rows of one problem."""

    def __init__(self, config: Config, family: Family, problem: Problem, run: Run) -> None:
        self.config, self.family, self.problem, self.run = config, family, problem, run

    def begin(self, train: Rows, held_out: Rows | None, stops: bool = True) -> Fitted:
        """A model that has learnt nothing; its rows are prepared as those to train on have it.

        `stops`: whether it stops early, where the configuration and the family have it so.
        """
        task = self.problem.task
        prepared = preparation(train, self.problem.features, self.family.form, task, self.run.seed)
        features = np.asarray(prepared.fit_transform(train.frame, train.target), dtype=np.float64)
        sample = Sample(features, train.target, self._weights(train))
        columns = categorical(prepared) if self.family.form == "native" else []
        making = Making(self.config, task, sample, columns, self.run.seed, self.run.threads)
        other = None
        if held_out is not None:
            other = Sample(np.asarray(prepared.transform(held_out.frame), dtype=np.float64), held_out.target)
        learner = self.family.learner(self.family.make(making), task, sample, other)
        patient = stops and self.stops and other is not None
        return Fitted(prepared, learner, self.config.training.patience if patient else None)

    @property
    def stops(self) -> bool:
        """Whether a model stops early where rows are held out."""
        return self.config.training.early_stopping and self.family.learner.overfits

    def compared(self, inside: Rows, outside: Rows, epochs: int) -> Fitted:
        """A model of a fold that learnt for so many epochs, to be measured with the rows outside."""
        fitted = self.begin(self.thinned(inside), outside, stops=False)
        self.fit(fitted, epochs)
        return fitted

    def fit(
        self,
        fitted: Fitted,
        epochs: int,
        told: Callable[[Sequence[Losses]], bool] | None = None,
        state: Callable[[], bytes] | None = None,
    ) -> None:
        """Learn up to so many epochs, or until time is over, and go back to the best one.

        `told` hears of the new epochs, and says whether time is over; `state` is what to go on from after a kill.
        Raises InvalidConfig: they diverge.
        """
        last = epochs if fitted.learner.iterative else 1
        for epoch in self._stops(fitted, last, watched=told is not None, saved=state is not None):
            new = self._advance(fitted.learner, epoch)
            fitted.see(new)
            ended = self.run.over if told is None else told(new)
            fitted.over = fitted.over or epoch == last
            if fitted.over or ended:
                break
            if state is not None:
                self.run.save(state)
        if fitted.kept is not None and fitted.kept.epoch < fitted.epoch:
            fitted.learner.rewind(fitted.kept.epoch)

    def thinned(self, rows: Rows) -> Rows:
        """As many of the rows as the family can learn from in bearable time."""
        limit = self.family.rows
        if limit is None or len(rows) <= limit:
            return rows
        self.run.say(f"{self.family.name} learns from {limit:,} of the {len(rows):,} rows")
        return rows.take(np.sort(np.random.default_rng(self.run.seed).permutation(len(rows))[:limit]))

    def _stops(self, fitted: Fitted, last: int, watched: bool, saved: bool) -> Iterator[int]:
        """The epochs after which the model is looked at: every `stride`-th and the last.

        Where somebody watches, the first one too; where nobody does, no more than is needed to stop early or in time,
        or to go on after a kill, unless each look at the model asks all of its trees.
        """
        learner = fitted.learner
        timed = self.config.training.time_limit_s is not None and learner.held_out is not None
        looks = watched or timed or fitted.patience is not None or (saved and learner.overfits)
        epoch = fitted.epoch
        while epoch < last:
            stride = learner.stride(last, epoch) if looks else last
            epoch = 1 if watched and epoch == 0 else min(last, epoch - epoch % stride + stride)
            yield epoch

    def _advance(self, learner: Learner, epoch: int) -> list[Losses]:
        try:
            return learner.advance(epoch)
        except ValueError as error:
            if "non-finite" not in str(error):
                raise
            field = "training.learning_rate"
            raise InvalidConfig(f"{field}: the network diverged in epoch {epoch}; lower it", field=field) from error

    def _weights(self, rows: Rows) -> Any:
        wanted = getattr(self.config.model, "class_weight", None)
        weighs = wanted and self.family.weighted and self.problem.task == "classification"
        return compute_sample_weight(wanted, rows.target) if weighs else None
