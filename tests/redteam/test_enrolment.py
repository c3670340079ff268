"""Enrolment: user data stays readable for as long as a server lives, so what it holds must be worthless once it was used."""

import asyncio
import base64
import logging
from collections.abc import Callable
from uuid import uuid4

import grpc
import pytest

from guest_worker import identity
from tests.redteam.field import Field, Got, Thief, Victim
from tests.redteam.inside import polling
from tests.redteam.newcomers import Newcomer, credentials
from workflows.enrolment import ticket_for

pytestmark = pytest.mark.asyncio(loop_scope="session")

DENIED = grpc.StatusCode.PERMISSION_DENIED
STRANGER = grpc.StatusCode.UNAUTHENTICATED
GARBAGE = {
    "garbage": [
        *(b"", b"\0", b"\xff\xfe", b"{", b"null", b"[]", b'"x"', b"1", b"NaN", b"{}"),
        b'{"instance_id": {"a": []}, "generation": [1], "ticket": {}, "token_hash": true}',
        b'{"instance_id": "x", "generation": 1e999, "ticket": "\\ud800", "token_hash": "\\u0000"}',
    ],
    "deep": [b"[" * 2_000 + b"]" * 2_000, b'{"a":' * 600 + b"1" + b"}" * 600],
    "huge": [b" " * 5_000, b'{"ticket": "' + b"x" * 1_000_000 + b'"}', b'{"generation": ' + b"9" * 4_000 + b"}"],
}


async def enrol(thief: Thief, body: bytes) -> Got:
    """Ask without a token, as whoever read some user data does."""
    return await thief.identify("Enrol", body, token=None)


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
            got = await enrol(thief, stolen.enrolment(stolen.new_token()))
        assert got.code is DENIED
        assert (stolen.known_by("doubles"), stolen.known_by("token_hash")) == (before + 1, known)
        assert stolen.known_by("last_double_from").startswith("ipv4:127.0.0.1:")
        assert f"SECURITY a second enrolment for instance {field.victim.instance_id}" in caplog.text
        loot.got = f"{got}; reported"


async def test_enrolling_again_with_the_same_token(field: Field) -> None:
    """An answer was lost: the guest that asks again is answered again, and nobody is alarmed."""
    stolen, known = user_data(field.victim), identity.require(field.victim.guest.settings.places)
    async with field.attack() as loot:
        before = stolen.known_by("doubles")
        got = await enrol(field.thief, stolen.enrolment(known.token))
        assert known.credentials is not None and credentials(got).keys == known.credentials.keys
        assert stolen.known_by("doubles") == before
        loot.got = "the honest guest's answer, once more"


async def test_enrolling_at_once_with_the_same_token(field: Field, newcomer: Newcomer) -> None:
    async with field.attack() as loot:
        body = newcomer.enrolment(newcomer.new_token())
        first, second = await asyncio.gather(enrol(field.thief, body), enrol(field.thief, body))
        assert (first.code, first.answer) == (grpc.StatusCode.OK, second.answer)
        assert newcomer.known_by("doubles") == 0
        loot.got = "the same answer twice"


async def test_a_race_for_one_ticket(field: Field, newcomer: Newcomer, caplog: pytest.LogCaptureFixture) -> None:
    """Exactly one gets in, and the other is reported, whoever it is."""
    async with field.attack() as loot:
        bodies = [newcomer.enrolment(newcomer.new_token()) for _ in range(3)]
        with caplog.at_level(logging.WARNING, logger="records.guests"):
            codes = [each.code for each in await asyncio.gather(*(enrol(field.thief, body) for body in bodies))]
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
            got = await enrol(field.thief, newcomer.enrolment(newcomer.new_token()))
        assert (got.code, newcomer.known_by("doubles")) == (DENIED, 1)
        assert f"SECURITY a second enrolment for instance {early.instance_id}" in caplog.text
        loot.got = "an instance without a database; reported"


async def test_enrolling_with_a_token_that_was_changed(field: Field, newcomer: Newcomer, other: Thief) -> None:
    """Token and user data were copied, then the guest renewed: together they must not bring the keys of later epochs."""
    async with field.attack() as loot:
        old = await newcomer.renew(other)
        got = await enrol(field.thief, newcomer.enrolment(old))
        assert (got.code, newcomer.known_by("doubles")) == (DENIED, 1)
        loot.got = f"{got}; reported"


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
            got = await enrol(field.thief, newcomer.enrolment(newcomer.new_token(), ticket=each))
            assert (got.code, newcomer.known_by("token_hash")) == (STRANGER, None), each
        await newcomer.enrol()
        loot.got = str(got)


async def test_a_ticket_said_to_be_of_another_generation(field: Field, newcomer: Newcomer) -> None:
    async with field.attack() as loot:
        for each in (0, 2, -1, 2**63):
            got = await enrol(field.thief, newcomer.enrolment(newcomer.new_token(), generation=each))
            assert (got.code, newcomer.known_by("token_hash")) == (STRANGER, None), each
        loot.got = str(got)


async def test_a_good_ticket_of_an_instance_that_never_was(field: Field) -> None:
    """Only somebody with the keys could make it; the records do not know the instance."""
    nobody = Newcomer(field.world, uuid4(), generation=1)
    async with field.attack() as loot:
        got = await enrol(field.thief, nobody.enrolment(nobody.new_token()))
        assert got.code is DENIED
        loot.got = str(got)


async def test_a_ticket_of_a_deleted_instance(field: Field, deleted: Thief) -> None:
    gone = Newcomer(field.world, deleted.instance_id, generation=1)
    async with field.attack() as loot:
        got = [await enrol(field.thief, gone.enrolment(each)) for each in (gone.new_token(), deleted.known.token)]
        assert [each.code for each in got] == [DENIED, DENIED]
        loot.got = str(got[0])


async def test_a_ticket_that_came_too_late(field: Field, newcomer: Newcomer) -> None:
    newcomer.sql("UPDATE guest_identities SET enrol_until = now() - interval '1 s' WHERE instance_id = %s",
                 newcomer.instance_id)  # fmt: skip
    async with field.attack() as loot:
        got = await enrol(field.thief, newcomer.enrolment(newcomer.new_token()))
        assert (got.code, newcomer.known_by("token_hash")) == (DENIED, None)
        loot.got = str(got)


async def test_a_ticket_that_was_revoked_before_its_guest_came(field: Field, newcomer: Newcomer) -> None:
    """The creation has failed while its server booted."""
    async with field.attack() as loot:
        await newcomer.revoke()
        got = await enrol(field.thief, newcomer.enrolment(newcomer.new_token()))
        assert (got.code, newcomer.known_by("token_hash")) == (DENIED, None)
        loot.got = str(got)


# -- a server built anew ---------------------------------------------------------------------------------------------


async def test_the_old_guest_of_a_server_that_was_built_anew(field: Field, newcomer: Newcomer, other: Thief) -> None:
    """Its token is nobody's from the moment that another server is expected, and its ticket spent."""
    async with field.attack() as loot:
        used = newcomer.enrolment(newcomer.new_token())
        await newcomer.build()
        await until_denied(other)
        got = await enrol(field.thief, used)
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


async def until_denied(guest: Thief) -> None:
    """Wait until the gateway has noticed; it looks twice a second here."""
    for _ in range(50):
        if (await guest.call("GetSystemInfo", b"")).code is STRANGER:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the old guest is still believed")


# -- floods and garbage ----------------------------------------------------------------------------------------------


async def test_a_flood_of_enrolments(field: Field, newcomer: Newcomer) -> None:
    """With a good ticket: most are not even looked at, and another instance's guest enrols meanwhile."""
    async with field.attack() as loot:
        bodies = [newcomer.enrolment(newcomer.new_token()) for _ in range(40)]
        flood = asyncio.gather(*(enrol(field.thief, body) for body in bodies))
        honest = await Newcomer.expected(field.world)
        await honest.enrol()
        await honest.leave()
        codes = [each.code for each in await flood]
        assert codes.count(grpc.StatusCode.OK) == 1
        assert codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) >= 20
        loot.got = f"{codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED)} of 40 not looked at"


async def test_a_flood_of_enrolments_without_a_ticket(field: Field, newcomer: Newcomer) -> None:
    """They cost the control plane nothing: no activity, no row; the guest whose name they use enrols at once."""
    async with field.attack() as loot:
        bodies = [newcomer.enrolment(newcomer.new_token(), ticket="1.x") for _ in range(60)]
        flood = asyncio.gather(*(enrol(field.thief, body) for body in bodies))
        await newcomer.enrol()
        assert {str(each) for each in await flood} == {"UNAUTHENTICATED: the ticket is not valid"}
        loot.got = "60 of 60 not known"


@pytest.mark.parametrize("bodies", GARBAGE.values(), ids=GARBAGE)
async def test_an_enrolment_that_is(field: Field, thief: Thief, bodies: list[bytes]) -> None:
    async with field.attack() as loot:
        for each in bodies:
            got = await enrol(thief, each)
            assert got.code is grpc.StatusCode.INVALID_ARGUMENT, each[:60]
        loot.got = str(got)


async def test_an_enrolment_with_more_in_it(field: Field, newcomer: Newcomer) -> None:
    """Where it comes from, and that nobody was there before, is not for the guest to say."""
    body = (
        newcomer.enrolment(newcomer.new_token())[:-1] + b', "peer": "the operator", "doubles": 0, "previous_hash": ""}'
    )
    async with field.attack() as loot:
        await newcomer.enrol()
        got = await enrol(field.thief, body)
        assert (got.code, newcomer.known_by("doubles")) == (DENIED, 1)
        assert newcomer.known_by("last_double_from").startswith("ipv4:")
        loot.got = f"{got}; reported"
