"""A step of a runbook that is held until somebody lets it go on."""

import asyncio


class Held:
    """A step that waits."""

    def __init__(self) -> None:
        self.there = asyncio.Event()
        self.let_go = asyncio.Event()

    async def wait(self) -> None:
        """Say that the step is there, and wait."""
        self.there.set()
        await self.let_go.wait()

    async def arrived(self) -> None:
        """Return when the step is there."""
        await asyncio.wait_for(self.there.wait(), 30)
