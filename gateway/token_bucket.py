"""Token buckets: rates with bursts, for whatever strangers and guests use up."""

import time

MOST_DEBT = 2.0  # seconds: what would take longer to pay is let off, so that nobody waits for ever


class TokenBucket:
    """`rate` tokens a second, at most `burst`. It may be overdrawn: what something costs is often known only afterwards."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = time.monotonic()

    def take(self, amount: float = 1) -> bool:
        """Spend it if it is there."""
        self._fill()
        if self._tokens < amount:
            return False
        self._tokens -= amount
        return True

    def spend(self, amount: float) -> float:
        """Spend it in any case; return the seconds until it is no longer overdrawn."""
        self._fill()
        self._tokens = max(self._tokens - amount, -MOST_DEBT * self._rate)
        return max(0.0, -self._tokens / self._rate)

    def _fill(self) -> None:
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
