"""Nova v2.1: servers, flavors, server groups."""

import re
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from localcloud.actions import ACTIONS, begun
from localcloud.cloud import Cloud
from localcloud.http import ZONE, Refusal, caller_of, empty, json_of, listing
from localcloud.identity import Caller
from localcloud.image import images_of
from localcloud.store import Doc, now, precise_now
from localcloud.tree import USERS_PER_SERVER


class Servers:
    """Servers and what can be done with them."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._store = cloud.store

    def routes(self) -> list[Route]:
        """Paths below `/compute/v2.1`."""
        return [
            Route("/servers", self.create, methods=["POST"]),
            Route("/servers", self.index, methods=["GET"]),
            Route("/servers/detail", self.index, methods=["GET"]),
            Route("/servers/{id}", self.show, methods=["GET"]),
            Route("/servers/{id}", self.update, methods=["PUT"]),
            Route("/servers/{id}", self.delete, methods=["DELETE"]),
            Route("/servers/{id}/action", self.act, methods=["POST"]),
            Route("/servers/{id}/os-volume_attachments", self.attachments, methods=["GET"]),
            Route("/servers/{id}/os-interface", self.interfaces, methods=["GET"]),
            Route("/limits", self.limits, methods=["GET"]),
        ]

    # -- create ------------------------------------------------------------------------------------------------------

    async def create(self, request: Request) -> Response:
        """202 and a server that is being built."""
        caller, body = caller_of(request), await json_of(request)
        wanted = body.get("server")
        if not isinstance(wanted, dict) or not wanted.get("name"):
            raise Refusal(400, "Invalid input for field/attribute server.")
        flavor = self._flavor(wanted.get("flavorRef"))
        image = self._image(wanted)
        _check_fits(flavor, image)
        if str(wanted.get("availability_zone") or ZONE).partition(":")[0] != ZONE:
            raise Refusal(400, "The requested availability zone is not available")
        self._charge(caller, flavor)
        server_id = str(uuid4())
        volumes = self._volumes(wanted, caller, server_id)
        ports, own = self._ports(wanted, caller, server_id)
        server = self._store.put(
            "server",
            {
                "id": server_id,
                "name": wanted["name"],
                "status": "BUILD",
                "task_state": "spawning",
                "vm_state": "building",
                "image_id": image["id"],
                "image_name": image["name"],
                "flavor": flavor,
                "metadata": wanted.get("metadata") or {},
                "tags": wanted.get("tags") or [],
                "user_data": wanted.get("user_data"),
                "availability_zone": ZONE,
                "group": _hints(body).get("group"),
                "volumes": volumes,
                "ports": ports,
                "own_ports": own,
                "uid": self._free_uid(),
                "fault": None,
                "created_at": precise_now(),
                "project_id": caller.project_id,
                "user_id": caller.user_id,
            },
        )
        self._join_group(server)
        self._cloud.later(self._cloud.build_server(server_id))
        links = [{"rel": "self", "href": f"{request.url}/{server_id}"}]
        answer = {"id": server_id, "links": links, "OS-DCF:diskConfig": "MANUAL", "adminPass": uuid4().hex[:12],
                  "security_groups": []}  # fmt: skip
        return JSONResponse({"server": answer}, 202)

    def _flavor(self, wanted: Any) -> Doc:
        found = self._store.get("flavor", str(wanted).rstrip("/").rsplit("/", 1)[-1])
        if found is None:
            raise Refusal(400, "Invalid flavorRef provided.")
        return found

    def _image(self, wanted: Doc) -> Doc:
        refs = [wanted.get("imageRef")]
        refs += [
            each["uuid"]
            for each in wanted.get("block_device_mapping_v2") or []
            if each.get("source_type") == "image" and each.get("boot_index") in (0, "0")
        ]
        for each in images_of(self._cloud):
            if each["id"] in refs:
                return each
        raise Refusal(400, "Invalid imageRef provided.")

    def _charge(self, caller: Caller, flavor: Doc) -> None:
        mine = [each for each in self._store.all("server") if each["project_id"] == caller.project_id]
        settings = self._cloud.settings
        uses = {
            "instances": (1, len(mine), settings.quota_servers),
            "cores": (flavor["vcpus"], sum(each["flavor"]["vcpus"] for each in mine), settings.quota_cores),
        }
        for name, (more, used, ceiling) in uses.items():
            if used + more > ceiling:
                text = f"Quota exceeded for {name}: Requested {more}, but already used {used} of {ceiling} {name}"
                raise Refusal(403, text)

    def _volumes(self, wanted: Doc, caller: Caller, server_id: str) -> list[str]:
        ids = [
            each["uuid"] for each in wanted.get("block_device_mapping_v2") or [] if each.get("source_type") == "volume"
        ]
        for each in ids:
            volume = self._store.get("volume", each)
            if volume is None or (volume["project_id"] != caller.project_id and not caller.is_admin):
                raise Refusal(400, f"Block Device Mapping is Invalid: failed to get volume {each}.")
            if volume["status"] != "available":
                text = f"Invalid volume: volume {each} status must be 'available', but it is '{volume['status']}'"
                raise Refusal(400, text)
        for each in ids:
            self._store.put("volume", {**(self._store.get("volume", each) or {}), "status": "reserved",
                                           "server_id": server_id})  # fmt: skip
        return ids

    def _ports(self, wanted: Doc, caller: Caller, server_id: str) -> tuple[list[str], list[str]]:
        networks = wanted.get("networks")
        if not isinstance(networks, list):
            return [], []
        bound: list[str] = []
        for each in networks:
            port = self._store.get("port", each.get("port", ""))
            if port is None or (port["project_id"] != caller.project_id and not caller.is_admin):
                raise Refusal(400, f"Port id {each.get('port')} could not be found.")
            if port["device_id"]:
                raise Refusal(409, f"Port {port['id']} is still in use.")
            bound.append(port["id"])
        for port_id in bound:
            port = self._store.get("port", port_id) or {}
            owner = {"device_id": server_id, "device_owner": "compute:nova", "status": "ACTIVE"}
            self._store.put("port", {**port, **owner})
        return bound, []

    def _free_uid(self) -> int:
        used = {each["uid"] for each in self._store.all("server")}
        every = range(self._cloud.settings.first_uid, 2**31, USERS_PER_SERVER)
        return next(each for each in every if each not in used)

    def _join_group(self, server: Doc) -> None:
        group = self._store.get("server_group", server["group"]) if server["group"] else None
        if group is not None:
            self._store.put("server_group", {**group, "members": [*group["members"], server["id"]]})

    # -- read --------------------------------------------------------------------------------------------------------

    async def index(self, request: Request) -> Response:
        """Servers by name (a regular expression), status, tags."""
        asked, caller = request.query_params, caller_of(request)
        found = self._cloud.seen("server", caller, every_project=asked.get("all_tenants", "").lower() in ("1", "true"))
        if "name" in asked:
            found = [each for each in found if re.search(asked["name"], each["name"])]
        if "status" in asked:
            found = [each for each in found if each["status"] == asked["status"]]
        if "tags" in asked:
            found = [each for each in found if set(asked["tags"].split(",")) <= set(each["tags"])]
        found.sort(key=lambda each: str(each["created_at"]), reverse=True)
        if request.url.path.endswith("/detail"):
            shown = [self._view(self._cloud.check_power(each)) for each in found]
            for each in shown:
                each.pop("fault", None)  # only a server's own record tells it
            return listing(request, "servers", shown)
        return listing(request, "servers", [{"id": each["id"], "name": each["name"], "links": []} for each in found])

    def _get(self, request: Request) -> Doc:
        found, caller = self._store.get("server", request.path_params["id"]), caller_of(request)
        if found is None or (found["project_id"] != caller.project_id and not caller.is_admin):
            raise Refusal(404, f"Instance {request.path_params['id']} could not be found.")
        return self._cloud.check_power(found)

    async def show(self, request: Request) -> Response:
        """One server."""
        return JSONResponse({"server": self._view(self._get(request))})

    def _view(self, server: Doc) -> Doc:
        flavor = server["flavor"]
        shown = {
            "id": server["id"],
            "name": server["name"],
            "status": server["status"],
            "tenant_id": server["project_id"],
            "user_id": server["user_id"],
            "metadata": server["metadata"],
            "tags": server["tags"],
            "hostId": "local",
            "image": {"id": server["image_id"], "links": []},
            "flavor": {"original_name": flavor["name"], "id": flavor["id"], "ram": flavor["ram"],
                       "vcpus": flavor["vcpus"], "disk": flavor["disk"], "ephemeral": 0, "swap": 0,
                       "extra_specs": {}},
            "addresses": self._addresses(server),
            "created": server["created_at"][:19] + "Z",
            "updated": server["updated_at"],
            "OS-EXT-STS:task_state": server["task_state"],
            "OS-EXT-STS:vm_state": server["vm_state"],
            "OS-EXT-STS:power_state": 1 if server["status"] == "ACTIVE" else 4,
            "OS-EXT-AZ:availability_zone": server["availability_zone"],
            "OS-EXT-SRV-ATTR:host": "local",
            "os-extended-volumes:volumes_attached": [
                {"id": each, "delete_on_termination": False} for each in server["volumes"]
            ],
            "security_groups": [],
            "config_drive": "",
            "key_name": None,
            "accessIPv4": "",
            "accessIPv6": "",
            "links": [],
        }  # fmt: skip
        if server["fault"] and server["status"] == "ERROR":  # else its newest action tells
            shown["fault"] = {**server["fault"], "created": server["updated_at"]}
        return shown

    def _addresses(self, server: Doc) -> Doc:
        shown: Doc = {}
        for port_id in server["ports"]:
            port = self._store.get("port", port_id)
            network = self._store.get("network", port["network_id"]) if port else None
            for ip in port["fixed_ips"] if port else []:
                entry = {"addr": ip["ip_address"], "version": 4, "OS-EXT-IPS:type": "fixed",
                         "OS-EXT-IPS-MAC:mac_addr": port["mac_address"] if port else ""}  # fmt: skip
                shown.setdefault(network["name"] if network else "", []).append(entry)
        return shown

    async def attachments(self, request: Request) -> Response:
        """Volumes of a server."""
        server = self._get(request)
        found = [
            {"id": each, "volumeId": each, "serverId": server["id"], "device": "/dev/vdb", "tag": None,
             "delete_on_termination": False, "attachment_id": each, "bdm_uuid": each}
            for each in server["volumes"]
        ]  # fmt: skip
        return JSONResponse({"volumeAttachments": found})

    async def interfaces(self, request: Request) -> Response:
        """Ports of a server."""
        found = []
        for port_id in self._get(request)["ports"]:
            port = self._store.get("port", port_id)
            if port:
                found.append({"port_id": port_id, "net_id": port["network_id"], "port_state": port["status"],
                              "mac_addr": port["mac_address"], "fixed_ips": port["fixed_ips"]})  # fmt: skip
        return JSONResponse({"interfaceAttachments": found})

    async def limits(self, request: Request) -> Response:
        """Ceilings and use."""
        mine = self._cloud.seen("server", caller_of(request))
        settings = self._cloud.settings
        absolute = {
            "maxTotalInstances": settings.quota_servers,
            "maxTotalCores": settings.quota_cores,
            "totalInstancesUsed": len(mine),
            "totalCoresUsed": sum(each["flavor"]["vcpus"] for each in mine),
            "maxTotalRAMSize": -1,
            "totalRAMUsed": sum(each["flavor"]["ram"] for each in mine),
        }
        return JSONResponse({"limits": {"rate": [], "absolute": absolute}})

    # -- change ------------------------------------------------------------------------------------------------------

    async def update(self, request: Request) -> Response:
        """A new name."""
        server, wanted = self._get(request), (await json_of(request)).get("server") or {}
        changed = self._store.put("server", {**server, "name": wanted.get("name") or server["name"]})
        return JSONResponse({"server": self._view(changed)})

    async def delete(self, request: Request) -> Response:
        """204; it is gone when its processes are."""
        server = self._get(request)
        if server["task_state"] != "deleting":
            self._store.put("server", {**server, "task_state": "deleting"})
            self._cloud.later(self._cloud.delete_server(server["id"]))
        return empty()

    async def act(self, request: Request) -> Response:
        """os-stop, os-start, reboot, rebuild, resize and its two ends, migrate, os-getConsoleOutput."""
        server, wanted = self._get(request), await json_of(request)
        name = next(iter(wanted), "")
        if name == "os-getConsoleOutput":
            length = (wanted[name] or {}).get("length")
            return JSONResponse({"output": self._cloud.machine(server["id"]).console_tail(length)})
        if name not in ACTIONS:
            raise Refusal(400, f"There is no such action: {name}")
        needed, do = ACTIONS[name]
        if server["status"] not in needed or server["task_state"]:
            text = f"Cannot '{name.removeprefix('os-')}' instance {server['id']} while it is in vm_state {server['vm_state']}"
            raise Refusal(409, text)
        answer = do(self._cloud, begun(server, name), wanted[name] or {}, caller_of(request))
        return JSONResponse({"server": self._view(self._get(request))}, 202) if name == "rebuild" else answer


class Flavors:
    """Flavors and server groups."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._store = cloud.store

    def routes(self) -> list[Route]:
        """Paths below `/compute/v2.1`."""
        return [
            Route("/flavors", self.index, methods=["GET"]),
            Route("/flavors", self.create, methods=["POST"]),
            Route("/flavors/detail", self.index, methods=["GET"]),
            Route("/flavors/{id}", self.show, methods=["GET"]),
            Route("/flavors/{id}", self.delete, methods=["DELETE"]),
            Route("/flavors/{id}/os-extra_specs", self.extra_specs, methods=["GET"]),
            Route("/flavors/{id}/os-flavor-access", self.access, methods=["GET"]),
            Route("/flavors/{id}/action", self.act, methods=["POST"]),
            Route("/os-server-groups", self.list_groups, methods=["GET"]),
            Route("/os-server-groups", self.create_group, methods=["POST"]),
            Route("/os-server-groups/{id}", self.show_group, methods=["GET"]),
            Route("/os-server-groups/{id}", self.delete_group, methods=["DELETE"]),
            Route("/os-availability-zone", self.zones, methods=["GET"]),
        ]

    async def index(self, request: Request) -> Response:
        """The flavors that the caller may use; of all projects for an administrator who asks for `is_public=None`."""
        caller, asked = caller_of(request), request.query_params.get("is_public", "").lower()
        found = [
            each
            for each in self._store.all("flavor")
            if _may_use(each, caller) or (caller.is_admin and asked == "none")
        ]
        return listing(request, "flavors", [_flavor_view(each) for each in found])

    async def access(self, request: Request) -> Response:
        """The projects that may use a private flavor."""
        flavor = self._get("flavor", request, "Flavor")
        if _is_public(flavor):
            raise Refusal(404, "Access list not available for public flavors.")
        return JSONResponse({"flavor_access": _access_view(flavor)})

    async def act(self, request: Request) -> Response:
        """`addTenantAccess` and `removeTenantAccess`, by an administrator."""
        if not caller_of(request).is_admin:
            raise Refusal(403, "Policy doesn't allow os_compute_api:os-flavor-access to be performed.")
        flavor, (verb, given) = self._get("flavor", request, "Flavor"), next(iter((await json_of(request)).items()))
        if not await self._cloud.identity.knows_project(given["tenant"]):
            raise Refusal(400, f"Project ID {given['tenant']} is not a valid project.")
        projects = {*flavor.get("projects", [])} - {given["tenant"]}
        if verb == "addTenantAccess":
            projects |= {given["tenant"]}
        flavor = self._store.put("flavor", {**flavor, "projects": sorted(projects)})
        return JSONResponse({"flavor_access": _access_view(flavor)})

    def _get(self, kind: str, request: Request, what: str) -> Doc:
        found, caller = self._store.get(kind, request.path_params["id"]), caller_of(request)
        foreign = found is not None and found.get("project_id", caller.project_id) != caller.project_id
        if found is None or (foreign and not caller.is_admin):
            raise Refusal(404, f"{what} {request.path_params['id']} could not be found.")
        return found

    async def show(self, request: Request) -> Response:
        """One flavor."""
        return JSONResponse({"flavor": _flavor_view(self._get("flavor", request, "Flavor"))})

    async def extra_specs(self, request: Request) -> Response:
        """None."""
        return JSONResponse({"extra_specs": {}})

    async def create(self, request: Request) -> Response:
        """A flavor, by an administrator."""
        if not caller_of(request).is_admin:
            raise Refusal(403, "Policy doesn't allow os_compute_api:os-flavor-manage:create to be performed.")
        wanted = (await json_of(request)).get("flavor") or {}
        made = {
            "id": str(wanted.get("id") or uuid4()),
            "name": wanted.get("name") or "",
            "ram": int(wanted.get("ram") or 0),
            "vcpus": int(wanted.get("vcpus") or 1),
            "disk": int(wanted.get("disk") or 0),
            "is_public": wanted.get("os-flavor-access:is_public", True) is not False,
        }
        if any(made["id"] == each["id"] or made["name"] == each["name"] for each in self._store.all("flavor")):
            raise Refusal(409, f"Flavor with name {made['name']} already exists.")
        return JSONResponse({"flavor": _flavor_view(self._store.put("flavor", made))})

    async def delete(self, request: Request) -> Response:
        """Remove a flavor, by an administrator."""
        if not caller_of(request).is_admin:
            raise Refusal(403, "Policy doesn't allow os_compute_api:os-flavor-manage:delete to be performed.")
        self._store.drop("flavor", self._get("flavor", request, "Flavor")["id"])
        return empty(202)

    async def list_groups(self, request: Request) -> Response:
        """The project's server groups."""
        found = self._cloud.seen("server_group", caller_of(request))
        return listing(request, "server_groups", [_group_view(each) for each in found])

    async def show_group(self, request: Request) -> Response:
        """One server group."""
        return JSONResponse({"server_group": _group_view(self._get("server_group", request, "Instance group"))})

    async def create_group(self, request: Request) -> Response:
        """A server group with one policy."""
        caller, wanted = caller_of(request), (await json_of(request)).get("server_group") or {}
        policies = wanted.get("policies") or [wanted.get("policy")]
        known = ("affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity")
        if policies[0] not in known:
            raise Refusal(400, f"Invalid input for field/attribute policy. Value: {policies[0]}.")
        made = {"id": str(uuid4()), "name": wanted.get("name") or "", "policy": policies[0], "members": [],
                "created_at": now(), "project_id": caller.project_id, "user_id": caller.user_id}  # fmt: skip
        return JSONResponse({"server_group": _group_view(self._store.put("server_group", made))})

    async def delete_group(self, request: Request) -> Response:
        """Remove a server group."""
        self._store.drop("server_group", self._get("server_group", request, "Instance group")["id"])
        return empty()

    async def zones(self, request: Request) -> Response:
        """One zone."""
        zone = {"zoneName": ZONE, "zoneState": {"available": True}, "hosts": None}
        return JSONResponse({"availabilityZoneInfo": [zone]})


def _check_fits(flavor: Doc, image: Doc) -> None:
    if flavor["ram"] < image["min_ram"]:
        raise Refusal(400, "Flavor's memory is too small for requested image.")
    if 0 < flavor["disk"] < image["min_disk"]:
        text = f"Flavor's disk is too small for requested image. Flavor disk is {flavor['disk'] << 30} bytes, minimum size is"
        raise Refusal(400, f"{text} {image['min_disk'] << 30} bytes.")


def _hints(body: Doc) -> Doc:
    """Nova takes them under either name."""
    found: Doc = body.get("os:scheduler_hints") or body.get("OS-SCH-HNT:scheduler_hints") or {}
    return found


def _is_public(flavor: Doc) -> bool:
    return bool(flavor.get("is_public", True))


def _may_use(flavor: Doc, caller: Caller) -> bool:
    return _is_public(flavor) or caller.project_id in flavor.get("projects", [])


def _access_view(flavor: Doc) -> list[Doc]:
    return [{"flavor_id": flavor["id"], "tenant_id": each} for each in flavor.get("projects", [])]


def _flavor_view(flavor: Doc) -> Doc:
    extra = {"swap": 0, "rxtx_factor": 1.0, "OS-FLV-EXT-DATA:ephemeral": 0, "OS-FLV-DISABLED:disabled": False,
             "os-flavor-access:is_public": _is_public(flavor), "extra_specs": {}, "description": None, "links": []}  # fmt: skip
    shown = {key: value for key, value in flavor.items() if key not in ("updated_at", "is_public", "projects")}
    return {**shown, **extra}


def _group_view(group: Doc) -> Doc:
    shown = {key: group[key] for key in ("id", "name", "policy", "members", "project_id", "user_id")}
    return {**shown, "policies": [group["policy"]], "rules": {}, "metadata": {}}
