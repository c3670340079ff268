"""Barbican: secrets of tenants, read with the caller's own token; and that an instance uses one is told there."""

import asyncio
import logging
import re
from typing import Any
from uuid import UUID

import httpx

from api.faults import Fault, unavailable

SECRET = re.compile(r"https?://\S+/v1/secrets/([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})/?")
READ_SECONDS = 3.0  # for all that is read for one request
TELL_SECONDS = 1.5
SINCE = {"OpenStack-API-Version": "key-manager 1.1"}  # there are consumers of secrets
LARGEST = 65_536  # bytes of a secret that are of use

log = logging.getLogger(__name__)


class Barbican:
    """One cloud's; without a URL there is none.

    A reference is a URL of the tenant's: no more of it is used than the secret's id, so that nobody but Barbican is sent a
    token.
    """

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http = http
        self._url = url.rstrip("/").removesuffix("/v1")

    async def read(self, token: str, **references: str) -> dict[str, bytes]:
        """The secrets, by the member of the body that refers to them; Fault for one that is none, or not to be read."""
        if not self._url:
            raise Fault(400, "There is no Barbican in this cloud: send the certificate with the request.")
        try:
            async with asyncio.timeout(READ_SECONDS):
                return {name: await self._secret(token, name, said) for name, said in references.items()}
        except (httpx.HTTPError, TimeoutError) as error:
            raise unavailable() from error

    async def _secret(self, token: str, name: str, said: str) -> bytes:
        secret_id = _id_of(name, said)
        found = await self._ask("GET", token, secret_id, Accept="application/json")
        kinds = found.json().get("content_types") if found.status_code == 200 else None
        if found.status_code >= 500:
            raise unavailable()
        if not kinds:
            raise Fault(400, f"{name}: there is no secret {secret_id} with a payload in Barbican that you may read.")
        payload = await self._ask("GET", token, f"{secret_id}/payload", Accept=str(kinds["default"]))
        if payload.status_code != 200 or len(payload.content) > LARGEST:
            raise Fault(400, f"{name}: the payload of secret {secret_id} cannot be read from Barbican.")
        return payload.content

    async def register(self, token: str, reference: str, instance_id: UUID) -> None:
        """Tell that the instance uses the secret; that this is not possible is only logged."""
        await self._tell("POST", token, reference, instance_id)

    async def remove(self, token: str, reference: str, instance_id: UUID) -> None:
        """Tell that the instance does not use the secret any more; logged likewise."""
        await self._tell("DELETE", token, reference, instance_id)

    async def _tell(self, method: str, token: str, reference: str, instance_id: UUID) -> None:
        consumer = {"service": "database", "resource_type": "instance", "resource_id": str(instance_id)}
        try:
            async with asyncio.timeout(TELL_SECONDS):
                path = f"{_id_of('container_ref', reference)}/consumers"
                answer = await self._ask(method, token, path, json=consumer, **SINCE)
        except (httpx.HTTPError, TimeoutError, Fault) as error:
            log.warning("Barbican was not told that instance %s uses a secret, or does no more: %r", instance_id, error)
            return
        if answer.status_code >= 300:
            log.warning("Barbican does not note instance %s as a consumer, or remove it: %d %s", instance_id,
                        answer.status_code, answer.text[:200])  # fmt: skip

    async def _ask(self, method: str, token: str, path: str, json: Any = None, **headers: str) -> httpx.Response:
        url = f"{self._url}/v1/secrets/{path}"
        return await self._http.request(method, url, json=json, headers={"X-Auth-Token": token, **headers})


def _id_of(name: str, said: str) -> str:
    found = SECRET.fullmatch(said)
    if found is None:
        raise Fault(400, f"{name}: must be the URL of a secret of Barbican, which ends with /v1/secrets/ and its id.")
    return found[1].lower()
