"""Connections whose turn has not come, by the address that they come from."""

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice

from gateway.link import Link

ENDED = 64  # connections that have hung up, at once


class WaitingRoom:
    """A queue for each address; the addresses have their turns one after the other."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, OrderedDict[Link, None]] = OrderedDict()
        self._number = 0

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[Link]:
        return (link for queue in self._queues.values() for link in queue)

    def add(self, link: Link) -> None:
        """It waits behind those of its address."""
        self._queues.setdefault(link.address, OrderedDict())[link] = None
        self._number += 1

    def remove(self, link: Link) -> None:
        """It waits no more, if it did."""
        queue = self._queues.get(link.address)
        if queue is not None and link in queue:
            del queue[link]
            self._number -= 1

    def remove_latest_of_most(self) -> Link:
        """The address with most of them loses its latest."""
        latest, _ = max(self._queues.values(), key=len).popitem()
        self._number -= 1
        return latest

    def addresses(self) -> list[str]:
        """Those that have somebody here, in the order of their turns."""
        return list(self._queues)

    def first_of(self, address: str) -> Link | None:
        """Who has waited longest and still waits. Those in front who have hung up are ended: they get no turn."""
        for link in list(islice(self._queues.get(address, ()), ENDED)):
            if not link.is_gone():
                return link
            self.remove(link)
            link.cut()
        return None  # nobody, or more of those: at another time

    def end_turn(self, address: str) -> None:
        """The others come before it now; one that has nobody here is forgotten."""
        if self._queues.get(address):
            self._queues.move_to_end(address)
        else:
            self._queues.pop(address, None)
