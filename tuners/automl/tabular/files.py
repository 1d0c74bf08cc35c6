"""Estimators as bytes: skops files, which run nothing of what they hold, and hold no types but those listed here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import skops.io  # type: ignore[import-untyped]
from skops.io.exceptions import UntrustedTypesFoundException  # type: ignore[import-untyped]

from tunesmith.errors import InvalidData

TRUSTED = (
    "functools.partial",  # of check_array, in boosting with categories
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.ManhattanDistance64",
    "sklearn.model_selection._split.KFold",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils.validation.check_array",
)
"""The types that our estimators are made of, besides those that skops trusts by itself."""


def to_bytes(found: Any) -> bytes:
    """Estimators, and dicts and lists of them and of plain values."""
    written: bytes = skops.io.dumps(found)
    return written


def from_bytes(written: bytes) -> Any:
    """What `to_bytes` wrote. Raises InvalidData: it holds a type that no template writes."""
    return _checked(lambda: skops.io.loads(written, trusted=list(TRUSTED)))


def write(estimator: Any, file: Path) -> None:
    """Write a fitted estimator into a file."""
    skops.io.dump(estimator, file)


def read(file: Path) -> Any:
    """The estimator in a file. Raises InvalidData: it holds a type that no template writes."""
    return _checked(lambda: skops.io.load(file, trusted=list(TRUSTED)))


def _checked(load: Any) -> Any:
    try:
        return load()
    except UntrustedTypesFoundException as error:
        raise InvalidData(f"the model's file holds types that no model here is made of: {error}") from error
