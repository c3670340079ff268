"""Connections to the database of record."""

import json
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from records.settings import RecordsSettings

__all__ = ["AsyncEngine", "SQLAlchemyError", "connect", "is_away", "text"]


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


def is_away(error: BaseException) -> bool:
    """Whether an error says that the records do not answer, rather than that a question was wrong."""
    if isinstance(error, PoolTimeout):
        return True
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
