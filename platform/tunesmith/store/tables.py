"""The tables. Columns for what is filtered or sorted, JSON for what people hand in."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from pydantic import BaseModel
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect

from tunesmith.domain import ExperimentSpec, Search, TrainingPlan
from tunesmith.domain.notification import NotificationState

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UTCTime(TypeDecorator[datetime]):
    """An aware moment in UTC; SQLite keeps it without a zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database: UTC."""
        if value is None:
            return None
        return value.astimezone(UTC) if dialect.name == "postgresql" else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database: aware, UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def clean(text: str) -> str:
    """The text with a replacement mark for every NUL and lone surrogate."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


class CleanText(TypeDecorator[str]):
    """Text that any database can hold: NUL and lone surrogates, which a tool may print, become replacement marks."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """To the database, cleaned."""
        return None if value is None else clean(value)


class Notes(TypeDecorator[Any]):
    """Anything that Python's JSON can write, NaN and infinities among it, which no database's JSON knows."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """To the database: text; nothing where there is nothing."""
        return json.dumps(value, separators=(",", ":")) if value else None

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """From the database."""
        return None if value is None else json.loads(value)


class Kept(TypeDecorator[Any]):
    """A frozen domain value as JSON text: equal text is parsed and validated once, for the same few are read again."""

    impl = Text
    cache_ok = True

    def __init__(self, kind: type[BaseModel]) -> None:
        """`kind`: the value's class."""
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: BaseModel | None, dialect: Dialect) -> str | None:
        """To the database."""
        if value is None:
            return None
        return json.dumps(value.model_dump(mode="json"), allow_nan=False, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """From the database."""
        return None if value is None else _parsed(self.kind, value)


@lru_cache(maxsize=1024)
def _parsed(kind: type[BaseModel], text: str) -> BaseModel:
    return kind.model_validate_json(text)


Big = BigInteger().with_variant(Integer, "sqlite")
# Not JSONB: it forgets the order of keys, turns 1e22 into an integer, and refuses some text; nobody queries inside.
Json: Any = JSON(none_as_null=True)

workspaces = Table(
    "workspaces",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("name", CleanText, nullable=False, unique=True),
    Column("created_at", UTCTime, nullable=False),
    # How much of what may be there; what is not named has no limit.
    Column("quotas", Json, nullable=False, default=dict),
)

experiments = Table(
    "experiments",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=True),
    Column("workspace_id", ForeignKey(workspaces.c.id), nullable=False),
    Column("content_hash", CleanText, nullable=False),
    Column("name", CleanText, nullable=False),
    Column("spec", Kept(ExperimentSpec), nullable=False),
    Column("tags", Json, nullable=False),
    Column("archived", Boolean, nullable=False, default=False),
    Column("created_at", UTCTime, nullable=False),
    # An Optuna study's name, unique among them; NULL for what was not made as one.
    Column("study_name", CleanText, unique=True),
    Column("asking", Kept(Search)),
    Column("user_attrs", Notes),
    Column("system_attrs", Notes),
    # Counters kept with every write of trials, so that no page ever counts rows.
    Column("next_number", Integer, nullable=False, default=0),
    Column("next_run", Integer, nullable=False, default=1),
    Column("n_waiting", Integer, nullable=False, default=0),
    Column("n_running", Integer, nullable=False, default=0),
    Column("n_complete", Integer, nullable=False, default=0),
    Column("n_pruned", Integer, nullable=False, default=0),
    Column("n_failed", Integer, nullable=False, default=0),
    UniqueConstraint("workspace_id", "content_hash"),
    Index(None, "workspace_id", "archived", "id"),
    sqlite_autoincrement=True,
)

training_jobs = Table(
    "training_jobs",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("workspace_id", ForeignKey(workspaces.c.id), nullable=False),
    Column("name", CleanText, nullable=False),
    Column("experiment_id", ForeignKey(experiments.c.id), nullable=False, unique=True),
    Column("plan", Kept(TrainingPlan), nullable=False),
    # What follows from the state of its jobs is written with it, so that no list ever looks at them.
    Column("status", CleanText, nullable=False),
    Column("latest_run", Integer, nullable=False, default=0),
    Column("retry_count", Integer, nullable=False, default=0),
    Column("started_at", UTCTime),
    Column("completed_at", UTCTime),
    Column("error_message", CleanText),
    Column("message", CleanText),
    Column("paused", Boolean, nullable=False, default=False),
    # Without a schedule a job is due when the jobs that it depends on have completed.
    Column("scheduled", Boolean, nullable=False),
    Column("next_run_at", UTCTime),
    Column("fired_at", UTCTime),
    Column("created_at", UTCTime, nullable=False),
    Column("updated_at", UTCTime, nullable=False),
    UniqueConstraint("workspace_id", "name"),
    Index(None, "created_at", "id"),
    Index(None, "status", "created_at", "id"),
    Index(None, "next_run_at"),
)

training_dependencies = Table(
    "training_dependencies",
    metadata,
    Column("training_id", ForeignKey(training_jobs.c.id, ondelete="CASCADE"), primary_key=True),
    Column("on_id", ForeignKey(training_jobs.c.id), primary_key=True),
    Index(None, "on_id"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", CleanText, primary_key=True),
    # Its experiment's: so a job is looked up without that.
    Column("workspace_id", CleanText, nullable=False),
    Column("experiment_id", ForeignKey(experiments.c.id), nullable=False),
    Column("run_number", Integer, nullable=False),
    Column("state", CleanText, nullable=False),
    Column("wanted", CleanText),
    Column("priority", Integer, nullable=False),
    Column("search", Json, nullable=False),
    Column("progress", Json, nullable=False),
    Column("message", CleanText),
    Column("note", CleanText),
    Column("error", CleanText),
    Column("attempt", Integer, nullable=False, default=0),
    Column("losses", Integer, nullable=False, default=0),
    Column("lease_owner", CleanText),
    Column("lease_token", CleanText),
    Column("lease_expires_at", UTCTime),
    Column("available_at", UTCTime),
    Column("submitted_by", CleanText),
    Column("queued_at", UTCTime, nullable=False),
    Column("claimed_at", UTCTime),
    Column("started_at", UTCTime),
    Column("ended_at", UTCTime),
    Column("next_seq", Integer, nullable=False, default=1),
    # Of a training job: which one, for which instant of its schedule, and how often a failed attempt is repeated.
    Column("training_id", ForeignKey(training_jobs.c.id)),
    Column("scheduled_at", UTCTime),
    Column("max_retries", Integer),
    Column("retry_backoff_s", Float(53)),
    Column("retries", Integer, nullable=False, default=0),
    UniqueConstraint("experiment_id", "run_number"),
    # No instant of a schedule fires twice, whoever tries.
    UniqueConstraint("training_id", "scheduled_at"),
    # One active job an experiment: `active` is 1 while it is queued, running, paused or waiting, else NULL.
    Column("active", Integer),
    UniqueConstraint("experiment_id", "active"),
    Index(None, "state", "queued_at", "id"),
    Index("ix_jobs_claim", "state", "priority", "queued_at", "id"),
)

trials = Table(
    "trials",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=True),
    Column("experiment_id", ForeignKey(experiments.c.id), nullable=False),
    Column("number", Integer, nullable=False),
    Column("job_id", ForeignKey(jobs.c.id)),
    Column("run_number", Integer),
    Column("state", CleanText, nullable=False),
    Column("params", Json, nullable=False),
    Column("values", Json),
    Column("metrics", Json, nullable=False),
    # The first objective's value, as it is: what lists are sorted by.
    Column("value", Float(53)),
    # The same times the objective's sign, for feasible trials alone: the least is the best.
    Column("score", Float(53)),
    # On the Pareto front (experiments of several objectives); kept with every write.
    Column("front", Boolean, nullable=False, default=False),
    Column("violation", Float(53)),
    Column("error", CleanText),
    Column("attempt", Integer, nullable=False, default=1),
    Column("worker", CleanText),
    Column("log", CleanText),
    Column("system_attrs", Notes),
    Column("user_attrs", Notes),
    Column("lease_token", CleanText),
    Column("lease_expires_at", UTCTime),
    Column("created_at", UTCTime),
    Column("started_at", UTCTime),
    Column("ended_at", UTCTime),
    UniqueConstraint("experiment_id", "number"),
    Index(None, "experiment_id", "state", "number"),
    Index(None, "experiment_id", "value", "number"),
    Index(None, "experiment_id", "state", "value", "number"),
    Index(None, "experiment_id", "score", "number"),
    Index(None, "experiment_id", "front", "number"),
    Index(None, "job_id", "number"),
    sqlite_autoincrement=True,
)
# Few trials have a lease, so it costs the others nothing.
leased = trials.c.lease_expires_at.is_not(None)
Index("ix_trials_lease_expires_at", trials.c.lease_expires_at, postgresql_where=leased, sqlite_where=leased)

measurements = Table(
    "measurements",
    metadata,
    Column("experiment_id", Big, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("metric", CleanText, primary_key=True),
    Column("step", Big, primary_key=True, autoincrement=False),
    Column("value", Float(53)),  # NULL: NaN, which a study may report
)

events = Table(
    "events",
    metadata,
    Column("job_id", ForeignKey(jobs.c.id), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("kind", CleanText, nullable=False),
    Column("data", Json, nullable=False),
    Column("at", UTCTime, nullable=False),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("scope", CleanText, primary_key=True),
    Column("key", CleanText, primary_key=True),
    Column("body_hash", CleanText, nullable=False),
    Column("status", Integer, nullable=False),
    Column("answer", Json, nullable=False),
    Column("created_at", UTCTime, nullable=False),
    Index(None, "created_at"),
)

tallies = Table(
    "tallies",
    metadata,
    Column("name", CleanText, primary_key=True),
    Column("labels", CleanText, primary_key=True),
    Column("value", Float(53), nullable=False),
)

# Key prefixes of files that nobody needs any more: written with the end of what they belonged to, and taken out when
# the files are gone. Nothing new ever gets these keys.
leftovers = Table(
    "leftovers",
    metadata,
    Column("key", CleanText, primary_key=True),
    # An upload that is under way is one too, until it is done: should nobody finish it, it goes after this moment.
    Column("not_before", UTCTime),
)

# What is still to be told: a status change, with the plan of its training job, becomes a notification for each channel.
status_changes = Table(
    "status_changes",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=True),
    Column("workspace_id", CleanText, nullable=False),
    Column("change", Json, nullable=False),
    Column("plan", Kept(TrainingPlan), nullable=False),
    sqlite_autoincrement=True,
)

notifications = Table(
    "notifications",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("workspace_id", CleanText, nullable=False),
    Column("state", CleanText, nullable=False),
    # As it may be shown; of one of these, few are sent at once.
    Column("channel", CleanText, nullable=False),
    Column("rule", Json, nullable=False),
    Column("change", Json, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_at", UTCTime),
    Column("lease_token", CleanText),
    Column("last_error", CleanText),
    Column("created_at", UTCTime, nullable=False),
    Column("sent_at", UTCTime),
    Index(None, "created_at", "id"),
    Index(None, "state", "created_at", "id"),
)
unsent = notifications.c.state == NotificationState.WAITING.value
Index(
    "ix_notifications_due",
    notifications.c.next_at,
    notifications.c.channel,
    postgresql_where=unsent,
    sqlite_where=unsent,
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("workspace_id", ForeignKey(workspaces.c.id), nullable=False),
    Column("display_name", CleanText, nullable=False),
    Column("max_parallel", Integer, nullable=False, default=1),
    Column("created_at", UTCTime, nullable=False),
    UniqueConstraint("workspace_id", "display_name"),
)

datasets = Table(
    "datasets",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("session_id", ForeignKey(sessions.c.id), nullable=False),
    Column("key", CleanText, nullable=False),
    Column("type", CleanText, nullable=False),
    # Copies share their files, which become leftovers with the last of them.
    Column("files", CleanText, nullable=False),
    Column("tables", Json, nullable=False),
    Column("metadata", Json, nullable=False),
    Column("bytes", Big, nullable=False),
    Column("created_at", UTCTime, nullable=False),
    UniqueConstraint("session_id", "key"),
    Index(None, "files"),
)

scenarios = Table(
    "scenarios",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("session_id", ForeignKey(sessions.c.id), nullable=False),
    Column("tag", CleanText, nullable=False),
    Column("dataset_id", ForeignKey(datasets.c.id), nullable=False),
    Column("algorithm", CleanText, nullable=False),
    Column("parameters", Json, nullable=False),
    Column("data_parameters", Json, nullable=False),
    Column("experiment_id", ForeignKey(experiments.c.id), unique=True),
    # Its run, whose state is the scenario's; none before the first one, and after a reset.
    Column("job_id", ForeignKey(jobs.c.id), unique=True),
    Column("created_at", UTCTime, nullable=False),
    UniqueConstraint("session_id", "tag"),
    Index(None, "session_id", "created_at", "id"),
    Index(None, "dataset_id"),
)

# Experiments over an algorithm's parameters.
optimizations = Table(
    "optimizations",
    metadata,
    Column("experiment_id", ForeignKey(experiments.c.id), primary_key=True),
    Column("session_id", ForeignKey(sessions.c.id), nullable=False),
    Column("dataset_id", ForeignKey(datasets.c.id), nullable=False),
    Index(None, "session_id"),
    Index(None, "dataset_id"),
)

model_runs = Table(
    "model_runs",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("workspace_id", ForeignKey(workspaces.c.id), nullable=False),
    Column("model_id", CleanText, nullable=False),
    Column("inputs", Json, nullable=False),
    Column("experiment_id", ForeignKey(experiments.c.id), nullable=False, unique=True),
    Column("job_id", ForeignKey(jobs.c.id), nullable=False, unique=True),
    Column("submitted_by", CleanText),
    Column("created_at", UTCTime, nullable=False),
    Index(None, "created_at", "id"),
    Index(None, "model_id", "created_at", "id"),
    Index(None, "submitted_by", "created_at", "id"),
)

trained_models = Table(
    "trained_models",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("workspace_id", ForeignKey(workspaces.c.id), nullable=False),
    Column("template", CleanText, nullable=False),
    Column("config", Json, nullable=False),
    Column("searched", Boolean, nullable=False),
    Column("experiment_id", ForeignKey(experiments.c.id), nullable=False, unique=True),
    Column("job_id", ForeignKey(jobs.c.id), nullable=False, unique=True),
    Column("submitted_by", CleanText),
    Column("created_at", UTCTime, nullable=False),
    Index(None, "created_at", "id"),
    Index(None, "template", "created_at", "id"),
)

# Of rate limits: how often something was asked for in a window of time.
rate_counters = Table(
    "rate_counters",
    metadata,
    Column("key", CleanText, primary_key=True),
    Column("count", Integer, nullable=False),
    Column("expires_at", UTCTime, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("workspace_id", ForeignKey(workspaces.c.id), nullable=False),
    Column("name", CleanText, nullable=False, unique=True),
    # None of who signs in elsewhere, and of programs.
    Column("password_hash", CleanText),
    Column("kind", CleanText, nullable=False, default="user"),
    Column("email", CleanText),
    # Who an OpenID provider, or an issuer of JWTs, says that it is.
    Column("issuer", CleanText),
    Column("subject", CleanText),
    Column("attributes", Json, nullable=False, default=dict),
    Column("disabled", Boolean, nullable=False, default=False),
    Column("created_at", UTCTime, nullable=False),
    Index("uq_users_issuer_subject", "issuer", "subject", unique=True),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("user_id", ForeignKey(users.c.id), nullable=False),
    Column("name", CleanText, nullable=False),
    Column("prefix", CleanText, nullable=False),
    # SHA-256: a token has 256 random bits, so nothing slower is needed to keep it from being guessed.
    Column("token_hash", CleanText, nullable=False, unique=True),
    Column("kind", CleanText, nullable=False, default="token"),
    # NULL: whatever its user may do.
    Column("scopes", Json),
    Column("created_at", UTCTime, nullable=False),
    Column("expires_at", UTCTime),
    Column("last_used_at", UTCTime),
    Column("revoked_at", UTCTime),
    Index(None, "user_id", "created_at", "id"),
)

groups = Table(
    "groups",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("name", CleanText, nullable=False, unique=True),
    Column("created_at", UTCTime, nullable=False),
)

members = Table(
    "members",
    metadata,
    Column("group_id", ForeignKey(groups.c.id), primary_key=True),
    Column("user_id", ForeignKey(users.c.id), primary_key=True),
    Index(None, "user_id"),
)

# A subject is `user:<id of a user>` or `group:<id of a group>`.
grants = Table(
    "grants",
    metadata,
    Column("workspace_id", ForeignKey(workspaces.c.id), primary_key=True),
    Column("subject", CleanText, primary_key=True),
    Column("role", CleanText, nullable=False),
    Index(None, "subject"),
)

# A model that has one is for these subjects, and for admins.
model_grants = Table(
    "model_grants",
    metadata,
    Column("workspace_id", ForeignKey(workspaces.c.id), primary_key=True),
    Column("model_id", CleanText, primary_key=True),
    Column("subject", CleanText, primary_key=True),
    Index(None, "subject"),
)

# OpenID sign-ins that are under way; the callback takes its own out, so that none comes back twice.
sign_ins = Table(
    "sign_ins",
    metadata,
    Column("state", CleanText, primary_key=True),
    Column("nonce", CleanText, nullable=False),
    Column("verifier", CleanText, nullable=False),
    Column("next", CleanText, nullable=False),
    Column("expires_at", UTCTime, nullable=False),
)

# Triggers refuse to change or delete what stands here.
audit = Table(
    "audit",
    metadata,
    Column("id", Big, primary_key=True, autoincrement=True),
    Column("at", UTCTime, nullable=False),
    Column("workspace_id", CleanText),
    Column("principal", CleanText, nullable=False),
    Column("kind", CleanText, nullable=False),
    Column("action", CleanText, nullable=False),
    Column("target", CleanText),
    Column("address", CleanText),
    Column("status", Integer, nullable=False),
    Column("details", Json, nullable=False),
    Index(None, "workspace_id", "id"),
    Index(None, "principal", "id"),
    sqlite_autoincrement=True,
)

secrets = Table(
    "secrets",
    metadata,
    Column("workspace_id", ForeignKey(workspaces.c.id), primary_key=True),
    Column("name", CleanText, primary_key=True),
    Column("ciphertext", CleanText, nullable=False),
    Column("created_by", CleanText),
    Column("created_at", UTCTime, nullable=False),
    Column("updated_at", UTCTime, nullable=False),
)
