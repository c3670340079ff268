"""Warnings about calls that were denied: each kind from each address has its share of the log."""

import logging
from collections import Counter, OrderedDict

from gateway.token_bucket import TokenBucket

KEPT = 2000
RATE, BURST = 0.2, 5.0  # of one kind from one address
RATE_OF_ALL, BURST_OF_ALL = 50.0, 100.0
NAMED = 20  # kinds that a summary names

log = logging.getLogger(__name__)


class Denials:
    """A flood of one kind, or of one address, keeps no other out of the log; and what was left out is counted."""

    def __init__(self) -> None:
        self._all = TokenBucket(RATE_OF_ALL, BURST_OF_ALL)
        self._each: OrderedDict[tuple[str, str], TokenBucket] = OrderedDict()
        self._left_out: Counter[str] = Counter()

    def tell(self, kind: str, address: str, text: str, *values: object) -> None:
        """Log a warning, or count it."""
        own = self._each.setdefault((kind, address), TokenBucket(RATE, BURST))
        self._each.move_to_end((kind, address))
        while len(self._each) > KEPT:
            self._each.popitem(last=False)
        if own.take() and self._all.take():
            log.warning(text, *values)
        else:
            self._left_out[kind] += 1

    def sum_up(self) -> None:
        """Log how many were left out since the last time."""
        for kind, number in self._left_out.most_common(NAMED):
            log.warning("%d more calls were denied and not logged: %s", number, kind)
        self._left_out.clear()
