"""Neutron v2.0: networks, subnets, ports, security groups, floating IPs, RBAC policies."""

import ipaddress
import random
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from localcloud.cloud import Cloud
from localcloud.http import Refusal, caller_of, empty, json_of, listing
from localcloud.identity import Caller
from localcloud.store import Doc, precise_now

COLLECTIONS = {
    "networks": "network",
    "subnets": "subnet",
    "ports": "port",
    "security-groups": "security_group",
    "security-group-rules": "security_group_rule",
    "floatingips": "floatingip",
    "rbac-policies": "rbac_policy",
}
ADMIN_ONLY = {"shared", "router:external"}
CONTROLS = {"limit", "marker", "sort_key", "sort_dir", "fields", "page_reverse"}


class Networks:
    """The network service: one set of routes for all collections, one maker per kind."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._store = cloud.store
        self._makers: dict[str, Callable[[Caller, Doc], Doc]] = {
            "network": self._network,
            "subnet": self._subnet,
            "port": self._port,
            "security_group": self._security_group,
            "security_group_rule": self._rule,
            "floatingip": self._floating_ip,
            "rbac_policy": self._rbac_policy,
        }

    def routes(self) -> list[Route]:
        """Paths below `/network/v2.0`."""
        return [
            Route("/extensions", self.extensions, methods=["GET"]),
            Route("/extensions/{alias}", self.extension, methods=["GET"]),
            Route("/quotas/{project}", self.quotas, methods=["GET"]),
            Route("/{collection}", self.index, methods=["GET"]),
            Route("/{collection}", self.create, methods=["POST"]),
            Route("/{collection}/{id}", self.show, methods=["GET"]),
            Route("/{collection}/{id}", self.update, methods=["PUT"]),
            Route("/{collection}/{id}", self.delete, methods=["DELETE"]),
            Route("/{collection}/{id}/tags", self.tag, methods=["PUT"]),
        ]

    async def extensions(self, request: Request) -> Response:
        """What is served beyond the core."""
        names = ("security-group", "rbac-policies", "standard-attr-tag", "router", "external-net")
        return JSONResponse({"extensions": [{"alias": each, "name": each, "links": []} for each in names]})

    async def extension(self, request: Request) -> Response:
        """One of them."""
        return JSONResponse({"extension": {"alias": request.path_params["alias"], "name": "", "links": []}})

    async def quotas(self, request: Request) -> Response:
        """Ceilings of a project."""
        return JSONResponse({"quota": {"port": self._cloud.settings.quota_ports}})

    # -- the collections ---------------------------------------------------------------------------------------------

    def _kind(self, request: Request) -> tuple[str, str]:
        collection = request.path_params["collection"]
        kind = COLLECTIONS.get(collection)
        if kind is None:
            raise Refusal(404, "The resource could not be found.", "HTTPNotFound")
        return kind, collection.replace("-", "_")

    def _visible(self, kind: str, caller: Caller) -> list[Doc]:
        found = list(self._store.all(kind))
        if caller.is_admin:
            return found
        if kind == "network":
            return [each for each in found if self._may_use(each, caller.project_id)]
        if kind == "subnet":
            networks = {each["id"] for each in self._visible("network", caller)}
            return [each for each in found if each["network_id"] in networks]
        return [each for each in found if each["project_id"] == caller.project_id]

    def _may_use(self, network: Doc, project_id: str) -> bool:
        if network["project_id"] == project_id or network["shared"] or network["router:external"]:
            return True
        return any(
            each["object_id"] == network["id"] and each["target_tenant"] in (project_id, "*")
            for each in self._store.all("rbac_policy")
            if each["action"] == "access_as_shared"
        )

    async def index(self, request: Request) -> Response:
        """A collection, filtered by attributes as Neutron does."""
        kind, key = self._kind(request)
        found = self._visible(kind, caller_of(request))
        for name in set(request.query_params) - CONTROLS:
            wanted = set(request.query_params.getlist(name))
            found = [each for each in found if _matches(each, name, wanted)]
        return listing(request, key, [self._view(kind, each) for each in found])

    def _get(self, request: Request) -> tuple[str, Doc]:
        kind, _ = self._kind(request)
        for each in self._visible(kind, caller_of(request)):
            if each["id"] == request.path_params["id"]:
                return kind, each
        name = kind.title().replace("_", "")
        raise Refusal(404, f"{name} {request.path_params['id']} could not be found.", f"{name}NotFound")

    async def show(self, request: Request) -> Response:
        """One of a collection."""
        kind, found = self._get(request)
        return JSONResponse({kind: self._view(kind, found)})

    async def create(self, request: Request) -> Response:
        """201 and the new one; the kind's maker decides."""
        kind, _ = self._kind(request)
        wanted = (await json_of(request)).get(kind)
        if not isinstance(wanted, dict):
            raise Refusal(400, f"Unable to find '{kind}' in request body", "HTTPBadRequest")
        caller = caller_of(request)
        if ADMIN_ONLY & {key for key, value in wanted.items() if value} and not caller.is_admin:
            raise Refusal(403, f"((rule:create_{kind}) is disallowed by policy", "PolicyNotAuthorized")
        project = wanted.get("project_id") or wanted.get("tenant_id") or caller.project_id
        base: Doc = {"id": str(uuid4()), "name": wanted.get("name") or "", "description": wanted.get("description") or "",
                "created_at": precise_now(), "tags": [],
                "project_id": project if caller.is_admin else caller.project_id}  # fmt: skip
        made = self._makers[kind](caller, {**base, **{key: value for key, value in wanted.items() if key not in base}})
        made.pop("tenant_id", None)
        return JSONResponse({kind: self._view(kind, self._store.put(kind, made))}, 201)

    def _own(self, request: Request) -> tuple[str, Doc]:
        """What the caller may change: a thing that is seen because it is shared is not its own."""
        kind, found = self._get(request)
        self._refuse_foreign(kind, found, caller_of(request))
        return kind, found

    def _refuse_foreign(self, kind: str, found: Doc, caller: Caller) -> None:
        if found["project_id"] != caller.project_id and not caller.is_admin:
            name = kind.title().replace("_", "")
            raise Refusal(404, f"{name} {found['id']} could not be found.", f"{name}NotFound")

    async def update(self, request: Request) -> Response:
        """New values for the attributes that are sent."""
        kind, found = self._own(request)
        changes = (await json_of(request)).get(kind) or {}
        kept = {key: value for key, value in changes.items() if key not in ("id", "project_id", "tenant_id")}
        return JSONResponse({kind: self._view(kind, self._store.put(kind, {**found, **kept}))})

    async def tag(self, request: Request) -> Response:
        """Replace the tags."""
        kind, found = self._own(request)
        tags = (await json_of(request)).get("tags") or []
        self._store.put(kind, {**found, "tags": tags})
        return JSONResponse({"tags": tags})

    async def delete(self, request: Request) -> Response:
        """204; refused while something else needs it."""
        kind, found = self._own(request)
        self._refuse_used(kind, found)
        if kind == "security_group":
            for each in self._store.all("security_group_rule"):
                if each["security_group_id"] == found["id"]:
                    self._store.drop("security_group_rule", each["id"])
        if kind == "network":
            for each in self._store.all("subnet"):
                if each["network_id"] == found["id"]:
                    self._store.drop("subnet", each["id"])
        if kind == "port":
            for each in self._store.all("floatingip"):
                if each["port_id"] == found["id"]:
                    self._store.put("floatingip", {**each, "port_id": None, "fixed_ip_address": None})
        self._store.drop(kind, found["id"])
        return empty()

    def _refuse_used(self, kind: str, found: Doc) -> None:
        ports = list(self._store.all("port"))
        if kind == "security_group" and any(found["id"] in each["security_groups"] for each in ports):
            raise Refusal(409, f"Security Group {found['id']} in use.", "SecurityGroupInUse")
        if kind == "network" and any(each["network_id"] == found["id"] for each in ports):
            text = f"Unable to complete operation on network {found['id']}. There are one or more ports still in use on it."
            raise Refusal(409, text, "NetworkInUse")

    def _view(self, kind: str, doc: Doc) -> Doc:
        shown = {**doc, "tenant_id": doc["project_id"]}
        if kind == "network":
            shown["subnets"] = [each["id"] for each in self._store.all("subnet") if each["network_id"] == doc["id"]]
        if kind == "security_group":
            rules = [each for each in self._store.all("security_group_rule") if each["security_group_id"] == doc["id"]]
            shown["security_group_rules"] = [self._view("security_group_rule", each) for each in rules]
        return shown

    # -- the makers --------------------------------------------------------------------------------------------------

    def _network(self, caller: Caller, wanted: Doc) -> Doc:
        defaults = {"shared": False, "router:external": False, "admin_state_up": True, "status": "ACTIVE", "mtu": 65536,
                    "port_security_enabled": True, "availability_zones": ["nova"]}  # fmt: skip
        return {**defaults, **wanted}

    def _subnet(self, caller: Caller, wanted: Doc) -> Doc:
        self._require("network", wanted.get("network_id"))
        try:
            cidr = ipaddress.ip_network(str(wanted.get("cidr")))
        except ValueError as error:
            raise Refusal(400, f"Invalid input for cidr. Reason: {error}.", "HTTPBadRequest") from error
        pool = {"start": str(cidr[10]), "end": str(cidr[-2])}
        defaults = {"gateway_ip": None, "enable_dhcp": True, "dns_nameservers": [], "host_routes": [],
                    "ip_version": cidr.version, "allocation_pools": [pool], "ipv6_ra_mode": None,
                    "ipv6_address_mode": None, "subnetpool_id": None}  # fmt: skip
        return {**defaults, **wanted}

    def _require(self, kind: str, key: Any) -> Doc:
        found = self._store.get(kind, key) if isinstance(key, str) else None
        if found is None:
            name = kind.title().replace("_", "")
            raise Refusal(404, f"{name} {key} could not be found.", f"{name}NotFound")
        return found

    def _port(self, caller: Caller, wanted: Doc) -> Doc:
        network = self._require("network", wanted.get("network_id"))
        if not caller.is_admin and not self._may_use(network, caller.project_id):
            raise Refusal(404, f"Network {network['id']} could not be found.", "NetworkNotFound")
        mine = [each for each in self._store.all("port") if each["project_id"] == wanted["project_id"]]
        if len(mine) >= self._cloud.settings.quota_ports:
            raise Refusal(409, "Quota exceeded for resources: ['port'].", "OverQuota")
        for group in wanted.get("security_groups") or []:
            self._refuse_foreign("security_group", self._require("security_group", group), caller)
        defaults = {"device_id": "", "device_owner": "", "status": "DOWN", "admin_state_up": True,
                    "mac_address": _mac(), "security_groups": wanted.get("security_groups") or [],
                    "allowed_address_pairs": [], "binding:vnic_type": "normal", "port_security_enabled": True}  # fmt: skip
        fixed = self._fixed_ips(network, wanted.get("fixed_ips") or [{}])
        return {**defaults, **wanted, "fixed_ips": fixed}

    def _fixed_ips(self, network: Doc, wanted: list[Doc]) -> list[Doc]:
        subnets = [each for each in self._store.all("subnet") if each["network_id"] == network["id"]]
        return [self._fixed_ip(subnets, each) for each in wanted] if subnets else []

    def _fixed_ip(self, subnets: list[Doc], wanted: Doc) -> Doc:
        chosen = [each for each in subnets if wanted.get("subnet_id") in (None, each["id"])]
        if not chosen:
            raise Refusal(400, f"Invalid input for operation: Subnet {wanted.get('subnet_id')} is not on the network.",
                          "InvalidInput")  # fmt: skip
        taken, address = self._taken(), wanted.get("ip_address")
        if address is not None:
            subnet = next((each for each in chosen if _inside(address, each["cidr"])), None)
            if subnet is None:
                raise Refusal(
                    400, f"IP address {address} is not a valid IP for the specified subnet.", "InvalidIpForSubnet"
                )
            if address in taken:
                text = f"Unable to complete operation for network. The IP address {address} is in use."
                raise Refusal(409, text, "IpAddressInUse")
            return {"subnet_id": subnet["id"], "ip_address": address}
        for subnet in chosen:
            for free in _pool(subnet):
                if free not in taken:
                    return {"subnet_id": subnet["id"], "ip_address": free}
        raise Refusal(409, "No more IP addresses available on network.", "IpAddressGenerationFailure")

    def _taken(self) -> set[str]:
        ports = {ip["ip_address"] for port in self._store.all("port") for ip in port["fixed_ips"]}
        return ports | {each["floating_ip_address"] for each in self._store.all("floatingip")}

    def _security_group(self, caller: Caller, wanted: Doc) -> Doc:
        for version in ("IPv4", "IPv6"):
            rule = {"id": str(uuid4()), "project_id": wanted["project_id"], "security_group_id": wanted["id"],
                    "direction": "egress", "ethertype": version, "protocol": None, "port_range_min": None,
                    "port_range_max": None, "remote_ip_prefix": None, "remote_group_id": None,
                    "description": "", "created_at": precise_now(), "tags": []}  # fmt: skip
            self._store.put("security_group_rule", rule)
        return {"stateful": True, "shared": False, **wanted}

    def _rule(self, caller: Caller, wanted: Doc) -> Doc:
        self._refuse_foreign("security_group", self._require("security_group", wanted.get("security_group_id")), caller)
        defaults = {"direction": "ingress", "ethertype": "IPv4", "protocol": None, "port_range_min": None,
                    "port_range_max": None, "remote_ip_prefix": None, "remote_group_id": None}  # fmt: skip
        rule = {**defaults, **wanted}
        prefix = rule["remote_ip_prefix"]
        try:
            ipaddress.ip_network(prefix or "0.0.0.0/0", strict=False)
        except ValueError as error:
            raise Refusal(400, f"Invalid input for remote_ip_prefix. Reason: {error}", "HTTPBadRequest") from error
        same = ("security_group_id", *defaults)
        for each in self._store.all("security_group_rule"):
            if all(each[key] == rule[key] for key in same):
                raise Refusal(409, f"Security group rule already exists. Rule id is {each['id']}.",
                              "SecurityGroupRuleExists")  # fmt: skip
        return rule

    def _floating_ip(self, caller: Caller, wanted: Doc) -> Doc:
        network = self._require("network", wanted.get("floating_network_id"))
        if not network["router:external"]:
            raise Refusal(400, f"Bad floatingip request: Network {network['id']} is not a valid external network.",
                          "BadRequest")  # fmt: skip
        port = self._require("port", wanted["port_id"]) if wanted.get("port_id") else None
        if port is not None:
            self._refuse_foreign("port", port, caller)
        address = self._fixed_ips(network, [{}])
        if not address:
            raise Refusal(409, "No more IP addresses available on network.", "ExternalIpAddressExhausted")
        fixed = port["fixed_ips"][0]["ip_address"] if port and port["fixed_ips"] else None
        return {**wanted, "port_id": port["id"] if port else None, "fixed_ip_address": fixed, "router_id": None,
                "floating_ip_address": address[0]["ip_address"], "status": "ACTIVE" if port else "DOWN"}  # fmt: skip

    def _rbac_policy(self, caller: Caller, wanted: Doc) -> Doc:
        self._require("network", wanted.get("object_id"))
        return {"object_type": "network", "action": "access_as_shared", **wanted}


def _matches(doc: Doc, name: str, wanted: set[str]) -> bool:
    key = {"tenant_id": "project_id", "ethertype": "ethertype"}.get(name, name)
    if key == "fixed_ips":
        pairs = {f"{k}={v}" for ip in doc.get("fixed_ips", []) for k, v in ip.items()}
        return bool(wanted & pairs)
    if key == "tags":
        return {tag for each in wanted for tag in each.split(",")} <= set(doc.get("tags", []))
    value = doc.get(key)
    if isinstance(value, bool):
        return str(value).lower() in {each.lower() for each in wanted}
    if isinstance(value, list):
        return bool(wanted & set(value))
    return ("" if value is None else str(value)) in wanted


def _inside(address: str, cidr: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(cidr)
    except ValueError:
        return False


def _pool(subnet: Doc) -> Any:
    for pool in subnet["allocation_pools"]:
        first, last = ipaddress.ip_address(pool["start"]), ipaddress.ip_address(pool["end"])
        for number in range(int(first), int(last) + 1):
            yield str(ipaddress.ip_address(number))


def _mac() -> str:
    return "fa:16:3e:" + ":".join(f"{random.randrange(256):02x}" for _ in range(3))
