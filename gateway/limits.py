"""How much one guest may ask: how often, and how many calls may be open at once."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc.aio

from gateway.denied import too_much
from gateway.guest import Guest
from gateway.settings import GatewaySettings
from gateway.token_bucket import TokenBucket

KEPT = 60.0  # seconds that a guest without open calls is remembered


@dataclass
class GuestUsage:
    """What one guest uses now."""

    polls: TokenBucket
    calls: TokenBucket
    open_polls: int = 0
    open_calls: int = 0
    upstream: set["grpc.aio.Call"] = field(default_factory=set)
    used: float = 0.0


class Limits:
    """The accounts of all guests; a new generation begins with one of its own."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._usages: dict[Guest, GuestUsage] = {}

    @contextmanager
    def poll(self, guest: Guest) -> Iterator[GuestUsage]:
        """Count a poll for as long as it is open; denied beyond the limits."""
        usage = self._usage(guest)
        if usage.open_polls >= self._settings.guest_open_polls or not usage.polls.take():
            raise too_much("too many polls")
        usage.open_polls += 1
        try:
            yield usage
        finally:
            usage.open_polls -= 1

    @contextmanager
    def call(self, guest: Guest) -> Iterator[GuestUsage]:
        """Count any other call; denied beyond the limits."""
        usage = self._usage(guest)
        if usage.open_calls >= self._settings.guest_open_calls or not usage.calls.take():
            raise too_much("too many calls")
        usage.open_calls += 1
        try:
            yield usage
        finally:
            usage.open_calls -= 1

    def open_guests(self) -> list[Guest]:
        """Guests with an open poll; forgets those that were not heard of for a while."""
        now = time.monotonic()
        idle = [key for key, each in self._usages.items()
                if not (each.open_polls or each.open_calls) and now - each.used > KEPT]  # fmt: skip
        for key in idle:
            del self._usages[key]
        return [key for key, each in self._usages.items() if each.open_polls]

    def cut(self, guest: Guest) -> None:
        """End a guest's open polls."""
        usage = self._usages.get(guest)
        for call in list(usage.upstream) if usage else ():
            call.cancel()

    def _usage(self, guest: Guest) -> GuestUsage:
        usage = self._usages.get(guest)
        if usage is None:
            polls, calls = self._settings.guest_polls_per_second, self._settings.guest_calls_per_second
            usage = self._usages[guest] = GuestUsage(TokenBucket(polls, 2 * polls), TokenBucket(calls, 2 * calls))
        usage.used = time.monotonic()
        return usage
