"""The workers of this process: one queue for OpenStack, one for the records, so that a slow cloud never holds a write."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from temporalio.client import Client
from temporalio.worker import Interceptor, Worker

from activities.backups import PostgresBackups
from activities.configurations import PostgresConfigurations
from activities.identities import PostgresIdentities
from activities.locks import TemporalLocks
from activities.objects import open_tickets
from activities.objects.backups import SwiftBackups
from activities.openstack.cloud import open_cloud
from activities.openstack.leftovers import Leftovers
from activities.records import PostgresRecords, RunQuestions
from activities.settings import ActivitySettings
from activities.sweeps import RepeatedSweeps
from activities.watches import TemporalWatches
from contract.keys.keyring import MasterKeyring
from contract.names import CLOUD, RECORDS
from contract.ports.backup_objects import BackupObjects
from contract.ports.backup_records import BackupRecords
from contract.ports.configurations import Configurations
from contract.ports.identities import Identities
from contract.ports.records import Administration, Locks, Records, Sweeps, Watches
from contract.ports.registration import verbs
from contract.ports.tickets import Tickets
from contract.process import die_of
from records.engine import AsyncEngine
from records.settings import RecordsSettings


@dataclass(frozen=True)
class Services:
    """What the activities work with."""

    client: Client
    engine: AsyncEngine
    keyring: MasterKeyring
    settings: ActivitySettings
    records: RecordsSettings


def build_workers(services: Services, interceptors: tuple[Interceptor, ...] = ()) -> list[Worker]:
    """Return the two workers; they die of a fatal error instead of hanging."""
    cloud = open_cloud(services.settings, services.keyring)
    tickets = open_tickets(services.settings, services.keyring, cloud.connections)
    defaults = services.records.default_quotas()
    kept = PostgresRecords(services.engine, RunQuestions(services.client), defaults)
    stored = SwiftBackups(services.settings, services.keyring)
    watches = TemporalWatches(services.client, services.engine)
    sweeps = RepeatedSweeps(services.engine, services.client, Leftovers(cloud.connections), services.settings)
    threads = services.settings.cloud_threads
    return [
        Worker(
            services.client,
            task_queue=CLOUD,
            activities=[*cloud.verbs(), *verbs(Tickets, tickets), *verbs(BackupObjects, stored)],
            activity_executor=ThreadPoolExecutor(threads, thread_name_prefix="cloud"),
            max_concurrent_activities=threads,
            interceptors=interceptors,
            on_fatal_error=die_of,
        ),
        Worker(
            services.client,
            task_queue=RECORDS,
            activities=[
                *verbs(Records, kept),
                *verbs(Identities, PostgresIdentities(services.engine)),
                *verbs(Administration, kept),
                *verbs(Configurations, PostgresConfigurations(services.engine)),
                *verbs(BackupRecords, PostgresBackups(services.engine)),
                *verbs(Watches, watches),
                *verbs(Locks, TemporalLocks(services.client, services.engine)),
                *verbs(Sweeps, sweeps),
            ],
            interceptors=interceptors,
            on_fatal_error=die_of,
        ),
    ]
