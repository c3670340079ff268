"""Where the engine of this machine lives."""

from dataclasses import replace

from guest_worker.datastores.base import EngineContext
from guest_worker.engine_user import OwnUser
from guest_worker.settings import GuestSettings


def engine_context(settings: GuestSettings) -> EngineContext:
    """Where the engine lives; where it has a user of its own, what it shares with the guest is in folders of their own."""
    paths = settings.paths
    around = EngineContext(
        data=paths.data,
        state=paths.state,
        bind_address=settings.bind_address,
        prefix=settings.engine_prefix,
        template=settings.engine_template,
    )
    if not settings.engine_user:
        return around
    return replace(around, engine=OwnUser(paths), config=paths.engine_config, sockets=paths.engine_sockets)
