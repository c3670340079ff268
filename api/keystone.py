"""Tokens: checked with Keystone, believed for a minute at most and never past their end."""

import asyncio
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from api.faults import Fault, unavailable

CACHE_SIZE = 10_000
SECONDS = 5.0  # that Keystone has for an answer
REMEMBER_BAD = 10.0  # seconds that a refused token is refused without asking
SERVICE = "database"
PROJECT_ID = re.compile("[0-9A-Za-z_-]{1,64}")


@dataclass(frozen=True)
class Identity:
    """What Keystone says of a token."""

    user_id: str
    project_id: str
    roles: tuple[str, ...]
    domain_id: str = ""
    access_rules: tuple[dict[str, str], ...] | None = None


@dataclass(frozen=True)
class Login:
    """A person's account and the project to act in, by name."""

    user: str
    password: str = field(repr=False)
    project: str
    user_domain: str
    project_domain: str

    def request(self) -> dict[str, Any]:
        """As Keystone is asked for a token."""
        user = {"name": self.user, "domain": {"name": self.user_domain}, "password": self.password}
        return {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": self.project, "domain": {"name": self.project_domain}}},
        }


@dataclass(frozen=True)
class IssuedToken:
    """A token that Keystone made, and for how many seconds it is good."""

    token: str = field(repr=False)
    seconds: float


@dataclass(frozen=True)
class CacheEntry:
    """A checked token, until a moment on the monotonic clock; None: refused."""

    until: float
    identity: Identity | None


class Keystone:
    """Checks tokens. A token may always be asked about with itself, so no account is needed."""

    def __init__(self, http: httpx.AsyncClient, url: str, cache_seconds: float) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._seconds = cache_seconds
        self._cache: OrderedDict[bytes, CacheEntry] = OrderedDict()

    async def identify(self, token: str | None) -> Identity:
        """Return whose token it is; raise the 401 fault, or 503 when Keystone is away."""
        if not token or not token.isascii() or not token.isprintable():
            raise self._refused()
        key = _key(token)
        known = self._cache.get(key)
        if known is None or known.until < time.monotonic():
            known = await self._ask(token)
            self._remember(key, known)
        if known.identity is None:
            raise self._refused()
        return known.identity

    async def endpoint(self, token: str, kind: str, region: str) -> str | None:
        """The public endpoint of a service, as Keystone's catalogue tells the token's project; None where it has none."""
        answer = await self._send("GET", "/auth/catalog", headers={"X-Auth-Token": token})
        if answer.status_code == 401:
            raise self._refused()
        if answer.status_code != 200:
            raise unavailable()
        services = [each for each in answer.json()["catalog"] if each["type"] == kind]
        found = [each for service in services for each in service.get("endpoints", ())]
        urls = [each["url"] for each in found if each["interface"] == "public" and region in (each["region"], "")]
        return str(urls[0]).rstrip("/") if urls else None

    async def has_project(self, token: str, project_id: str) -> bool:
        """Whether a project exists, so far as Keystone tells the token's owner; 503 when Keystone is away."""
        if not PROJECT_ID.fullmatch(project_id):  # goes into a path: "..", for example, would be another one
            return False
        answer = await self._send("GET", f"/projects/{project_id}", headers={"X-Auth-Token": token})
        if answer.status_code not in (200, 401, 403, 404):
            raise unavailable()
        return answer.status_code == 200

    async def log_in(self, account: Login) -> IssuedToken:
        """Return a token for a password; raise a 401 fault when Keystone refuses, 503 when it is away."""
        content = {"auth": account.request()}
        answer = await self._send("POST", "/auth/tokens", params={"nocatalog": "1"}, json=content)
        if answer.status_code in (400, 401, 403, 404):
            raise Fault(401, "User, password, project or domain is wrong.")
        if answer.status_code != 201:
            raise unavailable()
        return IssuedToken(answer.headers["X-Subject-Token"], _seconds_left(answer.json()["token"]))

    async def revoke(self, token: str) -> None:
        """Have Keystone forget a token; where it cannot be told, the token ends by itself."""
        self._cache.pop(_key(token), None)
        with suppress(Fault):
            headers = {"X-Auth-Token": token, "X-Subject-Token": token}
            await self._send("DELETE", "/auth/tokens", headers=headers)

    def _refused(self) -> Fault:
        return Fault(401, "The request you have made requires authentication.",
                     {"WWW-Authenticate": f'Keystone uri="{self._url.removesuffix("/v3")}"'})  # fmt: skip

    def _remember(self, key: bytes, believed: CacheEntry) -> None:
        self._cache[key] = believed
        self._cache.move_to_end(key)
        while len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)

    async def _ask(self, token: str) -> CacheEntry:
        headers = {"X-Auth-Token": token, "X-Subject-Token": token, "OpenStack-Identity-Access-Rules": "1.0"}
        answer = await self._send("GET", "/auth/tokens", params={"nocatalog": "1"}, headers=headers)
        now = time.monotonic()
        if answer.status_code in (401, 403, 404):
            return CacheEntry(now + min(REMEMBER_BAD, self._seconds), None)
        if answer.status_code != 200:
            raise unavailable()
        token_body = answer.json()["token"]
        return CacheEntry(now + min(self._seconds, _seconds_left(token_body)), _identity(token_body))

    async def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Ask Keystone; 503 where it is away, in time for our own caller: httpx bounds each part of an exchange alone."""
        try:
            async with asyncio.timeout(SECONDS):
                return await self._http.request(method, f"{self._url}{path}", **more)
        except (httpx.HTTPError, TimeoutError) as error:
            raise unavailable() from error


def _key(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _seconds_left(token: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(token["expires_at"]).timestamp() - time.time()


def _identity(token: Mapping[str, Any]) -> Identity:
    credential = token.get("application_credential") or {}
    rules = credential.get("access_rules")
    return Identity(
        user_id=token["user"]["id"],
        project_id=(token.get("project") or {}).get("id", ""),
        roles=tuple(role["name"] for role in token.get("roles", ())),
        domain_id=(token.get("project") or {}).get("domain", {}).get("id", ""),
        access_rules=None if rules is None else tuple(rules),
    )


def check_access_rules(identity: Identity, method: str, path: str) -> None:
    """Refuse what an application credential's rules do not list (401, as keystonemiddleware does)."""
    if identity.access_rules is None:
        return
    for rule in identity.access_rules:
        if rule.get("service") == SERVICE and rule.get("method") == method and _matches(rule.get("path", ""), path):
            return
    raise Fault(401, "The application credential's access rules do not allow this request.")


def _matches(pattern: str, path: str) -> bool:
    parts = re.split(r"(\*\*|\*|\{[^}]*\})", pattern)
    expression = "".join(
        ".*" if part == "**" else "[^/]+" if part == "*" or part.startswith("{") else re.escape(part) for part in parts
    )
    return re.fullmatch(expression, path) is not None
