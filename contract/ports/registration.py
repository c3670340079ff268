"""What a worker registers: the verbs of a port, no more and no fewer."""

from abc import ABC
from collections.abc import Callable
from typing import Any


def verbs(port: type[ABC], implementation: ABC) -> list[Callable[..., Any]]:
    """Return the implementation's activities: the port's abstract methods."""
    names = sorted(name for base in port.__mro__ for name in getattr(base, "__abstractmethods__", ()))
    return [getattr(implementation, name) for name in dict.fromkeys(names)]
