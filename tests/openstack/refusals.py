"""`python -m tests.openstack.refusals CLOUD IMAGE FLAVOR,LARGER > tests/core/openstack_refusals.json`.

Has the real services refuse what they can be asked for, in a project that is made for it and deleted afterwards, and prints
their answers. CLOUD is an administrator's in clouds.yaml; IMAGE needs a disk of more than 1 GB.
`tests/core/test_openstack_errors.py` says what each means.
"""

import json
import re
import sys
from collections.abc import Callable
from typing import Any

import openstack

from tests.openstack.stage import Stage, staged

GONE = "00000000-0000-0000-0000-0000000000aa"
ID = re.compile(r"\b[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}\b")
URL = re.compile(r"\bhttps?://[^\s\"'<]+")
LONG = "x" * 300
DATA = "eA==" * 20000
Refusals = dict[str, Callable[[], Any]]


def compute(stage: Stage) -> Refusals:
    """Nova's."""
    nova = stage.own.compute
    port = [{"port": stage.port.id}]
    disks = [{"boot_index": 0, "uuid": stage.image, "source_type": "image", "destination_type": "local"}]

    def with_volume(volume: str) -> Any:
        more = {"boot_index": -1, "uuid": volume, "source_type": "volume", "destination_type": "volume"}
        return stage.boot(block_device_mapping_v2=[*disks, more])

    return {
        "flavor gone": lambda: stage.boot(flavorRef=GONE),
        "image gone": lambda: stage.boot(imageRef=GONE),
        "image without data": lambda: stage.boot(imageRef=stage.empty),
        "disk too small": lambda: stage.boot(flavorRef=stage.smaller),
        "zone": lambda: stage.boot(availability_zone="nowhere"),
        "network gone": lambda: stage.boot(networks=[{"uuid": GONE}]),
        "port gone": lambda: stage.boot(networks=[{"port": GONE}]),
        "port in use": lambda: stage.boot(networks=port),
        "volume gone": lambda: with_volume(GONE),
        "volume in use": lambda: with_volume(stage.volume.id),
        "server group gone": lambda: stage.boot(hints={"group": GONE}),
        "server group policy": lambda: nova.post(
            "/os-server-groups", json={"server_group": {"name": "x", "policy": "together"}}, microversion="2.64"
        ),
        "name too long": lambda: stage.boot(name=LONG),
        "user data too long": lambda: stage.boot(user_data=DATA),
        **of_the_server(stage),
    }


def of_the_server(stage: Stage) -> Refusals:
    """Nova's about a server that is there."""
    nova = stage.own.compute
    attachments = f"/servers/{stage.server.id}/os-volume_attachments"
    return {
        "resize to the flavor that it has": lambda: stage.act(resize={"flavorRef": stage.flavor}),
        "resize to a flavor that is gone": lambda: stage.act(resize={"flavorRef": GONE}),
        "resize to a smaller disk": lambda: stage.act(resize={"flavorRef": stage.smaller}),
        "migrate to a host that is gone": lambda: stage.act(migrate={"host": "nowhere"}),
        "rebuild on an image that is gone": lambda: stage.act(rebuild={"imageRef": GONE}),
        "rebuild on an image without data": lambda: stage.act(rebuild={"imageRef": stage.empty}),
        "rebuild on an image that wants a larger disk": lambda: stage.act(rebuild={"imageRef": stage.large}),
        "confirm without a resize": lambda: stage.act(confirmResize=None),
        "revert without a resize": lambda: stage.act(revertResize=None),
        "start what runs": lambda: stage.act(**{"os-start": None}),
        "attach what is attached": lambda: nova.post(
            f"/servers/{stage.server.id}/os-volume_attachments",
            json={"volumeAttachment": {"volumeId": stage.volume.id}},
        ),
        "attach what is gone": lambda: nova.post(attachments, json={"volumeAttachment": {"volumeId": GONE}}),
        "detach what is not attached": lambda: nova.delete(f"{attachments}/{GONE}"),
        "server gone": lambda: nova.get(f"/servers/{GONE}"),
        "delete what is gone": lambda: nova.delete(f"/servers/{GONE}"),
        "version": lambda: nova.get("/servers", microversion="2.999"),
        "token": lambda: nova.get("/servers", headers={"X-Auth-Token": "none"}, authenticated=False),
    }


def block_storage(stage: Stage) -> Refusals:
    """Cinder's."""
    cinder = stage.own.block_storage
    return {
        "type gone": lambda: stage.order_volume(volume_type="nowhere"),
        "zone": lambda: stage.order_volume(availability_zone="nowhere"),
        "size of nothing": lambda: stage.order_volume(size=0),
        "name too long": lambda: stage.order_volume(name=LONG),
        "description too long": lambda: stage.order_volume(description=LONG),
        "snapshot gone": lambda: stage.order_volume(snapshot_id=GONE),
        "image gone": lambda: stage.order_volume(imageRef=GONE),
        "volume gone": lambda: cinder.get(f"/volumes/{GONE}"),
        "delete what is attached": lambda: cinder.delete(f"/volumes/{stage.volume.id}"),
        "delete what is gone": lambda: cinder.delete(f"/volumes/{GONE}"),
        "make it smaller": lambda: stage.change_volume(**{"os-extend": {"new_size": 1}}),
        "grow what is gone": lambda: cinder.post(
            f"/volumes/{GONE}/action", json={"os-extend": {"new_size": 2}}, microversion="3.42"
        ),
        "snapshot of what is attached": lambda: cinder.post(
            "/snapshots", json={"snapshot": {"volume_id": stage.volume.id, "name": "x"}}, microversion="3.42"
        ),
        "snapshot of what is gone": lambda: cinder.post("/snapshots", json={"snapshot": {"volume_id": GONE}}),
        "version": lambda: cinder.get("/volumes", microversion="3.999"),
        "token": lambda: cinder.get("/volumes", headers={"X-Auth-Token": "none"}, authenticated=False),
    }


def network(stage: Stage) -> Refusals:
    """Neutron's."""
    neutron = stage.own.network
    address = stage.port.fixed_ips[0]["ip_address"]

    def port(**body: Any) -> Any:
        return neutron.post("/ports", json={"port": {"network_id": stage.network, **body}})

    def until_full() -> Any:
        for _ in range(8):
            answer = port()
            if answer.status_code >= 400:
                break
        return answer

    return {
        "network gone": lambda: port(network_id=GONE),
        "subnet gone": lambda: port(fixed_ips=[{"subnet_id": GONE}]),
        "address taken": lambda: port(fixed_ips=[{"ip_address": address}]),
        "address of another subnet": lambda: port(fixed_ips=[{"subnet_id": stage.subnet, "ip_address": "192.0.2.1"}]),
        "no address": lambda: port(fixed_ips=[{"ip_address": "nonsense"}]),
        "hardware address taken": lambda: port(mac_address=stage.port.mac_address),
        "security group gone": lambda: port(security_groups=[GONE]),
        "description too long": lambda: port(description=LONG),
        "name too long": lambda: port(name=LONG),
        "network full": until_full,
        **of_rules_and_addresses(stage),
    }


def of_rules_and_addresses(stage: Stage) -> Refusals:
    """Neutron's about security groups and public addresses."""
    neutron = stage.own.network
    rule = {"security_group_id": stage.group, "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp"}

    def post(kind: str, **body: Any) -> Any:
        return neutron.post(f"/{kind}s".replace("_", "-"), json={kind: body})

    def rule_of(**body: Any) -> Any:
        return post("security_group_rule", **{**rule, "port_range_min": 1, "port_range_max": 1, **body})

    def public(**body: Any) -> Any:
        return post("floatingip", **{"floating_network_id": stage.external, **body})

    return {
        "port gone": lambda: neutron.get(f"/ports/{GONE}"),
        "rule's range is no network": lambda: rule_of(remote_ip_prefix="nonsense"),
        "rule's range of the other kind": lambda: rule_of(remote_ip_prefix="2001:db8::/64"),
        "rule's ports": lambda: rule_of(port_range_min=9, port_range_max=1),
        "rule's port too high": lambda: rule_of(port_range_min=1, port_range_max=99999),
        "rule there": lambda: (rule_of(), rule_of())[1],
        "rule's group gone": lambda: rule_of(security_group_id=GONE),
        "public address without a router": lambda: public(port_id=stage.port.id),
        "public address of a port that is gone": lambda: public(port_id=GONE),
        "public address of an inner network": lambda: public(floating_network_id=stage.network),
        "public network gone": lambda: public(floating_network_id=GONE),
        "group in use": lambda: (
            neutron.put(f"/ports/{stage.port.id}", json={"port": {"security_groups": [stage.group]}}),
            neutron.delete(f"/security-groups/{stage.group}"),
        )[1],
        "group gone": lambda: neutron.delete(f"/security-groups/{GONE}"),
        "subnet in use": lambda: neutron.delete(f"/subnets/{stage.subnet}"),
        "network in use": lambda: neutron.delete(f"/networks/{stage.network}"),
        "token": lambda: neutron.get("/ports", headers={"X-Auth-Token": "none"}, authenticated=False),
    }


def image(stage: Stage) -> Refusals:
    """Glance's."""
    glance = stage.own.image
    return {
        "image gone": lambda: glance.get(f"/images/{GONE}"),
        "data of an image that is gone": lambda: glance.get(f"/images/{GONE}/file"),
        "format": lambda: glance.post("/images", json={"name": "x", "disk_format": "floppy"}),
        "name too long": lambda: glance.post("/images", json={"name": LONG}),
        "filter": lambda: glance.get("/images?sort_key=nothing"),
        "marker": lambda: glance.get(f"/images?marker={GONE}"),
        "delete what is gone": lambda: glance.delete(f"/images/{GONE}"),
        "token": lambda: glance.get("/images", headers={"X-Auth-Token": "none"}, authenticated=False),
    }


def identity(stage: Stage) -> Refusals:
    """Keystone's."""
    keystone = stage.own.identity
    base = stage.auth["auth_url"].rstrip("/")

    def log_in(**more: Any) -> Any:
        user = {"name": stage.name, "domain": {"id": "default"}, "password": "wrong"} | more
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
        return stage.own.session.post(f"{base}/auth/tokens", json=body, authenticated=False, raise_exc=False)

    return {
        "wrong password": log_in,
        "user gone": lambda: log_in(name="nobody"),
        "project gone": lambda: keystone.get(f"/projects/{GONE}"),
        "user not found": lambda: keystone.get(f"/users/{GONE}"),
        "name taken": lambda: keystone.post(
            "/projects", json={"project": {"name": stage.name, "domain_id": "default"}}
        ),
        "name too long": lambda: keystone.post("/projects", json={"project": {"name": LONG, "domain_id": "default"}}),
        "token": lambda: keystone.get("/projects", headers={"X-Auth-Token": "none"}, authenticated=False),
    }


def asked(stage: Stage) -> dict[str, Refusals]:
    """What is refused to an administrator with enough quota."""
    return {"Nova": compute(stage), "Cinder": block_storage(stage), "Neutron": network(stage), "Glance": image(stage),
            "Keystone": identity(stage)}  # fmt: skip


def shut(stage: Stage) -> dict[str, Refusals]:
    """What quotas refuse: of a project that may have no more."""
    project, admin = stage.project.id, stage.admin
    admin.set_compute_quotas(project, instances=1, cores=1, ram=1, server_groups=0, metadata_items=1)
    admin.set_volume_quotas(project, volumes=1, gigabytes=1, snapshots=0, per_volume_gigabytes=5)
    admin.set_network_quotas(project, port=0, floatingip=0, security_group=0, security_group_rule=0, network=0)

    def post(kind: str, **body: Any) -> Any:
        return stage.own.network.post(f"/{kind}s".replace("_", "-"), json={kind: body})

    group = {"name": "x", "policy": "affinity"}
    return {
        "Nova": {
            "quota of servers": stage.boot,
            "quota on a resize": lambda: stage.act(resize={"flavorRef": stage.larger}),
            "quota of server groups": lambda: stage.own.compute.post(
                "/os-server-groups", json={"server_group": group}, microversion="2.64"
            ),
            "quota of metadata": lambda: stage.boot(metadata={"a": "1", "b": "2", "c": "3"}),
        },
        "Cinder": {
            "quota of volumes": stage.order_volume,
            "quota of a volume's size": lambda: stage.order_volume(size=6),
            "quota of gigabytes": lambda: stage.change_volume(**{"os-extend": {"new_size": 2}}),
            "quota of a volume's size when it grows": lambda: stage.change_volume(**{"os-extend": {"new_size": 6}}),
            "quota of snapshots": lambda: stage.own.block_storage.post(
                "/snapshots", json={"snapshot": {"volume_id": stage.volume.id, "force": True}}
            ),
        },
        "Neutron": {
            "quota of ports": lambda: post("port", network_id=stage.network),
            "quota of public addresses": lambda: post("floatingip", floating_network_id=stage.external),
            "quota of security groups": lambda: post("security_group", name="x"),
            "quota of rules": lambda: post(
                "security_group_rule", security_group_id=stage.group, direction="ingress", ethertype="IPv4",
                protocol="udp", port_range_min=7, port_range_max=7,
            ),
        },
    }  # fmt: skip


def demoted(stage: Stage) -> dict[str, Refusals]:
    """What a plain member is refused."""
    identity = stage.admin.identity
    identity.unassign_project_role_from_user(
        stage.project, stage.user, identity.find_role("admin", ignore_missing=False)
    )
    stage.own = openstack.connect(region_name=stage.admin.config.region_name, **stage.auth)
    neutron, glance = stage.own.network, stage.own.image
    return {
        "Nova": {"policy": lambda: stage.act(**{"os-resetState": {"state": "error"}})},
        "Cinder": {"policy": lambda: stage.change_volume(**{"os-reset_status": {"status": "error"}})},
        "Neutron": {
            "policy": lambda: neutron.put(f"/networks/{stage.network}", json={"network": {"shared": True}}),
            "what others have": lambda: neutron.delete(f"/networks/{stage.external}"),
        },
        "Glance": {"policy": lambda: glance.delete(f"/images/{stage.image}")},
    }  # fmt: skip


def legible(text: str) -> str:
    """An answer as it can be kept: the same each time, and without addresses of this cloud."""
    seen: dict[str, str] = {}
    text = ID.sub(lambda found: seen.setdefault(found[0], f"id-{len(seen) + 1}"), text)
    return (
        re.sub(r"req-id-\d+|coffer-refused-[0-9a-f]{8}", "name", URL.sub("http://cloud.example.org/", text))
        .replace(LONG, "xxx")
        .replace(DATA, "eA==")
    )


def answer_of(ask: Callable[[], Any]) -> dict[str, Any]:
    """Status, type and text."""
    answer = ask()
    return {
        "status": answer.status_code,
        "content_type": answer.headers.get("content-type", ""),
        "body": legible(answer.text),
    }


def main() -> None:
    """Record; say on standard error what was not refused."""
    cloud, of_image, flavors = sys.argv[1:]
    first, larger = flavors.split(",")
    recorded: dict[str, Any] = {}
    with staged(cloud, of_image, (first, larger)) as stage:
        for prepare in (asked, shut, demoted):
            for service, refusals in prepare(stage).items():
                recorded |= {f"{service}: {what}": answer_of(ask) for what, ask in refusals.items()}
    for what in [each for each, answer in recorded.items() if answer["status"] < 400]:
        sys.stderr.write(f"{what}: answered {recorded.pop(what)}\n")
    json.dump(recorded, sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
