"""training jobs: what fires when, what it depends on, retries of jobs, and tallies"""

import sqlalchemy as sa
from alembic import op

from tunesmith.store.tables import Json, UTCTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

OF_JOBS = (
    ("claimed_at", UTCTime()),
    ("training_id", sa.Text()),
    ("scheduled_at", UTCTime()),
    ("max_retries", sa.Integer()),
    ("retry_backoff_s", sa.Float(precision=53)),
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _never_reuse_ids()
    op.create_table(
        "training_jobs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("experiment_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("latest_run", sa.Integer(), nullable=False),
        sa.Column("retry_count", sa.Integer(), nullable=False),
        sa.Column("started_at", UTCTime(), nullable=True),
        sa.Column("completed_at", UTCTime(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("scheduled", sa.Boolean(), nullable=False),
        sa.Column("next_run_at", UTCTime(), nullable=True),
        sa.Column("fired_at", UTCTime(), nullable=True),
        sa.Column("created_at", UTCTime(), nullable=False),
        sa.Column("updated_at", UTCTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_training_jobs_workspace_id_workspaces")
        ),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiments.id"], name=op.f("fk_training_jobs_experiment_id_experiments")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_training_jobs")),
        sa.UniqueConstraint("experiment_id", name=op.f("uq_training_jobs_experiment_id")),
        sa.UniqueConstraint("workspace_id", "name", name=op.f("uq_training_jobs_workspace_id_name")),
    )
    op.create_index(op.f("ix_training_jobs_created_at_id"), "training_jobs", ["created_at", "id"])
    op.create_index(op.f("ix_training_jobs_status_created_at_id"), "training_jobs", ["status", "created_at", "id"])
    op.create_index(op.f("ix_training_jobs_next_run_at"), "training_jobs", ["next_run_at"])
    op.create_table(
        "training_dependencies",
        sa.Column("training_id", sa.Text(), nullable=False),
        sa.Column("on_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["training_id"],
            ["training_jobs.id"],
            name=op.f("fk_training_dependencies_training_id_training_jobs"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["on_id"], ["training_jobs.id"], name=op.f("fk_training_dependencies_on_id_training_jobs")
        ),
        sa.PrimaryKeyConstraint("training_id", "on_id", name=op.f("pk_training_dependencies")),
    )
    op.create_index(op.f("ix_training_dependencies_on_id"), "training_dependencies", ["on_id"])
    op.create_table(
        "tallies",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("value", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("name", "labels", name=op.f("pk_tallies")),
    )
    op.create_table(
        "leftovers",
        sa.Column("key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_leftovers")),
    )
    _add_outbox()
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        for name, kind in OF_JOBS:
            batch_op.add_column(sa.Column(name, kind, nullable=True))
        batch_op.add_column(sa.Column("retries", sa.Integer(), nullable=False, server_default="0"))
        batch_op.create_foreign_key(op.f("fk_jobs_training_id_training_jobs"), "training_jobs", ["training_id"], ["id"])
        batch_op.create_unique_constraint(op.f("uq_jobs_training_id_scheduled_at"), ["training_id", "scheduled_at"])
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.alter_column("retries", existing_type=sa.Integer(), existing_nullable=False, server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_constraint(op.f("uq_jobs_training_id_scheduled_at"), type_="unique")
        batch_op.drop_constraint(op.f("fk_jobs_training_id_training_jobs"), type_="foreignkey")
        for name in ("retries", *(name for name, _kind in OF_JOBS)):
            batch_op.drop_column(name)
    for table in ("notifications", "status_changes", "leftovers", "tallies", "training_dependencies", "training_jobs"):
        op.drop_table(table)


def _never_reuse_ids() -> None:
    """AUTOINCREMENT, which 0003 lost when it made these tables anew: a deleted experiment's files are nobody else's."""
    for table in ("experiments", "trials"):
        with op.batch_alter_table(table, recreate="always", table_kwargs={"sqlite_autoincrement": True}):
            pass


def _add_outbox() -> None:
    op.create_table(
        "status_changes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("change", Json, nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_status_changes")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "notifications",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("rule", Json, nullable=False),
        sa.Column("change", Json, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", UTCTime(), nullable=True),
        sa.Column("lease_token", sa.Text(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", UTCTime(), nullable=False),
        sa.Column("sent_at", UTCTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
    )
    op.create_index(op.f("ix_notifications_created_at_id"), "notifications", ["created_at", "id"])
    op.create_index(op.f("ix_notifications_state_created_at_id"), "notifications", ["state", "created_at", "id"])
    due = sa.text("state = 'waiting'")
    op.create_index(
        "ix_notifications_due", "notifications", ["next_at", "channel"], postgresql_where=due, sqlite_where=due
    )
