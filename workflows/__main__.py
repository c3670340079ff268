"""The workflow worker: registers the runbooks, nothing else."""

import asyncio

from temporalio.client import Client
from temporalio.worker import Worker

from contract.keys.keyring import MasterKeyring
from contract.logs import log_to_stderr
from contract.names import RUNBOOKS as QUEUE
from contract.process import die_of, run
from contract.settings import TemporalSettings
from contract.wire.client import connect
from workflows.catalogue import RUNBOOKS
from workflows.runner import runner


def worker(client: Client) -> Worker:
    """The worker of the queue `runbooks`; it dies of a fatal error instead of hanging."""
    return Worker(client, task_queue=QUEUE, workflows=list(RUNBOOKS), workflow_runner=runner(), on_fatal_error=die_of)


async def main(stop: asyncio.Event) -> None:
    """Work until told to stop; without Temporal the process ends, and its supervisor starts it again."""
    settings = TemporalSettings()
    log_to_stderr(settings.log_level)
    client = await connect(settings, MasterKeyring.read(settings.master_key_file))
    async with worker(client):
        await stop.wait()


if __name__ == "__main__":
    run(main)
