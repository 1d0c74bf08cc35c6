"""Linear models of data that are larger than the memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd
from pydantic import JsonValue
from sklearn.linear_model import SGDClassifier  # type: ignore[import-untyped]
from sklearn.pipeline import Pipeline  # type: ignore[import-untyped]

from tuners.automl.tabular import files
from tuners.automl.tabular.compressing import Compressed
from tuners.automl.tabular.learners import Losses, Sample
from tuners.automl.tabular.linear import described, least_squares, penalty_of, task_of
from tuners.automl.tabular.metrics import Array, loss, scores
from tuners.automl.tabular.preparation import preparation
from tuners.automl.tabular.rows import (
    check_dimensions,
    check_numbers,
    classes_of,
    features_of,
    rows_of,
    unknown_class,
)
from tuners.automl.tabular.sections import LinearConfig
from tuners.automl.tabular.spaces import Task
from tuners.automl.tabular.survey import Survey
from tuners.automl.tabular.training import LIBRARIES
from tunesmith.automl import Run, Source, Trained
from tunesmith.errors import InvalidConfig

BEGUN = {"piece": 0, "rows": 0, "total": 0.0}
"""Of a pass over the rows: the pieces and rows learnt from, and the sum of their losses."""


def train_by_pieces(config: LinearConfig, data: Source, run: Run) -> Trained:
    """Train a linear model without ever having all rows in memory. Raises InvalidData, InvalidConfig."""
    run.say("the data are larger than the memory: they are read piece by piece")
    survey = Survey(config, data, run)
    if run.folds > 1 and survey.held_out is None:
        field = "training.validation_split"
        text = f"{field} is 0: data larger than the memory are compared by a validation part, not by folds"
        raise InvalidConfig(f"{text}; set it above 0", field=field)
    return Streaming(config, survey, run).train()


class Streaming:
    """One training of data that are read again for every pass."""

    def __init__(self, config: LinearConfig, survey: Survey, run: Run) -> None:
        self.config, self.survey, self.run = config, survey, run
        sample = survey.sample
        self.target, self.features = str(sample.target.name), features_of(sample)
        seen = sample.target if survey.counts is None else pd.Series(survey.counts.index)
        self.task: Task = task_of(config.model, seen)
        self.penalty = penalty_of(config.model, self.task)
        self.classes = self._classes() if self.task == "classification" else None
        check_dimensions(config, self.features, self.classes, self.target, sample.origin)
        if self.classes is None:
            check_numbers(survey.batches())
        rows = rows_of(sample, self.classes)
        self.preparation = preparation(rows, self.features, "scaled", self.task, run.seed)
        self.preparation.fit(rows.frame, rows.target)
        self.held_out = None if survey.held_out is None else self._prepared(rows_of(survey.held_out, self.classes))
        self.saved: Mapping[str, Any] = {} if run.state is None else files.from_bytes(run.state)

    def train(self) -> Trained:
        """The model."""
        model, metrics = self._least_squares() if self.classes is None else self._logistic(self.classes)
        if self.run.folds > 1:
            metrics |= {f"cv_{name}": value for name, value in metrics.items()}
            self.run.report(int(metrics.get("epochs", 1)), metrics, 100)
        pipeline = Pipeline([("preparation", self.preparation), ("model", model)])
        trained = Trained(
            metrics=metrics,
            write=lambda file: files.write(pipeline, file),
            suffix="skops",
            features=self.features,
            target=self.target,
            rows=self.survey.rows,
            classes=self.classes,
            libraries=LIBRARIES,
        )
        details: dict[str, JsonValue] = {"architecture": "linear", **described(pipeline, trained)}
        return replace(trained, details=details)

    def _classes(self) -> Any:
        survey, origin = self.survey, self.survey.sample.origin
        if survey.counts is None:
            text = "it has more values than classes can be; for a number set model.task to regression"
            raise origin.invalid(text, self.target)
        classes = classes_of(survey.counts, self.target, origin, survey.row_of)
        if survey.held_out is not None and survey.unseen is not None:
            value, row = survey.unseen
            raise unknown_class(value, self.target, survey.held_out.origin, row)
        return classes

    def _prepared(self, rows: Any) -> Sample:
        return Sample(np.asarray(self.preparation.transform(rows.frame), dtype=np.float64), rows.target)

    def _least_squares(self) -> tuple[Any, dict[str, float]]:
        saved = self.saved
        done = saved.get("piece", 0)
        offset = float(self.survey.sample.target.mean())
        compressed = Compressed(offset, saved.get("factor"), saved.get("rows", 0))
        for number, rows in self.survey.pieces(None, after=done):
            piece = self._prepared(rows)
            compressed.add(piece.features, piece.target)
            over = self.run.report(1, {}, 95 * compressed.rows / self.survey.rows)
            if over:
                break
            state = {"piece": number, "factor": compressed.factor, "rows": compressed.rows}
            self.run.save(lambda state=state: files.to_bytes(state))  # type: ignore[misc]
        shared = self.penalty in ("l1", "elasticnet")  # their loss is a mean: over fewer rows it weighs more
        alpha = self.config.model.alpha * (compressed.rows / len(compressed.centred[1]) if shared else 1)
        shape = (compressed.rows, len(compressed.centred[1]))
        model = least_squares(self.config.model, self.penalty, alpha, shape, fit_intercept=False)
        metrics = compressed.fit(model)
        if self.held_out is not None:
            metrics |= self._validated(model.predict(self.held_out.features))
        self.run.report(1, metrics, 100)
        return model, metrics

    def _logistic(self, classes: Any) -> tuple[Any, dict[str, float]]:
        training = self.config.training
        state = dict(self.saved) or {"model": self._descent(), "epoch": 0, "best": None, **BEGUN}
        model = state["model"]
        for epoch in range(state["epoch"] + 1, training.epochs + 1):
            self._pass(state, classes, epoch)
            metrics = {"train_loss": state["total"] / state["rows"]}
            if self.held_out is not None:
                metrics |= self._validated(model.predict_proba(self.held_out.features))
            over = self.run.report(epoch, metrics, 100 * epoch / training.epochs)
            new = Losses(epoch, metrics["train_loss"], metrics.get("val_loss"))
            if state["best"] is None or new.beats(Losses(**state["best"])) or not training.early_stopping:
                kept = (model.coef_.copy(), model.intercept_.copy(), metrics)
                state |= {"best": asdict(new), "kept": kept}
            state |= {"epoch": epoch, **BEGUN}
            if over or (training.early_stopping and epoch - state["best"]["epoch"] >= training.patience):
                break
        model.coef_, model.intercept_, metrics = state["kept"]
        return model, {**metrics, "epochs": float(state["best"]["epoch"])}

    def _pass(self, state: dict[str, Any], classes: Any, epoch: int) -> None:
        """Learn from every row once, or until time is over; add up the loss of each piece before it is learnt from."""
        model, counts = state["model"], self.survey.counts
        assert counts is not None
        weigh = self.config.model.class_weight is not None
        weights = self.survey.rows / (len(classes) * counts.sort_index().to_numpy()) if weigh else None
        for number, rows in self.survey.pieces(classes, after=state["piece"]):
            piece = self._prepared(rows)
            order = np.random.default_rng((self.run.seed, epoch, number)).permutation(len(rows))
            features, target = piece.features[order], piece.target[order]
            if hasattr(model, "coef_"):
                found = loss("classification", target, model.predict_proba(features))
            else:
                found = float(np.log(len(classes)))
            each = None if weights is None else weights[target]
            model.partial_fit(features, target, np.arange(len(classes)), sample_weight=each)
            total, seen = state["total"] + len(rows) * found, state["rows"] + len(rows)
            state.update(piece=number, total=total, rows=seen)
            if self.run.over:
                break
            self.run.save(lambda: files.to_bytes(state))

    def _descent(self) -> Any:
        """Steps of one length whose mean is the model: on scaled columns, 1 / columns neither crawls nor overshoots."""
        model = self.config.model
        columns = len(self.preparation.get_feature_names_out([feature.name for feature in self.features]))
        kind: Any = SGDClassifier
        return kind(
            loss="log_loss",
            penalty=None if self.penalty == "none" else self.penalty,
            alpha=model.alpha / self.survey.rows,
            l1_ratio=model.l1_ratio,
            learning_rate="constant",
            eta0=self.config.training.learning_rate or 1 / columns,
            shuffle=False,  # each piece is already
            average=True,
            random_state=self.run.seed,
        )

    def _validated(self, predicted: Array) -> dict[str, float]:
        assert self.held_out is not None
        target = self.held_out.target
        return {"val_loss": loss(self.task, target, predicted), **scores(self.task, target, predicted)}
