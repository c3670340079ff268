"""What the verbs of a guest work with."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from contract.domain.errors import Unsupported
from contract.keys.sealing import SecretBox
from contract.ports.guest import Fenced
from guest_worker.calls import Calls
from guest_worker.changes import Changes
from guest_worker.datastores.base import Accounts, Datastore
from guest_worker.datastores.configuration import EngineConfiguration
from guest_worker.datastores.tls_configuration import TlsConfiguration
from guest_worker.gate import Fences, Gate
from guest_worker.jobs import Jobs
from guest_worker.journal import Journal
from guest_worker.logs.book import LogBook
from guest_worker.reserve import Reserve
from guest_worker.settings import GuestSettings
from guest_worker.supervisor import EngineSupervisor

Wanted = Callable[[bytes, float], bool]
Answer = TypeVar("Answer")


class Services:
    """One engine on one machine, who keeps it running, and what is remembered of operations and account calls.

    The engine is started and stopped under the supervisor's lock, accounts are changed under that of `calls`. Nobody waits for
    one of them while holding the other.
    """

    def __init__(
        self,
        settings: GuestSettings,
        datastore: Datastore,
        box: SecretBox,
        renew: Callable[[], None] = lambda: None,
        version: str = "",
    ) -> None:
        """`renew` changes the token that the guest is known by at the gateway; `version` is the engine's."""
        state = settings.paths.state
        self.settings = settings
        self.version = version
        self.datastore = datastore
        self.box = box
        self.renew = renew
        self.jobs = Jobs(state / "jobs")
        self.fences = Fences(state / "fence.json", lambda fence: self.jobs.end_older(fence))
        self.log_book = LogBook(settings.paths.data / "guest")
        self.configuration = EngineConfiguration(datastore, version, state, self.log_book)
        self.tls = TlsConfiguration(datastore, self.configuration, box, state)
        reserve = Reserve(settings.paths.data, mounted_by_us=not settings.paths.mounted_at)
        self.supervisor = EngineSupervisor(datastore, state, reserve, self.configuration)
        self.gate = Gate(state / "gate.json", self.fences, lambda: self.supervisor.is_stopped)
        self.calls = Calls(Journal(state / "calls.db"), self.gate, lambda: self.changes, datastore.answers)
        self.wanted: Wanted = lambda token, seconds: True
        """Whether somebody still waits for the task of this token, as far as is found out within so many seconds."""

    def start(self) -> None:
        """Look after the engine, and undo what a process before this one left half done."""
        self.supervisor.start()
        self.calls.start()

    def end(self) -> None:
        """Stop looking; the engine goes on."""
        self.calls.end()
        self.supervisor.end()

    async def do_long(self, name: str, verb: str, order: Fenced, shape: type[Answer]) -> Answer:
        """Do what takes long in a process of its own, for the newest operation alone; see `jobs`."""
        await asyncio.to_thread(self.fences.admit, order)
        return await self.jobs.follow(name, verb, order, shape)

    @property
    def accounts(self) -> Accounts:
        """The engine's databases and users."""
        accounts = self.datastore.accounts
        if accounts is None:
            raise Unsupported(f"{self.datastore.manager} has no users and databases")
        return accounts

    @property
    def changes(self) -> Changes:
        """What account calls change."""
        return Changes(self.accounts, self.box)

    @contextmanager
    def changing_engine(self, order: Fenced) -> Iterator[None]:
        """One at a time, and only for the newest operation; the supervisor starts no engine meanwhile."""
        with self.supervisor.change:
            self.fences.admit(order)
            yield
