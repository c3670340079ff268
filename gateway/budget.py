"""What may be used up over time: so much a second, and so much at once."""

import time

MOST_DEBT = 2.0  # seconds: what would take longer to pay is let off, so that nobody waits for ever


class Budget:
    """Fills at a rate up to a burst. It may be overdrawn: what something costs is often known only afterwards."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._there = burst
        self._at = time.monotonic()

    def take(self, amount: float = 1) -> bool:
        """Spend it if it is there."""
        self._fill()
        if self._there < amount:
            return False
        self._there -= amount
        return True

    def spend(self, amount: float) -> float:
        """Spend it in any case; return the seconds until the budget is no longer overdrawn."""
        self._fill()
        self._there = max(self._there - amount, -MOST_DEBT * self._rate)
        return max(0.0, -self._there / self._rate)

    def _fill(self) -> None:
        now = time.monotonic()
        self._there = min(self._burst, self._there + (now - self._at) * self._rate)
        self._at = now
