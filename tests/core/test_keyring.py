"""Keys: each process derives what it is trusted with and nothing else, and a rotation loses nothing."""

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.converter import ActivitySerializationContext

from contract.keys.enrolment import is_ticket, ticket_for
from contract.keys.keyring import (
    GuestsKeyring,
    MasterKeyring,
    NotOurs,
    OwnKeyring,
    Ring,
    RingFile,
    branch_of,
    parse,
    render,
)
from contract.keys.sealing import SecretBox
from contract.names import control_key_id, guest_key_id, guest_queue
from contract.wire.codec import data_converter
from tests.driver_process import REPOSITORY
from tests.temporal import own_keyring

MASTER = MasterKeyring.of(b"m" * 32)
GUEST, OTHER = uuid4(), uuid4()


def context() -> ActivitySerializationContext:
    return ActivitySerializationContext(
        namespace="coffer", activity_id=None, activity_type=None, activity_task_queue=guest_queue(GUEST), workflow_id=None,
        workflow_type=None, is_local=False,
    )  # fmt: skip


def test_the_gateway_derives_guests_keys_and_nothing_of_the_control_plane() -> None:
    gateway = MASTER.branch()
    for shared in (guest_key_id(GUEST, 1), "e:1", "t:1"):
        assert gateway.key(shared) == MASTER.key(shared)
    for forbidden in (control_key_id(1), "c:ticket:x:1"):
        assert MASTER.key(forbidden)
        with pytest.raises(NotOurs):
            gateway.key(forbidden)


def test_a_guest_has_its_own_key_alone() -> None:
    own = own_keyring(MASTER, GUEST)
    assert own.key(guest_key_id(GUEST, 1)) == MASTER.key(guest_key_id(GUEST, 1))
    for forbidden in (guest_key_id(OTHER, 1), guest_key_id(GUEST, 2), control_key_id(1), "e:1", "t:1"):
        with pytest.raises(NotOurs):
            own.key(forbidden)


@pytest.mark.parametrize(
    "name", ["", "c", "c:", "c:x", "c:-1", "c:٣", "c:99999999999", "x:1", "i:1", "g:a:1", "g:a:2", "i::1" * 50]
)
def test_a_name_that_means_nothing_is_not_ours(name: str) -> None:
    if name in ("i:1",) or name.startswith("i::1"):  # a guest of no name: derived, and nobody's
        assert MASTER.key(name) != MASTER.key(guest_key_id(GUEST, 1))
        return
    with pytest.raises(NotOurs):
        MASTER.key(name)


def test_all_keys_differ() -> None:
    names = [
        control_key_id(1),
        guest_key_id(GUEST, 1),
        guest_key_id(OTHER, 1),
        "e:1",
        "t:1",
    ]
    assert len({MASTER.key(each) for each in names}) == len(names)


# -- tickets -------------------------------------------------------------------------------------------------------------


def test_a_ticket_is_of_one_generation_of_one_instance() -> None:
    ticket = ticket_for(MASTER, GUEST, 1)
    gateway = MASTER.branch()
    assert is_ticket(gateway, ticket, GUEST, 1)
    assert ticket_for(MASTER, GUEST, 1) == ticket  # made again, it is the same: a retried creation of a server
    for instance, generation in ((OTHER, 1), (GUEST, 2), (GUEST, 0)):
        assert not is_ticket(gateway, ticket, instance, generation)
    for forged in ("", "1.", "1.x", ticket[:-1], f"2{ticket[1:]}", ticket + "=", "é.x", f"{'9' * 30}.x"):
        assert not is_ticket(gateway, forged, GUEST, 1)


# -- files and rotation --------------------------------------------------------------------------------------------------


def test_files_of_keys_are_read_as_they_are_written(tmp_path: Path) -> None:
    ring = Ring({1: b"a" * 32, 3: b"b" * 32}, 3)
    assert parse(render(ring, "guests").encode(), "guests", "x") == ring
    for single in (b"k" * 32, (b"k" * 32).hex().encode(), (b"k" * 32).hex().encode() + b"\n"):
        assert parse(single, "master", "x") == Ring.of(b"k" * 32)


@pytest.mark.parametrize(
    "content",
    ["", "master", "guests\n1 00 current", "master\n1 zz current", f"master\n1 {'00' * 32}", f"{'00' * 31}",
     f"master\n1 {'00' * 32} current\n2 {'11' * 32} current", f"guests\n1 {'00' * 32} current"],
)  # fmt: skip
def test_a_file_that_holds_something_else_is_refused_without_telling_it(content: str) -> None:
    with pytest.raises(ValueError, match="somewhere does not hold master keys") as refused:
        parse(content.encode(), "master", "somewhere")
    assert "00" not in str(refused.value)


def test_a_file_of_keys_that_breaks_leaves_what_was_known(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    path.write_text(render(Ring.of(b"a" * 32), "master"))
    ring = RingFile(path, "master")
    path.write_text("half")
    assert ring(needed=2) == Ring.of(b"a" * 32)


def keys(folder: Path, *words: str, fails: bool = False) -> str:
    """The documented command."""
    environment = {**os.environ, "COFFER_MASTER_KEY_FILE": str(folder / "master.key"),
                   "COFFER_GUEST_KEY_FILE": str(folder / "guests.key")}  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "contract.keys", *words], cwd=REPOSITORY, env=environment,
                          capture_output=True, text=True)  # fmt: skip
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


async def test_a_rotation_seals_anew_reads_the_old_and_needs_no_restart(tmp_path: Path) -> None:
    (tmp_path / "master.key").write_text((b"k" * 32).hex())
    keys(tmp_path, "guests")
    control = MasterKeyring.read(tmp_path / "master.key")
    gateway = GuestsKeyring.read(tmp_path / "guests.key")
    guest = OwnKeyring(GUEST, gateway.of_guest(GUEST), lambda: gateway.of_guest(GUEST))
    before = await data_converter(control).with_context(context()).encode(["before"])
    password = SecretBox(control, GUEST).seal("swordfish")
    ticket = ticket_for(control, GUEST, 1)

    said = keys(tmp_path, "rotate")

    assert said == "epoch 1\nepoch 2: seals\n"
    gateway_sees = gateway.key(guest_key_id(GUEST, 2))  # asked for by name, the file is read at once
    assert gateway_sees == MasterKeyring.read(tmp_path / "master.key").key(guest_key_id(GUEST, 2))
    control._ring._looked = 0.0  # type: ignore[attr-defined] # a second later
    after = await data_converter(control).with_context(context()).encode(["after"])
    assert after[0].metadata["encryption-key-id"] == f"i:{GUEST}:2/down".encode()
    for payloads, text in ((before, "before"), (after, "after")):
        assert await data_converter(guest).with_context(context()).decode(payloads) == [text]
        assert await data_converter(control).with_context(context()).decode(payloads) == [text]
    answer = await data_converter(guest).with_context(context()).encode(["answer"])
    assert answer[0].metadata["encryption-key-id"] == f"i:{GUEST}:2/up".encode()
    assert SecretBox(guest, GUEST).open(password) == "swordfish"
    assert is_ticket(gateway, ticket, GUEST, 1)


def test_an_epoch_is_in_both_files_before_it_seals_and_the_one_that_seals_stays(tmp_path: Path) -> None:
    (tmp_path / "master.key").write_text((b"k" * 32).hex())
    assert keys(tmp_path, "add") == "epoch 1: seals\nepoch 2\n"
    assert 2 in parse((tmp_path / "guests.key").read_bytes(), "guests", "x").secrets
    assert keys(tmp_path, "use", "2") == "epoch 1\nepoch 2: seals\n"
    assert "epoch 2 seals" in keys(tmp_path, "forget", "2", fails=True)
    assert "there is no epoch 7" in keys(tmp_path, "use", "7", fails=True)
    assert keys(tmp_path, "forget", "1") == "epoch 2: seals\n"
    assert keys(tmp_path, "list") == "epoch 2: seals\n"
    for name in ("master.key", "guests.key"):
        assert oct((tmp_path / name).stat().st_mode & 0o777) == "0o600"
    master = parse((tmp_path / "master.key").read_bytes(), "master", "x")
    assert branch_of(master) == parse((tmp_path / "guests.key").read_bytes(), "guests", "x")


def test_the_command_never_prints_a_key(tmp_path: Path) -> None:
    (tmp_path / "master.key").write_text((b"k" * 32).hex())
    said = keys(tmp_path, "guests") + keys(tmp_path, "rotate") + keys(tmp_path, "list")
    for secret in (tmp_path / "master.key", tmp_path / "guests.key"):
        for word in secret.read_text().split():
            assert len(word) < 60 or word not in said
