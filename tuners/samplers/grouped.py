"""Optuna's TPE for conditional parameters: those that exist together are modelled together."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.search_space.group_decomposed import _GroupDecomposedSearchSpace


class GroupedTpe(optuna.samplers.TPESampler):
    """Tree-structured Parzen estimator, multivariate within each group of parameters."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "group": False, "multivariate": True})
        # Set here, as Optuna warns each time that it may change: `warnings` cannot be silenced in one thread alone.
        self._group = True
        self._group_decomposed_search_space = _GroupDecomposedSearchSpace(True)
