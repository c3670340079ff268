"""Which settings of the tenant's the engine is to have, and which it has: remembered over restarts of the guest."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pydantic import Field
from temporalio.exceptions import ApplicationError

from contract.domain.datastores.parameters import Parameters, parameters_of, refusals
from contract.domain.errors import BadRequest, Unavailable
from contract.domain.fact import Fact
from guest_worker.datastores.base import Datastore
from guest_worker.logs.book import LogBook
from guest_worker.state_file import StateFile

log = logging.getLogger(__name__)
KEY = "settings"


class Known(Fact):
    """`wanted` is what the runbooks said last, `running` what the engine's process has; the file says one or the other.

    `refused`: why it does not start with what is wanted.
    """

    memory_mib: int = 0
    wanted: dict[str, str] = Field(default_factory=dict)
    running: dict[str, str] = Field(default_factory=dict)
    refused: str = ""


class EngineConfiguration:
    """Writes the engine's configuration; called under the lock under which the engine is started and stopped."""

    def __init__(self, datastore: Datastore, version: str, folder: Path, logs: LogBook | None = None) -> None:
        self._datastore = datastore
        self._version = version
        self._state = StateFile(folder / "settings.json")
        self._logs = logs

    @property
    def known(self) -> Known:
        """What is remembered."""
        return Known.model_validate(self._state.get(KEY) or {})

    @property
    def restart_required(self) -> bool:
        """Whether something that is wanted counts only from the next start."""
        known = self.known
        return self._datastore.runs() and known.wanted != known.running

    @property
    def refused(self) -> str | None:
        """Why the engine runs with the settings that it had before, where it does."""
        why = self.known.refused
        return (
            f"the database does not start with its settings ({why}); it runs with those that it had before"
            if why
            else None
        )

    def write(self, memory_mib: int, settings: Mapping[str, str]) -> None:
        """Have the engine's next start read these settings."""
        self._check(memory_mib, settings)
        self._configure(memory_mib, settings)
        self._keep(memory_mib=memory_mib, wanted=dict(settings), refused="")

    def change(self, memory_mib: int, settings: Mapping[str, str]) -> None:
        """The same, and have the running engine take at once what it can; all is as it was where it refuses."""
        self._check(memory_mib, settings)
        before = self.known
        old, new = self._live(before.running), self._live(settings)
        self._configure(memory_mib, settings)
        if self._datastore.runs():
            try:
                self._datastore.change_live(old, new, memory_mib)
            except ApplicationError:
                self._configure(memory_mib, before.running if before.refused else before.wanted)
                with suppress(ApplicationError):  # what cannot be undone now is so from the next start
                    self._datastore.change_live(new, old, memory_mib)
                raise
        at_start = {name: value for name, value in before.running.items() if name not in old}
        self._keep(memory_mib=memory_mib, wanted=dict(settings), running={**at_start, **new}, refused="")

    def write_again(self) -> None:
        """Write the file anew: what does not come from the settings has changed."""
        known = self.known
        if known.memory_mib:
            self._datastore.configure(known.memory_mib, known.running if known.refused else known.wanted)

    def started(self) -> None:
        """The engine has just been started with what is in the file."""
        known = self.known
        if not known.refused and known.running != known.wanted:
            self._keep(running=known.wanted)

    def try_again(self) -> None:
        """Have the next start read what is wanted, also where the engine did not start with it before."""
        known = self.known
        if known.refused and not self._datastore.runs():
            self._configure(known.memory_mib, known.wanted)
            self._keep(refused="")

    def fall_back(self, why: str) -> bool:
        """The engine did not start: have it read the settings that it had before. False where there are no others."""
        known = self.known
        if known.refused or known.running == known.wanted or not known.memory_mib:
            return False
        log.warning("the engine does not start with its settings (%s); those that it had before are taken", why)
        self._configure(known.memory_mib, known.running)
        self._keep(refused=why)
        return True

    def forgive(self) -> None:
        """It was not the settings: have the next start read what is wanted."""
        known = self.known
        self._configure(known.memory_mib, known.wanted)
        self._keep(refused="")

    def defaults(self) -> dict[str, str]:
        """What the engine is configured with where the tenant sets nothing."""
        if not self.known.memory_mib:
            raise Unavailable("The database is not configured yet; please try again.")
        return self._datastore.defaults(self.known.memory_mib)

    def switch_log(self, name: str, enabled: bool) -> None:
        """Have a log of the engine written or not, from now on and after each start; all is as it was where it refuses."""
        book = self._logs
        if book is None or not self.known.memory_mib:
            raise Unavailable("The database is not configured yet; please try again.")
        before = book.of(name)
        book.put(name, before.model_copy(update={"enabled": enabled}))
        try:
            self._write_again()
            self._switch_logs()
        except Exception:
            book.put(name, before)
            self._write_again()
            with suppress(ApplicationError):
                self._switch_logs()
            raise

    def _switch_logs(self) -> None:
        if self._logs is not None and self._datastore.logs is not None and self._datastore.runs():
            self._datastore.logs.switch(self._logs.enabled())

    def _write_again(self) -> None:
        known = self.known
        self._configure(known.memory_mib, known.running if known.refused else known.wanted)

    def _configure(self, memory_mib: int, settings: Mapping[str, str]) -> None:
        """Write these settings, and those of the logs, which no tenant sets."""
        logs = self._datastore.logs
        ours = {} if self._logs is None or logs is None else logs.settings(self._logs.enabled())
        self._datastore.configure(memory_mib, {**settings, **ours})

    @property
    def _parameters(self) -> Parameters:
        return parameters_of(self._datastore.manager, self._version)

    def _live(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Those that can change while the engine runs."""
        offered = self._parameters
        return {name: value for name, value in settings.items() if name in offered and not offered[name].restart}

    def _check(self, memory_mib: int, settings: Mapping[str, str]) -> None:
        wrong = list(refusals(settings, self._parameters, memory_mib))
        if wrong:
            raise BadRequest("; ".join(wrong[:20]))

    def _keep(self, **changed: object) -> None:
        self._state.put(KEY, self.known.model_copy(update=changed).model_dump())
