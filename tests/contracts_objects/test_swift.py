"""What is Swift's alone: keys and their rotation, and the ways in which one object can stand for another."""

import io
import json
import logging
import tarfile
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from temporalio.client import ActivityFailureError, Client

from activities.objects import open_tickets
from activities.openstack.connection import Connections
from activities.openstack.objects import SwiftContainers
from contract.domain.errors import BadRequest, TicketRefused
from contract.keys.keyring import MasterKeyring
from contract.keys.sealing import SecretBox
from contract.names import CLOUD
from contract.ports.tickets import KeyRotation, Right, SwiftAccess, Ticket, TicketContent, TicketOrder
from contract.wire.codec import data_converter
from guest_worker.objects import open_store
from tests.contracts_objects.stores import CONTAINER, Request, SwiftStore
from tests.contracts_objects.test_tickets import REFUSED
from tests.stack import RunningStack

THEIRS = b"what another instance stored"


def good(swift: SwiftStore, instance: UUID, ticket: Ticket) -> bool:
    """Whether a ticket to write is still taken."""
    try:
        open_store(ticket, swift.box(instance)).put("probe", b"")
    except TicketRefused:
        return False
    return True


def rotate(swift: SwiftStore, instance: UUID, name: str, *, revoke: bool = False) -> None:
    swift.tickets.rotate_ticket_key(KeyRotation(instance_id=instance, name=name, revoke=revoke))


def keys_of(swift: SwiftStore, instance: UUID) -> list[str]:
    """The container's keys, read so that no log has them."""
    found = swift.ask("HEAD", f"/{CONTAINER}-{instance}", log=False).headers
    return [
        found[name] for name in ("X-Container-Meta-Temp-Url-Key", "X-Container-Meta-Temp-Url-Key-2") if name in found
    ]


# -- keys -----------------------------------------------------------------------------------------------------------------


def test_a_rotation_leaves_the_key_before_good_and_no_older_one(swift: SwiftStore, mine: UUID, theirs: UUID) -> None:
    other = swift.issue(theirs, f"{theirs}/b1/", Right.WRITE)
    first = swift.issue(mine, f"{mine}/b1/", Right.WRITE)
    rotate(swift, mine, "2026-11")
    rotate(swift, mine, "2026-11")  # the same one again
    second = swift.issue(mine, f"{mine}/b1/", Right.WRITE)
    assert good(swift, mine, first)
    assert good(swift, mine, second)
    rotate(swift, mine, "2026-12")
    assert not good(swift, mine, first)
    assert good(swift, mine, second)
    assert good(swift, mine, swift.issue(mine, f"{mine}/b1/", Right.WRITE))
    assert good(swift, theirs, other)


def test_revoked_tickets_open_nothing_and_new_ones_do(swift: SwiftStore, mine: UUID, theirs: UUID) -> None:
    swift.put(f"{mine}/b1/1", b"mine")
    other = swift.issue(theirs, f"{theirs}/b1/", Right.WRITE)
    stolen = [swift.issue(mine, f"{mine}/b1/", right) for right in Right]
    rotate(swift, mine, "last")
    stolen += [swift.issue(mine, f"{mine}/b1/", right) for right in Right]
    for _ in range(2):
        rotate(swift, mine, "stolen", revoke=True)
    path = swift.path_of(f"{mine}/b1/1")
    for ticket in stolen:
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            answer = swift.steal(
                swift.opened(mine, ticket), Request(method, path, b"forged" if method == "PUT" else b"")
            )
            assert answer.status == 401
            assert b"mine" not in answer.body
    assert swift.look(f"{mine}/b1/1") == b"mine"
    assert good(swift, mine, swift.issue(mine, f"{mine}/b1/", Right.WRITE))
    assert good(swift, theirs, other)


def test_what_somebody_withdrew_by_hand_does_not_come_back(swift: SwiftStore, mine: UUID) -> None:
    stolen = swift.issue(mine, f"{mine}/b1/", Right.WRITE)
    swift.ask("POST", f"/{CONTAINER}-{mine}", headers={"X-Container-Meta-Temp-URL-Key": ""})
    assert not good(swift, mine, stolen)
    assert good(swift, mine, swift.issue(mine, f"{mine}/b1/", Right.WRITE))
    assert not good(swift, mine, stolen)


def test_nothing_is_rotated_where_nobody_has_a_ticket(swift: SwiftStore, mine: UUID) -> None:
    rotate(swift, mine, "first of all", revoke=True)
    assert swift.ask("HEAD", f"/{CONTAINER}-{mine}").status_code == 404


def test_all_who_meet_a_new_container_at_once_get_good_tickets(swift: SwiftStore, mine: UUID) -> None:
    workers = [open_tickets(swift.settings, swift.keyring, Connections("coffer", 8)) for _ in range(4)]
    order = TicketOrder(instance_id=mine, prefix=f"{mine}/b1/", right=Right.WRITE, seconds=900)
    with ThreadPoolExecutor(len(workers)) as pool:
        tickets = list(pool.map(lambda each: each.issue_ticket(order), workers))
    assert all(good(swift, mine, each) for each in tickets)
    assert len(keys_of(swift, mine)) == 1


def test_a_container_that_is_there_already_gets_a_key_and_keeps_its_objects(swift: SwiftStore, mine: UUID) -> None:
    swift.put(f"{mine}/b1/1", b"mine")
    assert keys_of(swift, mine) == []
    assert good(swift, mine, swift.issue(mine, f"{mine}/b1/", Right.WRITE))
    assert swift.look(f"{mine}/b1/1") == b"mine"


def test_no_key_is_in_a_log_an_error_or_a_repr(swift: SwiftStore, mine: UUID, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    swift.issue(mine, f"{mine}/b1/", Right.WRITE)
    rotate(swift, mine, "next")
    containers = SwiftContainers(Connections("coffer", 8))
    found = containers.find_keys(f"{CONTAINER}-{mine}")
    assert found is not None
    with pytest.raises(BadRequest) as refused:
        containers.put_keys("x" * 300, found)  # a name longer than Swift takes
    seen = [repr(found), str(found), str(refused.value), repr(refused.value), repr(refused.value.__cause__)]
    seen += [record.getMessage() for record in caplog.records]
    assert any("keystone" in record.name for record in caplog.records)  # it does log
    keys = keys_of(swift, mine)
    assert len(keys) == 2
    for key in keys:
        assert not [each for each in seen if key in each]


def test_an_account_of_somebody_else_is_not_reached(swift: SwiftStore, mine: UUID, stack_demo: str) -> None:
    for right in Right:
        stolen = swift.opened(mine, swift.issue(mine, f"{mine}/b1/", right))
        for method in ("GET", "PUT", "DELETE"):
            path = swift.path_of(f"{mine}/b1/1").replace(swift.account, stack_demo)
            assert swift.steal(stolen, Request(method, path)).status == 401


# -- objects that stand for others -----------------------------------------------------------------------------------------


@pytest.fixture
def target(swift: SwiftStore, theirs: UUID) -> str:
    """An object of another instance."""
    swift.put(f"{theirs}/b1/1", THEIRS)
    return f"{theirs}/b1/1"


def require_nothing_stolen(swift: SwiftStore, mine: UUID, target: str) -> None:
    """Nothing below the attacker's prefix shows what is another's, to the attacker or to the owner; and that is unchanged."""
    reading = swift.opened(mine, swift.issue(mine, f"{mine}/b1/", Right.READ))
    for name in {*swift.keys(mine), f"{mine}/b1/stolen"}:
        assert THEIRS not in swift.steal(reading, Request("GET", swift.path_of(name))).body
        assert THEIRS not in (swift.look(name) or b"")
    assert swift.look(target) == THEIRS
    assert swift.keys(UUID(target.partition("/")[0])) == [target]


@pytest.mark.parametrize("header", ["X-Copy-From", "X-Object-Manifest", "X-Symlink-Target"])
def test_no_header_brings_another_s_object_into_the_prefix(
    swift: SwiftStore, mine: UUID, target: str, header: str
) -> None:
    writing = swift.opened(mine, swift.issue(mine, f"{mine}/b1/", Right.WRITE))
    container = f"{CONTAINER}-{target.partition('/')[0]}"
    for source in (f"/{container}/{target}", f"{container}/{target}", f"{container}/"):
        for more in ({}, {f"{header}-Account": swift.account}):
            request = Request("PUT", swift.path_of(f"{mine}/b1/stolen"), headers={header: source, **more})
            answer = swift.steal(writing, request)
            assert answer.status in REFUSED
            require_nothing_stolen(swift, mine, target)


def test_no_object_is_copied_out_over_another_s(swift: SwiftStore, mine: UUID, target: str) -> None:
    swift.put(f"{mine}/b1/1", b"mine")
    for right in Right:
        stolen = swift.opened(mine, swift.issue(mine, f"{mine}/b1/", right))
        there = {"Destination": f"{CONTAINER}-{target.partition('/')[0]}/{target}"}
        for method in ("COPY", "PUT", "GET"):
            swift.steal(stolen, Request(method, swift.path_of(f"{mine}/b1/1"), headers=there))
    require_nothing_stolen(swift, mine, target)


def test_no_manifest_no_archive_and_no_list_of_deletions_is_taken(swift: SwiftStore, mine: UUID, target: str) -> None:
    writing = swift.opened(mine, swift.issue(mine, f"{mine}/b1/", Right.WRITE))
    place = f"/{CONTAINER}-{target.partition('/')[0]}/{target}"
    manifest = json.dumps([{"path": place}]).encode()
    path = swift.path_of(f"{mine}/b1/stolen")
    swift.steal(writing, Request("PUT", path, manifest, query={"multipart-manifest": "put"}))
    require_nothing_stolen(swift, mine, target)
    swift.steal(writing, Request("DELETE", path, query={"multipart-manifest": "delete"}))
    require_nothing_stolen(swift, mine, target)
    for where in (path, f"/v1/{swift.account}", swift.path_of(target), swift.path_of(target).rpartition("/")[0]):
        swift.steal(writing, Request("PUT", where, archive(place), query={"extract-archive": "tar"}))
        for method in ("POST", "DELETE"):
            headers = {"Content-Type": "text/plain"}
            swift.steal(writing, Request(method, where, place.encode(), headers, {"bulk-delete": "true"}))
        require_nothing_stolen(swift, mine, target)


def archive(name: str) -> bytes:
    """A tar file with one object of a chosen name."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = 6
        tar.addfile(member, io.BytesIO(b"forged"))
    return written.getvalue()


def test_a_ticket_for_one_instance_does_not_open_the_container_of_another_with_the_same_names(
    swift: SwiftStore, mine: UUID, target: str
) -> None:
    lookalike = f"/v1/{swift.account}/{CONTAINER}-{target.partition('/')[0]}/{mine}/b1/{uuid4()}"
    for right, method in ((Right.READ, "GET"), (Right.WRITE, "PUT"), (Right.WRITE, "DELETE")):
        stolen = swift.opened(mine, swift.issue(mine, f"{mine}/b1/", right))
        assert swift.steal(stolen, Request(method, lookalike)).status == 401
    require_nothing_stolen(swift, mine, target)


# -- through Temporal ----------------------------------------------------------------------------------------------------


async def test_what_temporal_keeps_shows_no_signature_even_decrypted(
    swift: SwiftStore, stack: RunningStack, mine: UUID
) -> None:
    """The stack's own activity worker issues the ticket; its answer is read as an operator reads it."""
    keyring = MasterKeyring.read(stack.settings.secrets / "master.key")
    address = f"127.0.0.1:{stack.settings.temporal_port}"
    client = await Client.connect(address, namespace="coffer", data_converter=data_converter(keyring))
    order = TicketOrder(instance_id=mine, prefix=f"{mine}/b1/", right=Right.WRITE, seconds=900)
    seen = await client.execute_activity(
        "issue_ticket",
        order,
        id=f"test/{mine}",
        task_queue=CLOUD,
        result_type=dict[str, Any],
        start_to_close_timeout=timedelta(seconds=20),
    )
    assert sorted(seen) == ["expires", "opens", "prefix", "right"]
    opened = SecretBox(keyring, mine).open(Ticket.model_validate(seen).opens)
    content = TicketContent.model_validate_json(opened)
    assert isinstance(content.store, SwiftAccess)
    for secret in content.store.signatures.values():
        assert secret not in json.dumps(seen)
    path = swift.path_of(f"{mine}/b1/1")
    assert swift.steal(content, Request("PUT", path, b"mine")).status == 201
    with pytest.raises(ActivityFailureError) as refused:
        await client.execute_activity(
            "issue_ticket",
            order.model_copy(update={"prefix": f"{mine}/../"}),
            id=f"test/{mine}/refused",
            task_queue=CLOUD,
            start_to_close_timeout=timedelta(seconds=20),
        )
    assert getattr(refused.value.cause, "type", "") == "BadRequest"
