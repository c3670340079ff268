"""What holds whenever nothing runs: asked of the records, of the cloud and of the engines, each in its own words."""

import contextlib
import ipaddress
from datetime import datetime
from typing import Any

import httpx
import pytest

from guest_worker.datastores import client_of
from tests.sequences.model import Model, password_of
from tests.stack import RunningStack

OVERLAPPING = (
    "SELECT one.id, other.id FROM operations one JOIN operations other ON one.group_id = other.group_id"
    " AND one.fence < other.fence WHERE one.created > %s AND one.state <> 'CANCELLED'"  # those made way
    " AND (one.finished IS NULL OR one.finished > other.created)"
)
CHARGED = (
    "SELECT thing_id, resource, amount FROM charges JOIN instances ON thing_id = id"
    " AND charges.project_id = instances.project_id WHERE created > %s"
)
HAVE = (
    "SELECT id, resource, amount FROM instances, LATERAL (VALUES ('instances', 1), ('volumes', volume_gib),"
    " ('ram', (flavor->>'ram_mib')::int)) AS has (resource, amount) WHERE NOT deleted AND created > %s"
)
RECORD = (
    "SELECT status, flavor_id, (flavor->>'ram_mib')::int, volume_gib, access, configuration_id, wanted_configuration_id,"
    " restart_required, unsettled, tls ->> 'mode' FROM instances WHERE id = %s"
)


def one_operation_at_a_time(stack: RunningStack, since: datetime) -> None:
    """No operation began before the one before it on the same instance had ended."""
    assert stack.sql(OVERLAPPING, since) == []


def quota_equals_records(stack: RunningStack, since: datetime) -> None:
    """What is charged is what the instances that there are have."""
    assert sorted(stack.sql(CHARGED, since)) == sorted(stack.sql(HAVE, since))


def records_equal_model(stack: RunningStack, model: Model) -> None:
    """What was answered with a success is so."""
    (row,) = stack.sql(RECORD, model.id)
    status, flavor, _, volume, access, group, wanted, restart, unsettled, tls = row
    assert (wanted, restart, unsettled) == (None, False, None)
    assert status == ("SHUTDOWN" if model.stopped else "ACTIVE")
    had = (model.flavor, model.volume, model.group, model.tls)
    assert (flavor, volume, str(group) if group else None, tls) == had
    assert (access["is_public"], access["allowed_cidrs"]) == (model.public, model.cidrs)


def cloud_equals_records(stack: RunningStack, model: Model) -> None:
    """One of each resource, which the records name, as they say that it is."""
    conn, name = stack.cloud("coffer"), f"coffer-{model.id}"
    _, flavor, ram, volume_gib, access, *_ = stack.sql(RECORD, model.id)[0]
    rows = stack.sql("SELECT kind, id FROM resources WHERE instance_id = %s", model.id)
    (server,) = conn.compute.servers(name=f"^{name}")
    (volume,) = [each for each in conn.block_storage.volumes() if each.name.startswith(name)]
    (port,) = [each for each in conn.network.ports() if each.name.startswith(name)]
    assert sorted(rows) == [("port", port.id), ("server", server.id), ("volume", volume.id)]
    assert server.status == ("SHUTOFF" if model.stopped else "ACTIVE")
    assert {server.flavor.ram, conn.compute.get_flavor(flavor).ram} == {ram}
    assert (volume.size, volume.status) == (volume_gib, "in-use")
    assert [each["server_id"] for each in volume.attachments] == [server.id]
    _access_equals_records(conn, model.id, access)


def _access_equals_records(conn: Any, instance_id: str, access: dict[str, Any]) -> None:
    name = f"coffer-{instance_id}"
    (group,) = conn.network.security_groups(name=name)
    rules = conn.network.security_group_rules(security_group_id=group.id, direction="ingress")
    everybody = {"0.0.0.0/0"}
    let_in = {str(ipaddress.ip_network(each.remote_ip_prefix)) for each in rules if not each.remote_group_id}
    assert let_in == (set(access["allowed_cidrs"]) or everybody)
    addresses = [each for each in conn.network.ips() if name in (each.description or "")]
    assert len(addresses) == access["is_public"]


def nothing_is_left_of(stack: RunningStack, model: Model) -> None:
    """Of an instance that was deleted."""
    assert stack.belongings(model.id) == []


def engine_holds_what_was_written(model: Model, client: httpx.Client) -> None:
    """Each row that was written; who may log in, and where; which settings it has. Then one more row is written."""
    engine = client_of(model.datastore)
    with contextlib.closing(engine.connect(model.address, "amy", password_of("amy"), "app")) as connection:
        stored = [row[0] for row in engine.ask(connection, "SELECT number FROM written ORDER BY number")]
        assert stored == model.rows
        engine.ask(connection, f"INSERT INTO written VALUES ({len(model.rows)})")
        model.rows.append(len(model.rows))
        if model.group:
            (row,) = engine.ask(connection, SETTINGS[model.datastore])
            assert int(row[0]) == model.groups[model.group]
    for user, databases in model.users.items():
        for database in model.databases:
            may_log_in(model, user, database, may=database in databases)
    named = {kind: {each["name"] for each in client.get(f"{model.path}/{kind}").json()[kind]} for kind in KINDS}
    assert named == {"databases": model.databases, "users": set(model.users)}


KINDS = ("databases", "users")
SETTINGS = {"mariadb": "SELECT @@max_connections", "mysql": "SELECT @@max_connections",
            "postgresql": "SELECT setting FROM pg_settings WHERE name = 'work_mem'"}  # fmt: skip


def may_log_in(model: Model, user: str, database: str, *, may: bool) -> None:
    """Into this database, or is refused."""
    engine = client_of(model.datastore)
    with contextlib.nullcontext() if may else pytest.raises(engine.refused):
        engine.connect(model.address, user, password_of(user), database).close()
