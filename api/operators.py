"""Who is an operator: by a Keystone token in a header, or by a session that began with a login in the browser."""

import hashlib
import logging
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from api.faults import Fault
from api.keystone import Identity, Keystone, Login, check_access_rules
from api.policy import Policy

WINDOW = 60.0  # seconds in which failed logins are counted
FAILED_OF_ONE = 5
FAILED_OF_ADDRESS = 30
MOST_SESSIONS = 1000

log = logging.getLogger("api.operators")
Clock = Callable[[], float]


@dataclass(frozen=True)
class Session:
    """A login: of whom, the token that it stands for, and until when on the clock."""

    user: str
    token: str = field(repr=False)
    until: float


class Sessions:
    """Who is logged in. In memory alone: a restart logs everybody out, and the token never leaves the process."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._open: OrderedDict[bytes, Session] = OrderedDict()

    def open(self, user: str, token: str, seconds: float) -> str:
        """Begin a session; return the id that the browser keeps."""
        chosen = secrets.token_urlsafe(32)
        self._open[_key(chosen)] = Session(user, token, self._clock() + seconds)
        while len(self._open) > MOST_SESSIONS:
            self._open.popitem(last=False)
        return chosen

    def find(self, chosen: str) -> Session | None:
        """Return a session that has not ended."""
        found = self._open.get(_key(chosen))
        if found is not None and found.until <= self._clock():
            del self._open[_key(chosen)]
            return None
        return found

    def close(self, chosen: str) -> Session | None:
        """End a session; return it if there was one."""
        return self._open.pop(_key(chosen), None)

    def seconds_left(self, session: Session) -> float:
        """For how long a session still counts."""
        return session.until - self._clock()


def _key(chosen: str) -> bytes:
    """What is compared is a digest, so that the time it takes tells nothing about an id."""
    return hashlib.sha256(chosen.encode()).digest()


class Attempts:
    """Logins that failed lately: 5 a minute for one user, 30 a minute in all, each from one address.

    Another address has its own count: who does not know a password cannot keep out who does.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._failed: deque[tuple[float, str, str]] = deque()

    def begin(self, user: str, address: str = "") -> None:
        """Count an attempt as failed until it is forgiven; Fault 429 when there were too many."""
        now = self._clock()
        while self._failed and self._failed[0][0] <= now - WINDOW:
            self._failed.popleft()
        there = [(when, whose) for when, whose, where in self._failed if where == address]
        own = [when for when, whose in there if whose == user]
        if len(own) >= FAILED_OF_ONE or len(there) >= FAILED_OF_ADDRESS:
            first = own[0] if len(own) >= FAILED_OF_ONE else there[0][0]
            wait = str(int(first + WINDOW - now) + 1)
            raise Fault(429, f"Too many logins have failed; try again in {wait} seconds.", {"Retry-After": wait})
        self._failed.append((now, user, address))

    def forgive(self, user: str, address: str = "") -> None:
        """Take back the user's latest attempt: it did not fail."""
        latest = next((each for each in reversed(self._failed) if each[1:] == (user, address)), None)
        if latest is not None:
            self._failed.remove(latest)


class Operators:
    """Lets in whom the policy calls an administrator (`context_is_admin`), and nobody else."""

    def __init__(self, keystone: Keystone, policy: Policy, session_seconds: float) -> None:
        self._keystone = keystone
        self._policy = policy
        self._seconds = session_seconds
        self._attempts = Attempts()
        self.sessions = Sessions()

    async def admit(self, token: str | None, method: str, path: str) -> Identity:
        """Return whose token it is; Fault 401, 403, or 503 when Keystone is away."""
        identity = await self._keystone.identify(token)
        check_access_rules(identity, method, path)
        if not self._policy.is_admin(identity):
            log.warning("user %s is no operator", identity.user_id)
            raise Fault(403, "Only an operator may do this: the policy's rule context_is_admin says who is one.")
        return identity

    async def log_in(self, account: Login, address: str = "") -> tuple[str, float]:
        """Begin a session of an operator, which ends with its token at the latest; return its id and its seconds."""
        whose = f"{account.user_domain}/{account.user}".casefold()
        self._attempts.begin(whose, address)
        try:
            grant = await self._keystone.log_in(account)
        except Fault as fault:
            if fault.code != 401:  # nobody's password was tried
                self._attempts.forgive(whose, address)
            raise
        self._attempts.forgive(whose, address)
        try:
            await self.admit(grant.token, "POST", "/login")
        except Fault:
            await self._keystone.revoke(grant.token)
            raise
        seconds = min(self._seconds, grant.seconds)
        return self.sessions.open(account.user, grant.token, seconds), seconds

    async def log_out(self, chosen: str) -> None:
        """End a session, and its token."""
        session = self.sessions.close(chosen)
        if session is not None:
            await self._keystone.revoke(session.token)


def token_of(headers: Mapping[str, str]) -> str | None:
    """The token in `X-Auth-Token` or `Authorization: Bearer`, empty if there is none in them; None without either."""
    if "x-auth-token" in headers:
        return headers["x-auth-token"]
    if "authorization" not in headers:
        return None
    scheme, _, token = headers["authorization"].partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
