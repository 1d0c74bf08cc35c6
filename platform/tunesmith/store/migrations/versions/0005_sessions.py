"""sessions, datasets, scenarios, model runs, and counters of rate limits"""

import sqlalchemy as sa
from alembic import op

from tunesmith.store.tables import Json, UTCTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("leftovers", sa.Column("not_before", UTCTime(), nullable=True))
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("max_parallel", sa.Integer(), nullable=False),
        sa.Column("created_at", UTCTime(), nullable=False),
        _refers("sessions", "workspace_id", "workspaces"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("workspace_id", "display_name", name=op.f("uq_sessions_workspace_id_display_name")),
    )
    op.create_table(
        "datasets",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("files", sa.Text(), nullable=False),
        sa.Column("tables", Json, nullable=False),
        sa.Column("metadata", Json, nullable=False),
        sa.Column("bytes", BIG, nullable=False),
        sa.Column("created_at", UTCTime(), nullable=False),
        _refers("datasets", "session_id", "sessions"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_datasets")),
        sa.UniqueConstraint("session_id", "key", name=op.f("uq_datasets_session_id_key")),
    )
    _index("datasets", "files")
    op.create_table(
        "scenarios",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("dataset_id", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("parameters", Json, nullable=False),
        sa.Column("data_parameters", Json, nullable=False),
        sa.Column("experiment_id", BIG, nullable=True),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("created_at", UTCTime(), nullable=False),
        _refers("scenarios", "session_id", "sessions"),
        _refers("scenarios", "dataset_id", "datasets"),
        _refers("scenarios", "experiment_id", "experiments"),
        _refers("scenarios", "job_id", "jobs"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scenarios")),
        sa.UniqueConstraint("session_id", "tag", name=op.f("uq_scenarios_session_id_tag")),
        sa.UniqueConstraint("experiment_id", name=op.f("uq_scenarios_experiment_id")),
        sa.UniqueConstraint("job_id", name=op.f("uq_scenarios_job_id")),
    )
    _index("scenarios", "session_id", "created_at", "id")
    _index("scenarios", "dataset_id")
    op.create_table(
        "optimizations",
        sa.Column("experiment_id", BIG, nullable=False),
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("dataset_id", sa.Text(), nullable=False),
        _refers("optimizations", "experiment_id", "experiments"),
        _refers("optimizations", "session_id", "sessions"),
        _refers("optimizations", "dataset_id", "datasets"),
        sa.PrimaryKeyConstraint("experiment_id", name=op.f("pk_optimizations")),
    )
    _index("optimizations", "session_id")
    _index("optimizations", "dataset_id")
    op.create_table(
        "model_runs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("model_id", sa.Text(), nullable=False),
        sa.Column("inputs", Json, nullable=False),
        sa.Column("experiment_id", BIG, nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("submitted_by", sa.Text(), nullable=True),
        sa.Column("created_at", UTCTime(), nullable=False),
        _refers("model_runs", "workspace_id", "workspaces"),
        _refers("model_runs", "experiment_id", "experiments"),
        _refers("model_runs", "job_id", "jobs"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_runs")),
        sa.UniqueConstraint("experiment_id", name=op.f("uq_model_runs_experiment_id")),
        sa.UniqueConstraint("job_id", name=op.f("uq_model_runs_job_id")),
    )
    _index("model_runs", "created_at", "id")
    _index("model_runs", "model_id", "created_at", "id")
    _index("model_runs", "submitted_by", "created_at", "id")
    op.create_table(
        "rate_counters",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("expires_at", UTCTime(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_rate_counters")),
    )


def downgrade() -> None:
    for table in ("rate_counters", "model_runs", "optimizations", "scenarios", "datasets", "sessions"):
        op.drop_table(table)
    with op.batch_alter_table("leftovers", schema=None) as batch_op:
        batch_op.drop_column("not_before")


def _refers(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=op.f(f"fk_{table}_{column}_{to}"))


def _index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns))
