"""What the instance itself is changed in: access, volume, configuration group, logs, TLS, image, series."""

import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from contract.domain.datastores import DATASTORES
from tests.openstack.lane import USER, Broken, Lane, until
from tests.tls.certificates import Authority
from tests.tls.client import TlsClient

NOBODY = "192.0.2.0/24"  # TEST-NET-1
MARIADB = ({"max_connections": 77}, {"innodb_ft_max_token_size": 40})
# of each engine: a parameter that is in force at once, and one that waits for a restart
PARAMETERS = {
    "mariadb": MARIADB, "mysql": MARIADB, "postgresql": ({"work_mem": 8192}, {"max_locks_per_transaction": 96}),
}  # fmt: skip
LOG, SAID = "general", "said by the lane"


def change(lane: Lane, **wanted: Any) -> None:
    """Change one thing of the instance; return when the operation has ended."""
    lane.ask("PUT", lane.path, {"instance": wanted})
    lane.until_done()


def shut_out(lane: Lane) -> None:
    """Nobody is let in, then this machine again: Neutron's agents know within seconds."""
    port = DATASTORES[lane.plan.datastore].port
    change(lane, access={"allowed_cidrs": [NOBODY]})
    until("the port is shut", lambda: not lane.opens(port), 60)
    change(lane, access={"allowed_cidrs": lane.let_in})
    until("the port opens", lambda: lane.opens(port), 60)


def grow_volume(lane: Lane) -> None:
    """One GiB more, while the database serves."""
    lane.act({"resize": {"volume": {"size": 2}}})
    lane.until_done()
    name, project = f"coffer-{lane.instance_id}", lane.deployment.project_id
    listed = lane.deployment.admin.block_storage.volumes(all_projects=True, project_id=project)
    sizes = [each.size for each in listed if each.name.startswith(name)]
    if (sizes, lane.instance["volume"]["size"]) != ([2], 2):
        raise Broken(f"Cinder's volumes are of {sizes} GiB, the instance's of {lane.instance['volume']['size']}")


def configure(lane: Lane) -> None:
    """A configuration group is attached, in force at once or after a restart, and detached."""
    dynamic, later = PARAMETERS[lane.plan.datastore]
    before = {name: lane.setting(name) for name in dynamic | later}
    version = lane.instance["datastore"]
    wanted = {"name": lane.name, "values": dynamic | later,
              "datastore": {"type": version["type"], "version": version["version"]}}  # fmt: skip
    group = lane.ask("POST", "/configurations", {"configuration": wanted})["configuration"]["id"]
    lane.ask("PUT", lane.path, {"instance": {"configuration": group}})
    lane.until_ended()
    until("RESTART_REQUIRED", lambda: lane.instance["status"] == "RESTART_REQUIRED")
    require_settings(lane, dynamic | {name: before[name] for name in later})
    restart_after(lane)
    require_settings(lane, dynamic | later)
    lane.ask("PUT", lane.path, {"instance": {"configuration": None}})
    lane.until_ended()
    require_settings(lane, {name: before[name] for name in dynamic})
    restart_after(lane)
    require_settings(lane, before)
    lane.ask("DELETE", f"/configurations/{group}")


def restart_after(lane: Lane) -> None:
    """What waits for a restart has it."""
    lane.act({"restart": {}})
    lane.until_done()


def require_settings(lane: Lane, wanted: dict[str, Any]) -> None:
    """Broken unless the engine runs with these."""
    found = {name: lane.setting(name) for name in wanted}
    if found != {name: str(value) for name, value in wanted.items()}:
        raise Broken(f"the engine runs with {found}, and not with {wanted}")


def publish(lane: Lane) -> None:
    """A log goes to the tenant's Swift, twice; it has each statement once, and no password. Then it is discarded."""
    path, swift = f"{lane.path}/log", lane.tenant.object_store
    lane.ask("POST", path, {"name": LOG, "enable": 1})
    lane.sql(f"SELECT '{SAID} 1'")
    lane.ask("POST", path, {"name": LOG, "publish": 1})
    lane.sql(f"SELECT '{SAID} 2'")
    told = lane.ask("POST", path, {"name": LOG, "publish": 1})["log"]
    found = [each.name for each in swift.objects(told["container"], prefix=told["prefix"])]
    text = b"".join(swift.download_object(each, container=told["container"]) for each in sorted(found)).decode()
    times = [text.count(f"'{SAID} {number}'") for number in (1, 2)]
    if times != [1, 1] or lane.secret in text:
        raise Broken(f"the published log has what was said {times} times: {text[-2000:]}")
    lane.ask("POST", path, {"name": LOG, "disable": 1, "discard": 1})
    left = [each.name for each in swift.objects(told["container"])]
    if any(each.startswith(told["prefix"]) for each in left):
        raise Broken(f"of a log that was discarded there is {left}")
    for each in left:
        swift.delete_object(each, container=told["container"])
    swift.delete_container(told["container"])


def encrypt(lane: Lane) -> None:
    """TLS with a certificate of the service's own CA, with one of the tenant's that all must believe, and as it was."""
    client = TlsClient(lane.plan.datastore, lane.address, USER, lane.secret)
    path, required = f"{lane.path}/ssl", DATASTORES[lane.plan.datastore].needs_tls
    with tempfile.TemporaryDirectory() as folder:
        ca = Path(folder) / "service.pem"
        change_tls(lane, enable=True, mode="basic")
        ca.write_text(lane.ask("GET", f"{path}?include_certificate=true")["ssl"]["certificate"]["ca"])
        require_let_in(lane, "basic", client.is_let_in(ca), client.is_let_in(ca, plain=True) or required)
        authority = Authority()
        sent = authority.server(lane.address)
        change_tls(lane, enable=True, mode="enforced", certificate=sent.chain, key=sent.key, ca=sent.ca)
        own = authority.file(Path(folder))
        require_let_in(lane, "enforced", client.is_let_in(own), not client.is_let_in(ca),
                       not client.is_let_in(plain=True))  # fmt: skip
        with closing(client.connect(own)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    change_tls(lane, **({"enable": True, "mode": "builtin"} if required else {"disable": True}))
    require_let_in(lane, "as before", client.is_let_in(plain=not required))


def change_tls(lane: Lane, **wanted: Any) -> None:
    """Change it; return when the operation has ended."""
    lane.ask("POST", f"{lane.path}/ssl", {"ssl": wanted})
    lane.until_done()


def require_let_in(lane: Lane, mode: str, *true: bool) -> None:
    """Broken unless all are true."""
    if not all(true):
        raise Broken(f"TLS {mode} of {lane.plan.datastore}: what is to be true is {true}")


def rebuild(lane: Lane) -> None:
    """A new root disk of the same image; the data volume stays."""
    before = lane.server
    lane.administer({"rebuild": {"image_id": before.image.id}})
    lane.until_done()
    if lane.server.id != before.id:
        raise Broken("a rebuild has made another server")


def upgrade(lane: Lane) -> None:
    """To another series of the engine."""
    change(lane, datastore_version=lane.plan.series)
    if lane.instance["datastore"]["version"] != lane.plan.series:
        raise Broken(f"the instance's datastore is {lane.instance['datastore']}")
    if not str(lane.sql("SELECT version()")[0][0]).startswith(f"{lane.plan.series}."):
        raise Broken(f"the engine is {lane.sql('SELECT version()')}")
