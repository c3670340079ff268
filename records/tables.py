"""The tables; `migrations/` makes them. Times are the database's own clock."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _time(name: str, *, now: bool = False) -> Column[object]:
    default = func.clock_timestamp() if now else None
    return Column(name, DateTime(timezone=True), server_default=default, nullable=not now)


datastores = Table(
    "datastores",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("default_version_id", Uuid),
    Column("removed", Boolean, nullable=False, server_default=text("false")),
)

datastore_versions = Table(
    "datastore_versions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("datastore_id", ForeignKey("datastores.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("number", Text, nullable=False),
    Column("manager", Text, nullable=False),
    Column("image", Text, nullable=False, server_default=""),
    Column("image_tags", ARRAY(Text), nullable=False, server_default="{}"),
    Column("packages", ARRAY(Text), nullable=False, server_default="{}"),
    Column("active", Boolean, nullable=False, server_default=text("true")),
    Column("flavors", ARRAY(Text)),  # ids or names of those that it may be ordered with; null: all
    Column("volume_types", ARRAY(Text)),  # names of those of Cinder; null: all
    Column("removed", Boolean, nullable=False, server_default=text("false")),  # instances that are gone point at it
    Index(
        "uq_datastore_versions_name",
        "datastore_id",
        "name",
        "number",
        unique=True,
        postgresql_where=text("NOT removed"),
    ),
)

configurations = Table(
    "configurations",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("datastore_version_id", ForeignKey("datastore_versions.id"), nullable=False),
    Column("values", JSONB, nullable=False),
    _time("created", now=True),
    _time("updated", now=True),
    Index("ix_configurations_project", "project_id", "id"),
)

# What administrators have changed in what tenants may set of a version.
configuration_parameters = Table(
    "configuration_parameters",
    metadata,
    Column("datastore_version_id", ForeignKey("datastore_versions.id", ondelete="CASCADE"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("hidden", Boolean, nullable=False),
    Column("minimum", Numeric),
    Column("maximum", Numeric),
)

# The row that an admission locks: whatever may be touched by one operation at a time.
groups = Table(
    "groups",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("fence", BigInteger, nullable=False, server_default="0"),
)

instances = Table(
    "instances",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("group_id", ForeignKey("groups.id"), nullable=False),
    Column("project_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("operating_status", Text, nullable=False, server_default=""),
    Column("operating_status_reason", Text),
    Column("datastore_version_id", ForeignKey("datastore_versions.id"), nullable=False),
    Column("flavor_id", Text, nullable=False),
    Column("flavor", JSONB, nullable=False),
    Column("volume_gib", Integer, nullable=False),
    Column("volume_type", Text),
    Column("volume_used_bytes", BigInteger),
    Column("volume_total_bytes", BigInteger),
    Column("region", Text, nullable=False),
    Column("access", JSONB, nullable=False),
    Column("nic", JSONB),
    Column("addresses", JSONB, nullable=False, server_default="[]"),
    Column("availability_zone", Text),
    Column("locality", Text),
    Column("guest_version", Text),
    Column("fault_message", Text),
    Column("fault_details", Text),
    _time("fault_created"),
    _time("created", now=True),
    _time("updated", now=True),
    _time("service_status_updated"),
    Column("deleted", Boolean, nullable=False, server_default=text("false")),
    _time("deleted_at"),
    Column("fence", BigInteger, nullable=False, server_default="0"),  # the highest number of an operation on it
    Column("configuration_id", ForeignKey("configurations.id")),
    Column("wanted_configuration_id", ForeignKey("configurations.id")),  # while an operation gives it this one
    _time("configured"),  # `updated` of the group when it was read for the settings that the instance was given
    Column(
        "restart_required", Boolean, nullable=False, server_default=text("false")
    ),  # for settings that it has not yet
    Column("tls", JSONB, nullable=False, server_default="{}"),  # mode and certificate, its key sealed for the guest
    Column("tls_before", JSONB),  # what a rollback goes back to; null: to nothing
    Column("restores_backup_id", Uuid),  # while an operation makes it from this one
    Column("unsettled", Text),  # kind of an operation that was ended from outside, and that nobody has put right yet
    Index("ix_instances_project", "project_id", "id", postgresql_where=text("NOT deleted")),
    Index("ix_instances_group", "group_id"),
    Index("ix_instances_configuration", "configuration_id", postgresql_where=text("configuration_id IS NOT NULL")),
)

# What an instance has in OpenStack. The sweeps delete nothing that is named here.
resources = Table(
    "resources",
    metadata,
    Column("instance_id", ForeignKey("instances.id"), primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("role", Text, primary_key=True),
    Column("generation", Integer, primary_key=True),
    Column("id", Text),  # null: planned
)

operations = Table(
    "operations",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("group_id", ForeignKey("groups.id"), nullable=False),
    Column("project_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("workflow_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("first_execution_run_id", Text, nullable=False),
    Column("reason", Text),
    _time("created", now=True),
    _time("finished"),
    Index("uq_operations_open", "group_id", unique=True, postgresql_where=text("state = 'RUNNING'")),
)

# The instances that an operation works on.
operation_members = Table(
    "operation_members",
    metadata,
    Column("operation_id", ForeignKey("operations.id", ondelete="CASCADE"), primary_key=True),
    Column("instance_id", Uuid, primary_key=True),
    Column("interrupted", Text),  # kind of the operation whose work on the instance this one has to put right
    Column("builds", Boolean, nullable=False, server_default=text("false")),  # where it fails only the record is left
    Index("ix_operation_members_instance", "instance_id", "operation_id"),
)

operation_steps = Table(
    "operation_steps",
    metadata,
    Column("operation_id", ForeignKey("operations.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("outcome", Text),
    Column("instance_id", Uuid),  # null: about the group
    _time("started", now=True),
    _time("finished"),
)

# One row per project, locked while quota is charged: READ COMMITTED would over-admit without it.
projects = Table("projects", metadata, Column("id", Text, primary_key=True))

quotas = Table(
    "quotas",
    metadata,
    Column("project_id", Text, primary_key=True),
    Column("resource", Text, primary_key=True),
    Column("ceiling", Integer, nullable=False),
)

# What is charged for a thing; deleting the rows is the refund, so it cannot happen twice.
charges = Table(
    "charges",
    metadata,
    Column("thing_id", Uuid, primary_key=True),
    Column("resource", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Index("ix_charges_project", "project_id", "resource"),
)

flavors = Table(
    "flavors",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("ram_mib", Integer, nullable=False),
    Column("vcpus", Integer, nullable=False),
    Column("disk_gib", Integer, nullable=False),
    Column("ephemeral_gib", Integer, nullable=False),
)

volume_types = Table(
    "volume_types",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("is_public", Boolean, nullable=False),
    Column("description", Text),
)

root_changes = Table(
    "root_changes",
    metadata,
    Column("instance_id", Uuid, primary_key=True),
    Column("request_id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("wanted", Boolean, nullable=False),
    Column("done", Boolean),  # null: asked, and no answer yet
    _time("noted", now=True),
    _time("finished"),
)

leftovers = Table(
    "leftovers",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("instance_id", Text, nullable=False),
    _time("first_seen", now=True),
)

# What an instance's guest is known by. Tokens are the guest's alone; here is their SHA-256.
guest_identities = Table(
    "guest_identities",
    metadata,
    Column("instance_id", ForeignKey("instances.id"), primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("operation_id", Uuid, nullable=False),  # who expects this generation; derived for later attempts
    Column("enrol_until", DateTime(timezone=True), nullable=False),
    Column("token_hash", Text),
    Column("previous_hash", Text),  # counts until previous_until: the answer to a change may be lost
    _time("previous_until"),
    _time("enrolled"),
    _time("first_used"),  # the ticket ends then
    _time("revoked"),
    Column("doubles", Integer, nullable=False, server_default="0"),  # refused enrolments with a good ticket
    _time("last_double"),
    Column("last_double_from", Text),
)

# Operations that wait for the lock of their group.
waiting = Table(
    "waiting",
    metadata,
    Column("operation_id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("instance_ids", ARRAY(Uuid), nullable=False),
    Column("project_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("workflow_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("until", DateTime(timezone=True), nullable=False),
    Column("reason", Text),  # what it waits for
    _time("noted", now=True),
)

# Operations that the API has given up before they were admitted: they never will be.
withdrawals = Table(
    "withdrawals",
    metadata,
    Column("operation_id", Uuid, primary_key=True),
    Column("noted", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index("ix_withdrawals_noted", "noted"),
)

# What a client's key stands for: the same request within a day makes nothing new.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("project_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("mac_key", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("thing_id", Uuid, nullable=False),
    Column("noted", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index("ix_idempotency_keys_noted", "noted"),
)

# Backups outlive their instances.
backups = Table(
    "backups",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("instance_id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("status", Text, nullable=False),
    Column("reason", Text),  # why it is no good one
    Column("datastore_version_id", ForeignKey("datastore_versions.id"), nullable=False),
    Column("place", JSONB, nullable=False),
    Column("key_id", Text, nullable=False, server_default=""),
    Column("checksum", Text, nullable=False, server_default=""),  # SHA-256 of the manifest
    Column("size_bytes", BigInteger),
    Column("stored_bytes", BigInteger),
    Column("engine_version", Text),
    Column("position", Text, nullable=False, server_default=""),
    Column("deleting", Boolean, nullable=False, server_default=text("false")),
    _time("created", now=True),
    _time("updated", now=True),
    Index("ix_backups_project", "project_id", "updated"),
    Index("ix_backups_instance", "instance_id"),
)

# Into which container backups go that name none; without an instance: of all of the project.
backup_strategies = Table(
    "backup_strategies",
    metadata,
    Column("project_id", Text, primary_key=True),
    Column("instance_id", Text, primary_key=True, server_default=""),
    Column("container", Text, nullable=False),
)
