"""What is to happen at which step of a recording."""

import asyncio
import threading
from collections.abc import Callable
from typing import NoReturn

from temporalio import activity


class Script:
    """What is to happen at which step, once; everything else goes well."""

    def __init__(self) -> None:
        self._at: dict[str, Callable[[], None]] = {}
        self.runs = "15"  # the engine's version

    def at(self, step: str, happens: Callable[[], None]) -> None:
        """Have something happen before a step answers."""
        self._at[step] = happens

    def refuse(self, step: str, error: Exception) -> None:
        """Have a step fail."""

        def fail() -> NoReturn:
            raise error

        self.at(step, fail)

    def require_played(self) -> None:
        """Raise when something was to happen at a step that nobody took."""
        if self._at:
            raise AssertionError(f"nobody took the steps {sorted(self._at)}")

    def play(self) -> None:
        """Whatever is to happen at the step that runs."""
        happens = self._at.pop(activity.info().activity_type, None)
        if happens is not None:
            happens()


class Held:
    """A step that is held until somebody lets it go on."""

    def __init__(self) -> None:
        self._there = threading.Event()
        self._go_on = threading.Event()

    def hold(self) -> None:
        """Called by the step, in its own thread."""
        self._there.set()
        self._go_on.wait(30)

    async def reached(self) -> None:
        """Return when the step is there."""
        if not await asyncio.to_thread(self._there.wait, 30):
            raise TimeoutError("nobody came to the step")

    def go_on(self) -> None:
        """Let the step end."""
        self._go_on.set()
