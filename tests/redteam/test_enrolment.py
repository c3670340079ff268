"""Enrolment: user data stays readable for as long as a server lives, so what it holds must be worthless once it was used."""

import asyncio
import base64
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import grpc
import pytest

from contract.keys.enrolment import hash_of_token, new_token, ticket_for
from gateway.server import OPTIONS
from guest_worker import identity
from tests.redteam.inside import polling
from tests.redteam.newcomers import Newcomer, credentials
from tests.redteam.scenario import Attacker, Got, Scenario, Victim

pytestmark = pytest.mark.asyncio(loop_scope="session")

DENIED = grpc.StatusCode.PERMISSION_DENIED
STRANGER = grpc.StatusCode.UNAUTHENTICATED
INVALID = grpc.StatusCode.INVALID_ARGUMENT
TOO_MUCH = grpc.StatusCode.RESOURCE_EXHAUSTED
RECEIVED_AT_MOST = dict(OPTIONS)["grpc.max_receive_message_length"]
GARBAGE = {
    "garbage": [
        *(b"", b"\0", b"\xff\xfe", b"{", b"null", b"[]", b'"x"', b"1", b"NaN", b"{}"),
        b'{"instance_id": {"a": []}, "generation": [1], "ticket": {}}',
        b'{"instance_id": "x", "generation": 1e999, "ticket": "\\ud800"}',
    ],
    "deep": [b"[" * 2_000 + b"]" * 2_000, b'{"a":' * 600 + b"1" + b"}" * 600],
    "huge": [b" " * 5_000, b'{"ticket": "' + b"x" * 1_000_000 + b'"}', b'{"generation": ' + b"9" * 4_000 + b"}"],
}


async def enrol(attacker: Attacker, who: Newcomer, token: str | None = None, **other: Any) -> Got:
    """Ask as whoever read some user data does, with a token made for it; `other`: what is different about the request."""
    return await attacker.identify("Enrol", who.enrolment(**other), token=token or who.new_token())


def user_data(victim: Victim) -> Newcomer:
    """What can be read of the victim's server; its guest has enrolled long ago."""
    return Newcomer(victim.world, victim.instance_id, generation=1)


# -- twice -----------------------------------------------------------------------------------------------------------


async def test_enrolling_with_the_victims_user_data(
    scenario: Scenario, attacker: Attacker, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused, counted with where it came from, said where operators look; the victim stays who it is."""
    stolen = user_data(scenario.victim)
    async with scenario.attack() as outcome:
        before, known = stolen.known_by("doubles"), stolen.known_by("token_hash")
        with caplog.at_level(logging.WARNING, logger="records.guests"):
            got = await enrol(attacker, stolen)
        assert got.code is DENIED
        assert (stolen.known_by("doubles"), stolen.known_by("token_hash")) == (before + 1, known)
        assert stolen.known_by("last_double_from").startswith("ipv4:127.0.0.1:")
        assert f"SECURITY a second enrolment for instance {scenario.victim.instance_id}" in caplog.text
        outcome.got = f"{got}; reported"


async def test_enrolling_again_after_a_lost_answer(scenario: Scenario, newcomer: Newcomer) -> None:
    """The guest that asks again with its token is answered again, and nobody is alarmed; until the token is used."""
    async with scenario.attack() as outcome:
        guest = await newcomer.enrol()
        again = await enrol(guest, newcomer, guest.known.token)
        assert guest.known.credentials is not None and credentials(again).keys == guest.known.credentials.keys
        assert (newcomer.known_by("doubles"), newcomer.known_by("first_used")) == (0, None)
        await newcomer.used(guest)
        got = await enrol(scenario.attacker, newcomer, guest.known.token)
        assert (got.code, newcomer.known_by("doubles")) == (DENIED, 1)
        outcome.got = f"{got}; reported"


async def test_the_victims_ticket_has_ended(scenario: Scenario) -> None:
    """Its guest is at work, so user data and even the token do not enrol any more."""
    stolen, known = user_data(scenario.victim), identity.require(scenario.victim.guest.settings.paths)
    async with scenario.attack() as outcome:
        assert stolen.known_by("first_used") is not None
        got = await enrol(scenario.attacker, stolen, known.token)
        assert got.code is DENIED
        outcome.got = f"{got}; reported"


async def test_enrolling_at_once_with_the_same_token(scenario: Scenario, newcomer: Newcomer) -> None:
    async with scenario.attack() as outcome:
        token = newcomer.new_token()
        first, second = await asyncio.gather(*(enrol(scenario.attacker, newcomer, token) for _ in range(2)))
        assert (first.code, first.answer) == (grpc.StatusCode.OK, second.answer)
        assert newcomer.known_by("doubles") == 0
        outcome.got = "the same answer twice"


async def test_a_race_for_one_ticket(scenario: Scenario, newcomer: Newcomer, caplog: pytest.LogCaptureFixture) -> None:
    """Exactly one gets in, and the other is reported, whoever it is."""
    async with scenario.attack() as outcome:
        with caplog.at_level(logging.WARNING, logger="records.guests"):
            codes = [
                each.code for each in await asyncio.gather(*(enrol(scenario.attacker, newcomer) for _ in range(3)))
            ]
        assert sorted(codes, key=str) == sorted([grpc.StatusCode.OK, DENIED, DENIED], key=str)
        assert newcomer.known_by("doubles") == caplog.text.count("SECURITY") == 2
        outcome.got = "one of three got in, two were reported"


async def test_a_thief_that_comes_before_the_guest(
    scenario: Scenario, newcomer: Newcomer, caplog: pytest.LogCaptureFixture
) -> None:
    """That cannot be refused; but the true guest's own enrolment tells of it, and the creation waits for nobody else."""
    async with scenario.attack() as outcome:
        early = await newcomer.enrol()
        with caplog.at_level(logging.WARNING, logger="records.guests"):
            got = await enrol(scenario.attacker, newcomer)
        assert (got.code, newcomer.known_by("doubles")) == (DENIED, 1)
        assert f"SECURITY a second enrolment for instance {early.instance_id}" in caplog.text
        outcome.got = "an instance without a database; reported"


async def test_enrolling_with_a_token_that_was_changed(scenario: Scenario, newcomer: Newcomer, other: Attacker) -> None:
    """Token and user data were copied, then the guest renewed: together they must not bring the keys of later epochs."""
    async with scenario.attack() as outcome:
        old = await newcomer.renew(other)
        got = await enrol(scenario.attacker, newcomer, old)
        assert (got.code, newcomer.known_by("doubles")) == (DENIED, 1)
        outcome.got = f"{got}; reported"


# -- what stolen things bring ----------------------------------------------------------------------------------------

STATES = ["enrolled", "at work", "renewed", "revoked", "rebuilt"]


@pytest.mark.parametrize("state", STATES)
async def test_stolen_things_of_a_guest_that_is(scenario: Scenario, newcomer: Newcomer, state: str) -> None:
    """Ticket, hash of the token, and tokens that do not count any more: no two of them together bring anything."""
    loot_of = await stolen_things(scenario, newcomer, state)
    asked = 0
    async with scenario.attack() as outcome:
        for ticket in (loot_of.ticket, "1.x"):
            for token in loot_of.tokens:
                for verb, body in requests(newcomer, ticket, loot_of):
                    got = await patiently(scenario.attacker, verb, body, token)
                    assert got.code in (DENIED, STRANGER, INVALID), (verb, token, got)
                    asked += 1
        outcome.got = f"nothing of {asked} requests"


@dataclass
class Stolen:
    """What was read of a guest: its user data, the records' dump, tokens of before."""

    ticket: str
    digest: str
    tokens: list[str | None]


async def stolen_things(scenario: Scenario, newcomer: Newcomer, state: str) -> Stolen:
    """A guest comes to a state; all that can be read of it but the token that counts."""
    guest = await newcomer.enrol()
    first, ticket = guest.known.token, newcomer.ticket
    digests = {hash_of_token(first)}
    old: list[str] = []
    if state != "enrolled":
        await newcomer.used(guest)
    if state == "renewed":
        old.append(await newcomer.renew(guest))
        await newcomer.sql(
            "UPDATE guest_identities SET previous_until = now() WHERE instance_id = %s", newcomer.instance_id
        )
    if state == "revoked":
        await newcomer.revoke()
        old.append(first)
    if state == "rebuilt":
        await newcomer.build()
        old.append(first)
        await newcomer.enrol()
    if old:
        await until_denied(guest, old[0])
    digest = newcomer.known_by("token_hash") or digests.pop()
    of_thief = scenario.attacker.known.token
    made_up = [
        f"{newcomer.instance_id}.{digest}",
        f"{newcomer.instance_id}.{digest[:43]}",
        newcomer.new_token(),
        digest,
    ]
    return Stolen(ticket, digest, [None, *old, *made_up, of_thief])


def requests(newcomer: Newcomer, ticket: str, stolen: Stolen) -> list[tuple[str, bytes]]:
    """All that an attacker of them can ask, but what changes its own token."""
    enrolment = newcomer.enrolment(ticket=ticket, generation=1)
    with_hash = enrolment[:-1] + f', "token_hash": "{stolen.digest}"}}'.encode()
    renewals = [f'{{"token_hash": "{stolen.digest}"}}'.encode(), f'{{"token": "{stolen.digest}"}}'.encode()]
    return [("Enrol", enrolment), ("Enrol", with_hash), *(("Renew", each) for each in renewals)]


async def patiently(attacker: Attacker, verb: str, body: bytes, token: str | None) -> Got:
    """Ask again where it was too often: the rate must not be what refuses."""
    while True:
        got = await attacker.identify(verb, body, token=token)
        if got.code is not TOO_MUCH:
            return got
        await asyncio.sleep(0.5)


@pytest.mark.parametrize("token", ["", ".", "x", "short", "{}.", "{}.short", "{}." + "x" * 44, "{}." + "=" * 43])
async def test_a_token_that_could_be_guessed(scenario: Scenario, newcomer: Newcomer, token: str) -> None:
    """Only a token of 32 random bytes is kept as a hash: another could be found by it."""
    async with scenario.attack() as outcome:
        got = await enrol(scenario.attacker, newcomer, token.format(newcomer.instance_id) or "-")
        assert got.code is INVALID
        assert newcomer.known_by("token_hash") is None
        outcome.got = str(got)


# -- other tickets ---------------------------------------------------------------------------------------------------

TICKETS: dict[str, Callable[[Scenario, Newcomer], list[str]]] = {
    "of another instance": lambda scenario, _: [
        ticket_for(scenario.world.server.keyring, scenario.attacker.instance_id, 1)
    ],
    "of another generation": lambda scenario, new: [ticket_for(scenario.world.server.keyring, new.instance_id, 2)],
    "made with ones own key": lambda scenario, new: [forged(scenario.attacker, new)],
    "of another epoch": lambda _, new: [
        f"{each}.{new.ticket.partition('.')[2]}" for each in ("2", "0", "01", "-1", "", "1e0", "\u0661", "999999999999")
    ],
    "bent": lambda _, new: [new.ticket[:-1], f"{new.ticket}=", f" {new.ticket}", new.ticket.swapcase(), "", "1.", "1"],
}


def forged(attacker: Attacker, victim: Newcomer) -> str:
    """A ticket made as tickets are, with the key that the attacker has."""
    mac = attacker.keyring.mac(f"i:{attacker.instance_id}:1", f"{victim.instance_id}/1".encode())
    return f"1.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


@pytest.mark.parametrize("tickets", TICKETS.values(), ids=TICKETS)
async def test_a_ticket(
    scenario: Scenario, newcomer: Newcomer, tickets: Callable[[Scenario, Newcomer], list[str]]
) -> None:
    """An instance whose guest is expected, and a ticket that is not its own: nobody enrols, and the guest still can."""
    async with scenario.attack() as outcome:
        for each in tickets(scenario, newcomer):
            got = await enrol(scenario.attacker, newcomer, ticket=each)
            assert (got.code, newcomer.known_by("token_hash")) == (STRANGER, None), each
        await newcomer.enrol()
        outcome.got = str(got)


async def test_a_ticket_said_to_be_of_another_generation(scenario: Scenario, newcomer: Newcomer) -> None:
    async with scenario.attack() as outcome:
        for each in (0, 2, -1, 2**63):
            got = await enrol(scenario.attacker, newcomer, generation=each)
            assert (got.code, newcomer.known_by("token_hash")) == (STRANGER, None), each
        outcome.got = str(got)


async def test_a_good_ticket_of_an_instance_that_never_was(scenario: Scenario) -> None:
    """Only somebody with the keys could make it; the records do not know the instance."""
    nobody = Newcomer(scenario.world, uuid4(), generation=1)
    async with scenario.attack() as outcome:
        got = await enrol(scenario.attacker, nobody)
        assert got.code is DENIED
        outcome.got = str(got)


async def test_a_ticket_of_a_deleted_instance(scenario: Scenario, deleted: Attacker) -> None:
    gone = Newcomer(scenario.world, deleted.instance_id, generation=1)
    async with scenario.attack() as outcome:
        got = [await enrol(scenario.attacker, gone, each) for each in (gone.new_token(), deleted.known.token)]
        assert [each.code for each in got] == [DENIED, DENIED]
        outcome.got = str(got[0])


async def test_a_ticket_that_came_too_late(scenario: Scenario, newcomer: Newcomer) -> None:
    await newcomer.sql("UPDATE guest_identities SET enrol_until = now() - interval '1 s' WHERE instance_id = %s",
                 newcomer.instance_id)  # fmt: skip
    async with scenario.attack() as outcome:
        got = await enrol(scenario.attacker, newcomer)
        assert (got.code, newcomer.known_by("token_hash")) == (DENIED, None)
        outcome.got = str(got)


async def test_a_ticket_that_was_revoked_before_its_guest_came(scenario: Scenario, newcomer: Newcomer) -> None:
    """The creation has failed while its server booted."""
    async with scenario.attack() as outcome:
        await newcomer.revoke()
        got = await enrol(scenario.attacker, newcomer)
        assert (got.code, newcomer.known_by("token_hash")) == (DENIED, None)
        outcome.got = str(got)


# -- a server rebuilt ---------------------------------------------------------------------------------------------


async def test_the_old_guest_of_a_server_that_was_built_anew(
    scenario: Scenario, newcomer: Newcomer, other: Attacker
) -> None:
    """Its token is nobody's from the moment that another server is expected, and its ticket spent."""
    async with scenario.attack() as outcome:
        used, old = newcomer.generation, newcomer.ticket
        await newcomer.build()
        await until_denied(other)
        got = await enrol(scenario.attacker, newcomer, generation=used, ticket=old)
        assert got.code is DENIED
        newer = await newcomer.enrol()
        assert (await newer.call("GetSystemInfo", b"")).code is grpc.StatusCode.OK
        assert (await other.call("GetSystemInfo", b"")).code is STRANGER
        outcome.got = str(got)


async def test_an_open_poll_of_the_old_guest(scenario: Scenario, newcomer: Newcomer, other: Attacker) -> None:
    """However soon the new guest enrols, the old one's poll ends: it would take the new one's task."""
    async with scenario.attack() as outcome:
        poll = await polling(other)
        await newcomer.build()
        newer = await newcomer.enrol()
        assert (await newer.call("GetSystemInfo", b"")).code is grpc.StatusCode.OK
        got = await asyncio.wait_for(poll, 10)
        assert got.code is grpc.StatusCode.UNAVAILABLE
        outcome.got = str(got)


async def until_denied(guest: Attacker, token: str = "") -> None:
    """Wait until the gateway has noticed; it looks twice a second here."""
    for _ in range(50):
        if (await guest.call("GetSystemInfo", b"", token=token)).code is STRANGER:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the old guest is still believed")


# -- floods and garbage ----------------------------------------------------------------------------------------------


async def test_a_flood_of_enrolments(scenario: Scenario, newcomer: Newcomer) -> None:
    """With a good ticket: most are not even looked at, and another instance's guest enrols meanwhile."""
    async with scenario.attack() as outcome:
        flood = asyncio.gather(*(enrol(scenario.attacker, newcomer) for _ in range(40)))
        honest = await Newcomer.expected(scenario.world)
        await honest.enrol()
        await honest.leave()
        codes = [each.code for each in await flood]
        assert codes.count(grpc.StatusCode.OK) == 1
        assert codes.count(TOO_MUCH) >= 20
        outcome.got = f"{codes.count(TOO_MUCH)} of 40 not looked at"


async def test_a_flood_of_enrolments_without_a_ticket(scenario: Scenario, newcomer: Newcomer) -> None:
    """They cost the control plane nothing: no activity, no row; the guest whose name they use enrols at once."""
    async with scenario.attack() as outcome:
        flood = asyncio.gather(*(enrol(scenario.attacker, newcomer, ticket="1.x") for _ in range(60)))
        await newcomer.enrol()
        heard = [each for each in await flood if not each.unanswered]
        assert {str(each) for each in heard} == {"UNAUTHENTICATED: the ticket is not valid"}
        outcome.got = f"{len(heard)} of 60 not known, the others not heard"


@pytest.mark.parametrize("bodies", GARBAGE.values(), ids=GARBAGE)
async def test_an_enrolment_that_is(scenario: Scenario, attacker: Attacker, bodies: list[bytes]) -> None:
    async with scenario.attack() as outcome:
        for each in bodies:
            stranger = attacker.reconnected()  # a connection on which too much was sent is not read any further
            got = await stranger.identify("Enrol", each, token=new_token(attacker.instance_id))
            await stranger.close()
            assert got.code is (INVALID if len(each) < RECEIVED_AT_MOST else TOO_MUCH), each[:60]
        outcome.got = str(got)


async def test_an_enrolment_with_more_in_it(scenario: Scenario, newcomer: Newcomer) -> None:
    """Where it comes from, and that nobody was there before, is not for the guest to say."""
    body = (
        newcomer.enrolment()[:-1]
        + b', "peer": "the operator", "doubles": 0, "previous_hash": "", "token_hash": "HASH"}'
    )
    async with scenario.attack() as outcome:
        await newcomer.enrol()
        body = body.replace(b"HASH", newcomer.known_by("token_hash").encode())
        got = await scenario.attacker.identify("Enrol", body, token=newcomer.new_token())
        assert (got.code, newcomer.known_by("doubles")) == (DENIED, 1)
        assert newcomer.known_by("last_double_from").startswith("ipv4:")
        outcome.got = f"{got}; reported"
