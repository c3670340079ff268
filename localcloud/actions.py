"""What can be done with a server of Nova: in which states it may begin, and what is answered before it is done."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from starlette.responses import Response

from localcloud.cloud import Cloud
from localcloud.http import Refusal, empty
from localcloud.identity import Caller
from localcloud.image import begin_rebuild
from localcloud.store import Doc

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
