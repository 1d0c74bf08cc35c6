"""the first tables"""

import sqlalchemy as sa
from alembic import op

from tunesmith.store.tables import Big, Json, UTCTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table(
        "idempotency_keys",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("body_hash", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("answer", Json, nullable=False),
        sa.Column("created_at", UTCTime(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "key", name=op.f("pk_idempotency_keys")),
    )
    with op.batch_alter_table("idempotency_keys", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_idempotency_keys_created_at"), ["created_at"], unique=False)

    op.create_table(
        "measurements",
        sa.Column("experiment_id", Big, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("step", Big, autoincrement=False, nullable=False),
        sa.Column("value", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("experiment_id", "number", "metric", "step", name=op.f("pk_measurements")),
    )
    op.create_table(
        "workspaces",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", UTCTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workspaces")),
        sa.UniqueConstraint("name", name=op.f("uq_workspaces_name")),
    )
    op.create_table(
        "experiments",
        sa.Column("id", Big, autoincrement=True, nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("spec", Json, nullable=False),
        sa.Column("tags", Json, nullable=False),
        sa.Column("archived", sa.Boolean(), nullable=False),
        sa.Column("created_at", UTCTime(), nullable=False),
        sa.Column("next_number", sa.Integer(), nullable=False),
        sa.Column("next_run", sa.Integer(), nullable=False),
        sa.Column("n_waiting", sa.Integer(), nullable=False),
        sa.Column("n_running", sa.Integer(), nullable=False),
        sa.Column("n_complete", sa.Integer(), nullable=False),
        sa.Column("n_pruned", sa.Integer(), nullable=False),
        sa.Column("n_failed", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name=op.f("fk_experiments_workspace_id_workspaces")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiments")),
        sa.UniqueConstraint("workspace_id", "content_hash", name=op.f("uq_experiments_workspace_id_content_hash")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("experiments", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_experiments_workspace_id_archived_id"), ["workspace_id", "archived", "id"], unique=False
        )

    op.create_table(
        "jobs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("experiment_id", Big, nullable=False),
        sa.Column("run_number", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("wanted", sa.Text(), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("search", Json, nullable=False),
        sa.Column("progress", Json, nullable=False),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("losses", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_token", sa.Text(), nullable=True),
        sa.Column("lease_expires_at", UTCTime(), nullable=True),
        sa.Column("available_at", UTCTime(), nullable=True),
        sa.Column("submitted_by", sa.Text(), nullable=True),
        sa.Column("queued_at", UTCTime(), nullable=False),
        sa.Column("started_at", UTCTime(), nullable=True),
        sa.Column("ended_at", UTCTime(), nullable=True),
        sa.Column("next_seq", sa.Integer(), nullable=False),
        sa.Column("active", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["experiment_id"], ["experiments.id"], name=op.f("fk_jobs_experiment_id_experiments")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("experiment_id", "active", name=op.f("uq_jobs_experiment_id_active")),
        sa.UniqueConstraint("experiment_id", "run_number", name=op.f("uq_jobs_experiment_id_run_number")),
    )
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.create_index("ix_jobs_claim", ["state", "priority", "queued_at", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_jobs_state_queued_at_id"), ["state", "queued_at", "id"], unique=False)

    op.create_table(
        "events",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("data", Json, nullable=False),
        sa.Column("at", UTCTime(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_events_job_id_jobs")),
        sa.PrimaryKeyConstraint("job_id", "seq", name=op.f("pk_events")),
    )
    op.create_table(
        "trials",
        sa.Column("id", Big, autoincrement=True, nullable=False),
        sa.Column("experiment_id", Big, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("run_number", sa.Integer(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("params", Json, nullable=False),
        sa.Column("values", Json, nullable=True),
        sa.Column("metrics", Json, nullable=False),
        sa.Column("value", sa.Float(precision=53), nullable=True),
        sa.Column("score", sa.Float(precision=53), nullable=True),
        sa.Column("front", sa.Boolean(), nullable=False),
        sa.Column("violation", sa.Float(precision=53), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("log", sa.Text(), nullable=True),
        sa.Column("created_at", UTCTime(), nullable=True),
        sa.Column("started_at", UTCTime(), nullable=True),
        sa.Column("ended_at", UTCTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiments.id"], name=op.f("fk_trials_experiment_id_experiments")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_trials_job_id_jobs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trials")),
        sa.UniqueConstraint("experiment_id", "number", name=op.f("uq_trials_experiment_id_number")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("trials", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_trials_experiment_id_front_number"), ["experiment_id", "front", "number"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_trials_experiment_id_score_number"), ["experiment_id", "score", "number"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_trials_experiment_id_state_number"), ["experiment_id", "state", "number"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_trials_experiment_id_state_value_number"),
            ["experiment_id", "state", "value", "number"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_trials_experiment_id_value_number"), ["experiment_id", "value", "number"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_trials_job_id_number"), ["job_id", "number"], unique=False)


def downgrade() -> None:

    with op.batch_alter_table("trials", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_trials_job_id_number"))
        batch_op.drop_index(batch_op.f("ix_trials_experiment_id_value_number"))
        batch_op.drop_index(batch_op.f("ix_trials_experiment_id_state_value_number"))
        batch_op.drop_index(batch_op.f("ix_trials_experiment_id_state_number"))
        batch_op.drop_index(batch_op.f("ix_trials_experiment_id_score_number"))
        batch_op.drop_index(batch_op.f("ix_trials_experiment_id_front_number"))

    op.drop_table("trials")
    op.drop_table("events")
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_jobs_state_queued_at_id"))
        batch_op.drop_index("ix_jobs_claim")

    op.drop_table("jobs")
    with op.batch_alter_table("experiments", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_experiments_workspace_id_archived_id"))

    op.drop_table("experiments")
    op.drop_table("workspaces")
    op.drop_table("measurements")
    with op.batch_alter_table("idempotency_keys", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_idempotency_keys_created_at"))

    op.drop_table("idempotency_keys")
