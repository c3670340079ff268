"""Neutron v2.0: networks, subnets, ports, security groups, routers, floating IPs, RBAC policies."""

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from localcloud import addresses, routers, rules
from localcloud.cloud import Cloud
from localcloud.hostnetwork import taken_by_host
from localcloud.http import LONGEST, Refusal, caller_of, empty, json_of, listing, overlong
from localcloud.identity import Caller
from localcloud.store import Doc, precise_now

COLLECTIONS = {
    "networks": "network",
    "subnets": "subnet",
    "ports": "port",
    "routers": "router",
    "security-groups": "security_group",
    "security-group-rules": "security_group_rule",
    "floatingips": "floatingip",
    "rbac-policies": "rbac_policy",
}
FIXED = {  # attributes that no update changes
    "subnet": ("cidr", "network_id", "ip_version", "gateway_ip", "allocation_pools"),
    "port": ("network_id", "mac_address", "device_id", "device_owner", "status"),
    "floatingip": ("floating_network_id", "floating_ip_address", "fixed_ip_address", "status"),
    "security_group_rule": ("security_group_id", *rules.DEFAULTS),
}
DEFAULT_GROUP = "default"
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
            "router": self._router,
            "floatingip": self._floating_ip,
            "rbac_policy": self._rbac_policy,
        }
        self._changes: dict[str, Callable[[Caller, Doc, Doc], Doc]] = {
            "port": self._changed_port,
            "floatingip": self._changed_floating_ip,
            "security_group": self._changed_group,
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
            Route("/routers/{id}/{verb}", self.change_interfaces, methods=["PUT"]),
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
        if kind == "security_group":
            self._default_group(caller_of(request).project_id)
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
        if name := overlong(wanted):
            text = f"Invalid input for {name}. Reason: '{wanted[name]}' exceeds maximum length of {LONGEST}."
            raise Refusal(400, text, "HTTPBadRequest")
        caller = caller_of(request)
        if ADMIN_ONLY & {key for key, value in wanted.items() if value} and not caller.is_admin:
            raise Refusal(403, f"((rule:create_{kind}) is disallowed by policy", "PolicyNotAuthorized")
        project = wanted.get("project_id") or wanted.get("tenant_id") or caller.project_id
        base: Doc = {"id": str(uuid4()), "name": wanted.get("name") or "", "description": wanted.get("description") or "",
                "created_at": precise_now(), "tags": [],
                "project_id": project if caller.is_admin else caller.project_id}  # fmt: skip
        made = self._makers[kind](caller, {**base, **{key: value for key, value in wanted.items() if key not in base}})
        made.pop("tenant_id", None)
        made = self._store.put(kind, made)
        await self._cloud.host_network.sync()
        return JSONResponse({kind: self._view(kind, made)}, 201)

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
        fixed = {"id", "project_id", "tenant_id", *FIXED.get(kind, ())}
        for key in fixed & changes.keys() - {"tenant_id"}:
            if changes[key] != found.get(key):
                raise Refusal(400, f"Attribute '{key}' not allowed in PUT", "HTTPBadRequest")
        kept = {key: value for key, value in changes.items() if key not in fixed}
        check = self._changes.get(kind)
        changed = check(caller_of(request), found, kept) if check else kept
        current = self._store.put(kind, {**found, **changed})
        await self._cloud.host_network.sync()
        return JSONResponse({kind: self._view(kind, current)})

    async def tag(self, request: Request) -> Response:
        """Replace the tags."""
        kind, found = self._own(request)
        tags = (await json_of(request)).get("tags") or []
        self._store.put(kind, {**found, "tags": tags})
        return JSONResponse({"tags": tags})

    async def change_interfaces(self, request: Request) -> Response:
        """`add_router_interface` and `remove_router_interface`, by subnet."""
        router = self._owned("router", request.path_params["id"], caller_of(request))
        subnet = self._require("subnet", (await json_of(request)).get("subnet_id"))
        verb = request.path_params["verb"]
        if verb == "add_router_interface":
            changed = routers.with_interface(router, subnet, self._store.all("router"))
        elif verb == "remove_router_interface":
            changed = routers.without_interface(router, subnet["id"])
        else:
            raise Refusal(404, "The resource could not be found.", "HTTPNotFound")
        self._store.put("router", changed)
        return JSONResponse({"id": router["id"], "subnet_id": subnet["id"], "tenant_id": router["project_id"]})

    def _owned(self, kind: str, key: Any, caller: Caller) -> Doc:
        """What a request names, and the caller may use; Refusal else."""
        found = self._require(kind, key)
        self._refuse_foreign(kind, found, caller)
        return found

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
        await self._cloud.host_network.sync()
        return empty()

    def _refuse_used(self, kind: str, found: Doc) -> None:
        ports = list(self._store.all("port"))
        if kind == "security_group" and found["name"] == DEFAULT_GROUP:
            raise Refusal(409, "Insufficient rights for removing default security group.",
                          "SecurityGroupCannotRemoveDefault")  # fmt: skip
        used = {ip["subnet_id"] for port in ports for ip in port["fixed_ips"]}
        if kind == "subnet" and found["id"] in used:
            text = "One or more ports have an IP allocation from this subnet."
            text = f"Unable to complete operation on subnet {found['id']}: {text}"
            raise Refusal(409, text, "SubnetInUse")
        if kind == "security_group" and any(found["id"] in each["security_groups"] for each in ports):
            raise Refusal(409, f"Security Group {found['id']} in use.", "SecurityGroupInUse")
        if kind == "router":
            routers.refuse_used(found)
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
        defaults = {"shared": False, "router:external": False, "admin_state_up": True, "status": "ACTIVE", "mtu": 1500,
                    "port_security_enabled": True, "availability_zones": ["nova"]}  # fmt: skip
        return {**defaults, **wanted}

    def _subnet(self, caller: Caller, wanted: Doc) -> Doc:
        self._owned("network", wanted.get("network_id"), caller)
        subnet = addresses.subnet_of(wanted)
        if self._cloud.host_network.isolated:
            overlapping = taken_by_host(ip_network(subnet["cidr"]))
            addresses.refuse_unroutable(subnet, list(self._store.all("subnet")), overlapping)
        return subnet

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
        mac = addresses.mac_of(wanted.get("mac_address") or addresses.new_mac())
        self._refuse_taken_mac(network, mac)
        defaults = {"device_id": "", "device_owner": "", "status": "DOWN", "admin_state_up": True,
                    "allowed_address_pairs": [], "binding:vnic_type": "normal", "port_security_enabled": True}  # fmt: skip
        port = {**defaults, **wanted, "mac_address": mac}
        if "security_groups" not in wanted and port["port_security_enabled"]:
            port["security_groups"] = [self._default_group(port["project_id"])["id"]]
        self._check_security(caller, network, port)
        return {**port, "fixed_ips": self._fixed_ips(network, wanted.get("fixed_ips") or [{}])}

    def _refuse_taken_mac(self, network: Doc, mac: str) -> None:
        if any(each["mac_address"] == mac and each["network_id"] == network["id"] for each in self._store.all("port")):
            text = f"Unable to complete operation for network {network['id']}. The mac address {mac} is in use."
            raise Refusal(409, text, "MacAddressInUse")

    def _check_security(self, caller: Caller, network: Doc, port: Doc) -> None:
        """The port's groups are there and the caller's; only the network's owner may do without."""
        port["security_groups"] = list(dict.fromkeys(port.get("security_groups") or []))
        for group in port["security_groups"]:
            self._owned("security_group", group, caller)
        if port["port_security_enabled"] is True:
            return
        if network["project_id"] != caller.project_id and not caller.is_admin:
            text = "((rule:create_port and rule:create_port:port_security_enabled) is disallowed by policy"
            raise Refusal(403, text, "PolicyNotAuthorized")
        if port["security_groups"]:
            text = "Port Security must be enabled in order to have allowed address pairs or security groups on a port."
            raise Refusal(409, text, "PortSecurityAndIPRequiredForSecurityGroups")

    def _changed_port(self, caller: Caller, port: Doc, changes: Doc) -> Doc:
        network = self._require("network", port["network_id"])
        self._check_security(caller, network, changed := {**port, **changes})
        if "fixed_ips" in changes:
            own = {each["ip_address"] for each in port["fixed_ips"]}
            changed["fixed_ips"] = self._fixed_ips(network, changes["fixed_ips"] or [], but=own)
        return changed

    def _fixed_ips(self, network: Doc, wanted: list[Doc], but: set[str] | None = None) -> list[Doc]:
        subnets = [each for each in self._store.all("subnet") if each["network_id"] == network["id"]]
        taken = self._taken() - (but or set())
        found: list[Doc] = []
        for each in wanted if subnets else []:
            found.append(_fixed_ip(subnets, each, taken))
            taken.add(found[-1]["ip_address"])
        return found

    def _taken(self) -> set[str]:
        ports = {ip["ip_address"] for port in self._store.all("port") for ip in port["fixed_ips"]}
        gateways = {each["gateway_ip"] for each in self._store.all("subnet") if each["gateway_ip"]}
        return ports | gateways | {each["floating_ip_address"] for each in self._store.all("floatingip")}

    def _security_group(self, caller: Caller, wanted: Doc) -> Doc:
        self._default_group(wanted["project_id"])
        if wanted["name"] == DEFAULT_GROUP:
            raise Refusal(409, "Default security group already exists.", "SecurityGroupDefaultAlreadyExists")
        return self._new_group(wanted)

    def _new_group(self, wanted: Doc) -> Doc:
        for version in ("IPv4", "IPv6"):
            self._put_rule(wanted, direction="egress", ethertype=version)
        return {"stateful": True, "shared": False, **wanted}

    def _put_rule(self, group: Doc, **said: Any) -> None:
        rule = {"id": str(uuid4()), "project_id": group["project_id"], "security_group_id": group["id"],
                "description": "", "created_at": precise_now(), "tags": [], **rules.DEFAULTS, **said}  # fmt: skip
        self._store.put("security_group_rule", rule)

    def _default_group(self, project_id: str) -> Doc:
        """The group of ports for which none was said: its members reach each other. Made when it is first needed."""
        for each in self._store.all("security_group"):
            if each["project_id"] == project_id and each["name"] == DEFAULT_GROUP:
                return each
        group = {"id": str(uuid4()), "name": DEFAULT_GROUP, "description": "Default security group",
                 "created_at": precise_now(), "tags": [], "project_id": project_id}  # fmt: skip
        for version in ("IPv4", "IPv6"):
            self._put_rule(group, direction="ingress", ethertype=version, remote_group_id=group["id"])
        return self._store.put("security_group", self._new_group(group))

    def _changed_group(self, caller: Caller, group: Doc, changes: Doc) -> Doc:
        if (
            DEFAULT_GROUP in (group["name"], changes.get("name"))
            and changes.get("name", group["name"]) != group["name"]
        ):
            raise Refusal(409, "Updating default security group not allowed.", "SecurityGroupCannotUpdateDefault")
        return changes

    def _rule(self, caller: Caller, wanted: Doc) -> Doc:
        self._owned("security_group", wanted.get("security_group_id"), caller)
        rule = rules.checked(wanted)
        if rule["remote_group_id"]:
            self._owned("security_group", rule["remote_group_id"], caller)
        same = ("security_group_id", *rules.DEFAULTS)
        for each in self._store.all("security_group_rule"):
            if all(each[key] == rule[key] for key in same):
                raise Refusal(409, f"Security group rule already exists. Rule id is {each['id']}.",
                              "SecurityGroupRuleExists")  # fmt: skip
        return rule

    def _router(self, caller: Caller, wanted: Doc) -> Doc:
        return routers.router_of(wanted, self._store.all("network"))

    def _floating_ip(self, caller: Caller, wanted: Doc) -> Doc:
        network = self._require("network", wanted.get("floating_network_id"))
        if not network["router:external"]:
            raise Refusal(400, f"Bad floatingip request: Network {network['id']} is not a valid external network.",
                          "BadRequest")  # fmt: skip
        address = self._fixed_ips(network, [{}])
        if not address:
            raise Refusal(409, "No more IP addresses available on network.", "ExternalIpAddressExhausted")
        floating = {**wanted, "floating_ip_address": address[0]["ip_address"]}
        return {**floating, **self._bound(caller, floating, wanted.get("port_id"))}

    def _bound(self, caller: Caller, floating: Doc, port_id: str | None) -> Doc:
        """What binding a floating IP to a port changes, or to none."""
        if not port_id:
            return {"port_id": None, "fixed_ip_address": None, "router_id": None, "status": "DOWN"}
        port = self._owned("port", port_id, caller)
        if not port["fixed_ips"]:
            text = f"Bad floatingip request: Cannot add floating IP to port {port_id} that has no fixed IPv4 addresses."
            raise Refusal(400, text, "BadRequest")
        fixed = port["fixed_ips"][0]["ip_address"]
        others = [each for each in self._store.all("floatingip") if each["id"] != floating["id"]]
        if any(each["fixed_ip_address"] == fixed for each in others):
            public, network = floating["floating_ip_address"], floating["floating_network_id"]
            text = (
                f"Cannot associate floating IP {public} with port {port_id} using fixed IP {fixed}, as that fixed IP"
                f" already has a floating IP on external network {network}."
            )
            raise Refusal(409, text, "FloatingIPPortAlreadyAssociated")
        router = routers.reaching(self._store.all("router"), floating["floating_network_id"], port)
        return {"port_id": port_id, "fixed_ip_address": fixed, "router_id": router["id"], "status": "ACTIVE"}

    def _changed_floating_ip(self, caller: Caller, floating: Doc, changes: Doc) -> Doc:
        return {**changes, **(self._bound(caller, floating, changes["port_id"]) if "port_id" in changes else {})}

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


def _fixed_ip(subnets: list[Doc], wanted: Doc, taken: set[str]) -> Doc:
    chosen = [each for each in subnets if wanted.get("subnet_id") in (None, each["id"])]
    if not chosen:
        text = f"Invalid input for operation: Subnet {wanted.get('subnet_id')} is not on the network."
        raise Refusal(400, text, "InvalidInput")
    address = wanted.get("ip_address")
    if address is None:
        for subnet in chosen:
            if free := addresses.free_in(subnet, taken):
                return {"subnet_id": subnet["id"], "ip_address": free}
        raise Refusal(409, "No more IP addresses available on network.", "IpAddressGenerationFailure")
    for subnet in chosen:
        if addresses.inside(address, subnet["cidr"]):
            if address in taken:
                text = f"Unable to complete operation for network. The IP address {address} is in use."
                raise Refusal(409, text, "IpAddressInUse")
            return {"subnet_id": subnet["id"], "ip_address": address}
    text = f"IP address {address} is not a valid IP for the specified subnet."
    raise Refusal(400, text, "InvalidIpForSubnet")
