"""The templates for tables: `linear`, `classification` and `regression`, on scikit-learn."""

from tuners.automl.tabular.templates import Classification, Linear, Regression

__all__ = ["Classification", "Linear", "Regression"]
