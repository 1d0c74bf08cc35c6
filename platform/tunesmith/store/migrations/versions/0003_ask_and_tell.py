"""ask and tell, and Optuna's studies"""

import sqlalchemy as sa
from alembic import op

from tunesmith.store.tables import Json, UTCTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("experiments", schema=None) as batch_op:
        batch_op.add_column(sa.Column("study_name", sa.Text(), nullable=True))
        batch_op.alter_column("spec", existing_nullable=False, type_=sa.Text(), postgresql_using="spec::text")
        batch_op.add_column(sa.Column("asking", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("user_attrs", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("system_attrs", sa.Text(), nullable=True))
        batch_op.create_unique_constraint(op.f("uq_experiments_study_name"), ["study_name"])
    with op.batch_alter_table("trials", schema=None) as batch_op:
        batch_op.alter_column("system_attrs", type_=sa.Text(), postgresql_using="system_attrs::text")
        batch_op.add_column(sa.Column("user_attrs", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("lease_token", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("lease_expires_at", UTCTime(), nullable=True))
    leased = sa.text("lease_expires_at IS NOT NULL")
    op.create_index(
        "ix_trials_lease_expires_at", "trials", ["lease_expires_at"], postgresql_where=leased, sqlite_where=leased
    )
    with op.batch_alter_table("measurements", schema=None) as batch_op:
        batch_op.alter_column("value", existing_type=sa.Float(precision=53), nullable=True)


def downgrade() -> None:
    with op.batch_alter_table("measurements", schema=None) as batch_op:
        batch_op.alter_column("value", existing_type=sa.Float(precision=53), nullable=False)
    op.drop_index("ix_trials_lease_expires_at", "trials")
    with op.batch_alter_table("trials", schema=None) as batch_op:
        for name in ("lease_expires_at", "lease_token", "user_attrs"):
            batch_op.drop_column(name)
        batch_op.alter_column("system_attrs", type_=Json, postgresql_using="system_attrs::json")
    with op.batch_alter_table("experiments", schema=None) as batch_op:
        batch_op.drop_constraint(op.f("uq_experiments_study_name"), type_="unique")
        for name in ("system_attrs", "user_attrs", "asking", "study_name"):
            batch_op.drop_column(name)
        batch_op.alter_column("spec", existing_nullable=False, type_=Json, postgresql_using="spec::json")
