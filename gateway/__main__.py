"""`python -m gateway`: serve until told to stop. `python -m gateway check`: exit 0 when one serves here."""

import asyncio
import contextlib
import resource
import socket
import ssl
import sys

from contract.checks import CHECKS_AT, EVERYWHERE, route
from contract.keys.keyring import GuestsKeyring
from contract.logs import log_to_stderr
from contract.process import run
from contract.wire.client import connect_plain
from gateway.front import Front
from gateway.identity_cache import IdentityCache
from gateway.identity_service import IdentityService
from gateway.limits import Limits
from gateway.memory import use_few_arenas
from gateway.server import GuestServicer, build_server
from gateway.settings import GatewaySettings
from gateway.upstream import Upstream
from gateway.worker_service import WorkerService
from records.engine import connect as connect_records
from records.settings import RecordsSettings

GRACE = 5.0  # seconds for answers that are on their way
CHECK_SECONDS = 3.0


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
    servicer = GuestServicer(front, IdentityCache(engine, settings.identity_seconds), limits, worker, identity)
    server = build_server(settings, servicer, front.target)
    await server.start()
    await front.start()
    keeping = asyncio.create_task(servicer.keep_current(settings.identity_seconds))
    await stop.wait()
    front.stop_listening()
    servicer.end_polls()
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
    """Knock without a token: a gateway that serves does a handshake, with a certificate that guests would believe.

    Connections are let in by turns between addresses. A check is of this machine, so it can come from an address of its
    own, and does not wait behind whoever else is connected from here.
    """
    name = CHECKS_AT if settings.gateway_host in EVERYWHERE else settings.gateway_host
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.set_alpn_protocols(["h2"])
    try:
        trust.load_verify_locations(settings.gateway_ca)
        host, source = route(settings.gateway_host)
        with (
            socket.create_connection((host, settings.gateway_port), CHECK_SECONDS, source) as knock,
            trust.wrap_socket(knock, server_hostname=name) as secured,
        ):
            return 0 if secured.selected_alpn_protocol() == "h2" else 1
    except OSError:
        return 1


if __name__ == "__main__":
    if sys.argv[1:] == ["check"]:
        sys.exit(check(GatewaySettings()))
    run(main)
