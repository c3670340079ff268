"""The guest's Temporal worker: activities alone, one poller, its own queue."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

from temporalio.client import AsyncActivityCancelledError, Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Interceptor, PollerBehaviorSimpleMaximum, Worker, WorkerDeploymentConfig

from guest_worker import __version__
from guest_worker.datastores import open_datastore
from guest_worker.datastores.base import Datastore, Surroundings
from guest_worker.engine_user import OwnUser
from guest_worker.guest import DatabaseGuest
from guest_worker.heartbeats import Heartbeats
from guest_worker.membership import Membership
from guest_worker.settings import GuestSettings
from workflows.ports.guest import Guest
from workflows.process import die_of
from workflows.registration import verbs
from workflows.sealing import SecretBox

SLOTS = 12  # one for the watch, four for changes (one runs, three wait), the rest for lists and health


def build_guest(membership: Membership, datastore: Datastore | None = None) -> DatabaseGuest:
    """The guest with its engine's driver (or another, for tests)."""
    settings = membership.settings
    chosen = datastore or open_datastore(membership.boot.datastore, surroundings(settings))
    return DatabaseGuest(settings, chosen, SecretBox(membership.keyring, membership.boot.instance_id), membership.renew)


def surroundings(settings: GuestSettings) -> Surroundings:
    """Where the engine lives; where it has a user of its own, what it shares with the guest is in folders of their own."""
    places = settings.places
    around = Surroundings(
        data=places.data, state=places.state, bind_address=settings.bind_address, prefix=settings.engine_prefix
    )
    if not settings.engine_user:
        return around
    return replace(around, engine=OwnUser(places), config=places.engine_config, sockets=places.engine_sockets)


def build_worker(
    client: Client, guest: DatabaseGuest, queue: str, interceptors: tuple[Interceptor, ...] = ()
) -> Worker:
    """The worker of `guest/<instance id>`; unversioned, but it says its version."""
    version = WorkerDeploymentVersion("guest", __version__)
    worker = Worker(
        client,
        task_queue=queue,
        activities=verbs(Guest, guest),
        activity_executor=ThreadPoolExecutor(SLOTS, thread_name_prefix="guest"),
        max_concurrent_activities=SLOTS,
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(1),
        max_heartbeat_throttle_interval=timedelta(seconds=4),
        default_heartbeat_throttle_interval=timedelta(seconds=4),
        graceful_shutdown_timeout=timedelta(seconds=5),
        deployment_config=WorkerDeploymentConfig(version=version, use_worker_versioning=False),
        interceptors=(Heartbeats(), *interceptors),
        on_fatal_error=die_of,
    )
    guest.wanted = _asking(worker, asyncio.get_running_loop())
    return worker


def _asking(worker: Worker, loop: asyncio.AbstractEventLoop) -> Callable[[bytes, float], bool]:
    """Whether Temporal takes an answer to a task still; not knowing within so many seconds is as good as no."""

    def is_wanted(task_token: bytes, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            handle = worker.client.get_async_activity_handle(task_token=task_token)
            try:
                asyncio.run_coroutine_threadsafe(handle.heartbeat(), loop).result(left)
            except (AsyncActivityCancelledError, TimeoutError):
                return False
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    return False
                time.sleep(min(0.1, left))
            else:
                return True
        return False

    return is_wanted
