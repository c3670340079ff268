"""Connections to the database of record."""

import asyncio
import functools
import json
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from records.settings import RecordsSettings

__all__ = ["AsyncEngine", "SQLAlchemyError", "bounded", "connect", "is_away", "text"]

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


def connect(settings: RecordsSettings) -> AsyncEngine:
    """Return an engine whose pool opens connections when they are needed and drops dead ones."""
    return create_async_engine(
        settings.records_url,
        pool_size=settings.records_pool,
        max_overflow=0,
        pool_timeout=5,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 5, "application_name": "coffer"},
        json_serializer=_json,
    )


def bounded(
    seconds: float,
) -> Callable[[Callable[Asked, Coroutine[Any, Any, Answer]]], Callable[Asked, Coroutine[Any, Any, Answer]]]:
    """Have a question end after so long, with TimeoutError where there is no answer yet.

    A database that stands still takes connections and questions, and limits of its own do not count then. The driver, when
    it is cancelled, waits for the database once more: so nobody waits for the cancel.
    """

    def bound(ask: Callable[Asked, Coroutine[Any, Any, Answer]]) -> Callable[Asked, Coroutine[Any, Any, Answer]]:
        @functools.wraps(ask)
        async def in_time(*args: Asked.args, **kwargs: Asked.kwargs) -> Answer:
            asking = asyncio.ensure_future(ask(*args, **kwargs))
            try:
                await asyncio.wait([asking], timeout=seconds)
                if not asking.done():
                    raise TimeoutError
                return asking.result()
            finally:
                if not asking.done():
                    asking.cancel()
                    asking.add_done_callback(lambda ended: ended.cancelled() or ended.exception())

        return in_time

    return bound


def is_away(error: BaseException) -> bool:
    """Whether an error says that the records do not answer, rather than that a question was wrong."""
    if isinstance(error, PoolTimeout):
        return True
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
