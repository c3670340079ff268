"""Who the gateway says that a token belongs to, while the records do not answer."""

import hashlib
import time
from uuid import uuid4

import grpc
import pytest

from gateway.denied import Denied
from gateway.identity_cache import CacheEntry, IdentityCache
from records.engine import connect
from records.guests import GuestIdentity
from records.settings import RecordsSettings
from tests.temporal import free_port


@pytest.fixture
def identity_cache() -> IdentityCache:
    """One whose records are away."""
    url = f"postgresql+psycopg://coffer@127.0.0.1:{free_port()}/coffer"
    return IdentityCache(connect(RecordsSettings(records_url=url)), seconds=5)


def known(identity_cache: IdentityCache, seconds_ago: float) -> str:
    """A token that the records told of, so long ago."""
    instance_id = uuid4()
    token = f"{instance_id}.secret"
    hashes = frozenset({hashlib.sha256(token.encode()).hexdigest()})
    identity_cache._seen[instance_id] = CacheEntry(
        GuestIdentity(instance_id, 1, hashes), time.monotonic() - seconds_ago
    )
    return token


async def code_of(identity_cache: IdentityCache, token: str) -> grpc.StatusCode:
    """With which code a token is denied."""
    with pytest.raises(Denied) as denied:
        await identity_cache.guest_of(token)
    return denied.value.code


async def test_a_known_token_is_believed_for_a_while(identity_cache: IdentityCache) -> None:
    token = known(identity_cache, 30)
    assert str((await identity_cache.guest_of(token))[0].instance_id) == token.partition(".")[0]


async def test_a_known_token_is_not_believed_for_ever(identity_cache: IdentityCache) -> None:
    assert await code_of(identity_cache, known(identity_cache, 90)) is grpc.StatusCode.UNAVAILABLE


async def test_a_token_that_may_be_new_is_not_called_wrong(identity_cache: IdentityCache) -> None:
    """The guest may have changed it a moment ago: told UNAUTHENTICATED, its worker would end."""
    assert await code_of(identity_cache, f"{known(identity_cache, 30)}-changed") is grpc.StatusCode.UNAVAILABLE


async def test_what_is_no_token_is_called_wrong(identity_cache: IdentityCache) -> None:
    assert await code_of(identity_cache, "nobody.secret") is grpc.StatusCode.UNAUTHENTICATED
