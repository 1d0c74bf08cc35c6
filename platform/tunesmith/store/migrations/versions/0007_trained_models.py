"""models that AutoML trains"""

import sqlalchemy as sa
from alembic import op

from tunesmith.store.tables import Big, Json, UTCTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "trained_models",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("config", Json, nullable=False),
        sa.Column("searched", sa.Boolean(), nullable=False),
        sa.Column("experiment_id", Big, nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("submitted_by", sa.Text(), nullable=True),
        sa.Column("created_at", UTCTime(), nullable=False),
        _refers("experiment_id", "experiments"),
        _refers("job_id", "jobs"),
        _refers("workspace_id", "workspaces"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trained_models")),
        sa.UniqueConstraint("experiment_id", name=op.f("uq_trained_models_experiment_id")),
        sa.UniqueConstraint("job_id", name=op.f("uq_trained_models_job_id")),
    )
    op.create_index(op.f("ix_trained_models_created_at_id"), "trained_models", ["created_at", "id"])
    op.create_index(
        op.f("ix_trained_models_template_created_at_id"), "trained_models", ["template", "created_at", "id"]
    )


def downgrade() -> None:
    op.drop_table("trained_models")


def _refers(column: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=op.f(f"fk_trained_models_{column}_{to}"))
