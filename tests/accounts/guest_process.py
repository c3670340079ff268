"""A guest worker in a process of its own, to be told to end, killed or stopped: `ADDRESS INSTANCE_ID MANAGER FOLDER`."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from temporalio.client import Client

from contract.keys.keyring import MasterKeyring
from contract.keys.sealing import SecretBox
from contract.logs import log_to_stderr
from contract.names import guest_queue
from contract.process import run
from contract.wire.codec import data_converter
from deploy.temporal import NAMESPACE
from guest_worker.datastores import open_datastore
from guest_worker.datastores.engine_socket import EngineSocket
from guest_worker.jobs import Jobs
from guest_worker.services import Services
from guest_worker.settings import GuestSettings
from guest_worker.worker import PORTS, build_worker
from tests.accounts.proof import GuestProof, Proof
from tests.contracts.engines import engine_context
from tests.driver_process import as_nobody
from tests.temporal import own_keyring

MASTER = b"m" * 32
ENTERED = EngineSocket.entered


@contextmanager
def entered(socket: EngineSocket) -> Iterator[str]:
    """As the user that is the guest's here; this process may be root, whom MySQL does not take for its administrator."""
    with as_nobody(), ENTERED(socket) as folder:
        yield folder


async def main(stop: asyncio.Event) -> None:
    """As the guest worker's own, without a gateway."""
    address, instance_id, manager, folder = sys.argv[1:]
    log_to_stderr("INFO")
    setattr(EngineSocket, "entered", entered)  # noqa: B010 - mypy takes no method that is assigned
    keyring = own_keyring(MasterKeyring.of(MASTER), instance_id)
    settings = GuestSettings(root=Path(folder) / "root", volume_mounted_at=f"{folder}/data")
    datastore = open_datastore(manager, engine_context(manager, Path(folder) / "data", Path(folder) / "state"))
    services = Services(settings, datastore, SecretBox(keyring, UUID(instance_id)))
    PORTS[Proof] = GuestProof
    services.jobs = Jobs(settings.paths.state / "jobs", "tests.accounts.proof")
    services.start()
    client = await Client.connect(address, namespace=NAMESPACE, data_converter=data_converter(keyring))
    async with build_worker(client, services, guest_queue(UUID(instance_id))):
        sys.stdout.write("polls\n")
        sys.stdout.flush()
        await stop.wait()
    services.end()


if __name__ == "__main__":
    run(main)
