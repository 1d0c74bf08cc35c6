"""The words of the platform: frozen values that are also its wire form. They know nothing but each other."""

from tunesmith.domain.backoff import backoff_s
from tunesmith.domain.cron import Cron
from tunesmith.domain.experiment import Compute, Constraint, Experiment, ExperimentSpec, Objective, Resources
from tunesmith.domain.identity import Grant, Group, Principal, Quotas, Role, Token, User, Workspace
from tunesmith.domain.issuers import SignIn
from tunesmith.domain.job import (
    ACTIVE,
    ENDED,
    NOT_EVALUATED,
    TRANSITIONS,
    Event,
    Job,
    JobState,
    Priority,
    Progress,
)
from tunesmith.domain.model import TrainedModel
from tunesmith.domain.page import Page
from tunesmith.domain.params import Params
from tunesmith.domain.search import Pruner, Search
from tunesmith.domain.secret import Secret
from tunesmith.domain.session import (
    ComparedKpi,
    ComparedScenario,
    Comparison,
    Dataset,
    ModelRun,
    RunFilter,
    Scenario,
    Session,
    Standing,
    TableInfo,
    metric_name,
)
from tunesmith.domain.space import Parameter, Point, Space, same_scalar, space_of
from tunesmith.domain.tool import (
    AlgorithmTool,
    CallableTool,
    CommandTool,
    ExternalTool,
    FunctionTool,
    HostedTool,
    KpiSpec,
    ProgramTool,
    Tool,
    TrainerTool,
)
from tunesmith.domain.training import TRAINING_WORDS, TrainingJob, TrainingPlan, TrainingStatus
from tunesmith.domain.trial import FINISHED, Measurement, Trial, TrialState
from tunesmith.domain.value import Scalar, Time, Value, finite, finite_only, render_time, utcnow

__all__ = [
    "ACTIVE",
    "ENDED",
    "FINISHED",
    "NOT_EVALUATED",
    "TRAINING_WORDS",
    "TRANSITIONS",
    "AlgorithmTool",
    "CallableTool",
    "CommandTool",
    "ComparedKpi",
    "ComparedScenario",
    "Comparison",
    "Compute",
    "Constraint",
    "Cron",
    "Dataset",
    "Event",
    "Experiment",
    "ExperimentSpec",
    "ExternalTool",
    "FunctionTool",
    "Grant",
    "Group",
    "HostedTool",
    "Job",
    "JobState",
    "KpiSpec",
    "Measurement",
    "ModelRun",
    "Objective",
    "Page",
    "Parameter",
    "Params",
    "Point",
    "Principal",
    "Priority",
    "ProgramTool",
    "Progress",
    "Pruner",
    "Quotas",
    "Resources",
    "Role",
    "RunFilter",
    "Scalar",
    "Scenario",
    "Search",
    "Secret",
    "Session",
    "SignIn",
    "Space",
    "Standing",
    "TableInfo",
    "Time",
    "Token",
    "Tool",
    "TrainedModel",
    "TrainerTool",
    "TrainingJob",
    "TrainingPlan",
    "TrainingStatus",
    "Trial",
    "TrialState",
    "User",
    "Value",
    "Workspace",
    "backoff_s",
    "finite",
    "finite_only",
    "metric_name",
    "render_time",
    "same_scalar",
    "space_of",
    "utcnow",
]
