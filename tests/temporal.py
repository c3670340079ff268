"""A real Temporal server for tests: one per session, on free ports, with the settings of the product."""

import asyncio
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from temporalio.client import Client
from temporalio.service import RPCError

from contract.keys.keyring import MasterKeyring, OwnKeyring
from contract.wire.codec import data_converter
from deploy import temporal
from deploy.temporal import NAMESPACE


def free_port(together: int = 1) -> int:
    """The first of some ports of 127.0.0.1 that nobody has; below those that the kernel gives to clients."""
    number, count = worker()
    share = 12_000 // count
    for _ in range(1000):
        port = 20_000 + share * number + random.randrange(share - together)
        if all(_is_free(each) for each in range(port, port + together)):
            return port
    raise OSError("no free ports")


def worker() -> tuple[int, int]:
    """Which process of pytest-xdist this is, and of how many: they start at the same time, and must not take the same."""
    name = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    return int(name.removeprefix("gw")), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def share() -> slice:
    """Of a list, what this process may take."""
    number, count = worker()
    return slice(number, None, count)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class TemporalServer:
    """Where the server listens, and clients for both sides of the wall."""

    def __init__(self, port: int, keyring: MasterKeyring, pid: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self.keyring = keyring
        self.pid = pid

    async def client(self) -> Client:
        """A control-plane client."""
        return await Client.connect(self.address, namespace=NAMESPACE, data_converter=data_converter(self.keyring))

    async def guest_client(self, instance_id: object) -> Client:
        """A client with a guest's keys that has come past the gateway: what lies behind must bear it, too."""
        own = own_keyring(self.keyring, instance_id)
        return await Client.connect(self.address, namespace=NAMESPACE, data_converter=data_converter(own))


def own_keyring(keyring: MasterKeyring, instance_id: object) -> OwnKeyring:
    """What the guest of an instance holds."""
    return OwnKeyring(str(instance_id), keyring.branch().of_guest(str(instance_id)))


@contextmanager
def temporal_server(folder: Path, keyring: MasterKeyring) -> Iterator[TemporalServer]:
    """Run a server with its file in `folder`; it is gone afterwards."""
    port = free_port()
    command = temporal.command(
        temporal.binary(Path(sys.executable)), folder / "temporal.db", port=port,
        metrics_port=free_port(), ui=None,
    )  # fmt: skip
    command += temporal.FORGETFUL
    with (folder / "temporal.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        asyncio.run(_answers(port))
        yield TemporalServer(port, keyring, server.pid)
    finally:
        server.terminate()
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


async def _answers(port: int) -> None:
    for _ in range(100):
        try:
            client = await Client.connect(f"127.0.0.1:{port}", namespace=NAMESPACE)
            await client.count_workflows()
        except (RuntimeError, RPCError):  # the port, and a moment later the namespace, are not there yet
            await asyncio.sleep(0.1)
        else:
            return
    raise TimeoutError("Temporal did not come up")
