"""What a ticket opens, and what it does not, in both kinds of store. Each attack ends with a look at the owner's objects."""

import logging
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from contract.domain.errors import BadRequest, NotFound, TicketRefused, Unsupported
from contract.keys.sealing import NotOurs
from contract.ports.tickets import Right, S3Access, SwiftAccess, TicketContent
from guest_worker.objects import ObjectStore, S3Objects, open_store
from tests.contracts_objects.stores import CONTAINER, Request, Store

REFUSED = (400, 401, 403, 404, 405, 409, 411, 412)
OURS = b"what the owner wrote"
FORGED = b"what the attacker wrote"
ELSEWHERE = ["{mine}/b2/1", "{mine}/b1-evil/1", "{mine}/b1", "{theirs}/b1/1"]
TRICKS = ["../b2/1", "%2e%2e/b2/1", "..%2fb2%2f1", "x/../../b2/1", "./../b2/1", "%2e%2e%2fb2%2f1", "..%252fb2/1",
          "../../{theirs}/b1/1", "%2e%2e/%2e%2e/{theirs}/b1/1", "/../b2/1", "..;/b2/1", "..%5cb2%5c1"]  # fmt: skip


@pytest.fixture
def objects(store: Store, mine: UUID, theirs: UUID) -> dict[str, bytes]:
    """Objects around the prefix that the attacker has a ticket for, and one in it."""
    names = [each.format(mine=mine, theirs=theirs) for each in ELSEWHERE] + [f"{mine}/b1/1"]
    made = {name: OURS + name.encode() for name in names}
    for name, data in made.items():
        store.put(name, data)
    return made


def guest(store: Store, instance: UUID, prefix: str, right: Right) -> ObjectStore:
    """The store as a guest opens it."""
    return open_store(store.issue(instance, prefix, right), store.box(instance))


def content(store: Store, instance: UUID, right: Right, prefix: str | None = None) -> TicketContent:
    """The content of a ticket for the instance's first backup."""
    return store.opened(instance, store.issue(instance, prefix or f"{instance}/b1/", right))


def require_unchanged(store: Store, objects: dict[str, bytes]) -> None:
    """The owner's objects are as they were, and there are no others."""
    assert {name: store.look(name) for name in objects} == objects
    for owner in {UUID(name.partition("/")[0]) for name in objects}:
        assert sorted(store.keys(owner)) == sorted(name for name in objects if name.startswith(str(owner)))


# -- what a ticket is for ------------------------------------------------------------------------------------------------


def test_who_may_write_puts_and_deletes_and_who_may_read_gets(store: Store, mine: UUID) -> None:
    writer, reader = (guest(store, mine, f"{mine}/b1/", right) for right in (Right.WRITE, Right.READ))
    for data in (b"first", b"\0second\xff" * 1000):
        writer.put("000001", data)
        assert reader.get("000001") == data
        assert store.look(f"{mine}/b1/000001") == data
    writer.put("deep/er", b"")
    assert reader.get("deep/er") == b""
    for _ in range(2):
        writer.delete("000001")
    with pytest.raises(NotFound, match="no object 000001"):
        reader.get("000001")
    assert store.keys(mine) == [f"{mine}/b1/deep/er"]


def test_a_chunk_is_one_object_whatever_its_size(store: Store, mine: UUID) -> None:
    data = b"0123456789abcdef" * (12 * 1024 * 1024 // 16)
    guest(store, mine, f"{mine}/b1/", Right.WRITE).put("000001", data)
    assert guest(store, mine, f"{mine}/b1/", Right.READ).get("000001") == data


def test_a_ticket_says_when_it_runs_out(store: Store, mine: UUID) -> None:
    ticket = store.issue(mine, f"{mine}/b1/", Right.READ, seconds=1200)
    assert abs((ticket.expires - datetime.now(UTC)).total_seconds() - 1200) < 10


def test_another_s_backup_can_be_read_for_a_restore_and_not_be_changed(
    store: Store, mine: UUID, theirs: UUID, objects: dict[str, bytes]
) -> None:
    reader = guest(store, mine, f"{theirs}/b1/", Right.READ)
    assert reader.get("1") == objects[f"{theirs}/b1/1"]
    stolen = content(store, mine, Right.READ, f"{theirs}/b1/")
    for method in ("PUT", "DELETE"):
        answer = store.steal(stolen, Request(method, store.path_of(f"{theirs}/b1/1"), FORGED))
        assert answer.status in REFUSED
    require_unchanged(store, objects)


def test_names_that_lead_elsewhere_are_refused_before_they_are_asked(store: Store, mine: UUID) -> None:
    writer = guest(store, mine, f"{mine}/b1/", Right.WRITE)
    for name in ("../b2/1", "/1", "1/", "a//b", "", ".", "a/../../b", "a%2fb", "a?b", "a b", "ä"):
        with pytest.raises(BadRequest, match="no name of an object"):
            writer.put(name, FORGED)
    assert store.keys(mine) == []


# -- what it is not for --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ELSEWHERE)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "POST", "COPY", "PATCH"])
def test_nothing_outside_the_prefix_is_reached(
    store: Store, mine: UUID, theirs: UUID, objects: dict[str, bytes], where: str, method: str
) -> None:
    path = store.path_of(where.format(mine=mine, theirs=theirs))
    for right in Right:
        answer = store.steal(content(store, mine, right), Request(method, path, FORGED if method == "PUT" else b""))
        assert answer.status in (*REFUSED, 501)
        assert OURS not in answer.body
    require_unchanged(store, objects)


@pytest.mark.parametrize("trick", TRICKS)
def test_a_path_that_turns_round_reaches_nothing(
    store: Store, mine: UUID, theirs: UUID, objects: dict[str, bytes], trick: str
) -> None:
    path = store.path_of(f"{mine}/b1/{trick.format(theirs=theirs)}")
    got = store.steal(content(store, mine, Right.READ), Request("GET", path))
    assert OURS not in got.body
    for method in ("PUT", "DELETE"):
        store.steal(content(store, mine, Right.WRITE), Request(method, path, FORGED if method == "PUT" else b""))
    # an object of that very name, inside the prefix, is the attacker's own affair
    left = {name: store.look(name) for name in objects}
    assert left == objects


def test_a_ticket_to_read_writes_nothing_and_one_to_write_reads_nothing(
    store: Store, mine: UUID, objects: dict[str, bytes]
) -> None:
    path = store.path_of(f"{mine}/b1/1")
    for method in ("PUT", "DELETE", "POST"):
        answer = store.steal(
            content(store, mine, Right.READ), Request(method, path, FORGED if method == "PUT" else b"")
        )
        assert answer.status in REFUSED
    answer = store.steal(content(store, mine, Right.WRITE), Request("GET", path))
    assert answer.status in REFUSED
    assert OURS not in answer.body
    with pytest.raises(TicketRefused):
        guest(store, mine, f"{mine}/b1/", Right.WRITE).get("1")
    with pytest.raises(TicketRefused):
        guest(store, mine, f"{mine}/b1/", Right.READ).put("1", FORGED)
    require_unchanged(store, objects)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
def test_neither_container_nor_account_is_reached(
    store: Store, mine: UUID, theirs: UUID, objects: dict[str, bytes], method: str
) -> None:
    paths = {store.path_of(f"{each}/x").partition(f"/{each}/")[0] for each in (mine, theirs)}
    paths |= {each.rpartition("/")[0] or "/" for each in paths}
    for right in Right:
        stolen = content(store, mine, right)
        for place in paths | {f"{each}/" for each in paths}:
            for query in ({}, {"prefix": ""}, {"prefix": f"{mine}/"}, {"delimiter": "/"}, {"prefix": f"{theirs}/b1/"}):
                answer = store.steal(stolen, Request(method, place, query=query))
                for key in objects:
                    assert key.encode() not in answer.body, (place, query)
                assert CONTAINER.encode() + b"</Name>" not in answer.body  # nor that there is such a bucket
    require_unchanged(store, objects)


def test_no_container_is_made_and_none_is_written_to(store: Store, mine: UUID, objects: dict[str, bytes]) -> None:
    stolen = content(store, mine, Right.WRITE)
    elsewhere = store.path_of(f"{mine}/b1/1").replace("/coffer", "/evil")
    for method in ("PUT", "DELETE", "GET"):
        answer = store.steal(stolen, Request(method, elsewhere, FORGED if method == "PUT" else b""))
        assert answer.status in REFUSED
        answer = store.steal(stolen, Request(method, elsewhere.split("/" + str(mine) + "/")[0]))
        assert answer.status in REFUSED
    require_unchanged(store, objects)


@pytest.mark.parametrize("right", list(Right))
def test_after_its_time_a_ticket_opens_nothing(
    store: Store, mine: UUID, objects: dict[str, bytes], right: Right
) -> None:
    ticket = store.expired(mine, f"{mine}/b1/", right)
    late = open_store(ticket, store.box(mine))
    with pytest.raises(TicketRefused):
        late.get("1") if right is Right.READ else late.put("1", FORGED)
    path = store.path_of(f"{mine}/b1/1")
    for method in ("GET", "PUT", "DELETE"):
        answer = store.steal(store.opened(mine, ticket), Request(method, path, FORGED if method == "PUT" else b""))
        assert answer.status in REFUSED
        assert OURS not in answer.body
    require_unchanged(store, objects)


def test_a_ticket_that_was_altered_opens_nothing(
    store: Store, mine: UUID, theirs: UUID, objects: dict[str, bytes]
) -> None:
    for right, method in ((Right.READ, "GET"), (Right.WRITE, "PUT"), (Right.WRITE, "DELETE")):
        ours = content(store, mine, right)
        targets = {f"{mine}/b2/": f"{mine}/b2/1", f"{theirs}/b1/": f"{theirs}/b1/1", f"{mine}/": f"{mine}/b2/1",
                   "": f"{mine}/b2/1", f"{mine}/b1": f"{mine}/b1-evil/1"}  # fmt: skip
        forged = [(ours.model_copy(update={"prefix": prefix}), key) for prefix, key in targets.items()]
        forged += [(each, f"{mine}/b1/1") for each in tampered(ours)]
        for stolen, key in forged:
            request = Request(method, store.path_of(key), FORGED if method == "PUT" else b"")
            answer = store.steal(stolen, request)
            assert answer.status in REFUSED
            assert OURS not in answer.body
    require_unchanged(store, objects)


def tampered(ours: TicketContent) -> list[TicketContent]:
    """The same ticket with one thing changed: what proves it, or when it ends."""
    changes: list[dict[str, Any]]
    if isinstance(ours.store, SwiftAccess):
        flipped = {method: flip(value) for method, value in ours.store.signatures.items()}
        changes = [{"signatures": flipped}, {"expires": ours.store.expires + 1}, {"expires": 2**40}]
    else:
        assert isinstance(ours.store, S3Access)
        changes = [
            {"secret_key": flip(ours.store.secret_key)},
            {"access_key": flip(ours.store.access_key)},
            {"session_token": flip(ours.store.session_token)},
            {"session_token": "none"},
        ]
    return [ours.model_copy(update={"store": ours.store.model_copy(update=each)}) for each in changes]


def flip(text: str) -> str:
    """Change one character, in the middle: the last one of base64 may hold no whole bits."""
    middle = len(text) // 2
    return text[:middle] + ("0" if text[middle] != "0" else "1") + text[middle + 1 :]


# -- who has it -----------------------------------------------------------------------------------------------------------


def test_another_guest_cannot_open_it(store: Store, mine: UUID, theirs: UUID, objects: dict[str, bytes]) -> None:
    ticket = store.issue(mine, f"{mine}/b1/", Right.READ)
    with pytest.raises(NotOurs):
        open_store(ticket, store.box(theirs))
    assert open_store(ticket, store.box(mine)).get("1") == objects[f"{mine}/b1/1"]


def secrets_of(opened: TicketContent) -> list[str]:
    """All that must not be seen."""
    if isinstance(opened.store, SwiftAccess):
        return list(opened.store.signatures.values())
    assert isinstance(opened.store, S3Access)
    return [opened.store.secret_key, opened.store.session_token, opened.store.access_key]


def test_no_secret_is_in_a_log_an_error_or_what_travels(
    store: Store, mine: UUID, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for right in Right:
        ticket = store.issue(mine, f"{mine}/b1/", right)
        opened = store.opened(mine, ticket)
        seen = [repr(ticket), ticket.model_dump_json(), repr(opened), str(opened)]
        used = open_store(ticket, store.box(mine))
        late = open_store(store.expired(mine, f"{mine}/b1/", right), store.box(mine))
        for each in (used, late, nowhere(store, mine, right)):
            seen += [repr(each), *complaints(each)]
        seen += [record.getMessage() + str(record.exc_info) for record in caplog.records]
        for secret in secrets_of(opened):
            assert not [each for each in seen if secret in each]


def nowhere(store: Store, mine: UUID, right: Right) -> ObjectStore:
    """A ticket for a store that does not answer."""
    opened = content(store, mine, right)
    if isinstance(opened.store, SwiftAccess):
        changes = {"container_url": "http://127.0.0.1:9/v1/AUTH_x/y"}
    else:
        changes = {"endpoint": "http://127.0.0.1:9"}
    moved = opened.model_copy(update={"store": opened.store.model_copy(update=changes)})
    ticket = store.issue(mine, f"{mine}/b1/", right)
    return open_store(
        ticket.model_copy(update={"opens": store.box(mine).seal(moved.model_dump_json())}), store.box(mine)
    )


def complaints(objects: ObjectStore) -> list[str]:
    """What is said when things fail, with all that lies behind it."""
    said: list[str] = []
    for call in (lambda: objects.get("none"), lambda: objects.put("1", b""), lambda: objects.delete("1")):
        try:
            call()
        except Exception as error:
            shown: BaseException | None = error
            while shown is not None:
                said += [str(shown), repr(shown)]
                shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)
    assert said
    return said


def test_a_content_that_is_not_understood_is_refused_without_being_shown(store: Store, mine: UUID) -> None:
    ticket = store.issue(mine, f"{mine}/b1/", Right.READ)
    sealed = store.box(mine).seal('{"prefix": "x", "store": {"kind": "tape", "secret": "hush"}}')
    with pytest.raises(BadRequest) as found:
        open_store(ticket.model_copy(update={"opens": sealed}), store.box(mine))
    assert "hush" not in str(found.value) + repr(found.value)
    assert found.value.__suppress_context__


def test_names_are_listed_where_the_store_can(store: Store, mine: UUID, objects: dict[str, bytes]) -> None:
    for right in Right:
        opened = guest(store, mine, f"{mine}/b1/", right)
        if isinstance(opened, S3Objects):
            assert opened.list_names() == ["1"]
        else:
            with pytest.raises(Unsupported):
                opened.list_names()
    require_unchanged(store, objects)


def test_a_guest_whose_store_is_swift_does_not_carry_the_client_of_s3() -> None:
    code = "import sys, guest_worker.objects; assert not {'minio', 'urllib3', 'openstack'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
