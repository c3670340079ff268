"""The workers of this process: one queue for OpenStack, one for the records, so that a slow cloud never holds a write."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from temporalio.client import Client
from temporalio.worker import Interceptor, Worker

from activities.identities import PostgresIdentities
from activities.objects import open_tickets
from activities.openstack.cloud import OpenStackCloud, open_cloud
from activities.openstack.leftovers import Leftovers
from activities.records import PostgresRecords, RunQuestions
from activities.settings import ActivitySettings
from activities.temporal import RepeatedSweeps, TemporalWatches
from records.engine import AsyncEngine
from records.settings import RecordsSettings
from workflows.keyring import MasterKeyring
from workflows.names import CLOUD, RECORDS
from workflows.ports.cloud import Cloud
from workflows.ports.identities import Identities
from workflows.ports.records import Administration, Records, Sweeps, Watches
from workflows.ports.tickets import Tickets
from workflows.process import die_of
from workflows.registration import verbs


@dataclass(frozen=True)
class Means:
    """What the activities work with."""

    client: Client
    engine: AsyncEngine
    keyring: MasterKeyring
    settings: ActivitySettings
    records: RecordsSettings


def build_workers(means: Means, interceptors: tuple[Interceptor, ...] = ()) -> list[Worker]:
    """Return the two workers; they die of a fatal error instead of hanging."""
    cloud: OpenStackCloud = open_cloud(means.settings, means.keyring)
    tickets = open_tickets(means.settings, means.keyring, cloud.connections)
    defaults = means.records.default_quotas()
    kept = PostgresRecords(means.engine, RunQuestions(means.client), defaults)
    watches = TemporalWatches(means.client, means.engine)
    sweeps = RepeatedSweeps(means.engine, means.client, Leftovers(cloud.connections), means.settings)
    threads = means.settings.cloud_threads
    return [
        Worker(
            means.client,
            task_queue=CLOUD,
            activities=[*verbs(Cloud, cloud), *verbs(Tickets, tickets)],
            activity_executor=ThreadPoolExecutor(threads, thread_name_prefix="cloud"),
            max_concurrent_activities=threads,
            interceptors=interceptors,
            on_fatal_error=die_of,
        ),
        Worker(
            means.client,
            task_queue=RECORDS,
            activities=[
                *verbs(Records, kept),
                *verbs(Identities, PostgresIdentities(means.engine)),
                *verbs(Administration, kept),
                *verbs(Watches, watches),
                *verbs(Sweeps, sweeps),
            ],
            interceptors=interceptors,
            on_fatal_error=die_of,
        ),
    ]
