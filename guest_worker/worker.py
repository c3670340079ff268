"""The guest's Temporal worker: activities alone, one poller, its own queue."""

import base64
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.worker import Interceptor, PollerBehaviorSimpleMaximum, Worker, WorkerDeploymentConfig

from guest_worker import __version__
from guest_worker.datastores import open_datastore
from guest_worker.datastores.base import Datastore, Surroundings
from guest_worker.guest import DatabaseGuest
from guest_worker.settings import GuestSettings
from workflows.client import guest_converter, quiet_runtime
from workflows.domain.guest import GuestBoot
from workflows.names import guest_queue
from workflows.ports.guest import Guest
from workflows.process import die_of
from workflows.registration import verbs
from workflows.sealing import Keyring, SecretBox

SLOTS = 4


@dataclass(frozen=True)
class Identity:
    """Who this guest is, from its boot file."""

    boot: GuestBoot
    keyring: Keyring

    @classmethod
    def of(cls, boot: GuestBoot) -> "Identity":
        """Take the key out of the boot file."""
        key = base64.b64decode(boot.payload_key)
        return cls(boot, Keyring.of_guest(boot.instance_id, key))


def build_guest(settings: GuestSettings, identity: Identity, datastore: Datastore | None = None) -> DatabaseGuest:
    """The guest with its engine's driver (or another, for tests)."""
    around = Surroundings(
        data=settings.places.data,
        state=settings.places.state,
        bind_address=settings.bind_address,
        prefix=settings.engine_prefix,
    )
    chosen = datastore or open_datastore(identity.boot.datastore, around)
    return DatabaseGuest(settings, chosen, SecretBox(identity.keyring, identity.boot.instance_id))


async def connect(identity: Identity) -> Client:
    """Dial the gateway; raises RuntimeError while it does not answer."""
    boot = identity.boot
    return await Client.connect(
        boot.gateway,
        namespace=boot.namespace,
        identity=f"guest/{boot.instance_id}",
        data_converter=guest_converter(identity.keyring, str(boot.instance_id)),
        runtime=quiet_runtime(),
    )


def build_worker(
    client: Client, identity: Identity, guest: DatabaseGuest, interceptors: tuple[Interceptor, ...] = ()
) -> Worker:
    """The worker of `guest/<instance id>`; unversioned, but it says its version."""
    version = WorkerDeploymentVersion("guest", __version__)
    return Worker(
        client,
        task_queue=guest_queue(identity.boot.instance_id),
        activities=verbs(Guest, guest),
        activity_executor=ThreadPoolExecutor(SLOTS, thread_name_prefix="guest"),
        max_concurrent_activities=SLOTS,
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(1),
        max_heartbeat_throttle_interval=timedelta(seconds=20),
        default_heartbeat_throttle_interval=timedelta(seconds=20),
        graceful_shutdown_timeout=timedelta(seconds=5),
        deployment_config=WorkerDeploymentConfig(version=version, use_worker_versioning=False),
        interceptors=interceptors,
        on_fatal_error=die_of,
    )
