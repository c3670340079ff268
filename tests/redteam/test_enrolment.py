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

from gateway.server import OPTIONS
from guest_worker import identity
from tests.redteam.field import Field, Got, Thief, Victim
from tests.redteam.inside import polling
from tests.redteam.newcomers import Newcomer, credentials
from workflows.enrolment import hash_of_token, new_token, ticket_for

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


async def enrol(thief: Thief, who: Newcomer, token: str | None = None, **other: Any) -> Got:
    """Ask as whoever read some user data does, with a token made for it; `other`: what is different about the request."""
    return await thief.identify("Enrol", who.enrolment(**other), token=token or who.new_token())


def user_data(victim: Victim) -> Newcomer:
    """What can be read of the victim's server; its guest has enrolled long ago."""
    return Newcomer(victim.world, victim.instance_id, generation=1)


# -- twice -----------------------------------------------------------------------------------------------------------


async def test_enrolling_with_the_victims_user_data(
    field: Field, thief: Thief, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused, counted with where it came from, said where operators look; the victim stays who it is."""
    stolen = user_data(field.victim)
    async with field.attack() as loot:
        before, known = stolen.known_by("doubles"), stolen.known_by("token_hash")
        with caplog.at_level(logging.WARNING, logger="records.guests"):
            got = await enrol(thief, stolen)
        assert got.code is DENIED
        assert (stolen.known_by("doubles"), stolen.known_by("token_hash")) == (before + 1, known)
        assert stolen.known_by("last_double_from").startswith("ipv4:127.0.0.1:")
        assert f"SECURITY a second enrolment for instance {field.victim.instance_id}" in caplog.text
        loot.got = f"{got}; reported"


async def test_enrolling_again_after_a_lost_answer(field: Field, newcomer: Newcomer) -> None:
    """The guest that asks again with its token is answered again, and nobody is alarmed; until the token is used."""
    async with field.attack() as loot:
        guest = await newcomer.enrol()
        again = await enrol(guest, newcomer, guest.known.token)
        assert guest.known.credentials is not None and credentials(again).keys == guest.known.credentials.keys
        assert (newcomer.known_by("doubles"), newcomer.known_by("first_used")) == (0, None)
        await newcomer.used(guest)
        got = await enrol(field.thief, newcomer, guest.known.token)
        assert (got.code, newcomer.known_by("doubles")) == (DENIED, 1)
        loot.got = f"{got}; reported"


async def test_the_victims_ticket_has_ended(field: Field) -> None:
    """Its guest is at work, so user data and even the token do not enrol any more."""
    stolen, known = user_data(field.victim), identity.require(field.victim.guest.settings.places)
    async with field.attack() as loot:
        assert stolen.known_by("first_used") is not None
        got = await enrol(field.thief, stolen, known.token)
        assert got.code is DENIED
        loot.got = f"{got}; reported"


async def test_enrolling_at_once_with_the_same_token(field: Field, newcomer: Newcomer) -> None:
    async with field.attack() as loot:
        token = newcomer.new_token()
        first, second = await asyncio.gather(*(enrol(field.thief, newcomer, token) for _ in range(2)))
        assert (first.code, first.answer) == (grpc.StatusCode.OK, second.answer)
        assert newcomer.known_by("doubles") == 0
        loot.got = "the same answer twice"


async def test_a_race_for_one_ticket(field: Field, newcomer: Newcomer, caplog: pytest.LogCaptureFixture) -> None:
    """Exactly one gets in, and the other is reported, whoever it is."""
    async with field.attack() as loot:
        with caplog.at_level(logging.WARNING, logger="records.guests"):
            codes = [each.code for each in await asyncio.gather(*(enrol(field.thief, newcomer) for _ in range(3)))]
        assert sorted(codes, key=str) == sorted([grpc.StatusCode.OK, DENIED, DENIED], key=str)
        assert newcomer.known_by("doubles") == caplog.text.count("SECURITY") == 2
        loot.got = "one of three got in, two were reported"


async def test_a_thief_that_comes_before_the_guest(
    field: Field, newcomer: Newcomer, caplog: pytest.LogCaptureFixture
) -> None:
    """That cannot be refused; but the true guest's own enrolment tells of it, and the creation waits for nobody else."""
    async with field.attack() as loot:
        early = await newcomer.enrol()
        with caplog.at_level(logging.WARNING, logger="records.guests"):
            got = await enrol(field.thief, newcomer)
        assert (got.code, newcomer.known_by("doubles")) == (DENIED, 1)
        assert f"SECURITY a second enrolment for instance {early.instance_id}" in caplog.text
        loot.got = "an instance without a database; reported"


async def test_enrolling_with_a_token_that_was_changed(field: Field, newcomer: Newcomer, other: Thief) -> None:
    """Token and user data were copied, then the guest renewed: together they must not bring the keys of later epochs."""
    async with field.attack() as loot:
        old = await newcomer.renew(other)
        got = await enrol(field.thief, newcomer, old)
        assert (got.code, newcomer.known_by("doubles")) == (DENIED, 1)
        loot.got = f"{got}; reported"


# -- what stolen things bring ----------------------------------------------------------------------------------------

STATES = ["enrolled", "at work", "renewed", "revoked", "built anew"]


@pytest.mark.parametrize("state", STATES)
async def test_stolen_things_of_a_guest_that_is(field: Field, newcomer: Newcomer, state: str) -> None:
    """Ticket, hash of the token, and tokens that do not count any more: no two of them together bring anything."""
    loot_of = await stolen_things(field, newcomer, state)
    asked = 0
    async with field.attack() as loot:
        for ticket in (loot_of.ticket, "1.x"):
            for token in loot_of.tokens:
                for verb, body in requests(newcomer, ticket, loot_of):
                    got = await patiently(field.thief, verb, body, token)
                    assert got.code in (DENIED, STRANGER, INVALID), (verb, token, got)
                    asked += 1
        loot.got = f"nothing of {asked} requests"


@dataclass
class Stolen:
    """What was read of a guest: its user data, the records' dump, tokens of before."""

    ticket: str
    digest: str
    tokens: list[str | None]


async def stolen_things(field: Field, newcomer: Newcomer, state: str) -> Stolen:
    """A guest comes to a state; all that can be read of it but the token that counts."""
    guest = await newcomer.enrol()
    first, ticket = guest.known.token, newcomer.ticket
    digests = {hash_of_token(first)}
    old: list[str] = []
    if state != "enrolled":
        await newcomer.used(guest)
    if state == "renewed":
        old.append(await newcomer.renew(guest))
        newcomer.sql("UPDATE guest_identities SET previous_until = now() WHERE instance_id = %s", newcomer.instance_id)
    if state == "revoked":
        await newcomer.revoke()
        old.append(first)
    if state == "built anew":
        await newcomer.build()
        old.append(first)
        await newcomer.enrol()
    if old:
        await until_denied(guest, old[0])
    digest = newcomer.known_by("token_hash") or digests.pop()
    of_thief = field.thief.known.token
    made_up = [
        f"{newcomer.instance_id}.{digest}",
        f"{newcomer.instance_id}.{digest[:43]}",
        newcomer.new_token(),
        digest,
    ]
    return Stolen(ticket, digest, [None, *old, *made_up, of_thief])


def requests(newcomer: Newcomer, ticket: str, stolen: Stolen) -> list[tuple[str, bytes]]:
    """All that a thief of them can ask, but what changes its own token."""
    enrolment = newcomer.enrolment(ticket=ticket, generation=1)
    with_hash = enrolment[:-1] + f', "token_hash": "{stolen.digest}"}}'.encode()
    renewals = [f'{{"token_hash": "{stolen.digest}"}}'.encode(), f'{{"token": "{stolen.digest}"}}'.encode()]
    return [("Enrol", enrolment), ("Enrol", with_hash), *(("Renew", each) for each in renewals)]


async def patiently(thief: Thief, verb: str, body: bytes, token: str | None) -> Got:
    """Ask again where it was too often: the rate must not be what refuses."""
    while True:
        got = await thief.identify(verb, body, token=token)
        if got.code is not TOO_MUCH:
            return got
        await asyncio.sleep(0.5)


@pytest.mark.parametrize("token", ["", ".", "x", "short", "{}.", "{}.short", "{}." + "x" * 44, "{}." + "=" * 43])
async def test_a_token_that_could_be_guessed(field: Field, newcomer: Newcomer, token: str) -> None:
    """Only a token of 32 random bytes is kept as a hash: another could be found by it."""
    async with field.attack() as loot:
        got = await enrol(field.thief, newcomer, token.format(newcomer.instance_id) or "-")
        assert got.code is INVALID
        assert newcomer.known_by("token_hash") is None
        loot.got = str(got)


# -- other tickets ---------------------------------------------------------------------------------------------------

TICKETS: dict[str, Callable[[Field, Newcomer], list[str]]] = {
    "of another instance": lambda field, _: [ticket_for(field.world.server.keyring, field.thief.instance_id, 1)],
    "of another generation": lambda field, new: [ticket_for(field.world.server.keyring, new.instance_id, 2)],
    "made with ones own key": lambda field, new: [forged(field.thief, new)],
    "of another epoch": lambda _, new: [
        f"{each}.{new.ticket.partition('.')[2]}" for each in ("2", "0", "01", "-1", "", "1e0", "\u0661", "999999999999")
    ],
    "bent": lambda _, new: [new.ticket[:-1], f"{new.ticket}=", f" {new.ticket}", new.ticket.swapcase(), "", "1.", "1"],
}


def forged(thief: Thief, victim: Newcomer) -> str:
    """A ticket made as tickets are, with the key that the thief has."""
    mac = thief.keyring.mac(f"i:{thief.instance_id}:1", f"{victim.instance_id}/1".encode())
    return f"1.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


@pytest.mark.parametrize("tickets", TICKETS.values(), ids=TICKETS)
async def test_a_ticket(field: Field, newcomer: Newcomer, tickets: Callable[[Field, Newcomer], list[str]]) -> None:
    """An instance whose guest is expected, and a ticket that is not its own: nobody enrols, and the guest still can."""
    async with field.attack() as loot:
        for each in tickets(field, newcomer):
            got = await enrol(field.thief, newcomer, ticket=each)
            assert (got.code, newcomer.known_by("token_hash")) == (STRANGER, None), each
        await newcomer.enrol()
        loot.got = str(got)


async def test_a_ticket_said_to_be_of_another_generation(field: Field, newcomer: Newcomer) -> None:
    async with field.attack() as loot:
        for each in (0, 2, -1, 2**63):
            got = await enrol(field.thief, newcomer, generation=each)
            assert (got.code, newcomer.known_by("token_hash")) == (STRANGER, None), each
        loot.got = str(got)


async def test_a_good_ticket_of_an_instance_that_never_was(field: Field) -> None:
    """Only somebody with the keys could make it; the records do not know the instance."""
    nobody = Newcomer(field.world, uuid4(), generation=1)
    async with field.attack() as loot:
        got = await enrol(field.thief, nobody)
        assert got.code is DENIED
        loot.got = str(got)


async def test_a_ticket_of_a_deleted_instance(field: Field, deleted: Thief) -> None:
    gone = Newcomer(field.world, deleted.instance_id, generation=1)
    async with field.attack() as loot:
        got = [await enrol(field.thief, gone, each) for each in (gone.new_token(), deleted.known.token)]
        assert [each.code for each in got] == [DENIED, DENIED]
        loot.got = str(got[0])


async def test_a_ticket_that_came_too_late(field: Field, newcomer: Newcomer) -> None:
    newcomer.sql("UPDATE guest_identities SET enrol_until = now() - interval '1 s' WHERE instance_id = %s",
                 newcomer.instance_id)  # fmt: skip
    async with field.attack() as loot:
        got = await enrol(field.thief, newcomer)
        assert (got.code, newcomer.known_by("token_hash")) == (DENIED, None)
        loot.got = str(got)


async def test_a_ticket_that_was_revoked_before_its_guest_came(field: Field, newcomer: Newcomer) -> None:
    """The creation has failed while its server booted."""
    async with field.attack() as loot:
        await newcomer.revoke()
        got = await enrol(field.thief, newcomer)
        assert (got.code, newcomer.known_by("token_hash")) == (DENIED, None)
        loot.got = str(got)


# -- a server built anew ---------------------------------------------------------------------------------------------


async def test_the_old_guest_of_a_server_that_was_built_anew(field: Field, newcomer: Newcomer, other: Thief) -> None:
    """Its token is nobody's from the moment that another server is expected, and its ticket spent."""
    async with field.attack() as loot:
        used, old = newcomer.generation, newcomer.ticket
        await newcomer.build()
        await until_denied(other)
        got = await enrol(field.thief, newcomer, generation=used, ticket=old)
        assert got.code is DENIED
        newer = await newcomer.enrol()
        assert (await newer.call("GetSystemInfo", b"")).code is grpc.StatusCode.OK
        assert (await other.call("GetSystemInfo", b"")).code is STRANGER
        loot.got = str(got)


async def test_an_open_poll_of_the_old_guest(field: Field, newcomer: Newcomer, other: Thief) -> None:
    """However soon the new guest enrols, the old one's poll ends: it would take the new one's task."""
    async with field.attack() as loot:
        poll = await polling(other)
        await newcomer.build()
        newer = await newcomer.enrol()
        assert (await newer.call("GetSystemInfo", b"")).code is grpc.StatusCode.OK
        got = await asyncio.wait_for(poll, 10)
        assert got.code is grpc.StatusCode.UNAVAILABLE
        loot.got = str(got)


async def until_denied(guest: Thief, token: str = "") -> None:
    """Wait until the gateway has noticed; it looks twice a second here."""
    for _ in range(50):
        if (await guest.call("GetSystemInfo", b"", token=token)).code is STRANGER:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the old guest is still believed")


# -- floods and garbage ----------------------------------------------------------------------------------------------


async def test_a_flood_of_enrolments(field: Field, newcomer: Newcomer) -> None:
    """With a good ticket: most are not even looked at, and another instance's guest enrols meanwhile."""
    async with field.attack() as loot:
        flood = asyncio.gather(*(enrol(field.thief, newcomer) for _ in range(40)))
        honest = await Newcomer.expected(field.world)
        await honest.enrol()
        await honest.leave()
        codes = [each.code for each in await flood]
        assert codes.count(grpc.StatusCode.OK) == 1
        assert codes.count(TOO_MUCH) >= 20
        loot.got = f"{codes.count(TOO_MUCH)} of 40 not looked at"


async def test_a_flood_of_enrolments_without_a_ticket(field: Field, newcomer: Newcomer) -> None:
    """They cost the control plane nothing: no activity, no row; the guest whose name they use enrols at once."""
    async with field.attack() as loot:
        flood = asyncio.gather(*(enrol(field.thief, newcomer, ticket="1.x") for _ in range(60)))
        await newcomer.enrol()
        heard = [each for each in await flood if not each.unanswered]
        assert {str(each) for each in heard} == {"UNAUTHENTICATED: the ticket is not valid"}
        loot.got = f"{len(heard)} of 60 not known, the others not heard"


@pytest.mark.parametrize("bodies", GARBAGE.values(), ids=GARBAGE)
async def test_an_enrolment_that_is(field: Field, thief: Thief, bodies: list[bytes]) -> None:
    async with field.attack() as loot:
        for each in bodies:
            stranger = thief.reconnected()  # a connection on which too much was sent is not read any further
            got = await stranger.identify("Enrol", each, token=new_token(thief.instance_id))
            await stranger.close()
            assert got.code is (INVALID if len(each) < RECEIVED_AT_MOST else TOO_MUCH), each[:60]
        loot.got = str(got)


async def test_an_enrolment_with_more_in_it(field: Field, newcomer: Newcomer) -> None:
    """Where it comes from, and that nobody was there before, is not for the guest to say."""
    body = (
        newcomer.enrolment()[:-1]
        + b', "peer": "the operator", "doubles": 0, "previous_hash": "", "token_hash": "HASH"}'
    )
    async with field.attack() as loot:
        await newcomer.enrol()
        body = body.replace(b"HASH", newcomer.known_by("token_hash").encode())
        got = await field.thief.identify("Enrol", body, token=newcomer.new_token())
        assert (got.code, newcomer.known_by("doubles")) == (DENIED, 1)
        assert newcomer.known_by("last_double_from").startswith("ipv4:")
        loot.got = f"{got}; reported"
