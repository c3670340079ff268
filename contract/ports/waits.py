"""How long a verb of a port is asked again, where it is not one call but a wait."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

Verb = TypeVar("Verb", bound=Callable[..., Any])


class Wait(StrEnum):
    """Whether a verb raises NotYet until it is so, and whether a quarter or half an hour of that is normal."""

    NONE = "none"
    LONG = "long"
    LONGER = "longer"


def waits(wait: Wait = Wait.LONG) -> Callable[[Verb], Verb]:
    """Mark a verb that raises NotYet."""

    def mark(verb: Verb) -> Verb:
        verb.wait = wait  # type: ignore[attr-defined]
        return verb

    return mark


def wait_of(verb: Callable[..., Any]) -> Wait:
    """What a verb is marked with."""
    return getattr(verb, "wait", Wait.NONE)
