"""How much one guest may ask: how often, and how many calls may be open at once."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc.aio

from gateway.budget import Budget
from gateway.denied import too_much
from gateway.guest import Guest
from gateway.settings import GatewaySettings

KEPT = 60.0  # seconds that a guest without open calls is remembered


@dataclass
class Account:
    """What one guest uses now."""

    polls: Budget
    calls: Budget
    open_polls: int = 0
    open_calls: int = 0
    upstream: set["grpc.aio.Call"] = field(default_factory=set)
    used: float = 0.0


class Limits:
    """The accounts of all guests; a new generation begins with one of its own."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._accounts: dict[Guest, Account] = {}

    @contextmanager
    def poll(self, guest: Guest) -> Iterator[Account]:
        """Count a poll for as long as it is open; denied beyond the limits."""
        account = self._account(guest)
        if account.open_polls >= self._settings.guest_open_polls or not account.polls.take():
            raise too_much("too many polls")
        account.open_polls += 1
        try:
            yield account
        finally:
            account.open_polls -= 1

    @contextmanager
    def call(self, guest: Guest) -> Iterator[Account]:
        """Count any other call; denied beyond the limits."""
        account = self._account(guest)
        if account.open_calls >= self._settings.guest_open_calls or not account.calls.take():
            raise too_much("too many calls")
        account.open_calls += 1
        try:
            yield account
        finally:
            account.open_calls -= 1

    def open_guests(self) -> list[Guest]:
        """Guests with an open poll; forgets those that were not heard of for a while."""
        now = time.monotonic()
        idle = [key for key, each in self._accounts.items()
                if not (each.open_polls or each.open_calls) and now - each.used > KEPT]  # fmt: skip
        for key in idle:
            del self._accounts[key]
        return [key for key, each in self._accounts.items() if each.open_polls]

    def cut(self, guest: Guest) -> None:
        """End a guest's open polls."""
        account = self._accounts.get(guest)
        for call in list(account.upstream) if account else ():
            call.cancel()

    def _account(self, guest: Guest) -> Account:
        account = self._accounts.get(guest)
        if account is None:
            polls, calls = self._settings.guest_polls_per_second, self._settings.guest_calls_per_second
            account = self._accounts[guest] = Account(Budget(polls, 2 * polls), Budget(calls, 2 * calls))
        account.used = time.monotonic()
        return account
