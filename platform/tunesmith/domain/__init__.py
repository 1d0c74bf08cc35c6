"""The words of the platform: frozen values that are also its wire form. They know nothing but each other."""

from tunesmith.domain.experiment import Compute, Constraint, Experiment, ExperimentSpec, Objective, Resources
from tunesmith.domain.job import (
    ACTIVE,
    ENDED,
    TRANSITIONS,
    Event,
    Job,
    JobState,
    Priority,
    Progress,
)
from tunesmith.domain.page import Page
from tunesmith.domain.params import Params
from tunesmith.domain.search import Pruner, Search
from tunesmith.domain.space import Parameter, Point, Space, same_scalar, space_of
from tunesmith.domain.tool import CallableTool, CommandTool, ExternalTool, FunctionTool, Tool
from tunesmith.domain.trial import FINISHED, Measurement, Trial, TrialState
from tunesmith.domain.value import Scalar, Time, Value, finite, finite_only, render_time, utcnow

__all__ = [
    "ACTIVE",
    "ENDED",
    "FINISHED",
    "TRANSITIONS",
    "CallableTool",
    "CommandTool",
    "Compute",
    "Constraint",
    "Event",
    "Experiment",
    "ExperimentSpec",
    "ExternalTool",
    "FunctionTool",
    "Job",
    "JobState",
    "Measurement",
    "Objective",
    "Page",
    "Parameter",
    "Params",
    "Point",
    "Priority",
    "Progress",
    "Pruner",
    "Resources",
    "Scalar",
    "Search",
    "Space",
    "Time",
    "Tool",
    "Trial",
    "TrialState",
    "Value",
    "finite",
    "finite_only",
    "render_time",
    "same_scalar",
    "space_of",
    "utcnow",
]
