"""The guest worker: reads who it is, looks after the engine, and answers on its own queue."""

import asyncio
import logging
import random
import sys
from contextlib import suppress

from guest_worker import enrolling

if __name__ == "__main__":
    enrolling.begin()
    # Temporal's SDK loads gRPC where it finds it, for stubs that no worker uses: 10 MB. `identity` uses it, in another process
    sys.modules["grpc"] = None  # type: ignore[assignment]

from temporalio.client import Client
from temporalio.worker import Worker

from contract.logs import log_to_stderr
from contract.names import guest_queue
from contract.process import run
from guest_worker import __version__, identity
from guest_worker.identity import EnrolmentRefused, GatewayAway
from guest_worker.logs.files import keep_log
from guest_worker.session import Exchange, GuestSession
from guest_worker.settings import GuestSettings
from guest_worker.worker import build_services, build_worker

LONGEST_PAUSE = 15.0
REFUSED_PAUSE = 60.0
LOOK_EVERY = 15.0

log = logging.getLogger(__name__)


async def dial(session: GuestSession, stop: asyncio.Event) -> Client | None:
    """Join and dial until somebody answers; guests must not all come back at once."""
    pause = 0.2
    while not stop.is_set():
        try:
            return await session.dial(await asyncio.to_thread(session.join))
        except EnrolmentRefused as error:
            log.error("the gateway refuses this guest: %s", error)
            pause = REFUSED_PAUSE
        except GatewayAway as error:
            log.warning("the gateway does not answer: %s", error)
        except RuntimeError as error:
            log.warning("the gateway does not answer: %s", error)
            await asyncio.to_thread(session.learn)  # perhaps another token counts
        await sleep_or_stop(pause * random.uniform(0.5, 1.5), stop)  # noqa: S311 - jitter
        pause = min(pause * 2, LONGEST_PAUSE)
    return None


async def keep_renewing(session: GuestSession, stop: asyncio.Event) -> None:
    """Change the token now and then: a copy of it is of no use for long, and whoever used one is noticed."""
    while not stop.is_set():
        hours = session.settings.renew_hours * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
        await sleep_or_stop(hours * 3600, stop)
        if not stop.is_set():
            try:
                await asyncio.to_thread(session.renew)
            except (EnrolmentRefused, GatewayAway) as error:
                log.error("the token could not be changed: %s", error)


async def keep_believing(session: GuestSession, worker: Worker, stop: asyncio.Event) -> None:
    """Give the worker another client where the gateway has named other CAs, before its certificate is one of theirs."""
    while not stop.is_set():
        await sleep_or_stop(LOOK_EVERY, stop)
        with suppress(RuntimeError):  # the gateway does not answer: at the next look
            client = await session.dial_anew()
            if client is not None:
                worker.client = client
                log.info("the gateway is believed by other CAs from now on")


async def sleep_or_stop(seconds: float, stop: asyncio.Event) -> None:
    """Sleep, but not longer than until the end."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


async def main(stop: asyncio.Event) -> None:
    """Work until told to stop; the engine is looked after from the first moment, gateway or not."""
    settings = GuestSettings()
    log_to_stderr(settings.guest_log_level)
    keep_log(settings.paths.guest_log)
    session = GuestSession(settings, identity.read_boot(settings.paths), Exchange(enrolling.begun))
    log.info("the guest %s of instance %s begins", __version__, session.boot.instance_id)
    services = build_services(session)
    services.start()
    client = await dial(session, stop)
    if client is not None:
        worker = build_worker(client, services, guest_queue(session.boot.instance_id))
        renewing = asyncio.create_task(keep_renewing(session, stop))
        believing = asyncio.create_task(keep_believing(session, worker, stop))
        async with worker:
            await stop.wait()
        await asyncio.gather(renewing, believing)
    services.end()


if __name__ == "__main__":
    run(main)
