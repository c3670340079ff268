"""Cinder v3: volumes and their types."""

import re
from uuid import NAMESPACE_DNS, uuid4, uuid5

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from localcloud.cloud import Cloud
from localcloud.http import ZONE, Refusal, caller_of, empty, json_of, listing, microversion_of, overlong
from localcloud.identity import Caller
from localcloud.store import Doc, precise_now

DELETABLE = ("available", "error", "error_deleting", "error_extending")


class Volumes:
    """The volume service."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._store = cloud.store

    def routes(self) -> list[Route]:
        """Paths below `/volume/v3/<project>`."""
        return [
            Route("/volumes", self.create, methods=["POST"]),
            Route("/volumes", self.index, methods=["GET"]),
            Route("/volumes/detail", self.index, methods=["GET"]),
            Route("/volumes/{id}", self.show, methods=["GET"]),
            Route("/volumes/{id}", self.update, methods=["PUT"]),
            Route("/volumes/{id}", self.delete, methods=["DELETE"]),
            Route("/volumes/{id}/action", self.act, methods=["POST"]),
            Route("/types", self.list_types, methods=["GET"]),
            Route("/types", self.create_type, methods=["POST"]),
            Route("/types/{id}", self.show_type, methods=["GET"]),
            Route("/types/{id}", self.delete_type, methods=["DELETE"]),
            Route("/limits", self.limits, methods=["GET"]),
        ]

    async def create(self, request: Request) -> Response:
        """202 and a volume that is being made."""
        caller, wanted = caller_of(request), (await json_of(request)).get("volume") or {}
        size = wanted.get("size")
        if not isinstance(size, int) or size < 1:
            raise Refusal(400, f"Invalid input received: Invalid volume size provided for create request: {size}")
        if name := overlong(wanted):
            raise Refusal(400, f"Invalid input for field/attribute {name}. Value: {wanted[name]}. It is too long")
        if (wanted.get("availability_zone") or ZONE) != ZONE:
            raise Refusal(400, f"Availability zone '{wanted['availability_zone']}' is invalid.")
        self._charge(caller, size)
        volume = self._store.put(
            "volume",
            {
                "id": str(uuid4()),
                "name": wanted.get("name") or "",
                "description": wanted.get("description"),
                "size": size,
                "status": "creating",
                "volume_type": self._type_name(wanted.get("volume_type")),
                "metadata": wanted.get("metadata") or {},
                "availability_zone": ZONE,
                "created_at": precise_now(),
                "project_id": caller.project_id,
                "user_id": caller.user_id,
                "server_id": None,
            },
        )
        self._cloud.later(self._cloud.make_volume(volume["id"]))
        return JSONResponse({"volume": _view(volume)}, 202)

    def _charge(self, caller: Caller, size: int) -> None:
        used = sum(each["size"] for each in self._store.all("volume") if each["project_id"] == caller.project_id)
        ceiling = self._cloud.settings.quota_gigabytes
        if used + size > ceiling:
            text = "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes quota. "
            raise Refusal(413, f"{text}Requested {size}G, quota is {ceiling}G and {used}G has been consumed.")

    def _type_name(self, wanted: str | None) -> str | None:
        types = list(self._store.all("volume_type"))
        if wanted is None:
            return types[0]["name"] if types else None
        for each in types:
            if wanted in (each["id"], each["name"]):
                name: str = each["name"]
                return name
        raise Refusal(404, f"Volume type with name {wanted} could not be found.")

    async def index(self, request: Request) -> Response:
        """Volumes by name, status and metadata."""
        asked = request.query_params
        found = self._cloud.seen("volume", caller_of(request), every_project=asked.get("all_tenants") in ("1", "True"))
        wanted = {key: asked[key] for key in ("name", "status", "id") if key in asked}
        matching = [each for each in found if all(each[key] == value for key, value in wanted.items())]
        return listing(request, "volumes", [_view(each) for each in matching])

    def _get(self, request: Request) -> Doc:
        found, caller = self._store.get("volume", request.path_params["id"]), caller_of(request)
        if found is None or (found["project_id"] != caller.project_id and not caller.is_admin):
            raise Refusal(404, f"Volume {request.path_params['id']} could not be found.")
        return found

    async def show(self, request: Request) -> Response:
        """One volume."""
        return JSONResponse({"volume": _view(self._get(request))})

    async def update(self, request: Request) -> Response:
        """Name, description and metadata."""
        changes = (await json_of(request)).get("volume") or {}
        kept = {key: changes[key] for key in ("name", "description", "metadata") if key in changes}
        return JSONResponse({"volume": _view(self._store.put("volume", {**self._get(request), **kept}))})

    async def delete(self, request: Request) -> Response:
        """202; refused while the volume is attached or busy."""
        volume = self._get(request)
        if volume["status"] == "deleting":
            return empty(202)
        if volume["status"] not in DELETABLE:
            raise Refusal(
                400,
                "Invalid volume: Volume status must be available or error or error_restoring or error_extending or "
                "error_managing and must not be migrating, attached, belong to a group, have snapshots, awaiting a "
                "transfer, or be disassociated from snapshots after volume transfer.",
            )
        self._store.put("volume", {**volume, "status": "deleting"})
        self._cloud.later(self._cloud.drop_volume(volume["id"]))
        return empty(202)

    async def act(self, request: Request) -> Response:
        """os-extend, and the administrator's os-reset_status."""
        volume, wanted = self._get(request), await json_of(request)
        if "os-extend" in wanted:
            return self._extend(request, volume, wanted["os-extend"] or {})
        if "os-reset_status" in wanted and caller_of(request).is_admin:
            self._store.put("volume", {**volume, "status": wanted["os-reset_status"]["status"]})
            return empty(202)
        raise Refusal(400, "There is no such action")

    def _extend(self, request: Request, volume: Doc, wanted: Doc) -> Response:
        """202 and a volume that is being grown; one that a server uses since microversion 3.42."""
        size, now = wanted.get("new_size", ""), volume["size"]
        if isinstance(size, bool) or not re.fullmatch("[0-9]+", str(size)):
            raise Refusal(400, f"Invalid input for field/attribute new_size. Value: {size}.")
        if int(size) <= now:
            raise Refusal(400, "Invalid input received: New size for extend must be greater than current size. "
                               f"(current: {now}, extended: {size}).")  # fmt: skip
        attached = volume["status"] == "in-use" and microversion_of(request, "volume") >= (3, 42)
        expected = "in-use" if attached else "available"
        if volume["status"] != expected:
            raise Refusal(400, f"Invalid volume: Volume {volume['id']} status must be '{expected}' to extend, "
                               f"currently {volume['status']}.")  # fmt: skip
        self._charge(caller_of(request), int(size) - now)
        self._store.put("volume", {**volume, "status": "extending", "wanted_size": int(size)})
        self._cloud.later(self._cloud.extend_volume(volume["id"]))
        return empty(202)

    async def list_types(self, request: Request) -> Response:
        """All volume types."""
        return listing(request, "volume_types", [_type_view(each) for each in self._store.all("volume_type")])

    async def create_type(self, request: Request) -> Response:
        """A type, by an administrator."""
        if not caller_of(request).is_admin:
            raise Refusal(403, "Policy doesn't allow volume_extension:type_create to be performed.")
        wanted = (await json_of(request)).get("volume_type") or {}
        name = wanted.get("name") or ""
        made = {"id": str(uuid5(NAMESPACE_DNS, f"type:{name}")), "name": name, "description": wanted.get("description")}
        if self._store.get("volume_type", str(made["id"])):
            raise Refusal(409, f"Volume Type {name} already exists.")
        return JSONResponse({"volume_type": _type_view(self._store.put("volume_type", made))})

    def _get_type(self, request: Request) -> Doc:
        wanted = request.path_params["id"]
        types = list(self._store.all("volume_type"))
        if wanted == "default" and types:
            return types[0]
        for each in types:
            if wanted == each["id"]:
                return each
        raise Refusal(404, f"Volume type {wanted} could not be found.")

    async def show_type(self, request: Request) -> Response:
        """One volume type; `default` is the first."""
        return JSONResponse({"volume_type": _type_view(self._get_type(request))})

    async def delete_type(self, request: Request) -> Response:
        """Remove a type, by an administrator."""
        if not caller_of(request).is_admin:
            raise Refusal(403, "Policy doesn't allow volume_extension:type_delete to be performed.")
        self._store.drop("volume_type", self._get_type(request)["id"])
        return empty(202)

    async def limits(self, request: Request) -> Response:
        """Ceilings and use."""
        mine = self._cloud.seen("volume", caller_of(request))
        absolute = {
            "maxTotalVolumeGigabytes": self._cloud.settings.quota_gigabytes,
            "totalGigabytesUsed": sum(each["size"] for each in mine),
            "totalVolumesUsed": len(mine),
            "maxTotalVolumes": -1,
        }
        return JSONResponse({"limits": {"rate": [], "absolute": absolute}})


def _view(volume: Doc) -> Doc:
    attached = []
    if volume.get("server_id"):
        attached = [{"server_id": volume["server_id"], "volume_id": volume["id"], "id": volume["id"],
                     "attachment_id": volume["id"], "device": "/dev/vdb", "host_name": "local"}]  # fmt: skip
    hidden = ("project_id", "server_id", "wanted_size")
    shown = {key: value for key, value in volume.items() if key not in hidden}
    return {
        **shown,
        "attachments": attached,
        "bootable": "false",
        "encrypted": False,
        "multiattach": False,
        "snapshot_id": None,
        "source_volid": None,
        "links": [],
        "os-vol-tenant-attr:tenant_id": volume["project_id"],
    }


def _type_view(kind: Doc) -> Doc:
    return {**kind, "is_public": True, "os-volume-type-access:is_public": True, "extra_specs": {}, "qos_specs_id": None}
