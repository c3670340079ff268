"""What tickets of all stores have in common: they leave this process sealed for one guest."""

from datetime import datetime

from activities.settings import ActivitySettings
from contract.keys.keyring import Keyring
from contract.keys.sealing import SecretBox
from contract.ports.tickets import Right, Ticket, TicketContent, TicketOrder

METHODS = {Right.READ: ("GET",), Right.WRITE: ("PUT", "DELETE")}  # of Swift; HEAD goes with GET and with PUT


def seal(keyring: Keyring, order: TicketOrder, content: TicketContent, expires: datetime) -> Ticket:
    """Return the ticket, which only the guest that it was ordered for can open."""
    opens = SecretBox(keyring, order.instance_id).seal(content.model_dump_json())
    return Ticket(prefix=order.prefix, right=order.right, expires=expires, opens=opens)


def read_ca(settings: ActivitySettings) -> str:
    """The certificate that guests must trust to reach the store, or nothing."""
    return settings.objects_ca.read_text() if settings.objects_ca else ""
