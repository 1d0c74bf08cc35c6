"""tunesmith: optimize any tool on a Ray cluster, with every result in SQL.

`from tunesmith import Client` is where to start. Names are imported when they are first used, so that importing the
package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tunesmith.automl import Template, template
    from tunesmith.client import (
        AutoMLClient,
        Client,
        Experiment,
        Job,
        JobEvent,
        RunHandle,
        TrainingHandle,
        TrialToRun,
    )
    from tunesmith.domain import Compute, Constraint, Objective, Parameter, Pruner, Resources
    from tunesmith.errors import (
        AlgorithmNotFound,
        AsksWhileRunning,
        BadRequest,
        Conflict,
        ConnectionFailed,
        DatabaseUnavailable,
        DataInUse,
        DatasetNotFound,
        DependedOn,
        Exhausted,
        ExperimentArchived,
        ExperimentNotFound,
        Forbidden,
        GridTooLarge,
        GroupNotFound,
        HeadersTooLarge,
        IdempotencyMismatch,
        Internal,
        InvalidBody,
        InvalidChannel,
        InvalidConfig,
        InvalidCursor,
        InvalidData,
        InvalidOptimizer,
        InvalidParameter,
        InvalidSchedule,
        InvalidSettings,
        InvalidSignature,
        InvalidSpace,
        JobActive,
        JobNotFound,
        LeaseLost,
        MethodNotAllowed,
        MissingExtra,
        ModelNotFound,
        ModelUnusable,
        NameTaken,
        NodeTypeUnavailable,
        NoResults,
        NotFound,
        NotificationNotFound,
        NoTool,
        NotSent,
        PayloadTooLarge,
        QuotaExceeded,
        RequestTimeout,
        RunNotFound,
        ScenarioNotFound,
        SessionNotFound,
        StateForbids,
        StorageUnavailable,
        TemplateNotFound,
        TokenNotFound,
        TooManyRequests,
        TrainingNotFound,
        TrialFinished,
        TrialNotFound,
        TrialTaken,
        TunesmithError,
        Unauthenticated,
        Unavailable,
        UserNotFound,
        WorkspaceNotFound,
    )
    from tunesmith.models import Model, model
    from tunesmith.schemas.experiments import ExperimentAnswer, ExperimentDetail
    from tunesmith.schemas.jobs import JobAnswer
    from tunesmith.schemas.requests import ExperimentRequest, OptimizerRequest
    from tunesmith.schemas.trials import TrialAnswer
    from tunesmith.webhook import verify_webhook

_HOMES = {
    "tunesmith.automl": ("Template", "template"),
    "tunesmith.client": (
        "AutoMLClient",
        "Client",
        "Experiment",
        "Job",
        "JobEvent",
        "RunHandle",
        "TrainingHandle",
        "TrialToRun",
    ),
    "tunesmith.domain": ("Compute", "Constraint", "Objective", "Parameter", "Pruner", "Resources"),
    "tunesmith.models": ("Model", "model"),
    "tunesmith.schemas.experiments": ("ExperimentAnswer", "ExperimentDetail"),
    "tunesmith.schemas.jobs": ("JobAnswer",),
    "tunesmith.schemas.requests": ("ExperimentRequest", "OptimizerRequest"),
    "tunesmith.schemas.trials": ("TrialAnswer",),
    "tunesmith.webhook": ("verify_webhook",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AlgorithmNotFound",
    "AsksWhileRunning",
    "AutoMLClient",
    "BadRequest",
    "Client",
    "Compute",
    "Conflict",
    "ConnectionFailed",
    "Constraint",
    "DataInUse",
    "DatabaseUnavailable",
    "DatasetNotFound",
    "DependedOn",
    "Exhausted",
    "Experiment",
    "ExperimentAnswer",
    "ExperimentArchived",
    "ExperimentDetail",
    "ExperimentNotFound",
    "ExperimentRequest",
    "Forbidden",
    "GridTooLarge",
    "GroupNotFound",
    "HeadersTooLarge",
    "IdempotencyMismatch",
    "Internal",
    "InvalidBody",
    "InvalidChannel",
    "InvalidConfig",
    "InvalidCursor",
    "InvalidData",
    "InvalidOptimizer",
    "InvalidParameter",
    "InvalidSchedule",
    "InvalidSettings",
    "InvalidSignature",
    "InvalidSpace",
    "Job",
    "JobActive",
    "JobAnswer",
    "JobEvent",
    "JobNotFound",
    "LeaseLost",
    "MethodNotAllowed",
    "MissingExtra",
    "Model",
    "ModelNotFound",
    "ModelUnusable",
    "NameTaken",
    "NoResults",
    "NoTool",
    "NodeTypeUnavailable",
    "NotFound",
    "NotSent",
    "NotificationNotFound",
    "Objective",
    "OptimizerRequest",
    "Parameter",
    "PayloadTooLarge",
    "Pruner",
    "QuotaExceeded",
    "RequestTimeout",
    "Resources",
    "RunHandle",
    "RunNotFound",
    "ScenarioNotFound",
    "SessionNotFound",
    "StateForbids",
    "StorageUnavailable",
    "Template",
    "TemplateNotFound",
    "TokenNotFound",
    "TooManyRequests",
    "TrainingHandle",
    "TrainingNotFound",
    "TrialAnswer",
    "TrialFinished",
    "TrialNotFound",
    "TrialTaken",
    "TrialToRun",
    "TunesmithError",
    "Unauthenticated",
    "Unavailable",
    "UserNotFound",
    "WorkspaceNotFound",
    "__version__",
    "model",
    "template",
    "verify_webhook",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF.get(name, "tunesmith.errors")), name)


def __dir__() -> list[str]:
    return __all__
