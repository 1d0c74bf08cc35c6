"""Every error that the platform raises, on the server and, by its code, again in the client.

    TunesmithError
    ├── BadRequest (400)           INVALID_REQUEST
    │   ├── InvalidBody            INVALID_BODY
    │   ├── InvalidSpace           INVALID_SPACE
    │   ├── InvalidOptimizer       INVALID_OPTIMIZER
    │   │   └── GridTooLarge       GRID_TOO_LARGE
    │   ├── InvalidCursor          INVALID_CURSOR
    │   ├── InvalidSchedule        INVALID_SCHEDULE
    │   ├── InvalidChannel         INVALID_CHANNEL
    │   ├── InvalidParameter       INVALID_PARAMETER
    │   ├── InvalidData            INVALID_DATA
    │   ├── InvalidConfig          INVALID_CONFIG
    │   └── MissingExtra           MISSING_EXTRA
    ├── Unauthenticated (401)      UNAUTHENTICATED
    │   └── InvalidSignature       INVALID_SIGNATURE     (receivers of webhooks only)
    ├── Forbidden (403)            FORBIDDEN
    ├── NotFound (404)             NOT_FOUND
    │   ├── ExperimentNotFound     EXPERIMENT_NOT_FOUND
    │   ├── JobNotFound            JOB_NOT_FOUND
    │   ├── TrialNotFound          TRIAL_NOT_FOUND
    │   ├── TrainingNotFound       TRAINING_NOT_FOUND
    │   ├── NotificationNotFound   NOTIFICATION_NOT_FOUND
    │   ├── SessionNotFound        SESSION_NOT_FOUND
    │   ├── DatasetNotFound        DATASET_NOT_FOUND
    │   ├── AlgorithmNotFound      ALGORITHM_NOT_FOUND
    │   ├── ScenarioNotFound       SCENARIO_NOT_FOUND
    │   ├── ModelNotFound          MODEL_NOT_FOUND
    │   ├── RunNotFound            RUN_NOT_FOUND
    │   ├── TemplateNotFound       TEMPLATE_NOT_FOUND
    │   ├── UserNotFound           USER_NOT_FOUND
    │   ├── GroupNotFound          GROUP_NOT_FOUND
    │   ├── WorkspaceNotFound      WORKSPACE_NOT_FOUND
    │   ├── SecretNotFound         SECRET_NOT_FOUND
    │   └── TokenNotFound          TOKEN_NOT_FOUND
    ├── MethodNotAllowed (405)     METHOD_NOT_ALLOWED
    ├── RequestTimeout (408)       REQUEST_TIMEOUT
    ├── Conflict (409)             CONFLICT
    │   ├── JobActive              JOB_ACTIVE
    │   ├── StateForbids           STATE_FORBIDS
    │   ├── ExperimentArchived     EXPERIMENT_ARCHIVED
    │   ├── IdempotencyMismatch    IDEMPOTENCY_MISMATCH
    │   ├── NodeTypeUnavailable    NODE_TYPE_UNAVAILABLE
    │   ├── NoTool                 NO_TOOL
    │   ├── AsksWhileRunning       ASKS_WHILE_RUNNING
    │   ├── Exhausted              EXHAUSTED
    │   ├── TrialFinished          TRIAL_FINISHED
    │   ├── TrialTaken             TRIAL_TAKEN
    │   ├── LastAdmin              LAST_ADMIN
    │   ├── NameTaken              NAME_TAKEN
    │   ├── DependedOn             DEPENDED_ON
    │   ├── DataInUse              DATA_IN_USE
    │   ├── NoResults              NO_RESULTS
    │   ├── QuotaExceeded          QUOTA_EXCEEDED
    │   └── LeaseLost              LEASE_LOST
    ├── PayloadTooLarge (413)      PAYLOAD_TOO_LARGE
    ├── NotSent (424)              NOT_SENT
    ├── TooManyRequests (429)      TOO_MANY_REQUESTS
    ├── HeadersTooLarge (431)      HEADERS_TOO_LARGE
    ├── Internal (500)             INTERNAL
    │   ├── ModelUnusable          MODEL_UNUSABLE
    │   └── SecretUnusable         SECRET_UNUSABLE
    ├── Unavailable (503)          UNAVAILABLE
    │   ├── DatabaseUnavailable    DATABASE_UNAVAILABLE
    │   ├── StorageUnavailable     STORAGE_UNAVAILABLE
    │   └── SecretsUnavailable     SECRETS_UNAVAILABLE
    ├── ConnectionFailed           CONNECTION_FAILED     (client only: no answer came)
    └── InvalidSettings            INVALID_SETTINGS      (start-up only)

The docstring of a class is its default message. `status` is the HTTP status that the service answers with.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar


class TunesmithError(Exception):
    """Something went wrong in tunesmith."""

    code: ClassVar[str] = "ERROR"
    status: ClassVar[int] = 500
    extra: ClassVar[Mapping[str, Any]] = {}
    """Fields that a surface adds to the error's body, for instance `status: "missing"`."""

    def __init__(self, message: str | None = None, **details: Any) -> None:
        self.message = message or inspect.cleandoc(type(self).__doc__ or type(self).__name__)
        self.details = details
        super().__init__(self.message)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.details))

    def body(self) -> dict[str, Any]:
        """The JSON body of the answer: one shape on every surface."""
        return {
            "error": self.message,
            "detail": self.message,
            "error_type": type(self).__name__,
            "code": self.code,
            "details": self.details,
            **self.extra,
        }


def _rebuild(kind: type[TunesmithError], message: str, details: dict[str, Any]) -> TunesmithError:
    error = kind(message)
    error.details = details  # not as keywords: a detail may have any name, `message` too
    return error


class BadRequest(TunesmithError):
    """The request is invalid."""

    code, status = "INVALID_REQUEST", 400


class InvalidBody(BadRequest):
    """The request body is invalid."""

    code = "INVALID_BODY"


class InvalidSpace(BadRequest):
    """The search space is invalid."""

    code = "INVALID_SPACE"


class InvalidOptimizer(BadRequest):
    """The optimizer is invalid."""

    code = "INVALID_OPTIMIZER"
    extra = {"status": "failed"}

    def body(self) -> dict[str, Any]:
        """The error's body, with the `message` that the experiments surface promises."""
        return {**super().body(), "message": self.message}


class InvalidCursor(BadRequest):
    """The cursor is not one that this list gave out; start again without a cursor."""

    code = "INVALID_CURSOR"


class InvalidSchedule(BadRequest):
    """The schedule or its time zone is invalid."""

    code = "INVALID_SCHEDULE"


class InvalidChannel(BadRequest):
    """The channel is none that notifications could be sent to."""

    code = "INVALID_CHANNEL"


class InvalidParameter(BadRequest):
    """A parameter of the algorithm, the model or the dataset is unknown, or its value is none."""

    code = "INVALID_PARAMETER"


class InvalidData(BadRequest):
    """The data cannot be read as what they claim to be."""

    code = "INVALID_DATA"


class InvalidConfig(BadRequest):
    """The configuration of the training is invalid."""

    code = "INVALID_CONFIG"


class MissingExtra(BadRequest):
    """It needs a package that is not installed."""

    code = "MISSING_EXTRA"


class GridTooLarge(InvalidOptimizer):
    """The grid has too many points."""

    code = "GRID_TOO_LARGE"


class Unauthenticated(TunesmithError):
    """Sign in, or send a bearer token."""

    code, status = "UNAUTHENTICATED", 401


class InvalidSignature(Unauthenticated):
    """The webhook's signature is missing, wrong, or too old."""

    code = "INVALID_SIGNATURE"


class Forbidden(TunesmithError):
    """You may not do that."""

    code, status = "FORBIDDEN", 403


class NotFound(TunesmithError):
    """There is nothing here."""

    code, status = "NOT_FOUND", 404


class ExperimentNotFound(NotFound):
    """No experiment has that id."""

    code = "EXPERIMENT_NOT_FOUND"
    extra = {"status": "missing"}


class JobNotFound(NotFound):
    """No job has that id."""

    code = "JOB_NOT_FOUND"
    extra = {"status": "missing", "job": {}}


class TrialNotFound(NotFound):
    """The experiment has no trial of that number."""

    code = "TRIAL_NOT_FOUND"


class TrainingNotFound(NotFound):
    """No training job has that id."""

    code = "TRAINING_NOT_FOUND"


class NotificationNotFound(NotFound):
    """No notification has that id."""

    code = "NOTIFICATION_NOT_FOUND"


class SessionNotFound(NotFound):
    """No session has that id or name."""

    code = "SESSION_NOT_FOUND"


class DatasetNotFound(NotFound):
    """The session has no dataset of that name."""

    code = "DATASET_NOT_FOUND"


class AlgorithmNotFound(NotFound):
    """There is no algorithm of that name."""

    code = "ALGORITHM_NOT_FOUND"


class ScenarioNotFound(NotFound):
    """The session has no scenario of that id."""

    code = "SCENARIO_NOT_FOUND"


class ModelNotFound(NotFound):
    """No model has that id."""

    code = "MODEL_NOT_FOUND"


class RunNotFound(NotFound):
    """No run has that id."""

    code = "RUN_NOT_FOUND"


class TemplateNotFound(NotFound):
    """No template has that name."""

    code = "TEMPLATE_NOT_FOUND"


class UserNotFound(NotFound):
    """There is no user of that name."""

    code = "USER_NOT_FOUND"


class GroupNotFound(NotFound):
    """There is no group of that name."""

    code = "GROUP_NOT_FOUND"


class WorkspaceNotFound(NotFound):
    """There is no workspace of that name."""

    code = "WORKSPACE_NOT_FOUND"


class SecretNotFound(NotFound):
    """The workspace has no secret of that name."""

    code = "SECRET_NOT_FOUND"


class TokenNotFound(NotFound):
    """There is no token that could be revoked."""

    code = "TOKEN_NOT_FOUND"


class MethodNotAllowed(TunesmithError):
    """That method is not allowed here."""

    code, status = "METHOD_NOT_ALLOWED", 405


class RequestTimeout(TunesmithError):
    """The request did not arrive in time; send it again."""

    code, status = "REQUEST_TIMEOUT", 408


class Conflict(TunesmithError):
    """The request conflicts with the present state."""

    code, status = "CONFLICT", 409


class JobActive(Conflict):
    """Experiment already enqueued or running"""

    code = "JOB_ACTIVE"
    extra = {"status": "failed"}

    def body(self) -> dict[str, Any]:
        """The error's body, with the `message` that the experiments surface promises."""
        return {**super().body(), "message": self.message}


class StateForbids(Conflict):
    """The job's state does not allow that."""

    code = "STATE_FORBIDS"


class ExperimentArchived(Conflict):
    """The experiment is archived; restore it with PATCH {"archived": false} first."""

    code = "EXPERIMENT_ARCHIVED"


class NoTool(Conflict):
    """The experiment has no tool that a job could run: workers of your own ask for its trials (POST .../ask)."""

    code = "NO_TOOL"


class AsksWhileRunning(Conflict):
    """Its trials ask for their parameters while they run; take part in it through Optuna, or with `tune`."""

    code = "ASKS_WHILE_RUNNING"


class Exhausted(Conflict):
    """There is nothing left to try: every point has a trial, or the search has all the trials that it was given."""

    code = "EXHAUSTED"


class TrialFinished(Conflict):
    """The trial is finished; what came of it stays."""

    code = "TRIAL_FINISHED"


class TrialTaken(Conflict):
    """The trial is not held under this token any more."""

    code = "TRIAL_TAKEN"


class IdempotencyMismatch(Conflict):
    """This Idempotency-Key was used with another request; use a new key."""

    code = "IDEMPOTENCY_MISMATCH"


class NodeTypeUnavailable(Conflict):
    """The cluster has no node of the type that the experiment asks for."""

    code = "NODE_TYPE_UNAVAILABLE"


class LastAdmin(Conflict):
    """Nobody would be left who may administer the platform; make another user an admin of `main` first."""

    code = "LAST_ADMIN"


class NameTaken(Conflict):
    """Another one has this name; choose another name."""

    code = "NAME_TAKEN"


class DependedOn(Conflict):
    """Other training jobs depend on it; change or delete these first."""

    code = "DEPENDED_ON"


class DataInUse(Conflict):
    """The dataset is in use; delete the scenarios over it first, or wait until what runs on it has ended."""

    code = "DATA_IN_USE"


class NoResults(Conflict):
    """The run has no results, as it has not succeeded."""

    code = "NO_RESULTS"


class QuotaExceeded(Conflict):
    """The workspace has as much as its quota allows."""

    code = "QUOTA_EXCEEDED"


class LeaseLost(Conflict):
    """The job is no longer held under this lease."""

    code = "LEASE_LOST"


class PayloadTooLarge(TunesmithError):
    """The request body is too large."""

    code, status = "PAYLOAD_TOO_LARGE", 413


class NotSent(TunesmithError):
    """The channel did not take the notification."""

    code, status = "NOT_SENT", 424


class TooManyRequests(TunesmithError):
    """Too many requests; wait a moment."""

    code, status = "TOO_MANY_REQUESTS", 429


class HeadersTooLarge(TunesmithError):
    """The headers of the request are too large."""

    code, status = "HEADERS_TOO_LARGE", 431


class Internal(TunesmithError):
    """An unexpected error; the request id finds it in the server's log."""

    code, status = "INTERNAL", 500


class ModelUnusable(Internal):
    """The trained model cannot be used any more; train it again."""

    code = "MODEL_UNUSABLE"


class SecretUnusable(Internal):
    """The secret cannot be read with the key in force; set it again, or bring the key back."""

    code = "SECRET_UNUSABLE"


class Unavailable(TunesmithError):
    """The service cannot answer now; try again in a moment."""

    code, status = "UNAVAILABLE", 503


class DatabaseUnavailable(Unavailable):
    """The database cannot be reached or written; try again in a moment."""

    code = "DATABASE_UNAVAILABLE"


class StorageUnavailable(Unavailable):
    """The artefact storage cannot be reached; try again in a moment."""

    code = "STORAGE_UNAVAILABLE"


class SecretsUnavailable(Unavailable):
    """The service that keeps the secrets cannot be reached; try again in a moment."""

    code = "SECRETS_UNAVAILABLE"


class ConnectionFailed(TunesmithError):
    """The server did not answer."""

    code = "CONNECTION_FAILED"


class InvalidSettings(TunesmithError):
    """A setting is invalid."""

    code, status = "INVALID_SETTINGS", 500


def tree(root: type[TunesmithError] = TunesmithError) -> Iterator[type[TunesmithError]]:
    """Every error class, sub-subclasses included."""
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


def from_body(status: int, body: Mapping[str, Any]) -> TunesmithError:
    """The error that the server raised, made again from its answer."""
    by_code = {kind.code: kind for kind in tree()}
    kind = by_code.get(str(body.get("code"))) or _by_status(status)
    details = body.get("details")
    message = str(body.get("error") or body.get("detail") or f"the server answered {status}")
    return _rebuild(kind, message, dict(details) if isinstance(details, Mapping) else {})


def _by_status(status: int) -> type[TunesmithError]:
    fallback = BadRequest if 400 <= status < 500 else Internal
    return next((kind for kind in tree() if kind.status == status and kind is not TunesmithError), fallback)
