"""The port `Watching`: how the engine and its volume are."""

import asyncio
import time
from contextlib import suppress

from temporalio import activity

from contract.domain.instance import OperatingStatus
from contract.ports.guest import Health, LastKnown, Watching
from guest_worker import __version__
from guest_worker.reserve import space_of
from guest_worker.services import Services

SAME_STATUS_EVERY = 5.0  # seconds until another reason of the same status is told
LOOK_EVERY = 1.0  # seconds between looks at the engine while it is watched


class EngineHealth(Watching):
    """Looks, and takes no lock."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @activity.defn
    async def get_health(self) -> Health:
        return await asyncio.to_thread(self._look)

    def _look(self) -> Health:
        condition = self._services.supervisor.condition()
        stopped = condition.status is OperatingStatus.SHUTDOWN  # by an operation, which may have said why
        try:
            space = space_of(self._services.settings.paths.data)
        except OSError:
            space = None
        return Health(
            operating_status=condition.status,
            reason=condition.reason or (self._services.gate.reason if stopped else None),
            volume_used_bytes=space.used if space else 0,
            volume_total_bytes=space.total if space else 0,
            guest_version=__version__,
        )

    @activity.defn
    async def watch_health(self, known: LastKnown) -> Health:
        beat_every = self._services.settings.heartbeat_seconds
        began = time.monotonic()
        last_beat = -beat_every
        while True:
            health = await self.get_health()
            waited = time.monotonic() - began
            if waited >= known.seconds or is_news(known.health, health, waited) or activity.is_worker_shutdown():
                return health
            if waited - last_beat >= beat_every:
                activity.heartbeat(health)
                last_beat = waited
            await _pause(LOOK_EVERY)


async def _pause(seconds: float) -> None:
    """Sleep, but not while the worker wants to end."""
    with suppress(TimeoutError):
        await asyncio.wait_for(activity.wait_for_worker_shutdown(), seconds)


def is_news(known: Health | None, seen: Health, waited: float) -> bool:
    """Whether the control plane should hear it: another state, or 1 % of the volume (at most once a minute)."""
    if known is None or known.operating_status is not seen.operating_status:
        return True
    if known.reason != seen.reason and waited >= SAME_STATUS_EVERY:
        return True
    if known.guest_version != seen.guest_version or known.volume_total_bytes != seen.volume_total_bytes:
        return True
    moved = abs((seen.volume_used_bytes or 0) - (known.volume_used_bytes or 0))
    return waited >= 60 and moved * 100 >= max(1, seen.volume_total_bytes or 1)
