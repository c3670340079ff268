"""Logs of an instance: the guest lists them, switches them, and publishes them to the object store of the caller's project.

Calls are short. A publication moves as much as its time allows, and what is left is told as pending.
"""

from abc import ABC, abstractmethod

from temporalio import activity

from contract.domain.accounts import Expiring
from contract.domain.fact import Fact, Number
from contract.ports.tickets import Ticket


class LogReport(Fact):
    """One log, sizes in bytes. `there`: something was written. `lost`: a part was overwritten before it was published."""

    name: str
    enabled: bool = True
    there: bool = False
    published: Number = 0
    pending: Number = 0
    lost: bool = False


class LogList(Fact):
    """All logs of an instance, also the guest's own."""

    logs: tuple[LogReport, ...] = ()


class LogPublication(Fact):
    """Where to: `folder` is below the ticket's prefix, `seconds` is how long Swift keeps the objects."""

    ticket: Ticket
    folder: str
    seconds: int


class LogOrder(Expiring):
    """What is to be done about a log, in the order of the members. `enable`: None leaves it as it is."""

    name: str
    enable: bool | None = None
    discard: bool = False
    publish: LogPublication | None = None


class Logs(ABC):
    """Asked by the API. Errors: NotFound, BadRequest, Busy, Expired, EngineFailed, TicketRefused, Unavailable."""

    @abstractmethod
    @activity.defn
    def list_logs(self) -> LogList: ...

    @abstractmethod
    @activity.defn
    def change_log(self, order: LogOrder) -> LogReport:
        """Switch a log, forget what was published of it, publish what is new; what is not said stays as it is."""
