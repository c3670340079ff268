"""The cloud's state and its slow work: what goes on after a 202 was answered."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any

from localcloud.disks import Disks
from localcloud.faults import Faults
from localcloud.hostnetwork import HostNetwork
from localcloud.identity import Caller, Identity
from localcloud.machine import Blueprint, Machine
from localcloud.settings import Settings
from localcloud.store import Doc, Store

log = logging.getLogger(__name__)


RESIZED = {"status": "VERIFY_RESIZE", "vm_state": "resized"}  # a server that Nova waits for a word on


class Cloud:
    """Everything that the four services share."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        settings.state.mkdir(parents=True, exist_ok=True)
        settings.state.chmod(0o700)  # what a server may see of it, is shown in its own root
        (settings.state / "servers").mkdir(exist_ok=True)
        self.store = Store(settings.database or settings.state / "state.db")
        self.faults = Faults()
        self.identity = Identity(settings)
        self.disks = Disks(settings.state / "volumes", loops=not settings.unprivileged)
        self.host_network = HostNetwork(
            self.store, settings.state, endpoints=settings.endpoints, isolated=not settings.unprivileged
        )
        self._tasks: set[asyncio.Task[None]] = set()

    # -- who sees what -----------------------------------------------------------------------------------------------

    def seen(self, kind: str, caller: Caller, *, every_project: bool = False) -> list[Doc]:
        """The documents of the caller's project, or for an administrator who asks for them those of all."""
        wide = every_project and caller.is_admin
        return [doc for doc in self.store.all(kind) if wide or doc["project_id"] == caller.project_id]

    # -- slow work ---------------------------------------------------------------------------------------------------

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Go on with something after the answer."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("work in the background failed", exc_info=task.exception())

    def machine(self, server_id: str) -> Machine:
        """The processes of a server."""
        return Machine(self.settings.state / "servers" / server_id, isolated=not self.settings.unprivileged)

    async def wake(self) -> None:
        """Go on where the last process stopped: running servers run, half-done work is done."""
        running = {each["id"] for each in self.store.all("server") if self.machine(each["id"]).runs()}
        await self.host_network.wake(running)
        for volume in self.store.all("volume"):
            if volume["status"] == "creating":
                self.later(self.make_volume(volume["id"]))
            elif volume["status"] == "deleting":
                self.later(self.drop_volume(volume["id"]))
            elif volume["status"] == "extending":
                self.later(self.extend_volume(volume["id"]))
        for server in self.store.all("server"):
            if server["task_state"] == "deleting":
                self.later(self.delete_server(server["id"]))
            elif server["status"] in ("ACTIVE", "VERIFY_RESIZE"):
                self.later(self._run(server, **(RESIZED if server["status"] == "VERIFY_RESIZE" else {})))
            elif again := self._half_done.get(server["status"]):
                self.later(again(server["id"]))

    @property
    def _half_done(self) -> Mapping[str, Callable[[str], Coroutine[Any, Any, None]]]:
        """What is done again for a server that the last process left in a state."""
        return {"BUILD": self.build_server, "RESIZE": self.resize_server,
                "REVERT_RESIZE": self.revert_resize, "REBOOT": self.start_server, "HARD_REBOOT": self.start_server,
                "REBUILD": self.rebuild_server}  # fmt: skip

    async def shut_down(self) -> None:
        """The host goes down: end the servers' processes, and remember that they ran."""
        for task in list(self._tasks):
            task.cancel()
        grace = self.settings.stop_grace
        running = [self.machine(each["id"]) for each in self.store.all("server")]
        await asyncio.gather(*(asyncio.to_thread(each.stop, grace) for each in running if each.runs()))
        for volume in self.store.all("volume"):
            with contextlib.suppress(OSError):  # still mounted somewhere: the next start finds the device
                await asyncio.to_thread(self.disks.detach, volume["id"])
        await self.host_network.shut_down()

    # -- volumes -----------------------------------------------------------------------------------------------------

    async def make_volume(self, volume_id: str) -> None:
        """From creating to available, or to error."""
        await asyncio.sleep(self.settings.volume_delay)
        volume = self.store.get("volume", volume_id)
        if volume is None:
            return
        if self.faults.breaks_volume(volume["name"] or ""):
            self.store.put("volume", {**volume, "status": "error"})
            return
        await asyncio.to_thread(self.disks.make, volume_id, volume["size"])
        self._set("volume", volume_id, status="available")

    async def extend_volume(self, volume_id: str) -> None:
        """From extending to what it was, with the wanted size, or to error_extending."""
        await asyncio.sleep(self.settings.volume_delay)
        volume = self.store.get("volume", volume_id)
        if volume is None:
            return
        if self.faults.breaks_volume(volume["name"] or ""):
            self._set("volume", volume_id, status="error_extending")
            return
        await asyncio.to_thread(self.disks.extend, volume_id, volume["wanted_size"])
        current = self.store.get("volume", volume_id) or volume
        status = "in-use" if current.get("server_id") else "available"
        self._set("volume", volume_id, status=status, size=volume["wanted_size"])

    async def drop_volume(self, volume_id: str) -> None:
        """From deleting to gone."""
        await asyncio.sleep(self.settings.delete_delay)
        await asyncio.to_thread(self.disks.delete, volume_id)
        self.store.drop("volume", volume_id)

    def _set(self, kind: str, key: str, **values: Any) -> Doc | None:
        found = self.store.get(kind, key)
        return self.store.put(kind, {**found, **values}) if found is not None else None

    # -- servers -----------------------------------------------------------------------------------------------------

    async def build_server(self, server_id: str) -> None:
        """From BUILD to ACTIVE, or to ERROR with a fault."""
        await asyncio.sleep(self.settings.server_delay)
        server = self.store.get("server", server_id)
        if server is None or server["task_state"] == "deleting":
            return
        if self.faults.breaks_server(server["name"]):
            self._fail(server_id, "No valid host was found. There are not enough hosts available.")
            return
        await self._run(server)

    async def _run(self, server: Doc, **then: Any) -> None:
        try:
            await self._boot(server, {"status": "ACTIVE", "task_state": None, "vm_state": "active", **then})
        except (OSError, ValueError, KeyError) as error:
            self._fail(server["id"], f"Build of instance {server['id']} aborted: {error}")

    async def _boot(self, server: Doc, then: Doc) -> None:
        plan = await asyncio.to_thread(self._plan, server)
        if plan is None:
            self._fail(server["id"], "Block Device Mapping is Invalid: failed to get volume.")
            return
        machine = self.machine(server["id"])
        await asyncio.to_thread(machine.build, plan)
        current = self.store.get("server", server["id"])
        if current is None or current["task_state"] == "deleting":
            return
        namespace = await self.host_network.plug(server, running=machine.runs())
        await asyncio.to_thread(machine.start, replace(plan, network_namespace=namespace))
        self._set("server", server["id"], **then)

    def _plan(self, server: Doc) -> Blueprint | None:
        volumes = []
        for volume_id in server["volumes"]:
            volume = self.store.get("volume", volume_id)
            if volume is None or volume.get("server_id") not in (None, server["id"]):
                return None
            volumes.append(self.disks.attach(volume_id))
            self.store.put("volume", {**volume, "status": "in-use", "server_id": server["id"]})
        ports = [self.store.get("port", each) for each in server["ports"]]
        addresses = [ip["ip_address"] for port in ports if port for ip in port["fixed_ips"]]
        return Blueprint(
            id=server["id"],
            image=self.settings.images / server["image_name"],
            address=addresses[0] if addresses else "127.0.0.1",
            memory_mib=server["flavor"]["ram"],
            uid=server["uid"],
            user_data=server["user_data"],
            volumes=tuple(volumes),
        )

    def _fail(self, server_id: str, message: str) -> None:
        fault = {"code": 500, "message": message}
        self._set("server", server_id, status="ERROR", task_state=None, vm_state="error", fault=fault)

    async def stop_server(self, server_id: str) -> None:
        """The fence: SHUTOFF is only said when no process of the server is left."""
        await asyncio.to_thread(self.machine(server_id).stop, self.settings.stop_grace)
        await self.host_network.unplug(server_id)
        self._set("server", server_id, status="SHUTOFF", task_state=None, vm_state="stopped")

    async def start_server(self, server_id: str) -> None:
        """From SHUTOFF to ACTIVE."""
        if server := self.store.get("server", server_id):
            await self._run(server)

    async def reboot_server(self, server_id: str, *, hard: bool) -> None:
        """Stop and start; a hard reboot does not ask."""
        await asyncio.to_thread(self.machine(server_id).stop, 0 if hard else self.settings.stop_grace)
        await self.start_server(server_id)

    async def resize_server(self, server_id: str) -> None:
        """From RESIZE to VERIFY_RESIZE: restarted on the wanted flavor, while the old one is kept. Or ACTIVE, with a fault."""
        server = await self._stop_to_resize(server_id)
        if server is None:
            return
        if self.faults.breaks_server(server["name"]):
            await self._run(server, fault={"code": 500, "message": "No valid host was found."})
            return
        flavors = {"flavor": server["wanted_flavor"], "old_flavor": server["flavor"]}
        await self._run(self.store.put("server", {**server, **flavors}), **RESIZED)

    async def migrate_server(self, server_id: str) -> None:
        """As a resize to the same flavor, to another host. Where there is one host alone the server is left as it is."""
        server = self.store.get("server", server_id)
        if server is None or server["task_state"] == "deleting":
            return
        if self.settings.hosts < 2 or self.faults.breaks_server(server["name"]):
            fault = {"code": 500, "message": "No valid host was found. No valid host found for cold migrate"}
            self._set("server", server_id, status="ACTIVE", task_state=None, fault=fault)
            return
        await self.resize_server(server_id)

    async def revert_resize(self, server_id: str) -> None:
        """From REVERT_RESIZE to ACTIVE on the old flavor."""
        server = await self._stop_to_resize(server_id)
        if server is not None:
            await self._run(self.store.put("server", {**server, "flavor": server["old_flavor"]}))

    async def rebuild_server(self, server_id: str) -> None:
        """From REBUILD to ACTIVE with a new root disk, or to ERROR with a fault; volumes and ports stay."""
        server = await self._stop_to_resize(server_id)
        if server is None:
            return
        if self.faults.breaks_server(server["name"]):
            self._fail(server_id, "No valid host was found. There are not enough hosts available.")
            return
        await asyncio.to_thread(self.machine(server_id).destroy)
        await self._run(server)

    async def _stop_to_resize(self, server_id: str) -> Doc | None:
        await asyncio.to_thread(self.machine(server_id).stop, self.settings.stop_grace)
        await self.host_network.unplug(server_id)
        await asyncio.sleep(self.settings.server_delay)
        server = self.store.get("server", server_id)
        return None if server is None or server["task_state"] == "deleting" else server

    async def delete_server(self, server_id: str) -> None:
        """End it, give back what it held, and forget it."""
        await asyncio.sleep(self.settings.delete_delay)
        server = self.store.get("server", server_id)
        if server is None:
            return
        machine = self.machine(server_id)
        await asyncio.to_thread(machine.stop, min(self.settings.stop_grace, 5))
        await self.host_network.unplug(server_id)
        for volume_id in server["volumes"]:
            await asyncio.to_thread(self.disks.detach, volume_id)
            volume = self.store.get("volume", volume_id)
            if volume is not None and volume.get("server_id") == server_id:
                self.store.put("volume", {**volume, "status": "available", "server_id": None})
        for port_id in server["ports"]:
            self._release_port(server, port_id)
        await asyncio.to_thread(machine.destroy)
        self.store.drop("server", server_id)

    def _release_port(self, server: Doc, port_id: str) -> None:
        port = self.store.get("port", port_id)
        if port is None or port["device_id"] != server["id"]:
            return
        if port_id in server["own_ports"]:
            self.store.drop("port", port_id)
        else:
            self.store.put("port", {**port, "device_id": "", "device_owner": "", "status": "DOWN"})

    async def _unplug_idle(self, server_id: str) -> None:
        if not self.machine(server_id).runs():
            await self.host_network.unplug(server_id)

    def check_power(self, server: Doc) -> Doc:
        """Show a server whose init has died as SHUTOFF, as Nova's power sync does."""
        idle = server["status"] == "ACTIVE" and server["task_state"] is None
        if idle and not self.machine(server["id"]).runs():
            self.later(self._unplug_idle(server["id"]))
            return self.store.put("server", {**server, "status": "SHUTOFF", "vm_state": "stopped"})
        return server


@contextlib.asynccontextmanager
async def awake(cloud: Cloud) -> Any:
    """The cloud while the process serves."""
    await cloud.wake()
    yield
    await cloud.shut_down()
