"""Containers of backups: who orders a backup has the container made, with a key that the control plane can derive again.

From then on nobody's token is needed: tickets of guests, checks and deletions are signed with that key. A container has
two keys; the one that is not ours stays.
"""

import hmac
from urllib.parse import quote

import httpx

from api.faults import Fault
from api.swift.containers import META, Account, Containers
from contract.domain.backups import BackupPlace
from contract.keys.keyring import NotOurs
from contract.ports.tickets import container_key_name

KEYS = (f"{META}Temp-URL-Key", f"{META}Temp-URL-Key-2")
EPOCH = f"{META}Coffer-Epoch"  # of the master key that ours derives from


class BackupContainers(Containers):
    """Containers of any name."""

    cannot = "Backups cannot be stored"

    async def prepare(self, account: Account, container: str) -> BackupPlace:
        """Make the container where it is missing, and see to it that it has a key of ours."""
        place: BackupPlace = await self._answered(self._prepare(account, container))
        return place

    async def is_gone(self, account: Account, place: BackupPlace) -> bool:
        """Whether somebody has deleted the container; one that is there is given its key again."""
        gone: bool = await self._answered(self._is_gone(account, place))
        return gone

    async def _prepare(self, account: Account, container: str) -> BackupPlace:
        found = await self._ask(account, "HEAD", quote(container), allowed=(404,))
        place = BackupPlace(account_url=account.url, container=container, epoch=self._epoch(found))
        await self._give_key(account, place, found)
        return place

    async def _is_gone(self, account: Account, place: BackupPlace) -> bool:
        found = await self._ask(account, "HEAD", quote(place.container), allowed=(404,))
        if found.status_code == 404:
            return True
        await self._give_key(account, place, found)
        return False

    def _epoch(self, found: httpx.Response) -> int:
        """That of the container's key, as long as the master key of then is kept."""
        said = found.headers.get(EPOCH, "")
        if found.status_code == 404 or not (said.isascii() and said.isdigit() and len(said) < 10):
            return self._keyring.current
        try:
            self._keyring.key(f"c:container:{said}")
        except NotOurs:
            return self._keyring.current
        return int(said)

    async def _give_key(self, account: Account, place: BackupPlace, found: httpx.Response) -> None:
        name = container_key_name(place.account_url, place.container, place.epoch)
        ours = self._keyring.key(name).hex()
        known = ["" if found.status_code == 404 else found.headers.get(each, "") for each in KEYS]
        if any(hmac.compare_digest(each.encode(), ours.encode()) for each in known):
            return
        free = next((header for header, value in zip(KEYS, known, strict=True) if not value), None)
        if free is None:
            raise Fault(400, f"The container {place.container} has two keys for temporary URLs already: remove one, or "
                             "name another container.")  # fmt: skip
        await self._ask(account, "PUT", quote(place.container), headers={free: ours, EPOCH: str(place.epoch)})
