"""The guest worker: reads who it is, looks after the engine, and answers on its own queue."""

import asyncio
import logging
import random

from temporalio.client import Client

from guest_worker.settings import GuestSettings
from guest_worker.worker import Identity, build_guest, build_worker, connect
from workflows.domain.guest import GuestBoot
from workflows.process import log_to_stderr, run

log = logging.getLogger(__name__)


async def dial(identity: Identity, stop: asyncio.Event) -> Client | None:
    """Dial until somebody answers; guests must not all come back at once."""
    pause = 0.2
    while not stop.is_set():
        try:
            return await connect(identity)
        except RuntimeError as error:
            log.warning("the gateway does not answer: %s", error)
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        pause = min(pause * 2, 15)
    return None


async def main(stop: asyncio.Event) -> None:
    """Work until told to stop; the engine is looked after from the first moment, gateway or not."""
    settings = GuestSettings()
    log_to_stderr(settings.guest_log_level)
    boot = GuestBoot.model_validate_json(settings.places.boot_file.read_text())
    identity = Identity.of(boot)
    guest = build_guest(settings, identity)
    guest.keeper.start()
    client = await dial(identity, stop)
    if client is not None:
        async with build_worker(client, identity, guest):
            await stop.wait()
    guest.keeper.end()


if __name__ == "__main__":
    run(main)
