"""Neutron's routers: which external network the ports of a subnet can have floating IPs of."""

from collections.abc import Iterable
from typing import Any

from localcloud.http import Refusal
from localcloud.store import Doc


def router_of(wanted: Doc, networks: Iterable[Doc]) -> Doc:
    """A router with Neutron's defaults; Refusal for a gateway that is no external network."""
    gateway = (wanted.get("external_gateway_info") or {}).get("network_id")
    if gateway is not None and not any(each["id"] == gateway and each["router:external"] for each in networks):
        raise Refusal(400, f"Bad router request: Network {gateway} is not an external network.", "BadRequest")
    defaults = {"admin_state_up": True, "status": "ACTIVE", "routes": [], "ha": False, "distributed": False}
    return {**defaults, **wanted, "external_gateway_info": gateway and {"network_id": gateway}, "subnet_ids": []}


def with_interface(router: Doc, subnet: Doc, routers: Iterable[Doc]) -> Doc:
    """The router with an interface in a subnet, whose gateway address it takes; a subnet has one such router."""
    if any(subnet["id"] in each["subnet_ids"] for each in routers):
        raise Refusal(400, f"Bad router request: Router already has a port on subnet {subnet['id']}.", "BadRequest")
    if not subnet["gateway_ip"]:
        raise Refusal(400, "Bad router request: Subnet for router interface must have a gateway IP.", "BadRequest")
    return {**router, "subnet_ids": [*router["subnet_ids"], subnet["id"]]}


def without_interface(router: Doc, subnet_id: Any) -> Doc:
    """The router without its interface in a subnet."""
    if subnet_id not in router["subnet_ids"]:
        text = f"Router {router['id']} has no interface on subnet {subnet_id}"
        raise Refusal(404, text, "RouterInterfaceNotFoundForSubnet")
    return {**router, "subnet_ids": [each for each in router["subnet_ids"] if each != subnet_id]}


def refuse_used(router: Doc) -> None:
    """Refuse to delete a router that has interfaces."""
    if router["subnet_ids"]:
        raise Refusal(409, f"Router {router['id']} still has ports", "RouterInUse")


def reaching(routers: Iterable[Doc], external_id: str, port: Doc) -> Doc:
    """The router through which a port is reached from an external network; Refusal, as Neutron words it, if there is none."""
    subnet_id = port["fixed_ips"][0]["subnet_id"]
    for each in routers:
        if subnet_id in each["subnet_ids"] and (each["external_gateway_info"] or {}).get("network_id") == external_id:
            return each
    text = f"External network {external_id} is not reachable from subnet {subnet_id}."
    text += f"  Therefore, cannot associate Port {port['id']} with a Floating IP."
    raise Refusal(404, text, "ExternalGatewayForFloatingIPNotFound")
