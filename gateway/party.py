"""Who uses the gateway: all connections of one guest, or of the strangers of one address, share what they may use."""

import asyncio
import time
from collections import OrderedDict

from gateway.link import Link
from gateway.token_bucket import TokenBucket

AT_ONCE = 8 * 1024  # bytes of a party: a call fits in some dozens of them, and is seen when gRPC has had its turn
APART = 0.005  # seconds between connections of a party that has rested: all have gathered something meanwhile
PROCESSOR_BURST = 0.05  # seconds of a processor at once: others wait for so long


class Party:
    """All connections of one guest, or the strangers' of one address, and what they may use."""

    def __init__(
        self,
        share: float,
        bytes_per_second: float,
        *,
        shared: TokenBucket | None = None,
        connections: TokenBucket | None = None,
    ) -> None:
        """`shared`: processor time of several parties together; `connections`: how many may be made."""
        self.links: OrderedDict[Link, None] = OrderedDict()
        self.connections = connections or TokenBucket(0, 0)
        self._processor = [TokenBucket(share, PROCESSOR_BURST), *([shared] if shared else [])]
        self._bytes = TokenBucket(bytes_per_second, AT_ONCE)
        self._rests_until = 0.0
        self._waking: asyncio.TimerHandle | None = None

    def spend_processor(self, seconds: float) -> None:
        """Count processor time; what is negative is given back."""
        self._rest(max(each.spend(seconds) for each in self._processor))

    def spend_bytes(self, number: int) -> None:
        """Count bytes that came in."""
        self._rest(self._bytes.spend(number))

    @property
    def rests(self) -> float:
        """Seconds for which nothing is read."""
        return max(0.0, self._rests_until - time.monotonic())

    def _rest(self, seconds: float) -> None:
        if seconds <= self.rests:
            return
        self._rests_until = time.monotonic() + seconds
        for each in self.links:
            each.hold("bucket")
        if self._waking is None:
            self._waking = asyncio.get_running_loop().call_later(seconds, self._wake)

    def _wake(self) -> None:
        """Read again, one connection after the other, unless the first have used it all up again."""
        self._waking, wait = None, self.rests
        if not wait:
            held = [each for each in self.links if each.is_held("bucket")]
            if not held:
                return
            first = min(held, key=lambda each: each.woken)
            first.woken = time.monotonic()
            first.free("bucket")
            wait = APART
        self._waking = asyncio.get_running_loop().call_later(wait, self._wake)
