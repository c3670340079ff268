"""`python -m gateway`: serve until told to stop. `python -m gateway check`: exit 0 when one serves here."""

import asyncio
import contextlib
import resource
import sys
from collections.abc import Callable

import grpc

from gateway.directory import Directory
from gateway.front import Front
from gateway.identity_service import IdentityService
from gateway.limits import Limits
from gateway.memory import use_few_arenas
from gateway.server import WORKER, Door, build_server
from gateway.settings import GatewaySettings
from gateway.upstream import Upstream
from gateway.worker_service import WorkerService
from records.engine import connect as connect_records
from records.settings import RecordsSettings
from workflows.client import connect_plain
from workflows.keyring import GuestsKeyring
from workflows.logs import log_to_stderr
from workflows.process import run

GRACE = 5.0  # seconds for answers that are on their way


async def main(stop: asyncio.Event) -> None:
    """Serve; it starts without Temporal and the records, and says UNAVAILABLE until they are there."""
    settings = GatewaySettings()
    log_to_stderr(settings.log_level)
    _allow_many_connections()
    use_few_arenas()
    keyring = GuestsKeyring.read(settings.guest_key_file)
    engine = connect_records(RecordsSettings()).execution_options(isolation_level="AUTOCOMMIT")
    client = await connect_plain(settings)
    limits, upstream = Limits(settings), Upstream(settings)
    front = Front(settings)
    worker = WorkerService(upstream, keyring, limits, front.spend)
    identity = IdentityService(client, keyring, settings.gateway_ca)
    door = Door(front, Directory(engine, settings.identity_seconds), limits, worker, identity)
    server = build_server(settings, door, front.target)
    await server.start()
    await front.start()
    keeping = asyncio.create_task(door.keep_current(settings.identity_seconds))
    await stop.wait()
    front.stop_listening()
    door.end_polls()
    keeping.cancel()
    await server.stop(GRACE)
    front.close()
    await upstream.close()
    await engine.dispose()


def _allow_many_connections() -> None:
    """A connection is three files, and a guest is a connection."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def check(settings: GatewaySettings) -> int:
    """Knock without a token: a gateway that serves says so, and lets nobody in."""
    trust = grpc.ssl_channel_credentials(settings.gateway_ca.read_bytes())
    host = "127.0.0.1" if settings.gateway_host == "0.0.0.0" else settings.gateway_host  # noqa: S104
    with grpc.secure_channel(f"{host}:{settings.gateway_port}", trust) as channel:
        knock: Callable[..., bytes] = channel.unary_unary(f"{WORKER}GetSystemInfo")
        try:
            knock(b"", timeout=3)
        except grpc.RpcError as error:
            return 0 if error.code() is grpc.StatusCode.UNAUTHENTICATED else 1
    return 1


if __name__ == "__main__":
    if sys.argv[1:] == ["check"]:
        sys.exit(check(GatewaySettings()))
    run(main)
