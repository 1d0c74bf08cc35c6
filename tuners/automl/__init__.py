"""The templates that ship with the platform."""

from __future__ import annotations

from tuners.automl.tabular import Classification, Linear, Regression
from tuners.automl.vision.template import Vision
from tunesmith.plugins import Plugin

plugin = Plugin(templates=(Linear, Classification, Regression, Vision))
