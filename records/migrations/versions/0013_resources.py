"""Resources by role and generation, instead of one server, one volume and one port."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
KINDS = ("server", "volume", "port")


def upgrade() -> None:
    """What was named so far is the first of its kind."""
    op.create_table(
        "resources",
        sa.Column("instance_id", sa.Uuid, sa.ForeignKey("instances.id"), primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("role", sa.Text, primary_key=True),
        sa.Column("generation", sa.Integer, primary_key=True),
        sa.Column("id", sa.Text),
    )
    for kind in KINDS:
        op.execute(
            f"INSERT INTO resources SELECT id, '{kind}', 'main', 1, {kind}_id FROM instances "  # noqa: S608 - of KINDS
            f"WHERE {kind}_id IS NOT NULL"
        )
        op.drop_column("instances", f"{kind}_id")


def downgrade() -> None:
    """Keep the newest of each kind."""
    for kind in KINDS:
        op.add_column("instances", sa.Column(f"{kind}_id", sa.Text))
        op.execute(
            f"UPDATE instances SET {kind}_id = (SELECT r.id FROM resources r WHERE r.instance_id = instances.id "  # noqa: S608
            f"AND r.kind = '{kind}' AND r.role = 'main' ORDER BY r.generation DESC LIMIT 1)"
        )
    op.drop_table("resources")
