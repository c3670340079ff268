"""Containers in the caller's project: made and emptied with the caller's own token, which no guest ever has.

A guest gets a ticket instead (docs/adr/0014): a temporary URL of Swift's to write below its instance's prefix.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Self
from urllib.parse import quote
from uuid import UUID

import httpx

from api.faults import Fault, unavailable
from api.settings import ApiSettings
from contract.keys.keyring import Keyring
from contract.keys.sealing import SecretBox
from contract.ports.tickets import Right, SwiftAccess, Ticket, TicketContent, account_in, for_guests

SECONDS = 4.0  # that all requests for one of ours may take together
TICKET_SECONDS = 120  # a publication is a short call
AT_ONCE = 8  # deletions
META = "X-Container-Meta-"
KEY = f"{META}Temp-URL-Key"


@dataclass(frozen=True)
class Account:
    """A project's account in Swift, and who asks there."""

    url: str
    token: str = field(repr=False)

    @property
    def name(self) -> str:
        """Which Swift signs, whatever stands in front of it."""
        return account_in(self.url)


class Containers:
    """Swift, asked for callers."""

    cannot: ClassVar[str]
    """What is not possible without Swift."""

    def __init__(self, settings: ApiSettings, keyring: Keyring, http: httpx.AsyncClient) -> None:
        self._settings = settings
        self._keyring = keyring
        self._http = http

    @classmethod
    @asynccontextmanager
    async def opened(cls, settings: ApiSettings, keyring: Keyring) -> AsyncIterator[Self]:
        """With a client of its own, for Swift may have another CA than Keystone."""
        verify = str(settings.objects_ca) if settings.objects_ca else True
        async with httpx.AsyncClient(timeout=SECONDS, verify=verify, trust_env=False) as http:
            yield cls(settings, keyring, http)

    def account(self, url: str | None, token: str) -> Account:
        """The account that the catalogue tells; 501 where it tells none."""
        if url is None:
            raise Fault(501, f"{self.cannot}: this cloud's catalogue has no object store (Swift).")
        account = Account(url, token)
        if not account.name:
            raise Fault(501, f"{self.cannot}: the object store's URL in the catalogue names no account.")
        return account

    async def _answered(self, work: Any) -> Any:
        try:
            return await work
        except httpx.HTTPError:
            raise Fault(503, "The object store does not answer; please try again.") from None

    async def _ask(
        self, account: Account, method: str, path: str, allowed: tuple[int, ...] = (), **more: Any
    ) -> httpx.Response:
        """Ask for a container or an object; `allowed` are failures that tell something."""
        headers = {"X-Auth-Token": account.token, **more.pop("headers", {})}
        answer = await self._http.request(method, f"{account.url}/{path}", headers=headers, **more)
        if answer.status_code < 300 or answer.status_code in allowed:
            return answer
        if answer.status_code == 401:
            raise Fault(401, "The object store refuses the token.")
        if answer.status_code == 403:
            container = path.partition("/")[0]
            raise Fault(403, f"The object store does not let you write to the container {container} of your project.")
        if answer.status_code in (413, 507):
            raise Fault(413, "The object store's quota of your project is used up.")
        raise unavailable()


class LogContainers(Containers):
    """Containers of one name, in whoever's project."""

    cannot = "Logs cannot be published"

    @property
    def name(self) -> str:
        """The containers' name."""
        return self._settings.log_container

    async def ticket(self, account: Account, instance_id: UUID) -> Ticket:
        """Make the container where it is missing; what the instance's guest writes there with."""
        key = await self._answered(self._key(account))
        prefix, expires = f"{instance_id}/", int(time.time()) + TICKET_SECONDS
        path = f"/v1/{account.name}/{self.name}/{prefix}"
        base = for_guests(account.url, self._settings.objects_for_guests)
        access = SwiftAccess.signed(f"{base}/{self.name}", path, key, methods=("PUT",), expires=expires)
        ca = self._settings.objects_ca.read_text() if self._settings.objects_ca else ""
        content = TicketContent(prefix=prefix, store=access, ca=ca)
        opens = SecretBox(self._keyring, instance_id).seal(content.model_dump_json())
        return Ticket(prefix=prefix, right=Right.WRITE, expires=datetime.fromtimestamp(expires, UTC), opens=opens)

    async def empty(self, account: Account, folder: str) -> None:
        """Delete all that was published of a log; 503 where that takes too long, and then some of it is left."""
        await self._answered(self._empty(account, folder))

    async def _key(self, account: Account) -> str:
        found = await self._ask(account, "HEAD", self.name, allowed=(404,))
        known: str = found.headers.get(KEY, "")
        if found.status_code != 404 and known:
            return known
        # derived, so that two who meet a new container at once make the same one
        ours = self._keyring.key(f"c:logs:{account.name}/{self.name}:{self._keyring.current}").hex()
        await self._ask(account, "PUT", self.name, headers={KEY: ours})
        return ours

    async def _empty(self, account: Account, folder: str) -> None:
        while names := await self._names(account, f"{folder}/"):
            for first in range(0, len(names), AT_ONCE):
                await asyncio.gather(*(self._delete(account, name) for name in names[first : first + AT_ONCE]))
        await self._delete(account, f"{folder}_metafile")

    async def _names(self, account: Account, prefix: str) -> list[str]:
        found = await self._ask(
            account, "GET", self.name, params={"prefix": prefix, "format": "json", "limit": "1000"}, allowed=(404,)
        )
        return [] if found.status_code == 404 else [each["name"] for each in found.json()]

    async def _delete(self, account: Account, name: str) -> None:
        await self._ask(account, "DELETE", f"{self.name}/{quote(name)}", allowed=(404,))
