"""Bearer tokens: made up, bent, of others, of yesterday; and what a guest can do with its own."""

import asyncio
import base64
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import grpc
import pytest
from temporalio.common import RetryPolicy

from contract.keys.enrolment import new_token
from contract.names import guest_queue
from guest_worker import identity
from tests.redteam.inside import polling
from tests.redteam.newcomers import Newcomer, credentials, known_by, renewal
from tests.redteam.scenario import Attacker, Got, Scenario, ask

pytestmark = pytest.mark.asyncio(loop_scope="session")

OK = grpc.StatusCode.OK
DENIED = grpc.StatusCode.PERMISSION_DENIED
STRANGER = grpc.StatusCode.UNAUTHENTICATED
TOO_MUCH = grpc.StatusCode.RESOURCE_EXHAUSTED


def secret_of(token: str) -> str:
    """The part of a token that nobody else knows."""
    return token.partition(".")[2]


Bent = Callable[[Scenario], list[str | None]]
TOKENS: dict[str, Bent] = {
    "none": lambda _: [None],
    "malformed": lambda _: [".", "x", "..", "not-a-uuid.secret", "{}", "guest/1.x", "*.*", "' OR 1=1 --.x"],
    "made up": lambda scenario: [
        new_token(scenario.victim.instance_id), f"{scenario.victim.instance_id}.", new_token(UUID(int=0)),
    ],
    "of the victim with another secret": lambda scenario: [
        f"{scenario.victim.instance_id}.{secret_of(scenario.attacker.known.token)}",
        f"{scenario.victim.instance_id}.{scenario.attacker.known.token}",
        f"{scenario.victim.instance_id}.{known_by(scenario.world, scenario.victim.instance_id, 'token_hash')}",
    ],
    "its own, bent": lambda scenario: [
        scenario.attacker.known.token[:-1], f"{scenario.attacker.known.token}x", scenario.attacker.known.token.swapcase(),
        f"{str(scenario.attacker.instance_id).upper()}.{secret_of(scenario.attacker.known.token)}",
        f"{{{scenario.attacker.instance_id}}}.{secret_of(scenario.attacker.known.token)}",
        f"urn:uuid:{scenario.attacker.known.token}", f"Bearer {scenario.attacker.known.token}",
    ],
    "long": lambda scenario: [f"{scenario.victim.instance_id}.{'x' * size}" for size in (164, 1_000, 4_000)],
}  # fmt: skip
SCHEMES = ["{}", "Bearer", "Basic {}", "bearer {}", "BEARER {}", "Bearer  {}", "Token {}", "Bearer,{}", "Negotiate {}"]


async def is_heard(guest: Attacker, token: str) -> bool:
    """Whether the gateway knows a token."""
    return (await guest.call("GetSystemInfo", b"", token=token)).code is OK


# -- none of ones own ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", TOKENS.values(), ids=TOKENS)
async def test_a_token(scenario: Scenario, attacker: Attacker, tokens: Bent) -> None:
    async with scenario.attack() as outcome:
        polls = [attacker.call("PollActivityTaskQueue", b"", token=each, seconds=5) for each in tokens(scenario)]
        keys = [attacker.identify("Keys", b"{}", token=each) for each in tokens(scenario)]
        got = await asyncio.gather(*polls, *keys)
        assert {each.code for each in got} == {STRANGER}, got
        outcome.got = str(got[0])


async def test_a_token_of_ten_kilobytes(scenario: Scenario, attacker: Attacker) -> None:
    """gRPC itself refuses headers of that size, before the gateway sees them."""
    async with scenario.attack() as outcome:
        got = await attacker.call("GetSystemInfo", b"", token=f"{scenario.victim.instance_id}.{'x' * 10_000}")
        assert got.code in (STRANGER, TOO_MUCH)
        outcome.got = got.code.name


async def test_a_token_under_another_scheme(scenario: Scenario, attacker: Attacker) -> None:
    async with scenario.attack() as outcome:
        for each in SCHEMES:
            header = (("authorization", each.format(attacker.known.token)),)
            got = await attacker.call("GetSystemInfo", b"", token=None, metadata=header)
            assert got.code is STRANGER, each
        outcome.got = str(got)


async def test_a_token_in_another_header(scenario: Scenario, attacker: Attacker) -> None:
    async with scenario.attack() as outcome:
        for each in ("x-authorization", "proxy-authorization", "authorization-extras", "cookie", "api-key"):
            header = ((each, f"Bearer {attacker.known.token}"),)
            got = await attacker.call("GetSystemInfo", b"", token=None, metadata=header)
            assert got.code is STRANGER, each
        outcome.got = str(got)


async def test_two_tokens_in_one_call(scenario: Scenario, attacker: Attacker) -> None:
    """Its own and one made up for the victim, in both orders: it is heard as itself, or not at all."""
    async with scenario.attack() as outcome:
        made_up = (("authorization", f"Bearer {new_token(scenario.victim.instance_id)}"),)
        own = (("authorization", f"Bearer {attacker.known.token}"),)
        found = [await keys_of(attacker, metadata) for metadata in (own + made_up, made_up + own)]
        assert all(each is None or each == attacker.known.credentials for each in found)
        outcome.got = "its own keys, or none"


async def keys_of(attacker: Attacker, metadata: Any) -> Any:
    """What Keys answers, or None."""
    got = await attacker.call("Keys", b"{}", service="/coffer.gateway.v1.Identity/", token=None, metadata=metadata)
    return credentials(got) if got.code is OK else None


async def test_guessing_at_the_victims_token(scenario: Scenario, attacker: Attacker) -> None:
    """Wrong guesses lock nobody out: the victim is heard while they go on."""
    async with scenario.attack() as outcome:
        guesses = [attacker.call("GetSystemInfo", b"", token=new_token(scenario.victim.instance_id)) for _ in range(60)]
        flood = asyncio.gather(*guesses)
        await (await ask(scenario.world, scenario.victim.instance_id, "get_health", seconds=10)).result()
        heard = [each for each in await flood if not each.unanswered]
        assert {str(each) for each in heard} == {"UNAUTHENTICATED: the token is not valid"}
        outcome.got = f"60 guesses, {len(heard)} of them wrong, the others not heard"


# -- of others -------------------------------------------------------------------------------------------------------


async def test_the_keys_of_the_victim(scenario: Scenario, attacker: Attacker) -> None:
    """Whatever the request names, the keys are those of whose token it is."""
    async with scenario.attack() as outcome:
        got = await attacker.identify("Keys", f'{{"instance_id": "{scenario.victim.instance_id}"}}'.encode())
        branch = scenario.world.server.keyring.branch()
        victims = {
            base64.b64encode(each).decode() for each in branch.of_guest(scenario.victim.instance_id).secrets.values()
        }
        assert attacker.known.credentials is not None
        assert credentials(got).keys == attacker.known.credentials.keys
        assert not victims & set(credentials(got).keys.values())
        outcome.got = "its own keys"


async def test_renewing_the_victims_token(scenario: Scenario, attacker: Attacker) -> None:
    """With its own token it changes its own, with one made up nobody's."""
    victim = scenario.victim.instance_id
    before = known_by(scenario.world, victim, "token_hash")
    async with scenario.attack() as outcome:
        wanted = new_token(victim)
        got = await attacker.identify("Renew", renewal(wanted), token=f"{victim}.{secret_of(attacker.known.token)}")
        assert got.code is STRANGER
        assert known_by(scenario.world, victim, "token_hash") == before
        assert not await is_heard(attacker, wanted)
        outcome.got = str(got)


async def test_taking_the_victims_token_for_ones_own(scenario: Scenario, other: Attacker) -> None:
    """Neither its hash nor the token itself: a token names its instance."""
    victim = scenario.victim.instance_id
    honest = identity.require(scenario.victim.guest.settings.paths)
    async with scenario.attack() as outcome:
        before, stolen = (known_by(scenario.world, each, "token_hash") for each in (other.instance_id, victim))
        wanted = [honest.token, stolen, f"{other.instance_id}.{stolen}"]
        bodies = [renewal(each) for each in wanted] + [f'{{"token_hash": "{stolen}"}}'.encode()]
        for body in bodies:
            got = await other.identify("Renew", body)
            assert got.code is grpc.StatusCode.INVALID_ARGUMENT
        assert known_by(scenario.world, other.instance_id, "token_hash") == before
        outcome.got = str(got)


async def test_naming_the_victim_in_a_renewal(scenario: Scenario, other: Attacker) -> None:
    victim = scenario.victim.instance_id
    async with scenario.attack() as outcome:
        before, wanted = known_by(scenario.world, victim, "token_hash"), new_token(victim)
        body = renewal(wanted)[:-1] + f', "instance_id": "{victim}", "old_hash": "{before}"}}'.encode()
        await other.identify("Renew", body)
        assert known_by(scenario.world, victim, "token_hash") == before
        assert not await is_heard(other, wanted)
        outcome.got = "a token that it cannot use"


# -- of yesterday ----------------------------------------------------------------------------------------------------


async def test_an_open_poll_of_a_guest_that_is_revoked(scenario: Scenario, newcomer: Newcomer, other: Attacker) -> None:
    """It ends within seconds, and the next is not heard."""
    async with scenario.attack() as outcome:
        poll = await polling(other)
        await newcomer.revoke()
        assert (await asyncio.wait_for(poll, 5)).code is grpc.StatusCode.UNAVAILABLE
        got = await other.call("PollActivityTaskQueue", b"", seconds=5)
        assert got.code is STRANGER
        outcome.got = str(got)


async def test_a_revoked_guests_own_doings(scenario: Scenario, newcomer: Newcomer, other: Attacker) -> None:
    """Neither its keys, nor a new token, nor its ticket once more."""
    async with scenario.attack() as outcome:
        await newcomer.revoke()
        await until_not_heard(other, other.known.token)
        got = [await other.identify("Keys", b"{}"), await other.identify("Renew", renewal(newcomer.new_token()))]
        got += [await other.identify("Enrol", newcomer.enrolment(), token=other.known.token)]
        assert [each.code for each in got] == [STRANGER, STRANGER, DENIED]
        outcome.got = str(got[0])


async def until_not_heard(guest: Attacker, token: str) -> None:
    """Wait until the gateway has noticed; it looks twice a second here."""
    for _ in range(50):
        if not await is_heard(guest, token):
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the token is still believed")


async def test_the_token_of_a_deleted_instance(scenario: Scenario, deleted: Attacker) -> None:
    async with scenario.attack() as outcome:
        got = await deleted.call("PollActivityTaskQueue", b"", seconds=5)
        assert got.code is STRANGER
        assert (await deleted.identify("Keys", b"{}")).code is STRANGER
        outcome.got = str(got)


async def test_a_token_that_was_changed(scenario: Scenario, newcomer: Newcomer, other: Attacker) -> None:
    """It counts for some minutes, so that an answer may be lost; it cannot be changed again; then it is nobody's."""
    third = newcomer.new_token()
    async with scenario.attack() as outcome:
        old = await newcomer.renew(other)
        new = other.known.token
        assert await is_heard(other, old) and await is_heard(other, new)
        assert (await other.identify("Renew", renewal(third), token=old)).code is DENIED
        await newcomer.sql(
            "UPDATE guest_identities SET previous_until = now() WHERE instance_id = %s", newcomer.instance_id
        )
        await until_not_heard(other, old)
        assert await is_heard(other, new) and not await is_heard(other, third)
        outcome.got = "nothing, once its time was over"


async def test_two_renewals_at_once(scenario: Scenario, newcomer: Newcomer, other: Attacker) -> None:
    """The attacker of a token races with its guest: one of the new tokens counts, and the other one is not let in quietly."""
    first, second = newcomer.new_token(), newcomer.new_token()
    async with scenario.attack() as outcome:
        got = await asyncio.gather(*(other.identify("Renew", renewal(each)) for each in (first, second)))
        assert sorted(each.code.name for each in got) == ["OK", "PERMISSION_DENIED"]
        assert [await is_heard(other, each) for each in (first, second)] == [each.code is OK for each in got]
        outcome.got = "one of two new tokens"


async def test_the_victim_changes_its_token_at_work(scenario: Scenario, attacker: Attacker) -> None:
    """The honest worker renews in the middle of an operation, and goes on; a copy of its old token is then worthless."""
    victim, paths = scenario.victim.instance_id, scenario.victim.guest.settings.paths
    copied = identity.require(paths).token
    async with scenario.attack() as outcome:
        handle = await scenario.world.client.start_activity(
            "renew_token", id=f"call/{victim}/{secrets.token_hex(8)}", task_queue=guest_queue(victim),
            schedule_to_close_timeout=timedelta(seconds=20), retry_policy=RetryPolicy(maximum_attempts=1),
        )  # fmt: skip
        await handle.result()
        assert identity.require(paths).token != copied
        await scenario.world.write("UPDATE guest_identities SET previous_until = now() WHERE instance_id = %s", victim)
        await until_not_heard(attacker, copied)
        outcome.got = "a copy that is worthless"


# -- what there is besides -------------------------------------------------------------------------------------------


async def test_a_flood_of_renewals(scenario: Scenario, other: Attacker) -> None:
    """Each is work for the control plane, on a queue that all share: few are let through."""
    async with scenario.attack() as outcome:
        codes: list[Any] = []
        for _ in range(4):
            got: list[Got] = await asyncio.gather(
                *(other.identify("Renew", renewal(new_token(other.instance_id))) for each in range(10))
            )
            codes += [each.code for each in got]
        assert codes.count(TOO_MUCH) >= 20
        outcome.got = f"{codes.count(TOO_MUCH)} of 40 not looked at"


async def test_renewals_that_cannot_be_read(scenario: Scenario, other: Attacker) -> None:
    before = known_by(scenario.world, other.instance_id, "token_hash")
    bodies = [b"", b"{}", b"null", b"[" * 2_000, b'{"token": ""}', b'{"token_hash": "' + b"a" * 64 + b'"}',
              b'{"token": "' + b"a" * 43 + b'"}', renewal(f"{new_token(other.instance_id)}\n"), b" " * 100_000]  # fmt: skip
    async with scenario.attack() as outcome:
        for each in bodies:
            got = await other.identify("Renew", each)
            assert got.code is grpc.StatusCode.INVALID_ARGUMENT, each[:60]
        assert known_by(scenario.world, other.instance_id, "token_hash") == before
        outcome.got = str(got)
