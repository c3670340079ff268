"""The activity worker: the world from outside, and the records."""

import asyncio
from contextlib import AsyncExitStack

from activities.schedules import put_schedules
from activities.settings import ActivitySettings
from activities.worker import Services, build_workers
from contract.keys.keyring import MasterKeyring
from contract.logs import log_to_stderr
from contract.process import run
from contract.wire.client import connect
from records.engine import connect as connect_records
from records.settings import RecordsSettings


async def main(stop: asyncio.Event) -> None:
    """Work until told to stop."""
    settings, records = ActivitySettings(), RecordsSettings()
    log_to_stderr(settings.log_level)
    keyring = MasterKeyring.read(settings.master_key_file)
    client = await connect(settings, keyring)
    engine = connect_records(records)
    async with AsyncExitStack() as stack:
        for worker in build_workers(Services(client, engine, keyring, settings, records)):
            await stack.enter_async_context(worker)
        await put_schedules(client)
        await stop.wait()
    await engine.dispose()


if __name__ == "__main__":
    run(main)
