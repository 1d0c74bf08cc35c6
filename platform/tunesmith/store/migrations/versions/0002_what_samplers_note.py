"""what samplers note about a trial"""

import sqlalchemy as sa
from alembic import op

from tunesmith.store.tables import Json

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("trials", sa.Column("system_attrs", Json, nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("trials", schema=None) as batch_op:
        batch_op.drop_column("system_attrs")
