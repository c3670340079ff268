"""A guest worker in a process of its own, to be told to end, killed or stopped: `ADDRESS INSTANCE_ID MANAGER FOLDER`."""

import asyncio
import sys
from pathlib import Path
from uuid import UUID

from temporalio.client import Client

from deploy.temporal import NAMESPACE
from guest_worker.datastores import open_datastore
from guest_worker.datastores.base import Surroundings
from guest_worker.guest import DatabaseGuest
from guest_worker.settings import GuestSettings
from guest_worker.worker import build_worker
from tests.temporal import own_keyring
from workflows.codec import data_converter
from workflows.keyring import MasterKeyring
from workflows.logs import log_to_stderr
from workflows.names import guest_queue
from workflows.process import run
from workflows.sealing import SecretBox

MASTER = b"m" * 32


async def main(stop: asyncio.Event) -> None:
    """As the guest worker's own, without a gateway."""
    address, instance_id, manager, folder = sys.argv[1:]
    log_to_stderr("INFO")
    keyring = own_keyring(MasterKeyring.of(MASTER), instance_id)
    settings = GuestSettings(root=Path(folder) / "root", volume_mounted_at=f"{folder}/data")
    datastore = open_datastore(manager, Surroundings(Path(folder) / "data", Path(folder) / "state"))
    guest = DatabaseGuest(settings, datastore, SecretBox(keyring, UUID(instance_id)))
    guest.start()
    client = await Client.connect(address, namespace=NAMESPACE, data_converter=data_converter(keyring))
    async with build_worker(client, guest, guest_queue(UUID(instance_id))):
        sys.stdout.write("polls\n")
        sys.stdout.flush()
        await stop.wait()
    guest.end()


if __name__ == "__main__":
    run(main)
