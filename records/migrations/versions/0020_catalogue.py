"""Datastores and versions that were removed, and what a version may be ordered with."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

KEY = ["datastore_id", "name", "number"]


def upgrade() -> None:
    """Rows stay, for instances that are gone point at them; a name may be used again."""
    for table in ("datastores", "datastore_versions"):
        op.add_column(table, sa.Column("removed", sa.Boolean, nullable=False, server_default=sa.text("false")))
    for name in ("flavors", "volume_types"):
        op.add_column("datastore_versions", sa.Column(name, ARRAY(sa.Text)))
    op.drop_index("uq_datastore_versions_name", "datastore_versions")
    op.create_index("uq_datastore_versions_name", "datastore_versions", KEY, unique=True,
                    postgresql_where=sa.text("NOT removed"))  # fmt: skip


def downgrade() -> None:
    """What was removed is there again, and inactive; under another name where the name was used again."""
    op.execute("UPDATE datastore_versions SET active = false, name = name || ' ' || id WHERE removed")
    op.drop_index("uq_datastore_versions_name", "datastore_versions")
    op.create_index("uq_datastore_versions_name", "datastore_versions", KEY, unique=True)
    for name in ("flavors", "volume_types"):
        op.drop_column("datastore_versions", name)
    for table in ("datastores", "datastore_versions"):
        op.drop_column(table, "removed")
