"""Who asks: tokens are checked at the real Keystone, and remembered for a minute."""

import asyncio
import hashlib
import time
from dataclasses import dataclass
from typing import Any

import httpx

from localcloud.settings import Settings

REMEMBER = 60


@dataclass(frozen=True)
class Caller:
    """The user and project of a token."""

    user_id: str
    project_id: str
    is_admin: bool


class Unauthorized(Exception):
    """The token is missing, unknown or expired."""


class Identity:
    """Asks Keystone, as a user of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._http = httpx.AsyncClient(timeout=10)
        self._known: dict[str, tuple[float, Caller]] = {}
        self._own_token: str | None = None
        self._lock = asyncio.Lock()

    async def caller_of(self, token: str | None) -> Caller:
        """Return whose token it is; Unauthorized otherwise."""
        if not token:
            raise Unauthorized
        key = hashlib.sha256(token.encode()).hexdigest()
        found = self._known.get(key)
        if found and found[0] > time.monotonic():
            return found[1]
        caller = _caller(await self._ask(token))
        if len(self._known) > 10_000:
            self._known.clear()
        self._known[key] = (time.monotonic() + REMEMBER, caller)
        return caller

    async def knows_project(self, project_id: str) -> bool:
        """Whether Keystone has a project of this id; also where it does not answer the question."""
        headers = {"X-Auth-Token": await self._own()}
        answer = await self._http.get(f"{self._settings.keystone}/projects/{project_id}", headers=headers)
        return answer.status_code != 404

    async def _ask(self, token: str) -> dict[str, Any]:
        for _ in range(2):
            headers = {"X-Auth-Token": await self._own(), "X-Subject-Token": token}
            answer = await self._http.get(f"{self._settings.keystone}/auth/tokens", headers=headers)
            if answer.status_code == 401:  # our own token has expired
                self._own_token = None
                continue
            if answer.status_code != 200:
                break
            body: dict[str, Any] = answer.json()["token"]
            return body
        raise Unauthorized

    async def _own(self) -> str:
        async with self._lock:
            if self._own_token is None:
                password = self._settings.password_file.read_text().strip()
                domain = {"id": "default"}
                user = {"name": self._settings.username, "domain": domain, "password": password}
                auth = {
                    "identity": {"methods": ["password"], "password": {"user": user}},
                    "scope": {"project": {"name": self._settings.project, "domain": domain}},
                }
                answer = await self._http.post(f"{self._settings.keystone}/auth/tokens", json={"auth": auth})
                answer.raise_for_status()
                self._own_token = answer.headers["X-Subject-Token"]
            return self._own_token


def _caller(token: dict[str, Any]) -> Caller:
    if "project" not in token:
        raise Unauthorized
    roles = {role["name"] for role in token.get("roles", [])}
    return Caller(token["user"]["id"], token["project"]["id"], "admin" in roles)
