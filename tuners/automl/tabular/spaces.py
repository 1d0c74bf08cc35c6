"""What a search varies in each family of the tabular templates, and the point that it begins with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from tunesmith.domain import Parameter, Scalar

Task = Literal["classification", "regression"]
TREES = ("random_forest", "extra_trees")
MEMBERS = ("gradient_boosting", "mlp", "extra_trees", "linear", "svm")
"""The families that an ensemble averages; it has their parameters."""


def space_of(task: Task) -> tuple[Parameter, ...]:
    """The parameters of all families, each under the condition that its family is tried."""
    return (
        *_boosting(),
        *_network(),
        *_forests(task),
        _of("linear", name="alpha", minimum=1e-3, maximum=1e3, log=True),
        *_kernels(task),
        *_neighbours(),
    )


def first_points(task: Task) -> tuple[Mapping[str, Scalar], ...]:
    """Good values of each family, the most promising family first: scikit-learn's defaults where they are good."""
    forest = 0.5 if task == "classification" else 1.0
    tube: dict[str, Scalar] = {} if task == "classification" else {"svm_epsilon": 0.1}
    families = (
        _point(
            "gradient_boosting",
            learning_rate=0.1,
            max_leaf_nodes=31,
            min_samples_leaf=20,
            l2_regularization=1e-8,
            max_features=1.0,
        ),
        _point("svm", svm_c=1.0, svm_gamma=1.0, **tube),
        _point("extra_trees", forest_features=forest, forest_min_samples_leaf=1),
        _point("linear", alpha=1.0),
        _point("random_forest", forest_features=forest, forest_min_samples_leaf=1),
        _point("mlp", hidden_dim=64, hidden_layers=2, network_learning_rate=1e-3, weight_decay=1e-4),
        _point("nearest", neighbors=5, neighbor_weights="uniform", neighbor_power=2),
    )
    together = {key: value for point in families if point["architecture"] in MEMBERS for key, value in point.items()}
    return (*families, {**together, "architecture": "ensemble"})


def _point(architecture: str, **values: Scalar) -> dict[str, Scalar]:
    return {"architecture": architecture, **values}


def _of(*families: str, **declared: Any) -> Parameter:
    together = ("ensemble",) if set(families) & set(MEMBERS) else ()
    return Parameter(when={"architecture": (*families, *together)}, **declared)


def _boosting() -> tuple[Parameter, ...]:
    own = "gradient_boosting"
    return (
        _of(own, name="learning_rate", minimum=0.01, maximum=0.3, log=True),
        _of(own, name="max_leaf_nodes", type="int", minimum=4, maximum=128, log=True),
        _of(own, name="min_samples_leaf", type="int", minimum=2, maximum=64, log=True),
        _of(own, name="l2_regularization", minimum=1e-8, maximum=10.0, log=True),
        _of(own, name="max_features", minimum=0.2, maximum=1.0),
    )


def _network() -> tuple[Parameter, ...]:
    return (
        _of("mlp", name="hidden_dim", type="int", minimum=16, maximum=256, log=True),
        _of("mlp", name="hidden_layers", type="int", minimum=1, maximum=3),
        _of("mlp", name="network_learning_rate", minimum=3e-4, maximum=3e-2, log=True),
        _of("mlp", name="weight_decay", minimum=1e-6, maximum=1.0, log=True),
    )


def _forests(task: Task) -> tuple[Parameter, ...]:
    least = 0.2 if task == "classification" else 0.4
    return (
        _of(*TREES, name="forest_features", minimum=least, maximum=1.0),
        _of(*TREES, name="forest_min_samples_leaf", type="int", minimum=1, maximum=20, log=True),
    )


def _kernels(task: Task) -> tuple[Parameter, ...]:
    both = (
        _of("svm", name="svm_c", minimum=0.03, maximum=1000.0, log=True),
        _of("svm", name="svm_gamma", minimum=0.01, maximum=10.0, log=True),
    )
    if task == "classification":
        return both
    return (*both, _of("svm", name="svm_epsilon", minimum=0.001, maximum=1.0, log=True))


def _neighbours() -> tuple[Parameter, ...]:
    return (
        _of("nearest", name="neighbors", type="int", minimum=1, maximum=50, log=True),
        _of("nearest", name="neighbor_weights", type="categorical", choices=("uniform", "distance")),
        _of("nearest", name="neighbor_power", type="int", minimum=1, maximum=2),
    )
