"""groups, grants, sign-ins elsewhere, the audit log and secrets"""

import sqlalchemy as sa
from alembic import op

from tunesmith.store.tables import Big, Json, UTCTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

PASSWORD = (
    "UPDATE users SET new_hash = password_hash",
    "ALTER TABLE users DROP COLUMN password_hash",
    "ALTER TABLE users RENAME COLUMN new_hash TO password_hash",
)
"""Only so may the column of a table that others refer to become nullable on SQLite, or not nullable again."""
OF_A_WORKSPACE = ("jobs", "status_changes", "notifications")
"""Until now everything was in the workspace `main`."""
SQLITE_TRIGGERS = tuple(
    f"CREATE TRIGGER audit_no_{name} BEFORE {event} ON audit {when}"
    "BEGIN SELECT RAISE(ABORT, 'the audit log is only ever added to'); END"
    for name, event, when in (
        ("update", "UPDATE", ""),
        ("delete", "DELETE", ""),
        # INSERT OR REPLACE deletes a row without asking the trigger above.
        ("replace", "INSERT", "WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id) "),
    )
)
KEPT = (
    "CREATE FUNCTION audit_is_kept() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'the audit log is only ever added to'; END $$"
)
POSTGRES_TRIGGERS = (
    KEPT,
    "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit EXECUTE FUNCTION audit_is_kept()",
)


def upgrade() -> None:
    op.add_column("workspaces", sa.Column("quotas", Json, nullable=False, server_default="{}"))
    op.add_column("tokens", sa.Column("kind", sa.Text(), nullable=False, server_default="token"))
    op.add_column("tokens", sa.Column("scopes", Json, nullable=True))
    for table in OF_A_WORKSPACE:
        op.add_column(table, sa.Column("workspace_id", sa.Text(), nullable=False, server_default=""))
        op.execute(f"UPDATE {table} SET workspace_id = (SELECT id FROM workspaces WHERE name = 'main')")  # nosec B608
    _groups_and_grants()
    _users()
    _sign_ins_and_secrets()
    _audit()


def downgrade() -> None:
    for table in ("secrets", "audit", "sign_ins", "model_grants", "grants", "members", "groups"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_is_kept()")
    for name in ("kind", "scopes"):
        op.drop_column("tokens", name)
    for table in OF_A_WORKSPACE:
        op.drop_column(table, "workspace_id")
    op.drop_column("workspaces", "quotas")
    # Who has no password could not sign in then.
    op.execute("UPDATE users SET password_hash = '', disabled = true WHERE password_hash IS NULL")
    op.add_column("users", sa.Column("new_hash", sa.Text(), nullable=False, server_default=""))
    _run(PASSWORD)
    op.add_column("users", sa.Column("role", sa.Text(), nullable=False, server_default="admin"))
    op.drop_index("uq_users_issuer_subject", "users")
    for name in ("kind", "email", "issuer", "subject", "attributes"):
        op.drop_column("users", name)


def _users() -> None:
    op.execute(
        "INSERT INTO grants (workspace_id, subject, role) SELECT workspace_id, 'user:' || id, 'admin' FROM users"
    )
    op.drop_column("users", "role")
    op.add_column("users", sa.Column("new_hash", sa.Text(), nullable=True))
    _run(PASSWORD)
    op.add_column("users", sa.Column("kind", sa.Text(), nullable=False, server_default="user"))
    op.add_column("users", sa.Column("attributes", Json, nullable=False, server_default="{}"))
    for name in ("email", "issuer", "subject"):
        op.add_column("users", sa.Column(name, sa.Text(), nullable=True))
    op.create_index("uq_users_issuer_subject", "users", ["issuer", "subject"], unique=True)


def _groups_and_grants() -> None:
    op.create_table(
        "groups",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", UTCTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_groups")),
        sa.UniqueConstraint("name", name=op.f("uq_groups_name")),
    )
    op.create_table(
        "members",
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], name=op.f("fk_members_group_id_groups")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_members_user_id_users")),
        sa.PrimaryKeyConstraint("group_id", "user_id", name=op.f("pk_members")),
    )
    op.create_index(op.f("ix_members_user_id"), "members", ["user_id"])
    op.create_table(
        "grants",
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        _of_a_workspace("grants"),
        sa.PrimaryKeyConstraint("workspace_id", "subject", name=op.f("pk_grants")),
    )
    op.create_index(op.f("ix_grants_subject"), "grants", ["subject"])
    op.create_table(
        "model_grants",
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("model_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        _of_a_workspace("model_grants"),
        sa.PrimaryKeyConstraint("workspace_id", "model_id", "subject", name=op.f("pk_model_grants")),
    )
    op.create_index(op.f("ix_model_grants_subject"), "model_grants", ["subject"])


def _sign_ins_and_secrets() -> None:
    op.create_table(
        "sign_ins",
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("nonce", sa.Text(), nullable=False),
        sa.Column("verifier", sa.Text(), nullable=False),
        sa.Column("next", sa.Text(), nullable=False),
        sa.Column("expires_at", UTCTime(), nullable=False),
        sa.PrimaryKeyConstraint("state", name=op.f("pk_sign_ins")),
    )
    op.create_table(
        "secrets",
        sa.Column("workspace_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("ciphertext", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=True),
        sa.Column("created_at", UTCTime(), nullable=False),
        sa.Column("updated_at", UTCTime(), nullable=False),
        _of_a_workspace("secrets"),
        sa.PrimaryKeyConstraint("workspace_id", "name", name=op.f("pk_secrets")),
    )


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", Big, autoincrement=True, nullable=False),
        sa.Column("at", UTCTime(), nullable=False),
        sa.Column("workspace_id", sa.Text(), nullable=True),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("details", Json, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_audit_workspace_id_id"), "audit", ["workspace_id", "id"])
    op.create_index(op.f("ix_audit_principal_id"), "audit", ["principal", "id"])
    _run(POSTGRES_TRIGGERS if op.get_bind().dialect.name == "postgresql" else SQLITE_TRIGGERS)


def _of_a_workspace(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["workspace_id"], ["workspaces.id"], name=op.f(f"fk_{table}_workspace_id_workspaces")
    )


def _run(statements: tuple[str, ...]) -> None:
    for statement in statements:
        op.execute(statement)
