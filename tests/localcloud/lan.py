"""A cloud of a test's own with its real network: the real API, bridges, namespaces and packet filter of this machine.

Only Keystone is missing: a token is the name of a project, `admin` an administrator's.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx
import pytest

from deploy.ranges import choose
from localcloud.app import build
from localcloud.cloud import Cloud, awake
from localcloud.identity import Caller
from localcloud.links import tag_of
from localcloud.settings import Settings
from tests.temporal import share

T = TypeVar("T")
ENDPOINT = ("169.254.169.253", 7236)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="without root, servers have no network of their own")


class Agent:
    """A process in a server's network (or the host's), that does what agent.py can."""

    def __init__(self, namespace: str = "", uid: int = 0) -> None:
        inside = ["nsenter", f"--net={namespace}"] if namespace else []
        user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--inh-caps=-all"] if uid else []
        code = Path(__file__).with_name("agent.py").read_text()
        self._process = subprocess.Popen([*inside, *user, "/usr/bin/python3", "-I", "-c", code], text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/")  # fmt: skip

    def __call__(self, command: str, *arguments: Any) -> Any:
        """Do one thing and return what came of it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([command, *arguments]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


class Lan:
    """The cloud, and short words for what tests order from it."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        password = folder / "password"
        password.write_text("unused")
        self.settings = Settings(state=self.state, images=folder, password_file=password, unprivileged=False,
                                 endpoints=f"{ENDPOINT[0]}:{ENDPOINT[1]}=127.0.0.1:{self._listen()}")  # fmt: skip
        self.ranges = list(choose(str(folder), share()).subnets(new_prefix=24))
        self.cloud = Cloud(self.settings)
        self.cloud.identity.caller_of = _caller  # type: ignore[method-assign]
        self._agents: list[Agent] = []
        transport = httpx.ASGITransport(build(self.cloud))
        self._client = httpx.AsyncClient(transport=transport, base_url="http://cloud")
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._awake = awake(self.cloud)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in the cloud's own event loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def start(self) -> None:
        """The host comes up."""
        self.run(self._awake.__aenter__())

    def stop(self) -> None:
        """The host goes down."""
        self.run(self._awake.__aexit__(None, None, None))

    def _listen(self) -> int:
        """A service of the host's on its loopback address, that the endpoint leads to."""
        self.service = socket.create_server(("127.0.0.1", 0))
        return int(self.service.getsockname()[1])

    def call(self, method: str, path: str, body: Any = None, project: str = "one") -> httpx.Response:
        """One request to the network service."""
        headers = {"X-Auth-Token": project}
        return self.run(self._client.request(method, f"/network/v2.0{path}", json=body, headers=headers))

    def make(self, kind: str, project: str = "one", **wanted: Any) -> dict[str, Any]:
        """Make one of a kind."""
        answer = self.call("POST", f"/{kind.replace('_', '-')}s", {kind: wanted}, project)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()[kind]
        return made

    def network(self, number: int, project: str = "one", **more: Any) -> str:
        """A network with the subnet of a number."""
        network = self.make("network", project, name=f"n{number}", **more)
        self.make("subnet", project, network_id=network["id"], ip_version=4, cidr=str(self.ranges[number]))
        return str(network["id"])

    def router(self, network: str, outside: str, project: str = "one") -> str:
        """A router between a network and an external one."""
        router = self.make("router", project, external_gateway_info={"network_id": outside})
        for subnet in self.call("GET", f"/networks/{network}", project=project).json()["network"]["subnets"]:
            path = f"/routers/{router['id']}/add_router_interface"
            assert self.call("PUT", path, {"subnet_id": subnet}, project).is_success
        return str(router["id"])

    def group(self, *rules: dict[str, Any], project: str = "one") -> str:
        """A security group with rules for what may come in."""
        group = self.make("security_group", project, name=f"g-{uuid4()}")
        for each in rules:
            self.make("security_group_rule", project, security_group_id=group["id"], **each)
        return str(group["id"])

    def server(self, network: str, project: str = "one", **port: Any) -> tuple[dict[str, Any], Agent]:
        """A port and its server's network, with a process of root's in it; return both."""
        made = self.make("port", project, network_id=network, **port)
        server = {"id": str(uuid4()), "ports": [made["id"]]}
        return made, self.agent(self.run(self.cloud.host_network.plug(server, running=False)))

    def agent(self, namespace: str = "", uid: int = 0) -> Agent:
        """A process in a namespace, or on the host."""
        agent = Agent(namespace, uid)
        self._agents.append(agent)
        return agent

    def end(self) -> None:
        """End the processes."""
        for each in self._agents:
            each.end()
        self.service.close()

    @property
    def tag(self) -> str:
        """What the names of its things on the host begin with."""
        return tag_of(self.state.resolve())

    def namespaces(self) -> list[str]:
        """Names of its servers' namespaces, as `ip` shows them."""
        shown = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
        return [line.split()[0] for line in shown.splitlines() if line.startswith(f"{self.tag}-")]

    def shows(self, word: str) -> bool:
        """Whether a word is in what is left."""
        return any(word in each for each in self.left())

    def left(self) -> list[str]:
        """What the host's own tools show of this cloud."""
        return shown_on_host(self.tag)


async def _caller(token: str | None) -> Caller:
    return Caller(f"user of {token}", str(token), token == "admin")


def shown_on_host(word: str) -> list[str]:
    """What begins with a word on the host, as its own tools show it: links, namespaces, tables, addresses, routes."""
    commands = ["ip -o link", "ip netns", "ip -4 -o addr", "ip -4 route show table all", "nft list tables"]
    shown = {each: subprocess.run(each.split(), capture_output=True, text=True, check=True).stdout for each in commands}
    return sorted({f"{each}: {name}" for each, text in shown.items() for name in re.findall(rf"{word}[\w-]*", text)})


@contextlib.contextmanager
def running_lan() -> Iterator[Lan]:
    """A cloud; afterwards nothing of it is left on the host."""
    folder = Path(tempfile.mkdtemp(prefix="lan-"))
    lan = Lan(folder)
    try:
        lan.start()
        yield lan
        lan.end()
        lan.stop()
        assert lan.left() == []
    finally:
        lan.cloud.host_network._links.remove()
        lan.end()
        shutil.rmtree(folder, ignore_errors=True)


def address(port: dict[str, Any]) -> str:
    """A port's first address."""
    return str(port["fixed_ips"][0]["ip_address"])
