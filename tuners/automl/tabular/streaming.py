"""Linear models of data that are larger than the memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
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
from tuners.automl.tabular.rows import check_dimension, check_numbers, classes_of, features_of, rows_of
from tuners.automl.tabular.sections import LinearConfig
from tuners.automl.tabular.spaces import Task
from tuners.automl.tabular.survey import Survey
from tuners.automl.tabular.training import LIBRARIES
from tunesmith.automl import Run, Source, Trained
from tunesmith.errors import InvalidConfig, InvalidData


def train_by_pieces(config: LinearConfig, data: Source, run: Run) -> Trained:
    """Train a linear model without ever having all rows in memory. Raises InvalidData, InvalidConfig."""
    run.say("the data are larger than the memory: they are read piece by piece")
    survey = Survey(config, data, run.seed)
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
        check_dimension("input_dim", config.model.input_dim, len(self.features), "features")
        what = "classes" if self.classes else "target"
        check_dimension("output_dim", config.model.output_dim, len(self.classes or (0,)), what)
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
        if self.survey.counts is None:
            text = (
                f"column {self.target!r} has more values than classes can be; for a number set model.task to regression"
            )
            raise InvalidData(text, column=self.target)
        return classes_of(self.survey.counts, self.target)

    def _prepared(self, rows: Any) -> Sample:
        return Sample(np.asarray(self.preparation.transform(rows.frame), dtype=np.float64), rows.target)

    def _least_squares(self) -> tuple[Any, dict[str, float]]:
        check_numbers(self.survey.sample.target)
        saved = self.saved
        done = saved.get("piece", 0)
        offset = float(self.survey.sample.target.mean())
        compressed = Compressed(offset, saved.get("factor"), saved.get("rows", 0))
        for number, rows in self.survey.pieces(None, after=done):
            piece = self._prepared(rows)
            compressed.add(piece.features, piece.target)
            over = self.run.report(1, {}, 95 * compressed.rows / self.survey.rows)
            state = {"piece": number, "factor": compressed.factor, "rows": compressed.rows}
            self.run.save(lambda state=state: files.to_bytes(state))  # type: ignore[misc]
            if over:
                break
        shared = self.penalty in ("l1", "elasticnet")  # their loss is a mean: over fewer rows it weighs more
        alpha = self.config.model.alpha * (compressed.rows / len(compressed.centred[1]) if shared else 1)
        model = least_squares(self.config.model, self.penalty, alpha, fit_intercept=False)
        metrics = compressed.fit(model)
        if self.held_out is not None:
            metrics |= self._validated(model.predict(self.held_out.features))
        self.run.report(1, metrics, 100)
        return model, metrics

    def _logistic(self, classes: Any) -> tuple[Any, dict[str, float]]:
        model, training = self._descent(), self.config.training
        best, kept = None, None
        saved = self.saved
        if saved:
            model, kept = saved["model"], saved["kept"]
            best = None if saved["best"] is None else Losses(**saved["best"])
        for epoch in range(saved.get("epoch", 0) + 1, training.epochs + 1):
            train = self._pass(model, classes, epoch)
            metrics = {"train_loss": train}
            if self.held_out is not None:
                metrics |= self._validated(model.predict_proba(self.held_out.features))
            over = self.run.report(epoch, metrics, 100 * epoch / training.epochs)
            new = Losses(epoch, train, metrics.get("val_loss"))
            if best is None or new.beats(best) or not training.early_stopping:
                best, kept = new, (model.coef_.copy(), model.intercept_.copy(), metrics)
            state = {"epoch": epoch, "model": model, "kept": kept, "best": best.__dict__}
            self.run.save(lambda state=state: files.to_bytes(state))  # type: ignore[misc]
            if over or (training.early_stopping and epoch - best.epoch >= training.patience):
                break
        assert best is not None
        assert kept is not None
        model.coef_, model.intercept_, metrics = kept
        return model, {**metrics, "epochs": float(best.epoch)}

    def _pass(self, model: Any, classes: Any, epoch: int) -> float:
        """Learn from every row once; the mean loss of each piece before it is learnt from."""
        total, counts = 0.0, self.survey.counts
        assert counts is not None
        weigh = self.config.model.class_weight is not None
        weights = self.survey.rows / (len(classes) * counts.sort_index().to_numpy()) if weigh else None
        for number, rows in self.survey.pieces(classes):
            piece = self._prepared(rows)
            order = np.random.default_rng((self.run.seed, epoch, number)).permutation(len(rows))
            features, target = piece.features[order], piece.target[order]
            if hasattr(model, "coef_"):
                total += len(rows) * loss("classification", target, model.predict_proba(features))
            else:
                total += len(rows) * float(np.log(len(classes)))
            each = None if weights is None else weights[target]
            model.partial_fit(features, target, np.arange(len(classes)), sample_weight=each)
        return total / self.survey.rows

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
