"""A question to the records ends in time, also where the driver goes on waiting when it is cancelled."""

import asyncio

import pytest

from records.engine import bounded


async def test_nobody_waits_for_a_question_that_does_not_heed_its_cancel() -> None:
    ended = asyncio.Event()

    @bounded(0.1)
    async def ask() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.5)  # the driver waits for the server once more
            ended.set()

    with pytest.raises(TimeoutError):
        await ask()
    assert not ended.is_set()
    await asyncio.wait_for(ended.wait(), 5)  # it was cancelled all the same


async def test_an_answer_and_a_failure_are_the_question_s_own() -> None:
    @bounded(5)
    async def ask(divisor: int) -> int:
        return 6 // divisor

    assert await ask(2) == 3
    with pytest.raises(ZeroDivisionError):
        await ask(0)


async def test_a_caller_that_is_cancelled_does_not_wait_either() -> None:
    ended = asyncio.Event()

    @bounded(60)
    async def ask() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(1)
            ended.set()

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0.05)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not ended.is_set()
