"""The port `Tickets`, over Swift: temporary URLs for a prefix, signed with the key of a container.

Each instance has a container of its own. A signature is for a prefix, but what Swift does on its holder's behalf (copies,
manifests, links) it binds to the container alone; what keeps those out is a list of forbidden headers, which differs
between releases. So nothing of another instance's lies in the container, and one instance's tickets can be withdrawn.
"""

import hmac
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID, uuid4

from temporalio import activity

from activities.objects.sealed import METHODS, read_ca, seal
from activities.openstack.objects import ContainerKeys, SwiftContainers
from activities.settings import ActivitySettings
from contract.domain.errors import BadRequest
from contract.keys.keyring import Keyring, NotOurs
from contract.ports.tickets import (
    KeyRotation,
    SwiftAccess,
    Ticket,
    TicketContent,
    TicketOrder,
    Tickets,
    account_in,
)

FIRST = "first"  # the same for all who meet a new container at once: each of their tickets is good


class SwiftTickets(Tickets):
    """Keys derive from the master key, the container and the rotation's name, so a retry makes the same one again."""

    def __init__(
        self,
        containers: SwiftContainers,
        settings: ActivitySettings,
        keyring: Keyring,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._containers = containers
        self._settings = settings
        self._keyring = keyring
        self._now = now

    @activity.defn
    def issue_ticket(self, order: TicketOrder) -> Ticket:
        container = self._container(order.owner())
        expires = int(self._now()) + order.seconds
        base, account = self._account()
        key = self._require_key(container)
        path = f"/v1/{account}/{container}/{order.prefix}"
        access = SwiftAccess.signed(f"{base}/{container}", path, key, methods=METHODS[order.right], expires=expires)
        content = TicketContent(prefix=order.prefix, store=access, ca=read_ca(self._settings))
        return seal(self._keyring, order, content, datetime.fromtimestamp(expires, UTC))

    @activity.defn
    def rotate_ticket_key(self, rotation: KeyRotation) -> None:
        container = self._container(rotation.instance_id)
        found = self._containers.find_keys(container)
        if found is None or found.name.partition("/")[2] == rotation.name:  # nobody has a ticket, or this is a retry
            return
        before = "" if rotation.revoke else found.key
        self._containers.put_keys(container, self._keys(container, self._now_named(rotation.name)), before)

    def _require_key(self, container: str) -> str:
        """Find the container's key, or make it, with the container."""
        found = self._containers.find_keys(container)
        keys = self._keys(container, found.name if found and found.name else self._now_named(FIRST))
        if found and keys.key and hmac.compare_digest(found.key.encode(), keys.key.encode()):
            return keys.key
        if found and found.name:  # somebody changed or removed the key: what they withdrew must not come back
            keys = self._keys(container, self._now_named(str(uuid4())))
        self._containers.put_keys(container, keys)
        return keys.key

    def _now_named(self, name: str) -> str:
        """A rotation's name with the epoch of the master key, which may change while tickets are in use."""
        return f"{self._keyring.current}/{name}"

    def _keys(self, container: str, name: str) -> ContainerKeys:
        epoch, _, rest = name.partition("/")
        try:
            return ContainerKeys(name, self._keyring.key(f"c:ticket:{container}:{rest}:{epoch}").hex())
        except NotOurs:  # a name that is not ours, or an epoch that was forgotten
            return ContainerKeys("", "")

    def _container(self, owner: UUID) -> str:
        return f"{self._settings.objects_container}-{owner}"

    def _account(self) -> tuple[str, str]:
        """The account's URL for guests, and its name, which is what Swift signs, whatever stands in front of it."""
        base = self._settings.objects_endpoint.rstrip("/") or self._containers.endpoint()
        account = account_in(base)
        if not account:
            raise BadRequest(f"the object store's URL {base} names no account")
        return base, account
