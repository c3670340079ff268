"""What can be done with a server of Nova: in which states it may begin, and what is answered before it is done."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from localcloud.cloud import Cloud
from localcloud.http import Refusal, caller_of, empty
from localcloud.identity import Caller
from localcloud.image import begin_rebuild
from localcloud.store import Doc, now

HOST = "local"  # that servers are on


def _begin(cloud: Cloud, server: Doc, work: Callable[[str], Coroutine[Any, Any, None]], **doing: Any) -> Response:
    cloud.store.put("server", {**server, **doing})
    cloud.later(work(server["id"]))
    return empty(202)


def _stop(cloud: Cloud, server: Doc, _: Doc, __: Caller) -> Response:
    return _begin(cloud, server, cloud.stop_server, task_state="powering-off")


def _start(cloud: Cloud, server: Doc, _: Doc, __: Caller) -> Response:
    return _begin(cloud, server, cloud.start_server, task_state="powering-on")


def _reboot(cloud: Cloud, server: Doc, wanted: Doc, _: Caller) -> Response:
    hard = wanted.get("type") == "HARD"
    doing = {"task_state": "rebooting", "status": "HARD_REBOOT" if hard else "REBOOT"}
    return _begin(cloud, server, partial(cloud.reboot_server, hard=hard), **doing)


def _resize(cloud: Cloud, server: Doc, wanted: Doc, _: Caller) -> Response:
    flavor = cloud.store.get("flavor", str(wanted.get("flavorRef")).rstrip("/").rsplit("/", 1)[-1])
    if flavor is None:
        raise Refusal(400, "Invalid flavorRef provided.")
    if flavor["id"] == server["flavor"]["id"]:
        raise Refusal(400, "When resizing, instances must change flavor!")
    if 0 < flavor["disk"] < server["flavor"]["disk"]:
        raise Refusal(400, "Resize to smaller disk is not allowed.")
    doing = {"status": "RESIZE", "task_state": "resize_prep", "wanted_flavor": flavor, "fault": None}
    return _begin(cloud, server, cloud.resize_server, **doing)


def _migrate(cloud: Cloud, server: Doc, wanted: Doc, caller: Caller) -> Response:
    if not caller.is_admin:
        raise Refusal(403, "Policy doesn't allow os_compute_api:os-migrate-server:migrate to be performed.")
    host, others = wanted.get("host"), [f"{HOST}{number}" for number in range(2, cloud.settings.hosts + 1)]
    if host == HOST:
        raise Refusal(400, f"Cannot migrate to the host where the server exists: {host}.")
    if host not in (None, *others):
        raise Refusal(400, f"Compute host {host} could not be found.")
    doing = {"status": "RESIZE", "task_state": "resize_prep", "wanted_flavor": server["flavor"], "fault": None}
    return _begin(cloud, server, cloud.migrate_server, **doing)


def _confirm(cloud: Cloud, server: Doc, _: Doc, __: Caller) -> Response:
    cloud.store.put("server", {**server, "status": "ACTIVE", "vm_state": "active", "old_flavor": None})
    return empty()


def _revert(cloud: Cloud, server: Doc, _: Doc, __: Caller) -> Response:
    return _begin(cloud, server, cloud.revert_resize, status="REVERT_RESIZE", task_state="resize_reverting")


def _rebuild(cloud: Cloud, server: Doc, wanted: Doc, _: Caller) -> Response:
    begin_rebuild(cloud, server, wanted)
    return empty(202)


ACTIONS = {
    "rebuild": (("ACTIVE", "SHUTOFF", "ERROR"), _rebuild),
    "os-stop": (("ACTIVE", "ERROR"), _stop),
    "os-start": (("SHUTOFF",), _start),
    "reboot": (("ACTIVE", "SHUTOFF", "ERROR"), _reboot),
    "resize": (("ACTIVE", "SHUTOFF"), _resize),
    "migrate": (("ACTIVE", "SHUTOFF"), _migrate),
    "confirmResize": (("VERIFY_RESIZE",), _confirm),
    "revertResize": (("VERIFY_RESIZE",), _revert),
}


def begun(server: Doc, name: str) -> Doc:
    """The server with this as its newest action."""
    action = {"action": name.removeprefix("os-"), "request_id": f"req-{uuid4()}", "start_time": now()[:19]}
    return {**server, "action": action, "fault": None}


class InstanceActions:
    """What Nova remembers of what was done with a server, here the newest alone; it tells why one was left as it was."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[Route]:
        """Paths below `/compute/v2.1`."""
        path = "/servers/{id}/os-instance-actions"
        return [
            Route(path, self.index, methods=["GET"]),
            Route(f"{path}/{{request_id}}", self.show, methods=["GET"]),
        ]

    async def index(self, request: Request) -> Response:
        """Without their events."""
        found = _action(self._server(request))
        return JSONResponse({"instanceActions": [found] if found else []})

    async def show(self, request: Request) -> Response:
        """With its events; one that failed says why."""
        server = self._server(request)
        found = _action(server)
        wanted = request.path_params["request_id"]
        if found is None or found["request_id"] != wanted:
            raise Refusal(404, f"Action for request_id {wanted} on instance {server['id']} not found")
        fault = server["fault"]
        event: Doc = {"event": f"conductor_{found['action']}_server", "start_time": found["start_time"],
                      "finish_time": None, "result": None, "details": None, "hostId": "", "host": "local"}  # fmt: skip
        if not server["task_state"]:
            result = "Error" if fault else "Success"
            event |= {"finish_time": now()[:19], "result": result, "details": fault and fault["message"]}
        return JSONResponse({"instanceAction": {**found, "events": [event]}})

    def _server(self, request: Request) -> Doc:
        wanted = request.path_params["id"]
        for each in self._cloud.seen("server", caller_of(request)):
            if each["id"] == wanted:
                return each
        raise Refusal(404, f"Instance {wanted} could not be found.")


def _action(server: Doc) -> Doc | None:
    found = server.get("action")
    if found is None:
        return None
    error = "Error" if server["fault"] else None
    return {**found, "instance_uuid": server["id"], "project_id": server["project_id"], "message": error}
