"""Servers of the embedded cloud: processes that are started, found again, kept apart and ended."""

import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from openstack import exceptions as said

from tests.localcloud.conftest import Lab, answers, until
from tests.localcloud.processes import guest_user, of_server, of_user, running
from tests.stack import RunningStack

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="without root, servers have no users and no namespaces")

STUBBORN = """#!/bin/sh
trap '' TERM HUP INT
forever='trap "" TERM HUP INT; while :; do sleep 1; done'
setsid sh -c "$forever" &
env -i PATH="$PATH" setsid sh -c "(setsid sh -c '$forever' &)" &
while :; do sleep 1; done
"""
CURIOUS = """#!/bin/sh
echo "I am $(id -u) $(id -un)"
echo "I see $(cd /proc && echo [0-9]*)"
cat {folder}/*/root/home/secret {folder}/*/init.json 2>/dev/null
echo private > home/secret
exec sleep infinity
"""
MANIFEST = """name: {name}
tags: [of-a-test]
grace: 0.5
processes:
  - {{name: {name}, user: guest, command: [/bin/sh, "{{image}}/start.sh"]}}
environment: {{}}
"""


def image(stack: RunningStack, name: str, script: str) -> Path:
    """Lay out an image whose server runs a script."""
    folder = stack.settings.image_folder / name
    folder.mkdir(mode=0o755)
    (folder / "start.sh").write_text(script)
    (folder / "manifest.yaml").write_text(MANIFEST.format(name=name))
    for each in (folder, *folder.iterdir()):
        each.chmod(0o755)
    return folder


@pytest.fixture(scope="module", autouse=True)
def images(stack: RunningStack) -> Iterator[None]:
    """Images of this test's own."""
    curious = CURIOUS.replace("{folder}", str(stack.settings.open_home / "cloud/servers"))
    made = [image(stack, "stubborn", STUBBORN), image(stack, "curious", curious)]
    yield
    for folder in made:
        for each in folder.iterdir():
            each.unlink()
        folder.rmdir()


def until_booted(lab: Lab, server: str, times: int) -> None:
    """Wait until a server has booted so many times."""
    until(f"booted {times} times", lambda: lab.console(server).count("init: booted") == times)


def nothing_left(user: int, server: str) -> bool:
    """Whether `ps` shows no process of a server, by its user nor by its marker."""
    return not of_user(user) and not of_server(server)


def test_a_server_is_stopped_started_and_rebooted(lab: Lab) -> None:
    server, compute = lab.boot(), lab.conn.compute
    user = guest_user(server)
    assert [args for _, args in of_user(user)] == ["/bin/sleep infinity"]
    compute.stop_server(server)
    lab.wait(server, "SHUTOFF")
    assert nothing_left(user, server)
    compute.start_server(server)
    lab.wait(server, "ACTIVE")
    until_booted(lab, server, 2)
    for number, kind in enumerate(("SOFT", "HARD"), start=3):
        before = until("it runs", lambda: running(user))
        compute.reboot_server(server, kind)
        assert compute.get_server(server).status in ("REBOOT", "HARD_REBOOT", "ACTIVE")
        until_booted(lab, server, number)
        lab.wait(server, "ACTIVE")
        after = until("it runs", lambda: running(user))
        assert len(after) == 1
        assert after[0][0] != before[0][0]


def test_what_a_server_is_not_ready_for_is_refused(lab: Lab) -> None:
    server, compute = lab.boot(), lab.conn.compute
    with pytest.raises(said.ConflictException, match=r"Cannot 'start' instance .* while it is in vm_state active"):
        compute.start_server(server)
    compute.stop_server(server)
    lab.wait(server, "SHUTOFF")
    with pytest.raises(said.ConflictException, match=r"Cannot 'stop' instance .* while it is in vm_state stopped"):
        compute.stop_server(server)


def test_the_console_shows_what_the_server_printed_and_no_more_lines_than_asked_for(lab: Lab) -> None:
    server = lab.boot("curious")
    user = guest_user(server)
    until("printed", lambda: f"I am {user} guest" in lab.console(server))
    whole = lab.console(server).splitlines()
    assert len(whole) > 2
    assert lab.conn.compute.get_server_console_output(server, length=2)["output"].splitlines() == whole[-2:]


def test_servers_run_as_users_of_their_own_and_see_nothing_of_each_other(lab: Lab, stack: RunningStack) -> None:
    first = lab.boot("curious")
    until("it has a secret", lambda: "I see" in lab.console(first))
    second = lab.boot("curious")
    until("it has looked", lambda: (lab.cloud_folder / "servers" / second / "root/home/secret").exists())
    users = {guest_user(first), guest_user(second)}
    assert len(users) == 2
    own = range(stack.settings.first_uid, stack.settings.first_uid + 1000)
    assert all(each in own for each in users)
    console = lab.console(second)
    assert "private" not in console
    assert "processes" not in console  # a word of every init.json
    (seen,) = [line for line in console.splitlines() if line.startswith("I see")]
    assert len(seen.split()) <= 6  # its init, its shell, and what the shell started
    assert "1" in seen.split()


def test_a_process_that_dies_is_started_again_by_the_server_s_init(lab: Lab) -> None:
    server = lab.boot()
    user = guest_user(server)
    ((pid, _),) = of_user(user)
    os.kill(pid, signal.SIGKILL)
    until("another one runs", lambda: [each for each, _ in running(user)] not in ([], [pid]))
    until("it is told", lambda: "nothing ended with status -9" in lab.console(server))
    assert lab.conn.compute.get_server(server).status == "ACTIVE"


def test_a_server_whose_init_dies_is_shown_as_shut_off_and_starts_again(lab: Lab) -> None:
    server = lab.boot()
    user = guest_user(server)
    for uid, pid, args in of_server(server):
        if uid == 0 and args.startswith("unshare"):
            os.kill(pid, signal.SIGKILL)
    lab.wait(server, "SHUTOFF")
    until("the namespace took all with it", lambda: of_user(user) == [])
    lab.conn.compute.start_server(server)
    lab.wait(server, "ACTIVE")
    until("it runs", lambda: running(user))


# -- the fence -------------------------------------------------------------------------------------------------------


def stubborn(lab: Lab) -> tuple[str, int]:
    """A server whose processes ignore SIGTERM, of which one is a daemon without its marker; its id and user."""
    server = lab.boot("stubborn")
    user = guest_user(server)
    until("all three loops run", lambda: len(loops(user)) == 3)
    marked = {pid for _, pid, _ in of_server(server)}
    assert [pid for pid, _ in loops(user) if pid not in marked]
    return server, user


def loops(user: int) -> list[tuple[int, str]]:
    """The shells of a stubborn server, without their sleeps."""
    return [(pid, args) for pid, args in of_user(user) if "sh" in args.split()[0] and "setsid" not in args.split()[0]]


def test_shutoff_is_said_only_when_no_process_of_the_server_is_left(lab: Lab) -> None:
    server, user = stubborn(lab)
    lab.conn.compute.stop_server(server)
    survivors = 0
    while (status := lab.conn.compute.get_server(server).status) != "SHUTOFF":
        assert status == "ACTIVE"
        survivors += bool(of_user(user))
    assert nothing_left(user, server)
    assert survivors > 1  # it was asked, and did not go by itself


def test_a_server_is_gone_only_when_no_process_of_it_is_left(lab: Lab) -> None:
    server, user = stubborn(lab)
    folder = lab.cloud_folder / "servers" / server
    assert folder.is_dir()
    lab.delete(server)
    assert nothing_left(user, server)
    assert not folder.exists()


def test_a_reboot_starts_nothing_before_the_old_processes_are_gone(lab: Lab) -> None:
    server, user = stubborn(lab)
    before = {pid for pid, _ in of_user(user)}
    lab.conn.compute.reboot_server(server, "HARD")
    until_booted(lab, server, 2)
    now = until("all three loops run", lambda: loops(user) if len(loops(user)) == 3 else None)
    assert not before & {pid for pid, _ in now}


def test_a_server_of_a_volume_frees_it_only_when_it_is_gone(lab: Lab) -> None:
    volumes = lab.conn.block_storage
    volume = volumes.create_volume(name=f"of-a-test-{uuid4()}", size=1)
    until("available", lambda: volumes.get_volume(volume.id).status == "available")
    disk = {"boot_index": -1, "uuid": volume.id, "source_type": "volume", "destination_type": "volume"}
    server = lab.boot("stubborn", block_device_mapping_v2=[_root(lab), disk])
    user = guest_user(server)
    ((pid, _), *_) = loops(user)
    link = Path(f"/proc/{pid}/root/dev/disk/by-id/virtio-{volume.id[:20]}")
    assert str(link.readlink()) == "../../vdb"
    assert stat.S_ISBLK(Path(f"/proc/{pid}/root/dev/vdb").stat().st_mode)
    (attachment,) = volumes.get_volume(volume.id).attachments
    assert attachment["server_id"] == server
    with pytest.raises(said.BadRequestException, match="must not be migrating, attached"):
        volumes.delete_volume(volume.id)
    lab.conn.compute.delete_server(server)
    until("free", lambda: volumes.get_volume(volume.id).status == "available")
    assert of_user(user) == []
    assert volumes.get_volume(volume.id).attachments == []
    volumes.delete_volume(volume.id)
    until("gone", lambda: volume.id not in [each.id for each in volumes.volumes()])


def _root(lab: Lab) -> dict[str, Any]:
    image_id = lab.conn.image.find_image("stubborn").id
    return {"boot_index": 0, "uuid": image_id, "source_type": "image", "destination_type": "local"}


# -- the host goes down ----------------------------------------------------------------------------------------------


def test_after_a_restart_of_the_host_those_servers_run_that_ran(lab: Lab, stack: RunningStack) -> None:
    runs, stopped = lab.boot(), lab.boot()
    users = guest_user(runs), guest_user(stopped)
    lab.conn.compute.stop_server(stopped)
    lab.wait(stopped, "SHUTOFF")
    ((before, _),) = of_user(users[0])
    _stop_the_host(stack)
    assert nothing_left(users[0], runs)
    _start_the_host(stack)
    assert lab.conn.compute.get_server(runs).status in ("ACTIVE", "SHUTOFF")
    lab.wait(runs, "ACTIVE")
    ((after, args),) = until("it runs again", lambda: running(users[0]))
    assert (after != before, args) == (True, "/bin/sleep infinity")
    assert lab.conn.compute.get_server(stopped).status == "SHUTOFF"
    assert of_user(users[1]) == []


def test_a_host_that_was_killed_finds_its_servers_and_ends_none(lab: Lab, stack: RunningStack) -> None:
    server = lab.boot()
    user = guest_user(server)
    before = of_user(user)
    supervisor = stack.stack.supervisor
    pid = supervisor.states()["localcloud"]["pid"]
    os.kill(pid, signal.SIGKILL)
    until("another process", lambda: supervisor.states()["localcloud"]["pid"] not in (0, pid))
    _until_the_host_answers(stack)
    assert lab.conn.compute.get_server(server).status == "ACTIVE"
    time.sleep(0.2)  # a second start would show by now
    assert of_user(user) == before
    lab.conn.compute.stop_server(server)
    lab.wait(server, "SHUTOFF")
    assert of_user(user) == []


def _stop_the_host(stack: RunningStack) -> None:
    assert stack.stack.supervisor._rpc().stopProcess("localcloud")


def _start_the_host(stack: RunningStack) -> None:
    stack.stack.supervisor._rpc().startProcess("localcloud", False)
    _until_the_host_answers(stack)


def _until_the_host_answers(stack: RunningStack) -> None:
    url = f"http://127.0.0.1:{stack.settings.localcloud_port}/healthcheck"
    until("the host answers", lambda: answers(url))
    assert httpx.get(url).json() == {"status": "OK"}
