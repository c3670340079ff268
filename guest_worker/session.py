"""What this guest is known by, and the client that speaks with it."""

import base64
import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from temporalio.client import Client, TLSConfig
from temporalio.service import RetryConfig

from contract.domain.guest import Credentials, GuestBoot
from contract.keys.keyring import OwnKeyring, Ring
from contract.wire.client import quiet_runtime
from contract.wire.codec import data_converter
from guest_worker import host, identity
from guest_worker.enrolling import ENROL, command
from guest_worker.identity import AWAY, REFUSED, EnrolmentRefused, GatewayAway, StoredIdentity
from guest_worker.settings import GuestSettings

# An answer waits before a door that is shut: the SDK's own ten seconds may be less than a gateway's restart. Guests must
# not all come back at once.
AWHILE = RetryConfig(
    initial_interval_millis=200,
    randomization_factor=0.5,
    max_interval_millis=3000,
    max_elapsed_time_millis=300_000,
    max_retries=1000,
)

log = logging.getLogger(__name__)


@dataclass
class Exchange:
    """Has a process of its own talk to the gateway's identity service; `begun`: one that enrols already."""

    begun: "Future[str] | None" = None

    def __call__(self, verb: str) -> None:
        """Do one verb of it, after what was begun; EnrolmentRefused or GatewayAway."""
        begun, self.begun = self.begun, None
        try:
            if begun is not None:
                begun.result()
            if begun is None or verb != ENROL:
                host.run(command(verb))
        except host.CommandFailed as error:
            if error.code == REFUSED:
                raise EnrolmentRefused(error.output) from None
            raise GatewayAway(error.output if error.code == AWAY else str(error)) from None


@dataclass
class GuestSession:
    """A guest's standing at the gateway. `exchange` does one verb of `guest_worker.identity`."""

    settings: GuestSettings
    boot: GuestBoot
    exchange: Callable[[str], None] = field(default_factory=Exchange)
    client: Client | None = None
    believed: str = ""
    """The CA certificates that the client was dialled with."""

    def __post_init__(self) -> None:
        known = identity.read(self.settings.paths)
        ring = ring_of(known.credentials if known else None)
        self.keyring = OwnKeyring(self.boot.instance_id, ring, self.learn)

    def join(self) -> StoredIdentity:
        """Return what we are known by, enrolling if we are not; EnrolmentRefused or GatewayAway."""
        self.exchange(ENROL)
        known = identity.require(self.settings.paths)
        self.keyring.take(ring_of(known.credentials))
        return known

    async def dial(self, known: StoredIdentity) -> Client:
        """Connect; RuntimeError while the gateway does not answer, or does not know our token."""
        ca = self._ca_of(known)
        client = await Client.connect(
            self.boot.gateway,
            namespace=self.boot.namespace,
            identity=f"guest/{self.boot.instance_id}",
            tls=TLSConfig(server_root_ca_cert=ca.encode()),
            api_key=known.token,
            data_converter=data_converter(self.keyring),
            runtime=quiet_runtime(),
            retry_config=AWHILE,
        )
        client.api_key = (identity.read(self.settings.paths) or known).token  # it may have changed meanwhile
        self.client, self.believed = client, ca
        return client

    async def dial_anew(self) -> Client | None:
        """Dial again where the gateway has named other CAs since: a client keeps those it began with. None: no need."""
        known = identity.require(self.settings.paths)
        return await self.dial(known) if self._ca_of(known) != self.believed else None

    def _ca_of(self, known: StoredIdentity) -> str:
        return (known.credentials.ca if known.credentials else "") or self.boot.ca

    def learn(self) -> Ring | None:
        """Ask the gateway for our keys as they are now; None while it does not answer."""
        try:
            self.exchange("keys")
        except (EnrolmentRefused, GatewayAway) as error:
            log.warning("cannot fetch keys: %s", error)
            return None
        return ring_of(identity.require(self.settings.paths).credentials)

    def renew(self) -> None:
        """Change the token, and speak with the new one from now on; EnrolmentRefused or GatewayAway."""
        self.exchange("renew")
        if self.client is not None:
            self.client.api_key = identity.require(self.settings.paths).token


def ring_of(credentials: Credentials | None) -> Ring:
    """Our keys as the keyring has them."""
    if credentials is None:
        return Ring({}, 0)
    return Ring({epoch: base64.b64decode(key) for epoch, key in credentials.keys.items()}, credentials.current)
