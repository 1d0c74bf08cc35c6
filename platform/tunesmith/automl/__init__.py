"""AutoML: templates that train models from configurations, and what they are given and give back."""

from tunesmith.automl.config import (
    Config,
    DataSection,
    ModelSection,
    ResourcesSection,
    SearchSection,
    Section,
    TrainingSection,
)
from tunesmith.automl.run import Facts, Feature, Origin, Predictions, Predictor, Run, Source, Table, Trained
from tunesmith.automl.template import Template, template

__all__ = [
    "Config",
    "DataSection",
    "Facts",
    "Feature",
    "ModelSection",
    "Origin",
    "Predictions",
    "Predictor",
    "ResourcesSection",
    "Run",
    "SearchSection",
    "Section",
    "Source",
    "Table",
    "Template",
    "Trained",
    "TrainingSection",
    "template",
]
