"""The guest's Temporal worker: activities alone, one poller, its own queue."""

import asyncio
import time
from abc import ABC
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from temporalio.client import AsyncActivityCancelledError, Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Interceptor, PollerBehaviorSimpleMaximum, Worker, WorkerDeploymentConfig

from contract.keys.sealing import SecretBox
from contract.ports.backups import Backups
from contract.ports.guest import Accounts, CallGate, Lifecycle, Tokens, Watching
from contract.ports.inspection import Inspection
from contract.ports.logs import Logs
from contract.ports.registration import verbs
from contract.ports.settings import Settings
from contract.ports.tls import TlsSettings
from contract.ports.upgrading import Upgrading
from contract.process import die_of
from guest_worker import __version__
from guest_worker.datastores import open_datastore
from guest_worker.datastores.base import Datastore
from guest_worker.datastores.context import engine_context
from guest_worker.heartbeats import Heartbeats
from guest_worker.services import Services
from guest_worker.session import GuestSession
from guest_worker.verbs.accounts import EngineAccounts
from guest_worker.verbs.backups import EngineBackups
from guest_worker.verbs.gate import AccountGate
from guest_worker.verbs.health import EngineHealth
from guest_worker.verbs.identity import GuestTokens
from guest_worker.verbs.inspection import KernelInspection
from guest_worker.verbs.lifecycle import EngineLifecycle
from guest_worker.verbs.logs import EngineLogs
from guest_worker.verbs.settings import EngineSettings
from guest_worker.verbs.tls import TlsOfEngine
from guest_worker.verbs.upgrading import EngineUpgrade

PORTS: dict[type[ABC], Callable[[Services], ABC]] = {
    Lifecycle: EngineLifecycle,
    Watching: EngineHealth,
    Accounts: EngineAccounts,
    CallGate: AccountGate,
    Settings: EngineSettings,
    Logs: EngineLogs,
    TlsSettings: TlsOfEngine,
    Tokens: GuestTokens,
    Inspection: KernelInspection,
    Upgrading: EngineUpgrade,
    Backups: EngineBackups,
}
SLOTS = 12  # one for the watch, four for changes (one runs, three wait), the rest for lists, health and long jobs
HEED = timedelta(seconds=2)  # a cancelled step hears of it with a heartbeat: it must end in less than 5 s


def build_services(session: GuestSession, datastore: Datastore | None = None) -> Services:
    """What the guest works with: its engine's driver (or another, for tests) and its keys."""
    settings = session.settings
    chosen = datastore or open_datastore(session.boot.datastore, engine_context(settings))
    box = SecretBox(session.keyring, session.boot.instance_id)
    return Services(settings, chosen, box, session.renew, session.boot.version)


def build_worker(client: Client, services: Services, queue: str, interceptors: tuple[Interceptor, ...] = ()) -> Worker:
    """The worker of `guest/<instance id>`; unversioned, but it says its version."""
    version = WorkerDeploymentVersion("guest", __version__)
    worker = Worker(
        client,
        task_queue=queue,
        activities=[each for port, made in PORTS.items() for each in verbs(port, made(services))],
        activity_executor=ThreadPoolExecutor(SLOTS, thread_name_prefix="guest"),
        max_concurrent_activities=SLOTS,
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(1),
        max_heartbeat_throttle_interval=HEED,
        default_heartbeat_throttle_interval=HEED,
        graceful_shutdown_timeout=timedelta(seconds=5),
        deployment_config=WorkerDeploymentConfig(version=version, use_worker_versioning=False),
        interceptors=(Heartbeats(), *interceptors),
        on_fatal_error=die_of,
    )
    services.wanted = _asking(worker, asyncio.get_running_loop())
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
